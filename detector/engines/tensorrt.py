"""TensorRT: a compiled image tower on the GPU, through `tensorrt` and pycuda.

One thread owns the device (`Lane`), in the device's primary context, the one that torch uses as well: a second context
would take turns with it and cost memory of its own. Two slots, each with a stream and pinned buffers, so that the
pictures of the next call are copied while the GPU is busy with this one. Calls are filled up to a batch of 1, 2, 4, 8,
16, 32 or 64: the first of each size records a CUDA graph (copy in, tower, copy out), later ones launch it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.engines import bindings
from detector.engines.build import PICTURES, TOKENS
from detector.engines.check import check_pictures
from detector.engines.cudagraph import CudaGraph, CudaGraphError, capture_for_this_thread
from detector.engines.lane import Lane, LaneClosed
from detector.engines.plan import Manifest, padded, profile_of
from detector.errors import EngineClosed, EngineMismatch, EngineUnavailable
from detector.folder import ScorerFolder, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import PassedOver

log = logging.getLogger(__name__)

SLOTS = 2
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: no waiting for the legacy default stream, where torch works."""


class TensorrtEngine:
    """Keeps the contract of `detector.engines.Engine`; the text tower runs on ONNX Runtime, once per rule at load."""

    passed_over: tuple[PassedOver, ...] = ()

    def __init__(self, folder: ScorerFolder, manifest: Manifest, engine: bytes) -> None:
        """Raises EngineUnavailable without GPU or TensorRT, or when the GPU has no room, EngineMismatch if the engine
        is not this folder's."""
        self._trt = bindings.tensorrt()
        self._driver = bindings.driver()
        self._folder = folder
        self._manifest = manifest
        self._slots: list[_Slot] = []
        self.max_batch = manifest.recipe.profiles[-1].largest
        self.name = f"tensorrt ({manifest.recipe.gpu.name}, {manifest.recipe.precision})"
        self.precision: str = manifest.recipe.precision
        self.sha256 = manifest.engine_sha256
        try:
            self._lane = Lane("tensorrt", lambda: self._device(engine), SLOTS)
        except (self._driver.Error, CudaGraphError, MemoryError) as error:
            raise self._failed(error) from error
        try:
            shape = folder.record.shape
            width, height = shape.picture_size
            self.image(np.zeros((1, height, width, shape.channels), np.uint8))
        except BaseException:
            self.close()
            raise

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        check_pictures(pictures, self._folder.record.shape, self.max_batch)

        def launch() -> Callable[[], NDArray[np.float32]]:
            slot = self._slots.pop()
            try:
                slot.begin(pictures)
            except BaseException:
                self._slots.append(slot)
                raise

            def finish() -> NDArray[np.float32]:
                try:
                    return slot.end(len(pictures))
                finally:
                    self._slots.append(slot)

            return finish

        try:
            return self._lane.start(launch).result()
        except LaneClosed:
            raise EngineClosed(f"{self.name} is closed") from None
        except (self._driver.Error, CudaGraphError) as error:
            raise self._failed(error) from error

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        from detector.engines.ort import embed

        if self._lane.closed:
            raise EngineClosed(f"{self.name} is closed")
        return embed(self._folder, ids)

    def close(self) -> None:
        self._lane.close()

    def _failed(self, error: BaseException) -> EngineUnavailable:
        return EngineUnavailable(f"{self.name} failed ({' '.join(str(error).split())[:200]}); see nvidia-smi")

    @contextmanager
    def _device(self, engine: bytes) -> Iterator[None]:
        """The context and all that lives in it, made and freed in the lane's thread."""
        context = self._driver.Device(0).retain_primary_context()
        context.push()
        try:
            capture_for_this_thread()
            logger = bindings.logger(self._trt)
            runtime = self._trt.Runtime(logger)
            loaded = runtime.deserialize_cuda_engine(engine)
            if loaded is None:
                raise EngineMismatch(
                    f"{self._manifest.engine} cannot be loaded ({logger.reason}); run `witness models compile` again"
                )
            check_ports(self._trt, loaded, self._folder.record.shape, self._manifest.engine)
            slots = [
                _Slot(self._trt, self._driver, loaded, self._folder.record.shape, self._manifest) for _ in range(SLOTS)
            ]
            self._slots = list(slots)
            try:
                yield
            finally:
                self._slots = []
                for slot in slots:
                    slot.free()
                # Contexts first, then the engine, then the runtime: each keeps a plain pointer to the next.
                del slots, slot, loaded, runtime
        finally:
            # A thread that ends with a context on pycuda's stack takes the process with it.
            self._driver.Context.pop()
            context.detach()


class _Slot:
    """Buffers and a stream for one call under way. Touched by the lane's thread only."""

    def __init__(self, trt: Any, driver: Any, engine: Any, shape: Shape, manifest: Manifest) -> None:
        self._trt = trt
        self._driver = driver
        self._engine = engine
        self._profiles = manifest.recipe.profiles
        largest = self._profiles[-1].largest
        width, height = shape.picture_size
        self._pictures: Any = driver.pagelocked_empty((largest, height, width, shape.channels), np.uint8)
        self._tokens: Any = driver.pagelocked_empty((largest, shape.length, shape.dim), np.float32)
        self._device_pictures = driver.mem_alloc(self._pictures.nbytes)
        self._device_tokens = driver.mem_alloc(self._tokens.nbytes)
        self._stream = driver.Stream(NON_BLOCKING)
        # One block serves all contexts of a slot: no two of its calls run at once.
        self._memory_bytes = int(engine.device_memory_size_v2)
        self._memory = driver.mem_alloc(max(self._memory_bytes, 1))
        self._contexts: dict[int, Any] = {}
        self._graphs: dict[int, CudaGraph | None] = {}

    def begin(self, pictures: NDArray[np.uint8]) -> None:
        count = padded(len(pictures), self._profiles[-1].largest)
        # What an earlier call left behind these is computed as well, and never looked at.
        self._pictures[: len(pictures)] = pictures
        if count not in self._graphs:
            self._graphs[count] = self._record(count)
        graph = self._graphs[count]
        if graph is not None:
            graph.launch()
        else:
            self._enqueue(count)

    def end(self, count: int) -> NDArray[np.float32]:
        """The tokens, in an array of their own."""
        self._stream.synchronize()
        return np.array(self._tokens[:count])

    def free(self) -> None:
        self._stream.synchronize()
        for graph in self._graphs.values():
            if graph is not None:
                graph.free()
        self._graphs.clear()
        self._contexts.clear()
        for array in (self._pictures, self._tokens):
            array.base.free()
        self._pictures = self._tokens = None
        for block in (self._device_pictures, self._device_tokens, self._memory):
            block.free()
        del self._stream

    def _record(self, count: int) -> CudaGraph | None:
        # The first run of a context does work on the host that a graph must not hold.
        self._contexts[count] = self._context(count)
        self._enqueue(count)
        self._stream.synchronize()
        try:
            return CudaGraph(self._stream.handle, lambda: self._enqueue(count))
        except (CudaGraphError, EngineUnavailable) as error:
            log.warning("TensorRT: batches of %d run without a CUDA graph (%s)", count, error)
            return None

    def _enqueue(self, count: int) -> None:
        """Copy in, tower, copy out, all on the slot's stream."""
        self._driver.memcpy_htod_async(self._device_pictures, self._pictures[:count], self._stream)
        if not self._contexts[count].execute_async_v3(self._stream.handle):
            raise EngineUnavailable("TensorRT could not start the tower; its reason is in the log")
        self._driver.memcpy_dtoh_async(self._tokens[:count], self._device_tokens, self._stream)

    def _context(self, count: int) -> Any:
        """An execution context for this batch size alone: a graph holds the state of the one it was recorded from."""
        place = profile_of(self._profiles, count)
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None or not context.set_optimization_profile_async(place, self._stream.handle):
            raise EngineUnavailable("TensorRT made no context for the tower; its reason is in the log")
        self._stream.synchronize()
        context.set_device_memory(int(self._memory), self._memory_bytes)
        if not context.set_input_shape(PICTURES, (count, *self._pictures.shape[1:])):
            raise EngineUnavailable(f"TensorRT does not take {count} pictures at once; compile the engine again")
        context.set_tensor_address(PICTURES, int(self._device_pictures))
        context.set_tensor_address(TOKENS, int(self._device_tokens))
        return context


def check_ports(trt: Any, engine: Any, shape: Shape, name: str) -> None:
    """Raises EngineMismatch unless the engine takes the folder's pictures and gives its tokens."""
    width, height = shape.picture_size
    mode = trt.TensorIOMode
    wanted = {
        PICTURES: (mode.INPUT, trt.DataType.UINT8, (-1, height, width, shape.channels)),
        TOKENS: (mode.OUTPUT, trt.DataType.FLOAT, (-1, shape.length, shape.dim)),
    }
    found = {}
    for place in range(engine.num_io_tensors):
        port = engine.get_tensor_name(place)
        found[port] = (
            engine.get_tensor_mode(port),
            engine.get_tensor_dtype(port),
            tuple(engine.get_tensor_shape(port)),
        )
    if found != wanted:
        raise EngineMismatch(f"{name} has the ports {found}, wanted {wanted}; run `witness models compile` again")
