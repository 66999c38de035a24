"""CUDA graphs through the driver's own C interface: pycuda (2026.1) has none.

Functions and constants: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__GRAPH.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

CAPTURE_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: torch may allocate in its own threads while we capture."""


class CudaGraphError(Exception):
    """The driver refused; its reason is the text."""


class CudaGraph:
    """What one piece of work put on a stream, to be put there again with one call. Used by one thread."""

    def __init__(self, stream: int, enqueue: Callable[[], None]) -> None:
        """Records `enqueue` without running it. Raises CudaGraphError, or what `enqueue` raises."""
        self._stream = ctypes.c_void_p(stream)
        self._launchable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", self._stream, CAPTURE_THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            # The stream must leave the capture whatever happened in it.
            getattr(_library(), "cuStreamEndCapture")(self._stream, ctypes.byref(graph))  # noqa: B009
            if graph:
                _call("cuGraphDestroy", graph)
            raise
        _call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._launchable), graph, ctypes.c_ulonglong(0))
        finally:
            _call("cuGraphDestroy", graph)

    def launch(self) -> None:
        _call("cuGraphLaunch", self._launchable, self._stream)

    def free(self) -> None:
        if self._launchable:
            _call("cuGraphExecDestroy", self._launchable)
            self._launchable = ctypes.c_void_p()


def capture_for_this_thread() -> None:
    """From here on only this thread's own captures restrict what it may call. Otherwise a capture in CUDA's global mode
    that runs in another thread, which is torch's default, would forbid allocation here and be lost itself.

    Raises CudaGraphError.
    """
    mode = ctypes.c_int(CAPTURE_THREAD_LOCAL)
    _call("cuThreadExchangeStreamCaptureMode", ctypes.byref(mode))


FUNCTIONS = (
    "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphDestroy",
    "cuGraphExecDestroy", "cuThreadExchangeStreamCaptureMode",
)  # fmt: skip


@cache
def _library() -> Any:
    library = ctypes.CDLL("libcuda.so.1")
    for name in FUNCTIONS:
        getattr(library, name).restype = ctypes.c_int
    return library


def _call(name: str, *arguments: Any) -> None:
    code = getattr(_library(), name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(code, ctypes.byref(text))
        raise CudaGraphError(f"{name}: {(text.value or b'unknown').decode()} ({code})")
