"""Streams that the card decodes in full, beside what Witness does instead: key frames alone, on the CPU."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.edge.limits import NVDEC_FPS
from bench.edge.record import Ask, Figure, Limit
from bench.edge.sessions import FPS, frames_per_s, most_held, packet_of

if TYPE_CHECKING:
    from ingest.simulator.stream import Stream, StreamCodec

TITLE = "Decoding"
ABOUT = (
    "A generated 1080p25 camera. Streams per core is what one thread decodes of it by CPU time: every frame, or the "
    "key frames alone, each reduced to the scorer's size, as Witness does. NVDEC decodes every frame, sessions in "
    "parallel; then as many sessions as that promises are fed at 25 frames/s, and where one falls behind, the most of "
    "which none does are searched for."
)
AXIS = "sessions"

NAMES: dict[StreamCodec, str] = {"h264": "H.264", "hevc": "HEVC"}
PACED = "NVDEC, fed at 25 frames/s"
"""The series that says what is decoded in real time; the others say how fast it goes without a camera's pace."""
GOP_S = 2.0
SESSIONS = (1, 8, 32)


def figures(ask: Ask, say: Callable[[str], None]) -> Iterator[Figure]:
    from bench.footage import SIZE, camera_stream

    spend_s = 2.0 if ask.quick else 8.0
    for codec, name in NAMES.items():
        say(f"encoding the {name} camera")
        stream = camera_stream(GOP_S, codec=codec, length_s=4.0 if ask.quick else 10.0)
        mbit = stream.size_bytes * 8 / stream.duration_s / 1e6
        group = f"{name} {SIZE[0]}x{SIZE[1]} {FPS} frames/s, {mbit:.1f} Mbit/s, key frame per {GOP_S:g} s"
        yield from on_cpu(stream, group, spend_s)
        yield from on_card(stream, group, spend_s, missing(ask))


def missing(ask: Ask) -> str:
    """Why nothing can be decoded on a card here; empty: it can be tried."""
    if ask.device == "cpu":
        return "no NVIDIA GPU was asked for" if _driver() else "no NVIDIA driver here (libcuda.so.1)"
    return "" if _driver() else "no NVIDIA driver here (libcuda.so.1)"


def _driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def on_cpu(stream: Stream, group: str, spend_s: float) -> Iterator[Figure]:
    """One thread, CPU time."""
    from ingest.config import IngestConfig
    from ingest.decode import Decoder
    from ingest.ring import Packet

    bound = IngestConfig().coarse_size
    decoder = Decoder(stream.codec, stream.extradata, 1 << 24)
    packets = [
        Packet(pts=one.pts_90k, dts=one.dts_90k, duration=90_000 // FPS, key=one.key, data=one.data)
        for one in stream.packets
    ]

    def keys() -> None:
        for packet in packets:
            if packet.key:
                frame = decoder.single(packet)
                if frame is None:
                    raise RuntimeError(f"a key frame of {group} gives no picture")
                decoder.picture(frame, bound)

    def everything() -> None:
        seen = sum(len(decoder.feed(packet)) for packet in (*packets, None))
        decoder.single(packets[0])
        if seen != len(packets):
            raise RuntimeError(f"{seen} of {len(packets)} frames of {group}")

    found = {
        "CPU, key frames": cpu_s_per_round(keys, spend_s) / stream.duration_s,
        "CPU, every frame": cpu_s_per_round(everything, spend_s) / stream.duration_s,
    }
    for series, busy in found.items():
        yield Figure(
            group=group,
            series=series,
            at=1,
            value=1 / busy,
            unit="streams/core",
            details={
                "cpu_ms_per_stream_s": round(1000 * busy, 2),
                "of_every_frame": round(busy / found["CPU, every frame"], 4),
            },
        )


def cpu_s_per_round(work: Callable[[], None], spend_s: float) -> float:
    """Least CPU time of a round; at least two, and as many as fit."""
    taken: list[float] = []
    end_s = time.monotonic() + spend_s
    while len(taken) < 2 or time.monotonic() < end_s:
        start_s = time.process_time()
        work()
        taken.append(time.process_time() - start_s)
    return min(taken)


def on_card(stream: Stream, group: str, spend_s: float, why_not: str) -> Iterator[Figure]:
    unit = "streams"
    low, high = NVDEC_FPS["hevc" if stream.codec == "hevc" else "h264"]
    limit = Limit(
        value=high / FPS,
        of="one NVDEC of an RTX 4090",
        formula=f"{low:.0f} to {high:.0f} frames/s / {FPS}; recalled, no published table",
        here=False,
    )
    series = "NVDEC, every frame"
    if not why_not:
        try:
            _card(stream).decode(packet_of(stream, 0))
        except Exception as error:  # noqa: BLE001 - PyAV answers a missing decoder with several kinds
            why_not = f"NVDEC does not open: {' '.join(str(error).split())[:160]}"
    if why_not:
        yield Figure(group=group, series=series, unit=unit, limit=limit, not_run=why_not)
        return
    best = 0.0
    for sessions in SESSIONS:
        fps = frames_per_s(lambda: _card(stream), stream, sessions, spend_s)
        best = max(best, fps)
        yield Figure(
            group=group,
            series=series,
            at=sessions,
            value=fps / FPS,
            unit=unit,
            limit=limit,
            details={"frames_per_s": round(fps, 1)},
        )
    held, behind_s = most_held(lambda: _card(stream), stream, max(1, int(best / FPS)), spend_s)
    yield Figure(
        group=group,
        series=PACED,
        at=held or 1,
        value=held or None,
        unit=unit,
        limit=limit,
        not_run="" if held else f"fewer than 1: one session is {behind_s:.2f} s behind its camera",
        details={"behind_s": round(behind_s, 3)},
    )


def _card(stream: Stream) -> Any:
    """Decoded pictures stay on the card."""
    from av.codec import CodecContext
    from av.codec.hwaccel import HWAccel

    card = HWAccel("cuda", allow_software_fallback=False, is_hw_owned=True)
    context = CodecContext.create(stream.codec, "r", hwaccel=card)
    context.extradata = stream.extradata
    return context
