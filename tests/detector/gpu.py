"""What the tests need of TensorRT: the GPU, or at least its real bindings. REQUIRE_GPU=1: a skip is a failure."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from detector.engines import bindings
from detector.errors import EngineUnavailable

LIBRARIES = "TENSORRT_LIBRARIES"
"""Folder of the libraries, where the bindings are installed without them."""
PRELOADED = ("libcudart.so.*", "libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*")


def _not_run(reason: str) -> None:
    """Skips, or fails under REQUIRE_GPU=1."""
    text = f"not run: {reason}"
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(text)
    pytest.skip(text)


@cache
def no_gpu() -> str | None:
    """None where TensorRT can run here, else why not."""
    try:
        real_bindings()
        bindings.driver()
    except EngineUnavailable as error:
        return str(error)
    return None


def need_gpu() -> None:
    """Skips, or fails under REQUIRE_GPU=1."""
    if (reason := no_gpu()) is not None:
        _not_run(f"no GPU ({reason})")


def need_cuda(library: Literal["onnx", "torch"]) -> None:
    """Skips, or fails under REQUIRE_GPU=1, where this library cannot use a GPU."""
    import torch

    from detector.engines.ort import cuda_missing

    if library == "onnx" and (missing := cuda_missing()):
        _not_run(f"no ONNX Runtime on CUDA ({missing})")
    if not torch.cuda.is_available():
        _not_run("no GPU (torch sees none)")


@cache
def real_bindings() -> Any:
    """The module of TensorRT. Raises EngineUnavailable."""
    folder = os.environ.get(LIBRARIES)
    if folder:
        for pattern in PRELOADED:
            for library in sorted(Path(folder).glob(pattern))[:1]:
                ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    return bindings.tensorrt()


def need_bindings() -> Any:
    try:
        return real_bindings()
    except EngineUnavailable as error:
        _not_run(str(error))
