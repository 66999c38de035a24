"""ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from detector.config import Precision
from detector.engines.check import check_ids, check_pictures
from detector.errors import EngineClosed, EngineMismatch, EngineUnavailable
from detector.folder import IMAGE_GRAPH, INT8_GRAPH, TEXT_GRAPH, ScorerFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import PassedOver

MAX_BATCH = 64
BUILDS = ("onnxruntime", "onnxruntime-gpu")

Device = Literal["cpu", "cuda"]
Port = tuple[str, str, tuple[int, ...]]
"""Name, type, and shape after the batch axis."""


def name_of(device: Device, precision: Precision) -> str:
    return f"onnx ({device.upper()}{', int8' if precision == 'int8' else ''})"


def runtime() -> Any:
    """The module. Raises EngineUnavailable where it cannot be used, naming what to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(f'detector.engine "onnx": {error}; {clash() or "install onnxruntime"}') from None
    if not hasattr(onnxruntime, "InferenceSession"):
        raise EngineUnavailable(
            'detector.engine "onnx": the package onnxruntime is empty, as one of two builds leaves it when it is '
            "uninstalled; uninstall the other as well and install it again"
        )
    return onnxruntime


def clash() -> str | None:
    """One line when two builds of ONNX Runtime are installed: both own the folder `onnxruntime`, so that what runs is a
    mixture (measured: that of the CPU, without CUDA). None when there is one, or none."""
    found = []
    for package in BUILDS:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    if len(found) < 2:
        return None
    return (
        f"{' and '.join(found)} are both installed and overwrite each other; "
        f"`pip uninstall -y {' '.join(BUILDS)}`, then install one (onnxruntime-gpu serves the CPU as well)"
    )


def cuda_missing() -> str | None:
    """None where ONNX Runtime can use CUDA, else why not. Raises EngineUnavailable without ONNX Runtime."""
    if "CUDAExecutionProvider" in runtime().get_available_providers():
        return None
    return clash() or "this onnxruntime was built without CUDA; onnxruntime-gpu in its place has it"


class OnnxEngine:
    """Keeps the contract of `detector.engines.Engine`. `InferenceSession.run` may be called from several threads."""

    max_batch = MAX_BATCH
    passed_over: tuple[PassedOver, ...] = ()

    def __init__(
        self,
        folder: ScorerFolder,
        *,
        device: Device = "cpu",
        threads: int = 1,
        precision: Precision = "auto",
    ) -> None:
        """precision: fp32 (also for auto), or int8, which is for the CPU and in a folder that has the graph for it."""
        graph = image_graph(folder, precision)
        self.name = name_of(device, precision)
        self.precision = "int8" if precision == "int8" else "fp32"
        self.sha256 = folder.record.sha256[graph.name]
        self._folder = folder
        self._shape = folder.record.shape
        self._device = device
        self._threads = threads
        width, height = self._shape.picture_size
        self._session: Any = _open(
            graph,
            ("pictures", "tensor(uint8)", (height, width, self._shape.channels)),
            ("tokens", "tensor(float)", (self._shape.length, self._shape.dim)),
            device,
            threads,
        )
        self.image(np.zeros((1, height, width, self._shape.channels), np.uint8))

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        session = self._session
        if session is None:
            raise EngineClosed(f"{self.name} is closed")
        check_pictures(pictures, self._shape, self.max_batch)
        return _run(session, "tokens", {"pictures": np.ascontiguousarray(pictures)}, self.name)

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._session is None:
            raise EngineClosed(f"{self.name} is closed")
        return embed(self._folder, ids, self._device, self._threads)

    def close(self) -> None:
        self._session = None


def embed(
    folder: ScorerFolder, ids: NDArray[np.int64], device: Device = "cpu", threads: int = 1
) -> NDArray[np.float32]:
    """The text tower, as `Engine.text`. Rules are embedded once, at load: a session that stayed would only hold
    memory."""
    shape = folder.record.shape
    check_ids(ids, shape)
    session = _open(
        folder.file(TEXT_GRAPH),
        ("ids", "tensor(int64)", (shape.text_length,)),
        ("texts", "tensor(float)", (shape.dim,)),
        device,
        threads,
    )
    return _run(session, "texts", {"ids": np.ascontiguousarray(ids)}, f"onnx ({device.upper()})")


def _run(session: Any, gives: str, given: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    try:
        return np.asarray(session.run([gives], given)[0], np.float32)
    except Exception as error:  # its pybind exceptions share no base but Exception
        reason = " ".join(str(error).split())[:200]
        raise EngineUnavailable(f"{name} failed ({reason}); set detector.engine to another") from error


def _open(graph: Path, takes: Port, gives: Port, device: Device, threads: int) -> Any:
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A spinning worker would burn a core that decoding needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    # TF32 is on by default there: products of 10-bit mantissas are not the fp32 that is promised.
    settings = {"use_tf32": "0"} if device == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=[(wanted, settings)])
    except Exception as error:  # noqa: BLE001 - its pybind exceptions share no base but Exception
        reason = " ".join(str(error).split())[:200]
        raise EngineMismatch(f"{graph} cannot be loaded ({reason}); copy the model folder again") from None
    if session.get_providers()[0] != wanted:
        raise EngineUnavailable(f"onnxruntime fell back from {wanted}; is the CUDA of its build installed?")
    _check_port(graph, "input", session.get_inputs(), takes)
    _check_port(graph, "output", session.get_outputs(), gives)
    return session


def image_graph(folder: ScorerFolder, precision: Precision) -> Path:
    """The image tower's graph in a precision; raises EngineUnavailable where there is none."""
    if precision in ("auto", "fp32"):
        return folder.file(IMAGE_GRAPH)
    if precision != "int8":
        raise EngineUnavailable(
            f'detector.precision "{precision}": ONNX Runtime runs "fp32" or "int8" here; set one of these or "auto"'
        )
    if INT8_GRAPH not in folder.record.sha256:
        raise EngineUnavailable(
            f'detector.precision "int8": {folder.path} has no {INT8_GRAPH}; '
            "`witness models export MODEL --out FOLDER --precision int8` writes a folder that has"
        )
    return folder.file(INT8_GRAPH)


def _check_port(graph: Path, role: str, ports: list[Any], wanted: Port) -> None:
    """One port with this name, this type and, after the batch axis, this shape."""
    found = [(port.name, port.type, tuple(port.shape[1:])) for port in ports]
    if found != [wanted] or isinstance(ports[0].shape[0], int):
        shapes = [(port.name, port.type, tuple(port.shape)) for port in ports]
        raise EngineMismatch(
            f"{graph} has the {role} {shapes}, wanted {wanted} after a free batch axis; export it again"
        )
