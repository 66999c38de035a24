"""NAL units of H.264 (ITU-T H.264 §7.4.1, Annex B) and H.265 (ITU-T H.265 §7.4.2): splitting, kinds, parameter sets.

An access unit travels through the simulator as Annex B bytes: every NAL unit after a four-byte start code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

NalCodec = Literal["h264", "hevc"]
START = b"\x00\x00\x00\x01"
PARAMETER_SETS: dict[NalCodec, tuple[int, ...]] = {"h264": (7, 8), "hevc": (32, 33, 34)}
"""Kinds of the sets a decoder needs before the first picture: SPS, PPS; for H.265 VPS, SPS, PPS."""


def kind(codec: NalCodec, nal: bytes) -> int:
    """nal_unit_type."""
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def is_idr(codec: NalCodec, nals: Iterable[bytes]) -> bool:
    """Whether the access unit starts the stream afresh: an IDR picture, which no later picture looks behind."""
    idr = (5,) if codec == "h264" else (19, 20)
    return any(kind(codec, nal) in idr for nal in nals)


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units between start codes of three or four bytes, without trailing zero bytes."""
    nals = []
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        end = data.find(b"\x00\x00\x01", start + 3)
        nal = (data[start + 3 : end] if end >= 0 else data[start + 3 :]).rstrip(b"\x00")
        if nal:
            nals.append(nal)
        start = end
    return nals


def split_lengths(data: bytes, length_size: int) -> list[bytes]:
    """NAL units that each follow their own length, as MP4 keeps them (ISO/IEC 14496-15). ValueError when cut short."""
    nals, at = [], 0
    while at + length_size <= len(data):
        size = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        if size > len(data) - at:
            raise ValueError(f"a NAL unit of {size} bytes in a packet that has {len(data) - at} left")
        if size:
            nals.append(data[at : at + size])
        at += size
    return nals


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    return b"".join(START + nal for nal in nals)


def parameter_sets(codec: NalCodec, nals: Iterable[bytes]) -> tuple[bytes, ...]:
    """The parameter sets among the NAL units, in their order, each once."""
    return tuple(dict.fromkeys(nal for nal in nals if kind(codec, nal) in PARAMETER_SETS[codec]))


def has_parameter_sets(codec: NalCodec, nals: Sequence[bytes]) -> bool:
    kinds = {kind(codec, nal) for nal in nals}
    return kinds.issuperset(PARAMETER_SETS[codec])


def read_record(codec: NalCodec, extradata: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Length size in bytes (0: packets are Annex B) and parameter sets of a container's codec record.

    avcC (ISO/IEC 14496-15 §5.3.3.1) and hvcC (§8.3.3.1) start with version 1, Annex B with a start code.
    """
    if not extradata or extradata[0] != 1:
        return 0, parameter_sets(codec, split_annex_b(extradata))
    return _read_avcc(extradata) if codec == "h264" else _read_hvcc(extradata)


def _read_avcc(record: bytes) -> tuple[int, tuple[bytes, ...]]:
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        count = record[at] & mask
        at += 1
        for _ in range(count):
            at = _read_sized(record, at, sets)
    return (record[4] & 3) + 1, tuple(sets)


def _read_hvcc(record: bytes) -> tuple[int, tuple[bytes, ...]]:
    sets: list[bytes] = []
    at = 23
    for _ in range(record[22]):
        count = int.from_bytes(record[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            at = _read_sized(record, at, sets)
    return (record[21] & 3) + 1, parameter_sets("hevc", sets)


def _read_sized(record: bytes, at: int, into: list[bytes]) -> int:
    size = int.from_bytes(record[at : at + 2], "big")
    into.append(record[at + 2 : at + 2 + size])
    return at + 2 + size
