"""The Range header, read strictly: one range of one file, or none, or a refusal."""

import re
from typing import NamedTuple

_ONE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
_MAX_CHARS = 40
"""`bytes=` and two numbers of 15 digits; anything longer is not a player seeking in a clip."""


class ByteRange(NamedTuple):
    """Bytes `start` to `stop`, the latter excluded."""

    start: int
    stop: int


class RangeRefused(ValueError):
    """The header asks for what cannot be given: answered with 416."""


def parse(header: str | None, size: int) -> ByteRange | None:
    """The part of a file of `size` bytes that a Range header asks for (RFC 9110 §14.1.2); None: the whole file.

    Units other than bytes are ignored as the RFC wants. Several ranges, a range past the end, and anything that
    is not a range at all raise RangeRefused, at a cost that does not grow with the header.
    """
    if header is None or header[:6].lower() != "bytes=":
        return None
    if len(header) > _MAX_CHARS or not (found := _ONE.fullmatch(header.lower())):
        raise RangeRefused("one range of the form bytes=FIRST-LAST is served")
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            raise RangeRefused("the range ends before it starts")
    elif last:
        start, stop = max(0, size - int(last)), size
    else:
        raise RangeRefused("the range names neither its first nor its last byte")
    if start >= stop:
        raise RangeRefused(f"the file has {size} bytes")
    return ByteRange(start, stop)
