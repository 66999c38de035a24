"""Apache Kafka through aiokafka, the only place that knows it.

The producer is idempotent and waits for all in-sync replicas, but aiokafka does not heal it: after an error that is not
retried inside, later batches fail for ever, and stopping it while a broker is away may never return. So any such error
throws the producer away, a new one is made by the next `connect`, and every wait here has an end.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.helpers import create_ssl_context

from alerts.bus import Record
from alerts.config import KafkaConfig
from alerts.errors import BusDenied, BusError, BusUnavailable, MessageTooLarge
from alerts.topics import TOPICS

log = logging.getLogger("witness.alerts.kafka")
# It reports each attempt as an error; what matters is translated here and said once by the relay.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
_DENIED = (
    AuthenticationFailedError, AuthenticationMethodNotSupported, ClusterAuthorizationFailedError, IllegalSaslStateError,
    SaslAuthenticationFailed, TopicAuthorizationFailedError, UnsupportedSaslMechanismError,
)  # fmt: skip
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)
_PROTOCOLS = {"plaintext": "PLAINTEXT", "tls": "SSL", "sasl_plaintext": "SASL_PLAINTEXT", "sasl_tls": "SASL_SSL"}
_TOPIC_EXISTS = 36
_ABANDON_S = 0.5


class KafkaPublisher:
    """A `Publisher`. `connect` also creates missing topics, once; where that is refused, one line is logged."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._producer: Any = None
        self._topics_seen = not config.create_topics
        self._connecting = asyncio.Lock()

    async def connect(self) -> None:
        async with self._connecting:
            if self._producer is not None:
                return
            producer = None
            try:
                producer = AIOKafkaProducer(
                    acks="all",
                    enable_idempotence=True,
                    compression_type=None if self._config.compression == "none" else self._config.compression,
                    max_request_size=self._config.max_record_kib << 10,
                    **self._client(),
                )
                async with asyncio.timeout(self._config.request_timeout_s):
                    await producer.start()
                    await self._create_topics()
            except (KafkaError, OSError, ValueError) as error:
                if producer is not None:
                    await _abandon(producer)
                raise self._translated(error) from None
            except asyncio.CancelledError:
                if producer is not None:
                    await _abandon(producer)
                raise
            self._producer = producer

    async def publish(self, record: Record) -> None:
        producer = self._producer
        if producer is None:
            raise BusUnavailable(f"no connection to {self._config.bootstrap}")
        try:
            async with asyncio.timeout(self._config.request_timeout_s):
                acknowledged = await producer.send(
                    self.topic(record.topic),
                    key=record.key.encode(),
                    value=record.value,
                    headers=[(name, value.encode()) for name, value in record.headers],
                )
                acknowledged.add_done_callback(_heard)
                await asyncio.shield(acknowledged)
        except (KafkaError, OSError) as error:
            topic = self.topic(record.topic)
            missing = not producer.client.cluster.partitions_for_topic(topic)
            await self._discard(producer)
            if isinstance(error, TimeoutError) and missing:
                raise BusDenied(f"topic {topic} does not exist on {self._config.bootstrap}; create it") from None
            raise self._translated(error) from None

    async def close(self, timeout_s: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _abandon(producer, timeout_s)

    def topic(self, name: str) -> str:
        return f"{self._config.topic_prefix}.{name}"

    async def _discard(self, producer: Any) -> None:
        """Every sender of a batch may come here; the first one throws the producer away."""
        if self._producer is producer:
            self._producer = None
            await _abandon(producer)

    async def _create_topics(self) -> None:
        """Those that are missing; asked once for each publisher. A refusal is one line: the topics may be there."""
        if self._topics_seen:
            return
        admin = AIOKafkaAdminClient(**self._client())
        try:
            await admin.start()
            brokers = len((await admin.describe_cluster())["brokers"])
            copies = self._config.replication_factor or min(3, brokers)
            wanted = [
                NewTopic(self.topic(name), self._config.partitions, copies, topic_configs=settings)
                for name, settings in TOPICS.items()
            ]
            answer = await admin.create_topics(wanted, timeout_ms=int(self._config.request_timeout_s * 1000))
        finally:
            await admin.close()
        self._topics_seen = True
        refused = [row for row in answer.topic_errors if row[1] not in (0, _TOPIC_EXISTS)]
        if refused:
            name, code = refused[0][:2]
            log.warning(
                "%d topics, %s first, were not created (%s); create them if they are missing",
                len(refused), name, for_code(code).__name__,
            )  # fmt: skip

    def _client(self) -> dict[str, Any]:
        config = self._config
        options: dict[str, Any] = {
            "bootstrap_servers": config.bootstrap.split(","),
            "client_id": "witness",
            "request_timeout_ms": int(config.request_timeout_s * 1000),
            "security_protocol": _PROTOCOLS[config.security],
        }
        if config.security in ("tls", "sasl_tls"):
            options["ssl_context"] = create_ssl_context(
                cafile=config.ca_file or None, certfile=config.cert_file or None, keyfile=config.key_file or None
            )
        if config.security.startswith("sasl"):
            options |= {
                "sasl_mechanism": config.sasl_mechanism,
                "sasl_plain_username": config.username,
                "sasl_plain_password": config.password,
            }
        return options

    def _translated(self, error: Exception) -> BusError:
        where = f"broker {self._config.bootstrap}"
        if isinstance(error, _TOO_LARGE):
            return MessageTooLarge(f"{where} takes no record of this size; raise its message.max.bytes")
        detail = type(error).__name__
        if isinstance(error, _DENIED):
            return BusDenied(f"{where} refuses us ({detail}); check username, password and ACLs")
        if isinstance(error, ssl.SSLError | ValueError):
            return BusDenied(f"{where}: TLS or SASL settings do not work ({detail}); check [kafka]")
        if isinstance(error, FileNotFoundError):
            return BusDenied(f"{where}: a certificate or key file of [kafka] does not exist")
        return BusUnavailable(f"{where} does not answer ({detail}); alerts wait in the outbox")


async def _give_up_batches(producer: Any) -> None:
    """Ends the sending task, then fails what it had not delivered. aiokafka has no public way to do that."""
    task, batches = producer._sender.sender_task, producer._message_accumulator
    if task is not None:
        # Its own callback assumes a transactional producer.
        task.remove_done_callback(producer._sender._fail_all)
        task.add_done_callback(_heard)
        for _ in range(2):  # the first time it waits for the request in flight, the second time it ends that as well
            task.cancel()
            await asyncio.wait([task], timeout=_ABANDON_S / 2)
    for batch in [batch for queue in batches._batches.values() for batch in queue]:
        batch._drain_waiter.add_done_callback(_heard)
        if batch.retry_count:
            # It was taken from here for another try; its callback expects to find it when it ends.
            batches._pending_batches.add(batch)
    batches.fail_all(KafkaConnectionError("given up"))


def _heard(future: asyncio.Future[Any]) -> None:
    """Takes note of a failure that nobody may be waiting for any more; asyncio would complain otherwise."""
    if not future.cancelled():
        future.exception()


async def _abandon(producer: Any, timeout_s: float = _ABANDON_S) -> None:
    """Stops a producer within about `timeout_s`; what it could not deliver by then fails instead of being retried."""
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except (TimeoutError, KafkaError, OSError):
        await _give_up_batches(producer)
        try:
            async with asyncio.timeout(_ABANDON_S):
                await producer.client.close()
        except (TimeoutError, KafkaError, OSError) as error:
            log.debug("connection left to close itself: %s", type(error).__name__)


def probe(config: KafkaConfig) -> str:
    """Connects once without creating anything; one line about what answered. BusUnavailable, BusDenied."""

    async def reach() -> str:
        publisher = KafkaPublisher(config)
        publisher._topics_seen = True
        await publisher.connect()
        try:
            brokers = len(publisher._producer.client.cluster.brokers())
        finally:
            await publisher.close(_ABANDON_S)
        return f"{brokers} broker{'s' if brokers != 1 else ''} at {config.bootstrap}, topics {config.topic_prefix}.*"

    return asyncio.run(reach())
