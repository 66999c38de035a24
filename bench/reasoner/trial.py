"""Each row is a trial of its own: one that fails is named with its reason, and costs no other."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST_REASON = 240
"""Characters; drivers write pages."""


class NotHere(Exception):
    """What a row needs is not on this machine; the text says what."""


class Trials:
    """Rows one after the other. After each, what it left on the card is given back."""

    def __init__(self, device: str) -> None:
        self._gpu = device.startswith("cuda")
        self.not_run: dict[str, str] = {}
        """Names of rows without figures, and why."""

    def run(self, name: str, row: Callable[[], T]) -> T | None:
        """What the row gives; None where it failed, whatever with."""
        try:
            return row()
        except NotHere as reason:
            self.not_run[name] = str(reason)
        except Exception as error:  # noqa: BLE001 - a library's or driver's; hours of other rows hang on it
            said = " ".join(str(error).split())[:LONGEST_REASON]
            self.not_run[name] = f"{type(error).__name__}: {said}" if said else type(error).__name__
        finally:
            # The error is gone by now, and with it the frames that held the row's tensors.
            self.free()
        return None

    def free(self) -> None:
        """Give back what nothing holds any more."""
        gc.collect()
        if self._gpu:
            import torch

            # A card that an error has spoilt says so again to the next row, not to all that was measured before.
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()
