"""TensorRT and its GPU as far as compiling goes: the builder gives the typed graph itself as the engine, which ONNX
Runtime then runs on the CPU. So all between the command and these two edges is the real thing, tokens included.

`test_compiled.py` holds the names that our source uses against the real bindings.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.engines.build import PICTURES, TOKENS
from detector.engines.check import check_pictures
from detector.engines.ort import embed
from detector.engines.plan import Manifest
from detector.errors import EngineMismatch
from detector.folder import ScorerFolder

GPU = "NVIDIA L4"
MAGIC = b"ftrt"
"""With which a serialised engine begins."""


class ScriptedTrt:
    """The module `tensorrt`, of a version; remembers each build."""

    ILogger: Any
    IProgressMonitor = type("IProgressMonitor", (), {})
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    HardwareCompatibilityLevel = SimpleNamespace(NONE="none", AMPERE_PLUS="ampere+")
    BuilderFlag = SimpleNamespace(TF32="tf32")

    def __init__(self, version: str = "11.2.1.2") -> None:
        self.__version__ = version
        self.builds: list[SimpleNamespace] = []
        severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3)
        self.ILogger = type("ILogger", (), {"Severity": severity})

    def Builder(self, logger: Any) -> Any:
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags),
            create_builder_config=Config,
            create_optimization_profile=Profile,
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        def parse(path: str) -> bool:
            network.graph = Path(path).read_bytes()
            return True

        return SimpleNamespace(parse_from_file=parse, num_errors=0)

    def _build(self, network: Any, config: Any) -> bytes:
        watched = config.progress_monitor
        watched.phase_start("Building", None, 2)
        going_on = [watched.step_complete("Building", step) for step in range(2)]
        watched.phase_finish("Building")
        assert all(going_on)
        self.builds.append(
            SimpleNamespace(
                flags=network.flags,
                profiles=[profile.shapes for profile in config.profiles],
                level=config.hardware_compatibility_level,
                timings=config.cache,
            )
        )
        return bytes(MAGIC + network.graph)


class Config:
    """An `IBuilderConfig`."""

    hardware_compatibility_level = ""
    progress_monitor: Any = None

    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.cleared: list[str] = []
        self.cache = b""

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def create_timing_cache(self, known: bytes) -> bytes:
        return known

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Profile:
    """An `IOptimizationProfile`."""

    def __init__(self) -> None:
        self.shapes: tuple[tuple[int, ...], ...] = ()

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        assert name == PICTURES
        self.shapes = shapes


class Driver:
    """`pycuda.driver` with one GPU."""

    Error = type("Error", (Exception,), {})

    class Device:
        def __init__(self, place: int) -> None:
            assert place == 0

        def name(self) -> str:
            return GPU

        def compute_capability(self) -> tuple[int, int]:
            return (8, 9)


class CpuTensorrtEngine:
    """Stands where `TensorrtEngine` opens the device: same arguments, same contract."""

    passed_over = ()

    def __init__(self, folder: ScorerFolder, manifest: Manifest, engine: bytes) -> None:
        import onnxruntime

        if not engine.startswith(MAGIC):
            raise EngineMismatch(f"{manifest.engine} cannot be loaded; run `witness models compile` again")
        self._folder = folder
        self.max_batch = manifest.recipe.profiles[-1].largest
        self.name = f"tensorrt ({manifest.recipe.gpu.name}, {manifest.recipe.precision})"
        self.precision: str = manifest.recipe.precision
        self.sha256 = manifest.engine_sha256
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(engine[len(MAGIC) :], options, providers=["CPUExecutionProvider"])

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        check_pictures(pictures, self._folder.record.shape, self.max_batch)
        return np.asarray(self._session.run([TOKENS], {PICTURES: np.ascontiguousarray(pictures)})[0])

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return embed(self._folder, ids)

    def close(self) -> None:
        del self._session
