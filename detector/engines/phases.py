"""How far TensorRT's builder is: its nested phases, each with steps, as one share that never goes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Phases:
    """Told of phases as `IProgressMonitor` is, from any thread; tells `progress` the share done, 0..1."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._parents: dict[str, str | None] = {}
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._shown = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._parents[phase] = parent
            self._steps[phase] = max(steps, 1)
            self._done[phase] = 0

    def step(self, phase: str, step: int) -> None:
        """step: place of the one that is complete."""
        with self._lock:
            if phase in self._done:
                self._done[phase] = min(max(self._done[phase], step + 1), self._steps[phase])
            self._show()

    def finish(self, phase: str) -> None:
        with self._lock:
            parent = self._parents.pop(phase, None)
            if parent in self._done:
                # The step of the parent that this phase was is reported by the parent itself.
                self._show()
            elif phase in self._done and self._parents:
                self._show()
            elif phase in self._done:
                self._done[phase] = self._steps[phase]
                self._show(whole=True)
            self._steps.pop(phase, None)
            self._done.pop(phase, None)

    def _show(self, *, whole: bool = False) -> None:
        roots = [phase for phase, parent in self._parents.items() if parent not in self._parents]
        share = 1.0 if whole else max((self._share(root) for root in roots), default=0.0)
        if share > self._shown:
            self._shown = min(share, 1.0)
            self._progress(self._shown)

    def _share(self, phase: str) -> float:
        inside = max((self._share(child) for child, parent in self._parents.items() if parent == phase), default=0.0)
        return min((self._done[phase] + min(inside, 0.99)) / self._steps[phase], 1.0)


def monitor(module: Any, phases: Phases, cancelled: Callable[[], bool] = lambda: False) -> Any:
    """TensorRT's `IProgressMonitor` over `phases`; the build stops at the next step once `cancelled` says so."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
