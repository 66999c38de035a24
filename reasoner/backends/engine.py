"""The parts of the local engine put together as the `[reasoner.speed]` table says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasoner.backends.decode import Decoder
from reasoner.backends.draft import Drafts
from reasoner.backends.embed import PatchProduct
from reasoner.backends.features import FeatureCache
from reasoner.backends.graphs import Graphs
from reasoner.backends.median import Median
from reasoner.backends.prefix import PrefixCache
from reasoner.backends.scheduler import Scheduler
from reasoner.backends.slots import Slots
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from reasoner.processor import Processor

MIB = 1 << 20


def build(model: Any, processor: Processor, reading: Sequence[Median], speed: SpeedConfig) -> Scheduler:
    """Ready to answer; nothing is allocated before the first window."""
    chosen = speed.on("cpu" if model.device.type == "cpu" else "gpu")
    if chosen.patch_product:
        model.model.visual.patch_embed = PatchProduct(model.model.visual.patch_embed)
    slots = Slots(model)
    decoder = Decoder(model, slots, chosen.prefill_tokens)
    return Scheduler(
        decoder,
        FeatureCache(model, processor.spec, chosen.features_mib * MIB),
        PrefixCache(slots, chosen.prefix_mib * MIB),
        Drafts(chosen.draft_tokens, (token for kind in reading for token in kind.ids)),
        Graphs(decoder) if chosen.graphs else None,
        reading,
        processor,
        together=chosen.together,
        waiting=chosen.waiting,
    )
