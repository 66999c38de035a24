"""Logging: one line per record on stderr, no secret in it, a traceback only where it was asked for."""

from __future__ import annotations

import logging
import sys
from typing import IO

from deploy.secret import Redaction

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class OneLine(logging.Formatter):
    """A record as one line, masked. Tracebacks follow only in debug mode, masked as well."""

    def __init__(self, redaction: Redaction, tracebacks: bool) -> None:
        super().__init__(FORMAT, "%H:%M:%S")
        self._redaction = redaction
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        if self._tracebacks:
            return self._redaction(super().format(record))
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        return " ".join(self._redaction(self.formatMessage(record)).split())


def set_up(redaction: Redaction, *, debug: bool = False, stream: IO[str] | None = None) -> None:
    """Replace every handler of the root logger. Called again when a configuration brings its secrets along."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLine(redaction, debug))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for chatty in ("aiokafka", "urllib3", "httpx", "httpcore", "asyncio", "uvicorn", "PIL", "matplotlib", "filelock"):
        logging.getLogger(chatty).setLevel(logging.INFO if debug else logging.ERROR)
    logging.getLogger("libav").setLevel(logging.ERROR)
    logging.captureWarnings(True)
