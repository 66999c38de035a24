"""`about.json` beside rendered clips: what they were rendered with, so that nobody trains on others unawares."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from reasoner.train.config import Render
from reasoner.train.errors import BadClips

log = logging.getLogger(__name__)

FILE = "about.json"
COMPARED = ("rows", "validation", "first_seed", "flagged_share", "closer_share")
"""Settings that must be those asked for. `workers` changes nothing, and a scorer goes by its weights, not its name."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Equal ones make equal clips, but for what `render.workers` says."""

    render: Render
    world: int
    """`ingest.simulator.world.VERSION`."""
    scorer_sha256: str | None = None
    """Of the scorer's weights; None where no window is one that it flags."""

    @classmethod
    def of(cls, what: Render) -> About:
        """Raises ModelFolderError for a scorer that cannot be opened."""
        from detector.folder import WEIGHTS, read_folder
        from ingest.simulator.world import VERSION

        weights = read_folder(what.scorer).record.sha256[WEIGHTS] if what.flagged_share else None
        return cls(render=what, world=VERSION, scorer_sha256=weights)

    @classmethod
    def read(cls, folder: Path) -> About | None:
        """None where a folder has none, as those of earlier versions. Raises BadClips where it cannot be read."""
        try:
            return msgspec.json.decode((folder / FILE).read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise BadClips(f"{folder / FILE}: {error}; remove the folder, and it is rendered again") from None

    def write(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def check(self, folder: Path, wanted: Render) -> None:
        """Raises BadClips where the clips of `folder` are not those asked for; another scorer is only warned of."""
        asked = About.of(wanted)
        found = [
            f"{name} {getattr(self.render, name)}, not {getattr(wanted, name)}"
            for name in COMPARED
            if getattr(self.render, name) != getattr(wanted, name)
        ]
        if self.world != asked.world:
            found.append(f"version {self.world} of the simulated scenes, not {asked.world}")
        if found:
            raise BadClips(
                f"clips in {folder} were rendered with {'; '.join(found)} as configured; "
                "remove the folder, and it is rendered again, or set [render] to what it holds"
            )
        if self.scorer_sha256 != asked.scorer_sha256:
            log.warning("clips in %s show what another scorer flagged than %s as it is now", folder, wanted.scorer)

    def same(self, other: About) -> bool:
        """Whether the other's clips are these, one by one."""
        workers = self.render.workers
        return msgspec.structs.replace(other, render=msgspec.structs.replace(other.render, workers=workers)) == self
