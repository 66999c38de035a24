"""The bundled model in a process of its own: killed, stopped, and asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from detector.rule import Rule
from detector.window import Window
from reasoner.backends import apart, open_backend
from reasoner.backends.local import LocalBackend
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed, ModelIncomplete
from reasoner.isolated import Hello, IsolatedBackend, _Lost
from reasoner.pixels import Pixels
from reasoner.prompt import Message, messages
from reasoner.reason import Reasoner
from tests.reasoner import late

CONFIG = ReasonerConfig(isolate=True, timeout_s=20.0, threads=1)


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedBackend]:
    backend = open_backend(CONFIG)
    assert isinstance(backend, IsolatedBackend)
    yield backend
    backend.close()


def drawn() -> tuple[list[Message], list[Pixels]]:
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, (2, 96, 160, 3), np.uint8) for _ in range(2)]
    return messages("Does somebody fall to the ground?", [0.0, 1.0], style="brief"), pictures


@pytest.mark.parametrize(
    ("settings", "gpus", "expected"),
    [
        ({}, 0, False), ({}, 1, True), ({"device": "cuda:1"}, 2, True), ({"device": "cpu"}, 1, False),
        ({"isolate": False}, 1, False), ({"isolate": True}, 0, True),
        ({"backend": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "isolate": True}, 1, False),
        ({"device": "cuda"}, 0, "has no usable GPU"), ({"device": "cuda:2"}, 2, "has 2 GPUs, counted from"),
        ({"device": "mps"}, 0, "has no usable GPU"),
    ],
)  # fmt: skip
def test_on_a_gpu_the_model_has_a_process_of_its_own(
    settings: dict[str, Any], gpus: int, expected: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And this one opens no GPU to find that out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("a context was made"))
    config = ReasonerConfig(**settings)
    if isinstance(expected, str):
        with pytest.raises(ModelFailed, match=expected):
            apart(config)
    else:
        assert apart(config) is expected


def test_it_says_what_the_model_says_in_this_process(
    isolated: IsolatedBackend, crossing: Callable[..., Window], rule: Rule
) -> None:
    window = crossing()
    apart, here = (Reasoner(each, CONFIG).reason(window, rule, {}) for each in (isolated, LocalBackend.load(CONFIG)))
    assert apart.output
    assert "(local in a process of its own," in Reasoner(isolated, CONFIG).describe()
    assert (apart.output, apart.confidence, apart.model) == (here.output, here.confidence, here.model)
    assert (apart.decision, apart.evidence) == (here.decision, here.evidence)


def test_it_draws_what_the_model_draws_in_this_process(isolated: IsolatedBackend) -> None:
    apart, here = (each.sample(*drawn(), 2, 1.0, 5) for each in (isolated, LocalBackend.load(CONFIG)))
    assert [output._replace(tokens=()) for output in apart] == [output._replace(tokens=()) for output in here]
    assert apart[0].text != apart[1].text


def test_questions_share_one_process(isolated: IsolatedBackend, crossing: Callable[..., Window], rule: Rule) -> None:
    window, reasoner = crossing(), Reasoner(isolated, CONFIG)
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda _: reasoner.reason(window, rule, {}), range(4)))
    assert len({verdict.output for verdict in verdicts}) == 1
    assert isolated.counts["restarts"] == 0


def test_a_killed_process_is_started_again(
    isolated: IsolatedBackend, crossing: Callable[..., Window], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasoner, pid = Reasoner(isolated, CONFIG), isolated.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    with monkeypatch.context() as hasty:
        # The first answer of a process takes longer, for what is compiled then: it is not killed over that.
        hasty.setattr(isolated, "_config", msgspec.structs.replace(isolated._config, timeout_s=0.01))
        assert isolated.answer(*drawn()).text
    assert reasoner.reason(crossing(), rule, {}).output
    assert isolated.pid != pid
    assert isolated.counts["restarts"] == 1


def test_a_question_is_asked_twice_and_no_window_stops_the_next(
    isolated: IsolatedBackend, crossing: Callable[..., Window], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time the process hangs: it is stopped, so the question does not even get through the pipe. The second
    one dies over it. The window after that is answered by a third."""
    reasoner, start = Reasoner(isolated, CONFIG), isolated._start
    first = isolated.pid
    assert first is not None

    def start_and_die() -> Hello:
        hello, pid = start(), isolated.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
        return hello

    os.kill(first, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(isolated, "_start", start_and_die)
        patch.setattr(isolated, "_config", msgspec.structs.replace(isolated._config, timeout_s=1.0))
        with pytest.raises(ModelFailed, match=r"died \(status -9\), for the second time over one question"):
            reasoner.reason(crossing(), rule, {})
    assert not Path(f"/proc/{first}").exists()
    verdict = reasoner.reason(crossing(), rule, {})
    assert verdict.output
    assert isolated.counts["restarts"] == 3


class _Unreadable(dict[int, Any]):
    """Whoever waits, no reply gets to it."""

    def pop(self, *_: Any) -> Any:
        raise MemoryError("no room for a reply")


def test_a_reply_that_cannot_be_read_leaves_nobody_waiting(isolated: IsolatedBackend) -> None:
    child, restarts = isolated._child, isolated.counts["restarts"]
    assert child is not None
    child._waiting = _Unreadable(child._waiting)
    sizes: list[tuple[int, int]] = []
    asking = threading.Thread(target=lambda: sizes.append(isolated.fitted(322, 242)), daemon=True)
    asking.start()
    asking.join(60)
    assert sizes and not asking.is_alive()
    assert isolated.counts["restarts"] == restarts + 1 and not child.process.is_alive()


def gone(isolated: IsolatedBackend) -> None:
    """The process is killed, and nobody has noticed yet."""
    assert isolated._child is not None
    isolated._child.process.kill()
    isolated._child.process.join()


def test_windows_that_come_during_a_start_are_answered_after_it(
    isolated: IsolatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their time begins when the process is ready: here the start alone takes eight times as long as it."""
    restarts = isolated.counts["restarts"]
    gone(isolated)
    monkeypatch.setattr("reasoner.isolated.serve", late.serve_late)
    monkeypatch.setattr(isolated, "_config", msgspec.structs.replace(isolated._config, timeout_s=late.LATE_S / 8))
    began_s = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: isolated.answer(*drawn()).text, range(3)))
    assert time.monotonic() - began_s > late.LATE_S
    assert answers[0] and len(set(answers)) == 1
    assert isolated.counts["restarts"] == restarts + 1


def test_a_start_that_fails_ends_all_who_wait_for_it(
    isolated: IsolatedBackend, crossing: Callable[..., Window], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them tries another, a person sees them with the reason, and the next window is answered again."""
    restarts = isolated.counts["restarts"]
    reasoner, window = Reasoner(isolated, CONFIG), crossing()
    span = msgspec.structs.replace(window.span, score=0.9, scores=((window.span.peak_utc_ns, 0.9),))
    window = msgspec.structs.replace(window, span=span)
    gone(isolated)
    with monkeypatch.context() as patch:
        patch.setattr("reasoner.isolated.serve", late.never_serve)
        patch.setattr(isolated, "_config", msgspec.structs.replace(isolated._config, start_s=1.5))
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(isolated.answer, *drawn()) for _ in range(3)]
            errors = [str(each.exception(60)) for each in asked]
    assert all("could not be started again: the process did not answer within 1.5 s" in each for each in errors), errors
    assert isolated.counts["restarts"] == restarts + 1
    verdict = reasoner.failed(window, rule, {})
    assert verdict is not None and (verdict.decision, verdict.reasons) == ("needs_review", ("model_failed",))
    assert isolated.answer(*drawn()).text
    assert isolated.counts["restarts"] == restarts + 2


def test_no_more_windows_wait_for_a_start_than_may(isolated: IsolatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    gone(isolated)
    monkeypatch.setattr("reasoner.isolated.serve", late.serve_late)
    monkeypatch.setattr(isolated, "_door", threading.BoundedSemaphore(2))
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(isolated.answer, *drawn()) for _ in range(2)]
        until = time.monotonic() + 20
        while not (isolated._starting.is_set() and not isolated._door._value):
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(ModelFailed, match="as many windows as may wait for it do so already"):
            isolated.answer(*drawn())
        assert all(each.result(120).text for each in asked)


@pytest.mark.parametrize("warm", [False, True])
def test_a_second_attempt_waits_for_the_first_answer_of_another(
    warm: bool, isolated: IsolatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were lost with one process. The other's first answer from the new one may take longer than `timeout_s`."""
    attempts = iter([_Lost("died")])

    def attempt(*_: Any) -> str:
        if (lost := next(attempts, None)) is not None:
            raise lost
        return "said"

    assert isolated._child is not None
    monkeypatch.setattr(isolated._child, "warm", warm)
    monkeypatch.setattr(isolated, "_attempt", attempt)
    monkeypatch.setattr(isolated, "_config", msgspec.structs.replace(isolated._config, timeout_s=0.1))
    with ThreadPoolExecutor(1) as pool:
        with isolated._again:
            second = pool.submit(isolated._ask, "answer")
            time.sleep(0.4)
        if warm:
            with pytest.raises(ModelFailed, match=r"could not be asked within 0\.1 s"):
                second.result(10)
        else:
            assert second.result(10) == "said"


def test_nobody_waits_for_a_process_that_no_kill_ends(
    isolated: IsolatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a driver holds in the kernel: here it is stopped, and the kill comes to nothing."""
    child = isolated._child
    assert child is not None
    pid, kill = child.process.pid, child.process.kill
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(child.process, "kill", lambda: None)
    monkeypatch.setattr("reasoner.isolated.END_S", 0.2)
    monkeypatch.setattr("reasoner.isolated.GRACE_S", 0.5)
    ended: list[_Lost] = []

    def ask() -> None:
        try:
            child.ask("fitted", (328, 248), 0.5)
        except _Lost as error:
            ended.append(error)
        child.end()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(10)
    try:
        assert not asking.is_alive() and "did not answer within 0.5 s" in str(ended)
    finally:
        kill()
        asking.join(10)


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete, match=r"has no config\.json"):
        IsolatedBackend(ReasonerConfig(isolate=True, model=str(tmp_path)))


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Also when the parent is killed, here while the model is being loaded."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\nfrom reasoner.config import ReasonerConfig\nfrom reasoner.isolated import _Child\n"
        "if __name__ == '__main__':\n    child = _Child(ReasonerConfig())\n"
        "    time.sleep(2)\n    print(child.process.pid, flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 3
    while _runs(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """A process that has ended may wait for somebody to ask for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
