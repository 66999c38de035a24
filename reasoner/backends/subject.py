"""Which window a question is about: it travels beside the question, for the ids of requests and for logs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SUBJECT: ContextVar[str] = ContextVar("subject", default="")
_numbers = itertools.count(1)


@contextmanager
def about(window_id: str) -> Iterator[None]:
    """What is asked inside this block, in this thread, is about one window."""
    token = _SUBJECT.set(window_id)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def request_id() -> str:
    """The window's id and a number that is new each time: a server that still works on an earlier request for the same
    window would refuse its id."""
    return f"{_SUBJECT.get() or 'witness'}-{next(_numbers)}"
