"""NVIDIA's two libraries, imported late, and the GPU they see; what is missing is said in one line."""

from __future__ import annotations

import ctypes
import importlib
import logging
import re
from typing import Any

from detector.engines.plan import Gpu
from detector.errors import EngineUnavailable

log = logging.getLogger(__name__)

INSTALL = 'install the extra "gpu" (pip install "witness[gpu]")'
OLDEST = (10, 1)
"""First release with the working memory per profile that 11 still has."""


def tensorrt() -> Any:
    """The module: `tensorrt`, or its bindings alone where the libraries come from elsewhere.

    Raises EngineUnavailable, naming what to install.
    """
    reasons = []
    for name in ("tensorrt", "tensorrt_bindings"):
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(" ".join(str(error).split())[:120])
            continue
        if not hasattr(module, "Builder"):
            reasons.append(f"{name} is an empty package")
            continue
        if version(module) < OLDEST:
            raise EngineUnavailable(f"TensorRT {module.__version__} is too old; {INSTALL} of 10.1 or later")
        return module
    raise EngineUnavailable(f"TensorRT is not installed ({'; '.join(dict.fromkeys(reasons))}); {INSTALL}")


def version(module: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", module.__version__)[:2])


def driver_missing() -> str | None:
    """None where NVIDIA's driver is installed, else one line."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"no NVIDIA GPU with its driver is here; on a machine that has one, {INSTALL}"
    return None


def driver() -> Any:
    """`pycuda.driver`, initialised. Raises EngineUnavailable without a GPU, its driver or pycuda."""
    if missing := driver_missing():
        raise EngineUnavailable(missing)
    try:
        module: Any = importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise EngineUnavailable(f"pycuda is not there ({' '.join(str(error).split())[:120]}); {INSTALL}") from None
    try:
        module.init()
        count = module.Device.count()
    except module.Error as error:
        raise EngineUnavailable(
            f"no NVIDIA GPU answers ({' '.join(str(error).split())[:120]}); see nvidia-smi"
        ) from None
    if not count:
        raise EngineUnavailable("no NVIDIA GPU is visible; see nvidia-smi and CUDA_VISIBLE_DEVICES")
    return module


def gpu() -> Gpu:
    """The first visible GPU. Raises EngineUnavailable."""
    module = driver()
    try:
        device = module.Device(0)
        return Gpu(device.name(), tuple(device.compute_capability()))
    except module.Error as error:
        raise EngineUnavailable(
            f"no NVIDIA GPU answers ({' '.join(str(error).split())[:120]}); see nvidia-smi"
        ) from None


def logger(module: Any) -> Any:
    """TensorRT's messages in our log: its warnings are chatter at `info`, its errors stay errors."""
    severity = module.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.INFO,
        severity.INFO: logging.DEBUG,
    }

    class Messages(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.reason = ""
            """The first error, for the one line that a person gets; what follows it only says where it was caught."""

        def log(self, severity: Any, text: str) -> None:
            level = levels.get(severity)
            if level is None:
                return
            line = re.sub(r" In [^)]* at /_src/[^)\s]*", "", " ".join(text.split()))
            if level >= logging.ERROR:
                self.reason = self.reason or line[:200]
            log.log(level, "TensorRT: %s", line)

    return Messages()
