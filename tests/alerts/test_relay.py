"""The relay: everything arrives, in order, whatever the broker does; twice only with the same id."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from alerts.bus import ALERTS, DEAD_LETTERS, STATE, MemoryPublisher, Record
from alerts.config import KafkaConfig
from alerts.policy import Merged, decide
from alerts.relay import Relay
from alerts.schema.documents import json_schema
from alerts.store import Store
from tests.alerts import sample, topic


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def raise_one(store: Store, offset_s: float, camera_id: str = "gate-1", padding: int = 0) -> str:
    window = sample.window(offset_s, camera_id=camera_id, clip=False)
    store.flag(window.span)
    store.put_window(window)
    alert = replace(sample.alert(window), ext={"padding": "x" * padding}) if padding else sample.alert(window)
    store.raise_alert(window.window_id, alert)
    return alert.alert_id


def merge_one(store: Store, offset_s: float) -> None:
    window = sample.window(offset_s, clip=False)
    store.flag(window.span)
    store.put_window(window)
    latest = store.latest_alert("gate-1", "bag-left")
    outcome = decide(sample.verdict(window), window, sample.RULE, sample.CAMERA, sample.ORIGIN, latest, 0)
    assert isinstance(outcome, Merged)
    store.merge(window.window_id, outcome.alert)


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def arrived(publisher: MemoryPublisher, name: str = ALERTS) -> list[str]:
    return [dict(record.headers)["ce_id"] for record in publisher.records if record.topic == name]


class Carrying:
    """A relay that is stopped at the end, whatever happened."""

    def __init__(self, store: Store, make: Callable[[], Any], **options: Any) -> None:
        self.relay = Relay(store, make, **options)

    def __enter__(self) -> Relay:
        self.relay.start()
        return self.relay

    def __exit__(self, *_: object) -> None:
        self.relay.stop()
        assert not any(thread.name == "alert-relay" for thread in threading.enumerate())


def test_each_revision_goes_to_the_topic_and_the_last_one_to_the_state(store: Store) -> None:
    alert_id = raise_one(store, 0.0)
    merge_one(store, 5.0)
    publisher = MemoryPublisher()
    with Carrying(store, lambda: publisher) as relay:
        assert relay.drain(5.0) == 0
        assert relay.status.connected
    alerts = [r for r in publisher.records if r.topic == ALERTS]
    state = [r for r in publisher.records if r.topic == STATE]
    assert [json.loads(r.value)["revision"] for r in alerts] == [1, 2]
    assert {r.key for r in alerts} == {"gate-1"}
    assert [(r.key, json.loads(r.value)["revision"]) for r in state] == [(alert_id, 2)]


def test_a_new_alert_is_sent_at_once(store: Store) -> None:
    publisher = MemoryPublisher()
    with Carrying(store, lambda: publisher) as relay:
        eventually(lambda: relay.status.connected)
        time.sleep(0.1)
        start = time.monotonic()
        raise_one(store, 0.0)
        eventually(lambda: bool(arrived(publisher)))
        assert time.monotonic() - start < 0.8


def test_a_broker_that_is_away_loses_nothing(store: Store) -> None:
    publisher = MemoryPublisher()
    publisher.available = False
    with Carrying(store, lambda: publisher, retry_max_s=0.5) as relay:
        for number in range(5):
            raise_one(store, 100.0 * number)
        eventually(lambda: relay.status.last_error != "")
        assert (relay.status.connected, relay.status.pending) == (False, 5)
        assert relay.drain(0.2) == 5
        publisher.available = True
        assert relay.drain(5.0) == 0
        assert (relay.status.connected, relay.status.sent, relay.status.last_error) == (True, 5, "")
    assert len(set(arrived(publisher))) == 5


def test_a_denied_record_is_held(store: Store) -> None:
    publisher = MemoryPublisher()
    publisher.denied = True
    raise_one(store, 0.0)
    with Carrying(store, lambda: publisher, denied_retry_s=0.2) as relay:
        eventually(lambda: "not allowed" in relay.status.last_error)
        assert relay.status.pending == 1
        publisher.denied = False
        eventually(lambda: relay.status.pending == 0)


def test_a_record_too_large_is_buried_with_its_reason(store: Store) -> None:
    publisher = MemoryPublisher(max_record_bytes=20_000)
    first = raise_one(store, 0.0)
    large = raise_one(store, 100.0, padding=40_000)
    last = raise_one(store, 200.0)
    with Carrying(store, lambda: publisher) as relay:
        assert relay.drain(5.0) == 0
        assert relay.status.undeliverable == 1
    sent = [json.loads(r.value)["alert_id"] for r in publisher.records if r.topic == ALERTS]
    assert sent == [first, last]
    letters = [json.loads(r.value) for r in publisher.records if r.topic == DEAD_LETTERS]
    assert [(letter["alert_id"], letter["bytes"] > 40_000) for letter in letters] == [(large, True)]


class Flaky(MemoryPublisher):
    """Fails every third time, half of the times after the record was stored: an acknowledgement that got lost."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def publish(self, record: Record) -> None:
        self.calls += 1
        if self.calls % 6 == 0:
            await super().publish(record)
        self.available = self.calls % 3 != 0
        try:
            await super().publish(record)
        finally:
            self.available = True


def test_lost_acknowledgements_repeat_records_but_not_ids(store: Store) -> None:
    publisher = Flaky()
    cameras = ["gate-1", "gate-2", "gate-3"]
    expected = {camera: [raise_one(store, 100.0 * n, camera) for n in range(6)] for camera in cameras}
    with Carrying(store, lambda: publisher, retry_max_s=0.05) as relay:
        assert relay.drain(20.0) == 0
    for camera in cameras:
        records = [r for r in publisher.records if r.topic == ALERTS and r.key == camera]
        firsts = list(dict.fromkeys(json.loads(r.value)["alert_id"] for r in records))
        assert firsts == expected[camera], "first occurrences are out of order or incomplete"
    ids = {(r.key, r.value): dict(r.headers)["ce_id"] for r in publisher.records if r.topic == ALERTS}
    assert len(set(arrived(publisher))) == len(ids) == 18
    assert len(arrived(publisher)) > 18


def test_stopping_is_prompt_while_the_broker_is_away(store: Store) -> None:
    publisher = MemoryPublisher()
    publisher.available = False
    raise_one(store, 0.0)
    with Carrying(store, lambda: publisher) as relay:
        eventually(lambda: relay.status.last_error != "")
        start = time.monotonic()
    assert time.monotonic() - start < 2.0
    assert store.outbox_counts().pending == 1


# The same against a real Kafka


def config_for(kafka: Any) -> KafkaConfig:
    return KafkaConfig(bootstrap=kafka.bootstrap, topic_prefix=f"t{uuid.uuid4().hex[:8]}", request_timeout_s=3.0)


def relayed(store: Store, config: KafkaConfig) -> Carrying:
    from alerts.kafka_bus import KafkaPublisher

    return Carrying(store, lambda: KafkaPublisher(config), retry_max_s=1.0)


def check_topic(kafka: Any, config: KafkaConfig, expected: list[str]) -> int:
    """Holds the topic to the contract; returns how many records came twice."""
    validator = Draft202012Validator(json_schema())
    messages = topic.read(kafka.bootstrap, f"{config.topic_prefix}.{ALERTS}")
    ids: dict[tuple[str, int], str] = {}
    for message in messages:
        body = json.loads(message.value)
        assert not list(validator.iter_errors(body))
        assert message.key == body["camera"]["id"]
        key = (body["alert_id"], body["revision"])
        assert ids.setdefault(key, message.headers["ce_id"]) == message.headers["ce_id"]
    assert [alert_id for alert_id, _ in ids] == expected
    return len(messages) - len(ids)


@pytest.mark.kafka
@pytest.mark.slow
def test_kafka_late_away_and_restarted_loses_nothing(store: Store, kafka: Any) -> None:
    """One camera, so that the order of first occurrences on the topic is the order of raising."""
    config = config_for(kafka)
    kafka.stop()
    expected = [raise_one(store, 100.0 * n) for n in range(5)]
    with relayed(store, config) as relay:
        try:
            eventually(lambda: relay.status.last_error != "")
        finally:
            kafka.start()
        assert relay.drain(20.0) == 0
        expected += [raise_one(store, 100.0 * n) for n in range(5, 10)]
        assert relay.drain(10.0) == 0
        kafka.kill()
        try:
            expected += [raise_one(store, 100.0 * n) for n in range(10, 15)]
            eventually(lambda: not relay.status.connected, 15.0)
        finally:
            kafka.start()
        assert relay.drain(20.0) == 0
    check_topic(kafka, config, expected)
    state = topic.read(kafka.bootstrap, f"{config.topic_prefix}.{STATE}")
    assert {message.key for message in state} == set(expected)


@pytest.mark.kafka
def test_kafka_rest_of_an_outbox_is_sent_by_the_next_start(tmp_path: Path, kafka: Any) -> None:
    config = config_for(kafka)
    with Store.open(tmp_path / "d") as store, Carrying(store, lambda: away) as relay:
        expected = [raise_one(store, 100.0 * n) for n in range(3)]
        assert relay.drain(0.1) == 3
    with Store.open(tmp_path / "d") as store, relayed(store, config) as relay:
        assert relay.drain(15.0) == 0
    assert check_topic(kafka, config, expected) == 0


away = MemoryPublisher()
away.available = False


@pytest.mark.kafka
def test_kafka_takes_what_follows_a_record_too_large(store: Store, kafka: Any) -> None:
    config = replace(config_for(kafka), compression="none")
    first, large = raise_one(store, 0.0), raise_one(store, 100.0, padding=300_000)
    last = [raise_one(store, 100.0 * n) for n in range(2, 6)]
    with relayed(store, config) as relay:
        assert relay.drain(20.0) == 0
        assert relay.status.undeliverable == 1
    check_topic(kafka, config, [first, *last])
    letters = topic.read(kafka.bootstrap, f"{config.topic_prefix}.{DEAD_LETTERS}")
    assert [json.loads(letter.value)["alert_id"] for letter in letters] == [large]


@pytest.mark.kafka
def test_kafka_keeps_order_for_each_of_many_cameras(store: Store, kafka: Any) -> None:
    config = config_for(kafka)
    cameras = [f"cam-{n}" for n in range(5)]
    for number in range(40):
        raise_one(store, 100.0 * number, cameras[number % 5])
    with relayed(store, config) as relay:
        assert relay.drain(20.0) == 0
    messages = topic.read(kafka.bootstrap, f"{config.topic_prefix}.{ALERTS}")
    for camera in cameras:
        onsets = [json.loads(m.value)["time"]["onset"] for m in messages if m.key == camera]
        assert len(onsets) == 8
        assert onsets == sorted(onsets)
