"""Decoders side by side on one stream: as fast as they go, and at their cameras' pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.simulator.stream import Stream

FPS = 25
LATE_S = 0.1
"""A session that is further behind at the end does not keep up."""

Open = Callable[[], Any]
"""A new decoder with `decode(packet) -> list of frames`."""


def packet_of(stream: Stream, index: int) -> Any:
    """Packet number `index` of the endless loop, its times rising."""
    from av.packet import Packet

    loop, place = divmod(index, len(stream.packets))
    one = stream.packets[place]
    coded = Packet(one.data)
    coded.pts, coded.dts = one.pts_90k + loop * stream.duration_90k, one.dts_90k + loop * stream.duration_90k
    return coded


def frames_per_s(open_one: Open, stream: Stream, sessions: int, seconds: float) -> float:
    """Of all sessions together, each fed as fast as it takes packets. Raises what a session raises."""
    counted = _together(sessions, lambda start_s: _flat_out(open_one(), stream, start_s, seconds))
    return sum(counted) / seconds


def _flat_out(decoder: Any, stream: Stream, start_s: Callable[[], float], seconds: float) -> float:
    decoder.decode(packet_of(stream, 0))
    end_s, frames, index = start_s() + seconds, 0, 1
    while time.monotonic() < end_s:
        frames += len(decoder.decode(packet_of(stream, index)))
        index += 1
    return float(frames)


def most_held(open_one: Open, stream: Stream, first: int, seconds: float) -> tuple[int, float]:
    """Most sessions, `first` or fewer, that keep up with their cameras, and how far the last of them is behind, s;
    where not even one does 0, and how far that one is behind.

    `first` is tried, then halfway between the most that held and the fewest that did not, down to one.
    """
    held, held_behind_s, failed = 0, 0.0, first + 1
    sessions = first
    while sessions > held:
        behind_s = max(_together(sessions, lambda start_s: _paced(open_one(), stream, start_s, seconds)))
        if behind_s <= LATE_S:
            held, held_behind_s = sessions, behind_s
        else:
            failed = sessions
        sessions = (held + failed) // 2
    return held, held_behind_s if held else behind_s


def _paced(decoder: Any, stream: Stream, start_s: Callable[[], float], seconds: float) -> float:
    """Seconds behind its camera after the last packet."""
    decoder.decode(packet_of(stream, 0))
    begin_s, count = start_s(), int(seconds * FPS)
    for index in range(1, count + 1):
        wait_s = begin_s + index / FPS - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        decoder.decode(packet_of(stream, index))
    return time.monotonic() - (begin_s + count / FPS)


def _together(sessions: int, work: Callable[[Callable[[], float]], float]) -> list[float]:
    """Runs sessions in threads that begin at one moment. Raises the first error of any."""
    gate = threading.Barrier(sessions)
    found: list[float] = []
    errors: list[Exception] = []

    def start_s() -> float:
        gate.wait()
        return time.monotonic()

    def one() -> None:
        try:
            found.append(work(start_s))
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            gate.abort()
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return found
