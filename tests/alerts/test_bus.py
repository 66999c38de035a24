"""One suite for the bus in memory and for a real Kafka."""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alerts.bus import ALERTS, DEAD_LETTERS, STATE, MemoryPublisher, Publisher, Record
from alerts.config import KafkaConfig
from alerts.errors import BusDenied, BusUnavailable, MessageTooLarge
from tests.alerts import topic

TOO_LARGE = bytes(300_000)


class Bus:
    """A publisher, how to read back what it published, and how to take its broker away."""

    def __init__(self, make: Callable[[], Publisher], read: Callable[[str], list[tuple[str, bytes]]]) -> None:
        self.make, self.read = make, read


def memory_bus() -> Bus:
    publisher = MemoryPublisher(max_record_bytes=200_000)
    return Bus(lambda: publisher, lambda name: [(r.key, r.value) for r in publisher.records if r.topic == name])


def kafka_bus(node: Any) -> Bus:
    from alerts.kafka_bus import KafkaPublisher

    prefix = f"t{uuid.uuid4().hex[:8]}"
    config = KafkaConfig(bootstrap=node.bootstrap, topic_prefix=prefix, partitions=2, compression="none")
    return Bus(
        lambda: KafkaPublisher(config),
        lambda name: [(m.key, m.value) for m in topic.read(node.bootstrap, f"{prefix}.{name}")],
    )


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest) -> Bus:
    return memory_bus() if request.param == "memory" else kafka_bus(request.getfixturevalue("kafka"))


def using(bus: Bus, work: Callable[[Publisher], Awaitable[None]]) -> None:
    async def run() -> None:
        publisher = bus.make()
        await publisher.connect()
        try:
            await work(publisher)
        finally:
            await publisher.close(5.0)

    asyncio.run(run())


def record(number: int, key: str = "gate-1", name: str = ALERTS, value: bytes | None = None) -> Record:
    body = f"{number:04d}".encode() if value is None else value
    return Record(topic=name, key=key, value=body, headers=(("ce_id", str(number)),))


def test_records_come_back_in_order_for_each_key(bus: Bus) -> None:
    async def work(publisher: Publisher) -> None:
        for number in range(30):
            await publisher.publish(record(number, key=f"gate-{number % 3}"))

    using(bus, work)
    for gate in range(3):
        values = [value for key, value in bus.read(ALERTS) if key == f"gate-{gate}"]
        assert values == [f"{number:04d}".encode() for number in range(gate, 30, 3)]


def test_every_topic_can_be_written_at_once(bus: Bus) -> None:
    async def work(publisher: Publisher) -> None:
        await asyncio.gather(*(publisher.publish(record(1, name=name)) for name in (ALERTS, STATE, DEAD_LETTERS)))

    using(bus, work)
    assert [len(bus.read(name)) for name in (ALERTS, STATE, DEAD_LETTERS)] == [1, 1, 1]


def test_a_record_too_large_harms_no_later_one(bus: Bus) -> None:
    async def work(publisher: Publisher) -> None:
        await publisher.publish(record(1))
        for _ in range(2):
            with pytest.raises(MessageTooLarge):
                await publisher.publish(record(2, value=TOO_LARGE))
            await publisher.connect()
        await publisher.publish(record(3))
        await publisher.publish(record(4))

    using(bus, work)
    assert [value for _, value in bus.read(ALERTS)] == [b"0001", b"0003", b"0004"]


def test_connecting_twice_and_closing_twice_is_harmless(bus: Bus) -> None:
    async def work(publisher: Publisher) -> None:
        await publisher.connect()
        await publisher.publish(record(1))
        await publisher.close(2.0)
        await publisher.connect()
        await publisher.publish(record(2))

    using(bus, work)
    assert len(bus.read(ALERTS)) == 2


def test_publishing_unconnected_is_unavailable(bus: Bus) -> None:
    async def run() -> None:
        with pytest.raises(BusUnavailable):
            await bus.make().publish(record(1))

    asyncio.run(run())


def test_memory_tells_away_from_denied() -> None:
    async def run() -> None:
        publisher = MemoryPublisher()
        publisher.available = False
        with pytest.raises(BusUnavailable):
            await publisher.connect()
        publisher.available, publisher.denied = True, True
        with pytest.raises(BusDenied):
            await publisher.connect()

    asyncio.run(run())


@pytest.mark.kafka
def test_topics_are_created_with_their_settings(kafka: Any) -> None:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    from alerts.kafka_bus import KafkaPublisher

    config = KafkaConfig(bootstrap=kafka.bootstrap, topic_prefix="settings", partitions=3)

    async def run() -> dict[str, str]:
        publisher = KafkaPublisher(config)
        await publisher.connect()
        await publisher.close(2.0)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            names = [f"settings.{name}" for name in ("alerts.v1", "alert-state.v1", "health.v1", "dlq.v1")]
            parts = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics(names)}
            assert set(parts.values()) == {3}
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
            rows = [row for answer in answers for row in answer.resources]
            return {row[3]: {entry[0]: entry[1] for entry in row[4]}["cleanup.policy"] for row in rows}
        finally:
            await admin.close()

    policies = asyncio.run(run())
    assert policies["settings.alerts.v1"] == "delete"
    assert policies["settings.alert-state.v1"] == "compact"


@pytest.mark.kafka
def test_a_topic_that_may_not_be_created_is_named(kafka: Any) -> None:
    from alerts.kafka_bus import KafkaPublisher

    config = KafkaConfig(bootstrap=kafka.bootstrap, topic_prefix="absent", create_topics=False, request_timeout_s=2.0)

    async def run() -> None:
        publisher = KafkaPublisher(config)
        await publisher.connect()
        with pytest.raises(BusDenied, match=r"absent\.alerts\.v1 does not exist"):
            await publisher.publish(record(1))
        await publisher.close(1.0)

    asyncio.run(run())


@pytest.mark.kafka
def test_a_frozen_broker_holds_nobody(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Publishing ends with the time-out, closing within its own, and the next connection works; no future or task is
    left behind for asyncio to complain about."""
    from alerts.kafka_bus import KafkaPublisher

    config = KafkaConfig(bootstrap=kafka.bootstrap, topic_prefix="frozen", request_timeout_s=1.5)

    async def patiently(publisher: Publisher, number: int) -> None:
        """On a busy machine even a sound broker may need longer than the short time-out of this test."""
        deadline = time.monotonic() + 60.0
        while True:
            try:
                await publisher.connect()
                return await publisher.publish(record(number))
            except BusUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.3)

    async def run() -> None:
        publisher = KafkaPublisher(config)
        await patiently(publisher, 1)
        kafka.freeze()
        start = time.monotonic()
        try:
            with pytest.raises(BusUnavailable):
                await publisher.publish(record(2))
            with pytest.raises(BusUnavailable):
                await publisher.connect()
            await publisher.close(1.0)
        finally:
            kafka.thaw()
        assert time.monotonic() - start < 15.0
        await patiently(publisher, 3)
        await publisher.close(2.0)

    asyncio.run(run())
    gc.collect()
    assert [line for line in caplog.messages if "retrieved" in line or "Exception" in line or "destroyed" in line] == []
    values = [m.value for m in topic.read(kafka.bootstrap, "frozen.alerts.v1")]
    assert (values[0], values[-1]) == (b"0001", b"0003")


@pytest.mark.kafka
def test_probe_says_what_answers(kafka: Any) -> None:
    from alerts.kafka_bus import probe

    assert probe(KafkaConfig(bootstrap=kafka.bootstrap)).startswith(f"1 broker at {kafka.bootstrap}")


SECRET = "s3cret-canary"
BAD: dict[str, Any] = {
    "nobody there": {"bootstrap": "127.0.0.1:1"},
    "no such host": {"bootstrap": "no-such-host.invalid:9092"},
    "no certificate": {"bootstrap": "127.0.0.1:1", "security": "tls", "ca_file": "/nowhere/ca.pem"},
    "sasl to nobody": {"bootstrap": "127.0.0.1:1", "security": "sasl_plaintext", "username": "u", "password": SECRET},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_reached_is_one_line_without_secrets(name: str) -> None:
    from alerts.kafka_bus import probe

    config = KafkaConfig(**BAD[name], request_timeout_s=2.0)
    with pytest.raises((BusUnavailable, BusDenied)) as failed:
        probe(config)
    assert "\n" not in str(failed.value)
    assert SECRET not in f"{failed.value!r} {config!r} {failed.value.__context__!r}"
