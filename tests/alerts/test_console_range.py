"""The Range header as a table, and as anything at all."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.console.byte_range import RangeRefused, parse

SIZE = 1000
HOSTILE = "bytes=" + ",".join(f"{i}-{i}" for i in range(10_000))


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("", None),
        ("items=0-5", None),
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-", (500, 1000)),
        ("bytes=999-999", (999, 1000)),
        ("bytes=990-5000", (990, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("Bytes=3-4", (3, 5)),
    ],
)
def test_served(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse(header, SIZE) == part


@pytest.mark.parametrize(
    "header",
    [
        "bytes=",
        "bytes=-",
        "bytes=-0",
        "bytes=1000-",
        "bytes=5-4",
        "bytes=0-1,3-4",
        "bytes=0-1, 0-1",
        "bytes=a-b",
        "bytes=0x10-",
        "bytes= 0-1",
        "bytes=--1",
        "bytes=٣-٤",
        "bytes=1e3-",
        "bytes=" + "9" * 5000 + "-",
        HOSTILE,
    ],
)
def test_refused(header: str) -> None:
    with pytest.raises(RangeRefused):
        parse(header, SIZE)


def test_an_empty_file_has_no_part() -> None:
    assert parse(None, 0) is None
    with pytest.raises(RangeRefused):
        parse("bytes=0-", 0)


def test_cost_does_not_grow_with_the_header() -> None:
    long = "bytes=" + "0-1," * 2_000_000
    began = time.perf_counter()
    for _ in range(100):
        with pytest.raises(RangeRefused):
            parse(long, SIZE)
    assert time.perf_counter() - began < 0.5


@given(st.one_of(st.text(max_size=60), st.from_regex(r"bytes=[0-9]{0,9}-[0-9]{0,9}", fullmatch=True)))
def test_a_part_always_lies_in_the_file(header: str) -> None:
    try:
        part = parse(header, SIZE)
    except RangeRefused:
        return
    assert part is None or 0 <= part.start < part.stop <= SIZE
