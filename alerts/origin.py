"""What every alert of this node has in common: place, software, models, thresholds."""

from __future__ import annotations

import msgspec

from alerts.claim import Unit
from alerts.config import SiteConfig
from alerts.provenance import CoarseModel


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Filled once by whoever runs the line; everything a verdict and a window cannot know."""

    site: SiteConfig = SiteConfig()
    node_id: str = "node"
    pipeline: str = "witness"
    """Name and version of the software."""
    config_sha256: str = ""
    coarse: CoarseModel = CoarseModel(name="", engine_sha256="", precision="")
    reasoner_quant: str = "none"
    prompt_id: str = ""
    temperature: float = 0.0
    seed: int = 0
    host_gpu: str = ""
    review_below: Unit = 0.6
    """The reasoner's threshold for `needs_review`."""
    console_url: str = ""
    """Base address of the console, without a final slash; empty: alerts carry no link."""

    @property
    def source(self) -> str:
        """CloudEvents `source` of this node."""
        return source_urn(self.site.id, self.node_id)


def source_urn(site_id: str, node_id: str) -> str:
    return f"urn:x-witness:{site_id}:{node_id}"
