"""What a camera's process may not do: hostile media are parsed in it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal

MEMORY_BYTES = 2 * 1024**3
"""Address space beside the ring. FFmpeg allocates what a camera announces; this turns a lie into an error."""
OPEN_FILES = 64
WRITTEN_FILE_BYTES = 1024**2
"""Only the error output is ever written."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def confine(ring_bytes: int) -> None:
    """Limits memory, files and privileges of this process for good, and ties its life to its parent's (Linux)."""
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES + 2 * ring_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_FSIZE: WRITTEN_FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (ceiling, ceiling))
    # not Linux: the closed socket still ends the process with its parent
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
