"""Reads whole Kafka topics back, independently of the code that wrote them."""

from __future__ import annotations

import asyncio

import msgspec


class Message(msgspec.Struct, frozen=True):
    key: str
    value: bytes
    headers: dict[str, str]


def read(bootstrap: str, topic: str) -> list[Message]:
    """Every record of a topic up to its present end: in order within each partition."""
    return asyncio.run(_read(bootstrap, topic))


async def _read(bootstrap: str, topic: str) -> list[Message]:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found = []
    try:
        await consumer._client.force_metadata_update()
        numbers = consumer.partitions_for_topic(topic) or set()
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for records in (await consumer.getmany(partition, timeout_ms=500)).values():
                    for record in records:
                        headers = {name: value.decode() for name, value in record.headers}
                        found.append(Message((record.key or b"").decode(), record.value or b"", headers))
    finally:
        await consumer.stop()
    return found
