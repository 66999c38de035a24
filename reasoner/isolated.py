"""A local model in a process of its own: when it dies or hangs it is killed and started again, and what it was asked is
asked once more.

One pipe; as many questions at once as the model writes together. Everything after the text runs in the parent, as with
any other backend. A question's time begins when the process is ready: the start has a deadline of its own, and ends all
who waited for it where it fails. At most `speed.together + speed.waiting` questions are inside at a time; a further one
fails at once while the process is started, else it waits at the door.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from reasoner.backends import Backend, Output, open_backend
from reasoner.boxes import Coordinates
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed, ReasonerError
from reasoner.folder import Notes
from reasoner.prompt import Message

if TYPE_CHECKING:
    from reasoner.pixels import Pixels

log = logging.getLogger(__name__)

GREETING = 0
FIRST_ANSWER_S = 180.0
"""On a GPU, kernels are compiled and graphs captured by a process's first answer: what it has, and who waits for it."""
LOOK_S = 0.05
"""How often who waits looks whether the process is being started."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
GRACE_S = 2.0
END_S = 30.0
"""A killed process gives much memory back first; one that a driver holds never ends, and is left behind."""


class Hello(NamedTuple):
    """What a loaded model says of itself."""

    name: str
    weights_sha256: str
    coordinates: Coordinates
    notes: Notes | None


class _Lost(Exception):
    """The process is gone; the text says how."""


class IsolatedBackend:
    """A `Backend` whose model lives elsewhere. Safe to call from several threads."""

    def __init__(self, config: ReasonerConfig) -> None:
        """Starts the process and waits for its model. Raises what loading raises, and ModelFailed."""
        self._config = msgspec.structs.replace(config, isolate=False)
        self._lock = threading.Lock()
        self._again = threading.Lock()
        """A second attempt is made alone, so that a question which kills takes no other with it twice."""
        self._closed = threading.Event()
        self._child: _Child | None = None
        self._losses = 0
        """In a row; the pause before a start doubles with each."""
        self._starting = threading.Event()
        self._failed_starts, self._failure = 0, ""
        """How many, and what became of the last one."""
        self._door = threading.BoundedSemaphore(config.speed.together + config.speed.waiting)
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self.counts: dict[str, float] = {"restarts": 0}
        try:
            hello = self._start()
        except _Lost as error:
            raise ModelFailed(f"the process of model {config.model!r} {error} while loading it") from None
        self.name, self.weights_sha256, self.coordinates, self.notes = hello

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        """Raises ModelFailed when the process is lost twice over one question, or cannot be started again."""
        output: Output = self._ask("answer", messages, pictures)
        return output

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        """Within `timeout_s` for each, because a model that has no room for all writes one after the other. Raises as
        `answer` does."""
        outputs: list[Output] = self._ask("sample", messages, pictures, count, temperature, seed, answers=count)
        return outputs

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        if (width, height) not in self._sizes:
            self._sizes[width, height] = self._ask("fitted", width, height)
        return self._sizes[width, height]

    def close(self) -> None:
        self._closed.set()
        if (child := self._child) is not None:
            child.process.kill()  # not under the lock: a start may hold it for minutes
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the process while there is one."""
        return self._child.process.pid if self._child else None

    def _ask(self, method: str, *values: Any, answers: int = 1) -> Any:
        with self._inside():
            return self._twice(method, values, answers * self._config.timeout_s)

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """One of the questions that the process has, or will have when it is ready. Raises ModelFailed."""
        while not self._door.acquire(timeout=LOOK_S):
            if self._starting.is_set():
                raise ModelFailed(
                    f"model {self.name} cannot be asked: its process is started again, and as many windows as may wait "
                    "for it do so already"
                )
        try:
            yield
        finally:
            self._door.release()

    def _twice(self, method: str, values: tuple[Any, ...], within_s: float) -> Any:
        try:
            return self._attempt(method, values, within_s)
        except _Lost as error:
            log.error("the process of model %s %s; the question is asked once more", self.name, error)
        try:
            with self._turn(self._again, _patience_s(self._child, within_s)):
                return self._attempt(method, values, within_s)
        except _Lost as error:
            raise ModelFailed(
                f"the process of model {self.name} {error}, for the second time over one question"
            ) from None

    @contextlib.contextmanager
    def _turn(self, lock: threading.Lock, within_s: float) -> Iterator[None]:
        """Within so many seconds, and those in which the process is started, which takes minutes and ends by itself.
        Raises ModelFailed, also where that start fails: the next window tries another."""
        failed, left_s, looked_s = self._failed_starts, within_s, time.monotonic()
        while not lock.acquire(timeout=min(LOOK_S, left_s)):
            now_s = time.monotonic()
            left_s -= 0.0 if self._starting.is_set() else now_s - looked_s
            looked_s = now_s
            if left_s <= 0:
                raise ModelFailed(
                    f"model {self.name} could not be asked within {within_s:g} s: others are asking it once more"
                )
        try:
            if self._failed_starts != failed:
                raise ModelFailed(self._failure)
            yield
        finally:
            lock.release()

    def _attempt(self, method: str, values: tuple[Any, ...], within_s: float) -> Any:
        with self._turn(self._lock, within_s):
            child = self._alive()
        try:
            reply = child.ask(method, values, within_s)
        except _Lost:
            with self._turn(self._lock, within_s):
                if self._child is child:
                    self._losses += 1
                    self._end()
            raise
        self._losses = 0
        if isinstance(reply, ReasonerError):
            raise reply
        return reply

    def _alive(self) -> _Child:
        if self._child is not None and not self._child.process.is_alive():
            log.warning("the process of model %s is gone; it is started again", self.name)
            self._end()
        if self._child is None:
            self.counts["restarts"] += 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._losses - 1)) if self._losses else 0.0
            self._starting.set()
            try:
                if self._closed.wait(pause_s):
                    raise ModelFailed(f"model {self.name} is closed")
                self._start()
            except (_Lost, ReasonerError) as error:
                self._losses += 1
                self._failed_starts += 1
                said = f"the process {error}" if isinstance(error, _Lost) else str(error)
                self._failure = f"model {self.name} could not be started again: {said}"
                raise ModelFailed(self._failure) from None
            finally:
                self._starting.clear()
        assert self._child is not None
        return self._child

    def _start(self) -> Hello:
        self._child = _Child(self._config)
        try:
            hello = self._child.greeting(self._config.start_s)
        except _Lost:
            self._end()
            raise
        if isinstance(hello, ReasonerError):
            self._end()
            raise hello
        assert isinstance(hello, Hello)
        return hello

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None


class _Child:
    """One process and the pipe to it."""

    def __init__(self, config: ReasonerConfig) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._sending = threading.Lock()
        self._hello = Future[Any]()
        self._waiting: dict[int, Future[Any]] = {GREETING: self._hello}
        self._numbers = itertools.count(GREETING + 1)
        self._gone = False
        self.warm = False
        """It has answered before."""
        self.process = spawn.Process(target=serve, args=(theirs, config), name="reasoner", daemon=True)
        self.process.start()
        theirs.close()
        self._reader = threading.Thread(target=self._read, name="reasoner-replies", daemon=True)
        self._reader.start()

    def ask(self, method: str, values: tuple[Any, ...], within_s: float) -> Any:
        """A process that hangs also stops reading, so the question may not even get through: both end by the kill."""
        number, reply = next(self._numbers), Future[Any]()
        self._waiting[number] = reply
        answers = method != "fitted"
        if answers:
            within_s = _patience_s(self, within_s)
        said = self._until(within_s, reply, (number, method, values))
        self.warm = self.warm or answers
        return said

    def greeting(self, within_s: float) -> Any:
        return self._until(within_s, self._hello, None)

    def end(self) -> None:
        """It keeps nothing that a kill would spoil."""
        self.process.kill()
        self.process.join(END_S)
        self._reader.join(GRACE_S)
        if self._reader.is_alive():
            log.error("process %s of the model cannot be killed and is left behind", self.process.pid)
            return
        self._pipe.close()

    def _until(self, within_s: float, reply: Future[Any], question: object) -> Any:
        started_s = time.monotonic()
        timer = threading.Timer(within_s, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            if question is not None:
                with self._sending:
                    self._pipe.send(question)
            if self._gone:  # it may have gone after the last look at who waits
                reply.cancel()
            # The kill cancels it. Should that come to nothing, nobody waits for ever: TimeoutError is an OSError.
            return reply.result(max(0.0, started_s + within_s + GRACE_S - time.monotonic()))
        except (OSError, CancelledError):
            self.process.join(GRACE_S)
            if time.monotonic() - started_s >= within_s:
                raise _Lost(f"did not answer within {within_s:g} s and was killed") from None
            raise _Lost(f"died (status {self.process.exitcode})") from None
        finally:
            timer.cancel()

    def _read(self) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    number, reply = self._pipe.recv()
                    self._waiting.pop(number).set_result(reply)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody reads the process's replies any more
            log.error("a reply of the model's process cannot be read: %s: %s", type(error).__name__, error)
            self.process.kill()
        finally:
            self._gone = True
            for waiting in list(self._waiting.values()):
                waiting.cancel()


def _patience_s(child: _Child | None, within_s: float) -> float:
    """For an answer of this process; None: of one that is not started yet."""
    return within_s if child is not None and child.warm else max(within_s, FIRST_ANSWER_S)


def serve(pipe: Connection, config: ReasonerConfig) -> None:
    """The life of the process: load, say hello, answer. An error that is none of ours ends it, because a device that
    failed once may be of no use any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent says when it ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        backend: Backend = open_backend(config)
    except ReasonerError as error:
        pipe.send((GREETING, error))
        return
    pipe.send((GREETING, Hello(backend.name, backend.weights_sha256, backend.coordinates, backend.notes)))
    sending = threading.Lock()

    def answer(number: int, method: str, values: tuple[Any, ...]) -> None:
        try:
            reply = getattr(backend, method)(*values)
        except ReasonerError as error:
            reply = error
        except BaseException:
            log.exception("the model failed")
            os._exit(1)
        with sending:
            pipe.send((number, reply))

    with contextlib.suppress(EOFError, OSError), ThreadPoolExecutor(config.speed.together) as pool:
        while True:
            pool.submit(answer, *pipe.recv())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
