"""RTP payloads of one access unit (RFC 6184, RFC 7798, RFC 2435) and RTCP sender reports (RFC 3550 §6.4.1).

Everything travels interleaved in the RTSP connection: `$`, channel, length, packet (RFC 2326 §10.12).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from ingest.simulator import jpeg, nal
from ingest.simulator.stream import Packet, StreamCodec

MAX_PAYLOAD_BYTES = 1400
"""As cameras do for Ethernet, so that receivers meet fragments of the usual size."""
PAYLOAD_TYPE: dict[StreamCodec, int] = {"h264": 96, "hevc": 96, "mjpeg": 26}
HEADER = struct.Struct(">cBHBBHII")
"""Interleaving `$`, channel, length; RTP version, marker and type, sequence, timestamp, SSRC (RFC 3550 §5.1)."""
NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900-01-01, where NTP counts from, to 1970-01-01."""
_SENDER_REPORT = struct.Struct(">BBHIIIIII")
_RTP_HEADER_BYTES = 12


class Payload(msgspec.Struct, frozen=True):
    """An access unit cut into RTP payloads, each with room for `HEADER` before it."""

    room: bytes
    starts: tuple[int, ...]
    """Where each header goes in `room`; the payload behind it reaches to the next one."""

    def wire(self, channel: int, codec: StreamCodec, sequence: int, rtp_time: int, ssrc: int) -> bytearray:
        """Bytes for the connection. The last packet of the access unit has the marker bit."""
        wire = bytearray(self.room)
        kind = PAYLOAD_TYPE[codec]
        ends = (*self.starts[1:], len(wire))
        for i, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            marker = 0x80 if end == len(wire) else 0
            length = end - start - HEADER.size + _RTP_HEADER_BYTES
            number = (sequence + i) & 0xFFFF
            HEADER.pack_into(wire, start, b"$", channel, length, 0x80, marker | kind, number, rtp_time, ssrc)
        return wire


def garble(wire: bytearray, starts: tuple[int, ...], noise: Callable[[int], bytes]) -> None:
    """Overwrites everything behind the first two bytes of each payload: headers hold, contents do not."""
    for start, end in zip(starts, (*starts[1:], len(wire)), strict=True):
        begin = min(end, start + HEADER.size + 2)
        wire[begin:end] = noise(end - begin)


def payload(codec: StreamCodec, packet: Packet) -> Payload:
    if codec == "mjpeg":
        pieces = _jpeg_pieces(packet.data)
    else:
        pieces = [piece for unit in nal.split_annex_b(packet.data) for piece in _nal_pieces(codec, unit)]
    room, starts = bytearray(), []
    for piece in pieces:
        starts.append(len(room))
        room += bytes(HEADER.size)
        room += piece
    return Payload(bytes(room), tuple(starts))


def _nal_pieces(codec: nal.NalCodec, unit: bytes) -> list[bytes]:
    """The NAL unit itself, or its fragments: FU-A (RFC 6184 §5.8), FU (RFC 7798 §4.4.3)."""
    if len(unit) <= MAX_PAYLOAD_BYTES:
        return [unit]
    if codec == "h264":
        head, body = bytes([unit[0] & 0xE0 | 28]), unit[1:]
    else:
        head, body = bytes([unit[0] & 0x81 | 49 << 1, unit[1]]), unit[2:]
    kind = nal.kind(codec, unit)
    step = MAX_PAYLOAD_BYTES - len(head) - 1
    pieces = []
    for at in range(0, len(body), step):
        flags = (0x80 if at == 0 else 0) | (0x40 if at + step >= len(body) else 0)
        pieces.append(head + bytes([flags | kind]) + body[at : at + step])
    return pieces


def _jpeg_pieces(file: bytes) -> list[bytes]:
    """Fragments with the main header, the restart header, and the quantisation tables in the first (RFC 2435 §3.1).

    Width and height travel in units of 8 px, rounded up: a receiver shows the rows that complete the last block.
    """
    scan = jpeg.scan(file)
    kind = scan.kind + (64 if scan.restart_interval else 0)
    restart = struct.pack(">HH", scan.restart_interval, 0xFFFF) if scan.restart_interval else b""
    tables = struct.pack(">BBH", 0, 0, len(scan.tables)) + scan.tables
    pieces: list[bytes] = []
    at = 0
    while at < len(scan.data) or not pieces:
        size = (-(-scan.width // 8), -(-scan.height // 8))
        head = struct.pack(">IBBBB", at, kind, 255, *size) + restart + (b"" if at else tables)
        body = scan.data[at : at + MAX_PAYLOAD_BYTES - len(head)]
        pieces.append(head + body)
        at += len(body)
    return pieces


def sender_report(channel: int, ssrc: int, utc_ns: int, rtp_time: int, packets: int, octets: int) -> bytes:
    """Ties `rtp_time` to the wall clock; followed by the source description that RFC 3550 §6.1 asks for."""
    seconds, rest_ns = divmod(utc_ns, 1_000_000_000)
    report = _SENDER_REPORT.pack(
        0x80,
        200,
        _SENDER_REPORT.size // 4 - 1,
        ssrc,
        (seconds + NTP_EPOCH_S) & 0xFFFFFFFF,
        (rest_ns << 32) // 1_000_000_000,
        rtp_time,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    name = b"witness"
    chunk = struct.pack(">IBB", ssrc, 1, len(name)) + name
    chunk += bytes(4 - len(chunk) % 4)
    compound = report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk
    return struct.pack(">cBH", b"$", channel, len(compound)) + compound
