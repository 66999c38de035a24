"""Baseline JPEG files (ITU-T T.81) as RTP carries them (RFC 2435): which can be sent, and what of them is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

STANDARD_HUFFMAN = {
    0x00: "2f66814c875b53173f057d784a16a34d",
    0x01: "602f734c8c12c1d9d049a18fd91d9ef3",
    0x10: "a6283a08f5d97906b66adcc812e32396",
    0x11: "13f90e3c9dc476c66f24347f6ad29cea",
}
"""First half of the SHA-256 of each table of T.81 annex K.3, by class and identifier. Receivers have them built in."""
SOF0, DHT, SOS, DQT, DRI, SOI, EOI = 0xC0, 0xC4, 0xDA, 0xDB, 0xDD, b"\xff\xd8", b"\xff\xd9"
MAX_SIDE_PX = 2040


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a JPEG file that travel."""

    kind: int
    """RFC 2435 §4.1 type: 0 for 4:2:2, 1 for 4:2:0."""
    width: int
    height: int
    restart_interval: int
    """MCUs between restart markers, 0 without them."""
    tables: bytes
    """Quantisation tables of luma and chroma, 64 bytes each, in zigzag order."""
    data: bytes
    """Entropy-coded data, without headers and end marker."""


def scan(jpeg: bytes) -> Scan:
    """Raises ValueError, saying why, for a file that RFC 2435 cannot carry."""
    try:
        return _scan(jpeg)
    except IndexError:
        raise ValueError("a segment is cut short") from None


def _scan(jpeg: bytes) -> Scan:
    tables: dict[int, bytes] = {}
    frame: bytes | None = None
    restart_interval = 0
    for marker, body, end in _segments(jpeg):
        if marker == DQT:
            tables.update(_quantisation(body))
        elif marker == DHT:
            _check_huffman(body)
        elif marker == DRI:
            restart_interval = int.from_bytes(body[:2], "big")
        elif marker == SOF0:
            frame = body
        elif 0xC1 <= marker <= 0xCF and marker != 0xC8 and marker != 0xCC:
            raise ValueError("not a baseline JPEG")
        elif marker == SOS:
            if frame is None:
                raise ValueError("no frame header before the scan")
            kind, width, height, luma, chroma = _layout(frame)
            stop = jpeg.rfind(EOI)
            return Scan(
                kind=kind,
                width=width,
                height=height,
                restart_interval=restart_interval,
                tables=_table(tables, luma) + _table(tables, chroma),
                data=jpeg[end : stop if stop > end else len(jpeg)],
            )
    raise ValueError("no scan in the file")


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and end of every segment up to the scan."""
    if not jpeg.startswith(SOI):
        raise ValueError("no JPEG start marker")
    at = 2
    while at + 4 <= len(jpeg):
        if jpeg[at] != 0xFF:
            raise ValueError(f"no marker at byte {at}")
        if jpeg[at + 1] == 0xFF:  # fill byte (T.81 §B.1.1.2)
            at += 1
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield jpeg[at + 1], jpeg[at + 4 : end], end
        at = end


def _quantisation(body: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(body), 65):
        if body[at] >> 4:
            raise ValueError("16-bit quantisation tables")
        yield body[at], body[at + 1 : at + 65]


def _check_huffman(body: bytes) -> None:
    at = 0
    while at + 17 <= len(body):
        end = at + 17 + sum(body[at + 1 : at + 17])
        if hashlib.sha256(body[at + 1 : end]).hexdigest()[:32] != STANDARD_HUFFMAN.get(body[at]):
            raise ValueError("Huffman tables of its own")
        at = end


def _layout(frame: bytes) -> tuple[int, int, int, int, int]:
    """Type, width, height and the identifiers of the luma and chroma tables."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if frame[0] != 8 or frame[5] != 3 or len(frame) < 15:
        raise ValueError("not three components of 8 bits")
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise ValueError(f"{width}x{height} px, at most {MAX_SIDE_PX} on a side travel")
    kind = {0x21: 0, 0x22: 1}.get(frame[7])
    if kind is None or frame[10] != 0x11 or frame[13] != 0x11:
        raise ValueError("chroma is neither 4:2:2 nor 4:2:0")
    if frame[11] != frame[14]:
        raise ValueError("two chroma quantisation tables")
    return kind, width, height, frame[8], frame[11]


def _table(tables: dict[int, bytes], identifier: int) -> bytes:
    if len(tables.get(identifier, b"")) != 64:
        raise ValueError(f"no quantisation table {identifier}")
    return tables[identifier]
