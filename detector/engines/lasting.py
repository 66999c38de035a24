"""An engine that outlasts its device: a GPU that is lost in the midst of a run is left for the next rung of `auto`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from detector.errors import DetectorError, EngineUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.engines import Engine, PassedOver

log = logging.getLogger(__name__)

FAILURES = 3
"""Failed calls in a row after which an engine is given up: one may be a moment without memory, three are not."""
CLOSE_S = 5.0
"""How long a lost engine may take to give back its memory, which the next one may want; a dead device never answers."""

Follow = Callable[["Engine", str], "Engine"]
"""The engine that failed and the reason, one line, to the one that follows it. Raises DetectorError or OSError where
none does."""


class LastingEngine:
    """Keeps the contract of `detector.engines.Engine` with the engine at hand, and says in `trouble` how that is going.

    A call that the engine cannot serve raises EngineUnavailable; the `FAILURES`th in a row is served by the engine that
    follows, if there is one. Its name, precision and hash are then those of this one.
    """

    name: str
    precision: str
    sha256: str
    max_batch: int
    passed_over: tuple[PassedOver, ...]

    def __init__(self, engine: Engine, follow: Follow | None = None) -> None:
        """Takes over the engine. follow: None where an engine was named, which nothing replaces then."""
        self._follow = follow
        self._lock = threading.Lock()
        self._failures = 0
        self.trouble = ""
        """One line while no call succeeds any more; empty while all is well."""
        self.left: tuple[str, ...] = ()
        """Of each engine that was given up in this run, one line with the reason."""
        self._take(engine)

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        engine = self._engine
        try:
            tokens = engine.image(pictures)
        except EngineUnavailable as error:
            return self._instead(engine, error).image(pictures)
        if self._failures:
            self._well(engine)
        return tokens

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._engine.text(ids)

    def close(self) -> None:
        self._engine.close()

    def _take(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.precision, self.sha256 = engine.name, engine.precision, engine.sha256
        self.max_batch, self.passed_over = engine.max_batch, engine.passed_over

    def _instead(self, engine: Engine, error: EngineUnavailable) -> Engine:
        """The engine for a call that failed; raises the error where there is none, or none yet."""
        with self._lock:
            if engine is not self._engine:
                return self._engine  # another caller was quicker
            self._failures += 1
            if self._failures < FAILURES or self.trouble:
                raise error
            said = f"{error} ({self._failures} times in a row)"
            if self._follow is None:
                way_out = 'mend it and start again, or set detector.engine to "auto", which goes on with another engine'
                self._stuck(f"{said}; {way_out}")
                raise error
            return self._next(engine, error, said)

    def _next(self, engine: Engine, error: EngineUnavailable, said: str) -> Engine:
        assert self._follow is not None
        closing = threading.Thread(target=engine.close, name="close-engine", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        try:
            following = self._follow(engine, str(error))
        except (DetectorError, OSError) as none:
            self._stuck(f"{said}; no other engine starts ({none}); mend it and start again")
            raise error from none
        self._failures = 0
        self.left += (said,)
        self._take(following)
        log.error("%s; going on with %s", said, following.name)
        return following

    def _stuck(self, trouble: str) -> None:
        self.trouble = trouble
        log.error("no picture is scored: %s", trouble)

    def _well(self, engine: Engine) -> None:
        with self._lock:
            if engine is self._engine:
                self._failures = 0
                if self.trouble:
                    log.warning("%s answers again", engine.name)
                self.trouble = ""
