"""What becomes of an alert's confidence when what it cites is taken away.

Each time the alert's own claims stay as they are and are checked again by the serving code (`Reasoner.weigh`: verify,
components, calibrator) against other pixels, and the model is asked again wherever it would see other frames:

* `blank`: the cited boxes are filled with the camera's background, in the frames that they are cited for;
* `shift`: every cited time is 5 s earlier (5 s later where the recording has nothing earlier), and the claims are held
  against the frames that the ring has of then; `shift_later` is the other way round. The model's words are the same;
* `shuffle`: the frames change places, seeded, none keeps its own.

`blank_rejudged` and `shuffle_rejudged` say what the same pixels give when the model may make new claims as well.
"""

from __future__ import annotations

import msgspec
import numpy as np

from bench.accuracy.camera import RecordedCamera
from bench.accuracy.row import Change
from detector.rule import Rule
from detector.window import Window
from ingest.errors import CutUnavailable
from reasoner.ablation import Heard, blanked, confidence, hear, held_against, shuffled
from reasoner.reason import Reasoner

SHIFT_S = 5.0


class Ablation:
    """For one reasoner. `place`: the camera's name, part of the prompt."""

    def __init__(self, reasoner: Reasoner, place: str) -> None:
        self._reasoner, self._place = reasoner, place

    def __call__(self, window: Window, rule: Rule, p: float, camera: RecordedCamera, seed: int) -> dict[str, Change]:
        """By kind; `p`: the alert's confidence. A shift is left out where the recording holds nothing of then."""
        heard = self._hear(window, rule)
        blank = self._hear(blanked(window, heard.binding.bound), rule)
        shuffle = self._hear(shuffled(window, np.random.default_rng([seed, 5])), rule)
        after = {
            "blank": self._p(heard, blank),
            "shuffle": self._p(heard, shuffle),
            "blank_rejudged": self._p(blank, blank),
            "shuffle_rejudged": self._p(shuffle, shuffle),
        }
        earlier, later = (self._shifted(heard, camera, shift_s) for shift_s in (-SHIFT_S, SHIFT_S))
        if later is not None:
            after |= {"shift": later, "shift_later": later}
        if earlier is not None:
            after["shift"] = earlier
        return {kind: Change(before=p, after=value) for kind, value in after.items()}

    def _hear(self, window: Window, rule: Rule) -> Heard:
        return hear(self._reasoner, window, rule, self._place)

    def _p(self, claims: Heard, pixels: Heard) -> float:
        return confidence(self._reasoner, claims, pixels).p

    def _shifted(self, heard: Heard, camera: RecordedCamera, shift_s: float) -> float | None:
        """The model's words as they are, its claims held against the frames of `shift_s` later."""
        frames = heard.window.cut.frames
        shift_ns = round(shift_s * 1e9)
        try:
            cut = camera.cut(frames[0].stamp.utc_ns + shift_ns, frames[-1].stamp.utc_ns + shift_ns)
        except CutUnavailable:
            return None
        if len(cut.frames) != len(frames):
            return None
        there = held_against(self._reasoner, heard, msgspec.structs.replace(heard.window, cut=cut))
        return self._p(there, there)
