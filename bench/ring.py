"""Memory of the last 60 s of the ingest benchmark's camera: our ring of packets against raw yuv420p frames."""

from __future__ import annotations

import argparse
from typing import Any

from bench.footage import FPS, SIZE, camera_stream
from ingest.clock import CameraClock
from ingest.ring import Packet, Ring


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the ring (default 60)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    stream = camera_stream(gop_s=5.0)
    ring = Ring(options.seconds, 1 << 30)
    time_base = (1, 90_000)
    timeline = CameraClock(time_base, 0).timeline
    pictures, loops = 0, 0
    while ring.seconds < options.seconds - 1 / FPS and loops < 100:
        for packet in stream.packets:
            at_s = packet.pts_s + loops * stream.duration_s
            pts = round(at_s * time_base[1])
            ring.append(Packet(bytes(packet.data), pts, pts, time_base[1] // FPS, packet.key), timeline, at_s)
        loops += 1
    pictures = len(ring)
    raw = SIZE[0] * SIZE[1] * 3 // 2 * pictures
    return {
        "seconds": ring.seconds,
        "pictures": pictures,
        "ring_mib": ring.size / 2**20,
        "yuv420p_mib": raw / 2**20,
        "ratio": raw / ring.size,
        "bitrate_mbit_s": ring.size * 8 / ring.seconds / 1e6,
        "target_ratio": 140.0,
    }
