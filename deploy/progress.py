"""Long work shows how far it is: a line that is rewritten on a terminal, one line at the beginning elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

STEP_S = 0.2


class Progress:
    """`with Progress("rendering", note) as progress: work(progress)`; the work calls it with its share done, 0..1."""

    def __init__(self, what: str, note: Callable[[str], None]) -> None:
        self._what = what
        self._note = note
        self._terminal = sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._shown_s = float("-inf")

    def __enter__(self) -> Progress:
        if not self._terminal:
            self._note(f"{self._what} ...")
        return self

    def __call__(self, share: float) -> None:
        now_s = time.monotonic()
        if self._terminal and (now_s - self._shown_s >= STEP_S or share >= 1):
            self._shown_s = now_s
            sys.stderr.write(f"\r{self._what} {share:4.0%}")
            sys.stderr.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        if kind is None and (took_s := time.monotonic() - self._began_s) > 1:
            self._note(f"{self._what}: {took_s:.0f} s")
