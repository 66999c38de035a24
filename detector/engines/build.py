"""A typed graph to the bytes of a TensorRT engine, on the GPU at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector.engines import bindings
from detector.engines.phases import Phases, monitor
from detector.engines.plan import Compatibility, Profile
from detector.errors import EngineUnavailable, ExportError
from detector.folder import Shape
from detector.precision import GraphPrecision

PICTURES, TOKENS = "pictures", "tokens"
"""Names of the graph's two ports."""


def build(
    graph: Path,
    shape: Shape,
    profiles: tuple[Profile, ...],
    precision: GraphPrecision,
    compatibility: Compatibility,
    timings: bytes,
    progress: Callable[[float], None],
) -> tuple[bytes, bytes]:
    """The engine, and the timing cache with what was measured.

    graph: written by `detector.precision.typed`. timings: of an earlier build, or empty; another GPU's are not used.

    Raises EngineUnavailable without GPU or TensorRT, ExportError when TensorRT cannot build the graph.
    """
    trt = bindings.tensorrt()
    bindings.driver()
    logger = bindings.logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError:
        # What its binding raises when the library gives no builder; the reason went to the logger.
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} cannot use the GPU ({logger.reason}); see nvidia-smi"
        ) from None
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(parser.get_error(place).desc() for place in range(parser.num_errors))
        raise ExportError(f"TensorRT {trt.__version__} cannot read {graph}: {' '.join(reasons.split())[:300]}")
    config = builder.create_builder_config()
    config.hardware_compatibility_level = _level(trt, compatibility)
    if precision == "fp32":
        # On by default: products of 10-bit mantissas, which is not what fp32 promises.
        config.clear_flag(trt.BuilderFlag.TF32)
    cache = config.create_timing_cache(timings)
    if not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    width, height = shape.picture_size
    for profile in profiles:
        one = builder.create_optimization_profile()
        sizes = (profile.smallest, profile.usual, profile.largest)
        one.set_shape(PICTURES, *((size, height, width, shape.channels) for size in sizes))
        if config.add_optimization_profile(one) < 0:
            raise ExportError(f"TensorRT refuses batches of {profile.smallest} to {profile.largest} for {graph}")
    phases = Phases(progress)
    config.progress_monitor = monitor(trt, phases)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ExportError(f"TensorRT {trt.__version__} cannot build {graph}: {logger.reason or 'no reason given'}")
    return bytes(engine), bytes(config.get_timing_cache().serialize())


def _level(trt: Any, compatibility: Compatibility) -> Any:
    level = getattr(trt.HardwareCompatibilityLevel, compatibility.upper(), None)
    if level is None:
        raise ExportError(
            f'TensorRT {trt.__version__} knows no hardware compatibility "{compatibility}"; use none or ampere_plus'
        )
    return level
