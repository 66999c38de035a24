"""A checkpoint by its name: where it lies, and its weights through the real transformers class.

No file of it is fetched here: `witness models pull` does that. Only packed FP8 weights need the network when they are
loaded, for their kernel (`hub_kernel.py`).
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed, ModelIncomplete, ModelUnsupported
from reasoner.folder import BUNDLED, ModelFolder
from reasoner.hub_kernel import FP8_KERNEL, LOCAL, WITHOUT
from reasoner.pulled import pulled_folder
from reasoner.quantised import Quantisation, quantisation

SMALL_PARAMETERS = 100_000_000
"""A smaller model runs on one CPU thread: a second gains little, and on a busy machine their barriers cost much."""

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]

_log = logging.getLogger(__name__)


def locate(model: str) -> Path:
    """`bundled`, a folder, or a hub name whose files are here: pulled, or in the hub's own cache. → folder.

    Raises ModelIncomplete for a hub name of which nothing, or not everything, is here.
    """
    if model == "bundled":
        return BUNDLED
    path = Path(model).expanduser()
    if path.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        return path
    return pulled_folder(model) or _cached(model)


def _cached(model: str) -> Path:
    """What another program fetched into the hub's own cache."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=HUB_FILES, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise ModelIncomplete(
            f"model {model!r} is not on this machine; run `witness models pull {model}` once, or give a local folder"
        ) from error


def load_model(folder: ModelFolder, config: ReasonerConfig) -> Any:
    """The stock class with the folder's weights on the configured device, ready to answer.

    Raises ModelIncomplete for missing tensors, ModelUnsupported for a missing library, ModelFailed for the rest.
    """
    import torch
    import transformers

    device = resolved(config.device)
    packed = quantisation(folder.config)
    if packed is not None:
        has = capability(device)
        require(packed, folder, has)
        if not packed.stays_packed(has):
            _log.warning("model %s: %s", folder.name, widening(packed, has))
    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    architecture: Any = getattr(transformers, folder.family.architecture)
    # A quantised checkpoint is placed while it is loaded: its kernels are chosen by where its weights lie.
    placed = {} if packed is None else {"device_map": {"": device}}
    try:
        model, report = architecture.from_pretrained(
            str(folder.path),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=getattr(torch, dtype_of(config, device, packed)),
            attn_implementation="sdpa",
            output_loading_info=True,
            **placed,
        )
    except torch.OutOfMemoryError as error:
        raise _too_big(folder, device, error) from error
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        line = " ".join(str(error).split())[:200]
        raise ModelFailed(f"model folder {folder.path} cannot be loaded: {line}; fetch it again") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelIncomplete(
            f"model folder {folder.path} lacks {len(missing)} tensors, as {missing[0]}; fetch it again"
        )
    if packed is not None and packed.kernels and packed.stays_packed(capability(device)):
        _fetch_kernel(folder)
    threads = config.threads or (1 if device == "cpu" and model.num_parameters() < SMALL_PARAMETERS else 0)
    if threads:
        torch.set_num_threads(threads)
    try:
        return (model if placed else model.to(device)).eval()
    except RuntimeError as error:
        raise _too_big(folder, device, error) from error


def resolved(wanted: str) -> str:
    """`auto` as what this machine has; opens no device. Raises ModelFailed for a GPU that is not there."""
    if wanted == "cpu":
        return wanted
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not (torch.backends.mps.is_available() if wanted == "mps" else torch.cuda.is_available()):
        raise ModelFailed(f'device {wanted!r}: this machine has no usable GPU; set device to "cpu" or "auto"')
    count, number = torch.cuda.device_count(), int(wanted.partition(":")[2] or 0)
    if wanted != "mps" and number >= count:
        raise ModelFailed(f'device {wanted!r}: this machine has {count} GPU{"s" * (count > 1)}, counted from "cuda:0"')
    return wanted


def dtype_of(config: ReasonerConfig, device: str, packed: Quantisation | None) -> str:
    """Name of the torch dtype of everything that is not packed."""
    if config.dtype != "auto":
        return config.dtype
    if packed is not None and device != "cpu":
        return packed.compute
    return "float32" if device == "cpu" else "bfloat16"


def require(packed: Quantisation, folder: ModelFolder, has: tuple[int, int] | None) -> None:
    """Raises ModelUnsupported that names the library which a quantised checkpoint lacks. has: of the GPU."""
    for library in packed.needs(has):
        if importlib.util.find_spec(library.replace("-", "_")) is None:
            raise ModelUnsupported(
                f"model {folder.name} has {packed.label} weights, which need {library}: pip install {library}, "
                "or take its plain form"
            )


def _fetch_kernel(folder: ModelFolder) -> None:
    """transformers takes its FP8 kernel from the hub at the first answer; now, so that a failure is one of loading."""
    from transformers.integrations import finegrained_fp8

    load: Any = getattr(finegrained_fp8, "load_finegrained_fp8_kernel", None)
    try:
        if load is not None:
            load()
    except Exception as error:  # the hub's client, the network below it and the kernel's own code share no class
        raise ModelUnsupported(
            f"model {folder.name}: transformers' FP8 kernel cannot be loaded ({' '.join(str(error).split())[:160]}); "
            f"let this machine reach the hub, or set {LOCAL}={FP8_KERNEL}=FOLDER; {WITHOUT}"
        ) from error


def capability(device: str) -> tuple[int, int] | None:
    """Compute capability of a CUDA device; None for anything else."""
    import torch

    return torch.cuda.get_device_capability(device) if device.startswith("cuda") else None


def widening(packed: Quantisation, has: tuple[int, int] | None) -> str:
    """Why packed weights are no saving on this device, and the way out."""
    if packed.packed_from is None:
        return f"its {packed.label} weights are unpacked to 16 bits when loaded; a vLLM server keeps them packed"
    found = "there is no GPU here" if has is None else f"this one has {has[0]}.{has[1]}"
    needed = ".".join(map(str, packed.packed_from))
    return (
        f"its {packed.label} weights stay packed only on a GPU of compute capability {needed} and {found}: they are "
        "widened when loaded, so take the plain form, or an AWQ one for less memory"
    )


def _too_big(folder: ModelFolder, device: str, error: Exception) -> ModelFailed:
    return ModelFailed(
        f"model {folder.name} does not fit on {device}: {' '.join(str(error).split())[:120]}; "
        "`witness check` says what would"
    )
