"""The compiled kernel of packed FP8 weights: not among a checkpoint's files, and whether it is on this machine.

transformers has the `kernels` package load it, which asks the hub each time, also for what is in its cache; the hub's
offline mode does not find it there by its version. A folder that LOCAL_KERNELS names is taken without a question.
"""

from __future__ import annotations

import os
from pathlib import Path

FP8_KERNEL = "kernels-community/finegrained-fp8"
LOCAL = "LOCAL_KERNELS"
WITHOUT = "without the hub take the AWQ or plain form, or a vLLM server"


def fp8_kernel() -> tuple[bool, str]:
    """Whether it loads without a network, and one line on where it comes from. Opens no connection."""
    entries = (entry.partition("=") for entry in os.environ.get(LOCAL, "").split(":"))
    given = {name: Path(path) for name, _, path in entries}
    if FP8_KERNEL in given:
        folder = given[FP8_KERNEL]
        if _built(folder):
            return True, f"{FP8_KERNEL} from {folder}"
        return False, f"{LOCAL} names {folder} for {FP8_KERNEL}, which holds no kernel; name its snapshot's folder"
    if (cached := _cached()) is not None:
        return False, (
            f"{FP8_KERNEL} is here, but the hub is asked at each load; for a load without it set "
            f"{LOCAL}={FP8_KERNEL}={cached}"
        )
    return False, f"{FP8_KERNEL} is fetched from the hub at the first load; {WITHOUT}"


def _cached() -> Path | None:
    """The snapshot that was fetched last."""
    from huggingface_hub import constants

    cache = Path(os.environ.get("KERNELS_CACHE") or constants.HF_HUB_CACHE)
    name = FP8_KERNEL.replace("/", "--")
    snapshots = [one for kind in ("kernels", "models") for one in cache.glob(f"{kind}--{name}/snapshots/*")]
    return max(filter(_built, snapshots), key=lambda one: one.stat().st_mtime, default=None)


def _built(folder: Path) -> bool:
    """Its description is fetched before the kernel itself, so that alone is none."""
    return any(any(folder.glob(f"{depth}__init__.py")) for depth in ("", "*/", "build/*/", "build/*/*/"))
