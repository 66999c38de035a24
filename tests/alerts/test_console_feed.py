"""The feed: what a client gets after it comes, goes, comes back, or falls behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from alerts.console.errors import TooManyClients
from alerts.console.feed import Feed, Subscription


def numbers(subscription: Subscription) -> list[int]:
    return [change.number for change in subscription.take()]


def test_a_new_client_gets_what_comes_after_it() -> None:
    async def story() -> None:
        feed = Feed()
        feed.publish("a", 1)
        client = feed.subscribe()
        assert (client.resumed, client.start, numbers(client)) == (False, 1, [])
        feed.publish("a", 2)
        feed.publish("b", 1)
        changes = client.take()
        assert [(c.number, c.alert_id, c.revision) for c in changes] == [(2, "a", 2), (3, "b", 1)]
        assert numbers(client) == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("published", "last", "resumed", "rest"),
    [
        (5, 5, True, []),
        (5, 2, True, [3, 4, 5]),
        (5, 0, True, [1, 2, 3, 4, 5]),
        (5, 6, False, []),  # a number never given: not ours
        (20, 12, True, [13, 14, 15, 16, 17, 18, 19, 20]),  # the oldest one still kept
        (20, 11, False, []),  # forgotten meanwhile
    ],
)
def test_resume(published: int, last: int, resumed: bool, rest: list[int]) -> None:
    async def story() -> None:
        feed = Feed(history=8)
        for _ in range(published):
            feed.publish("a", 1)
        client = feed.subscribe(feed.event_id(last))
        assert (client.resumed, numbers(client)) == (resumed, rest)

    asyncio.run(story())


@pytest.mark.parametrize("last", ["", "5", "deadbeef-1", "-", "deadbeef-", "x" * 10_000, "٣-٤"])
def test_what_is_no_number_of_ours_reads_anew(last: str) -> None:
    async def story() -> None:
        feed = Feed()
        feed.publish("a", 1)
        assert not feed.subscribe(last).resumed
        assert not feed.subscribe(feed.event_id(1) + last + "9" * 20).resumed

    asyncio.run(story())


def test_a_slow_client_is_dropped_counted_and_can_resume() -> None:
    async def story() -> None:
        feed = Feed(queue=4)
        slow, quick = feed.subscribe(), feed.subscribe()
        seen = []
        for _ in range(6):
            feed.publish("a", 1)
            seen += numbers(quick)
        assert seen == [1, 2, 3, 4, 5, 6]
        assert slow.ended and not quick.ended
        assert feed.stats.dropped == 1 and feed.stats.clients == 1
        assert numbers(slow) == [1, 2, 3, 4]
        assert numbers(feed.subscribe(feed.event_id(4))) == [5, 6]

    asyncio.run(story())


def test_places_are_bounded_and_given_back() -> None:
    async def story() -> None:
        feed = Feed(clients=2)
        first, _second = feed.subscribe(), feed.subscribe()
        with pytest.raises(TooManyClients, match="2 pages"):
            feed.subscribe()
        first.close()
        first.close()
        feed.subscribe()
        assert feed.stats.refused == 1 and feed.stats.clients == 2

    asyncio.run(story())


def test_publishing_wakes_a_client_from_another_thread() -> None:
    async def story() -> None:
        feed = Feed()
        client = feed.subscribe()
        poke = threading.Timer(0.05, feed.publish, ("a", 7))
        poke.start()
        await asyncio.wait_for(client.wait(timeout_s=60), 5)
        poke.join()
        assert [change.revision for change in client.take()] == [7]

    asyncio.run(story())


def test_closing_ends_every_client_and_takes_no_new_one() -> None:
    async def story() -> None:
        feed = Feed()
        client = feed.subscribe()
        feed.close()
        assert client.ended
        with pytest.raises(TooManyClients):
            feed.subscribe()
        feed.publish("a", 1)
        assert numbers(client) == []

    asyncio.run(story())


def test_a_client_whose_loop_is_gone_does_not_harm_the_others() -> None:
    feed = Feed()

    async def come() -> Subscription:
        return feed.subscribe()

    lost = asyncio.run(come())

    async def story() -> None:
        client = feed.subscribe()
        feed.publish("a", 1)
        assert numbers(client) == [1]

    asyncio.run(story())
    assert lost.ended is False or feed.stats.dropped >= 1
    assert feed.stats.dropped >= 1
