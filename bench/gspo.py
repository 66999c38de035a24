"""Two model folders side by side, as before and after `witness train gspo`, on the same windows of unseen scenes.

Windows are those that a scorer and its gate flag in freshly rendered scenes, mistaken ones included, seen as serving
would see them (`reasoner/train/clips.py`). Each model answers every one greedily through the serving backend, and
`reasoner/grade.py` says what the answers are worth: reinforcement has to raise the mean evidence reward and the mean
IoU, and to lower neither precision nor recall.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from bench import report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasoner.train.judge import Judged
    from reasoner.train.row import Row

SCHEMA_FILE = Path(__file__).with_name("gspo.schema.json")
REWARD = Path(__file__).parents[1] / "deploy" / "examples" / "train-gspo.toml"
EACH = 6
"""Most windows of a scene: those of one event are much alike."""
IDLE_SCENES = 40
"""So many scenes in a row without a window end it."""

Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers of one model are worth; None where no window counts."""

    model: str
    """As it was given."""
    precision: Unit | None
    recall: Unit | None
    """Of yes."""
    accuracy: Unit | None
    evidence_reward: float | None
    """Terms about times and places, weighed by the reward table: mean over the windows whose answer is yes."""
    box_iou: Unit | None
    """Mean over the windows rightly answered yes whose actors can be pointed at."""
    onset_within_1s: Unit | None
    """Share of the windows rightly answered yes."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """`schema()` of what is printed is generated from it."""

    seed: int
    clips: Count
    """Windows that both models answered."""
    true: Count
    """Those of them whose answer is yes."""
    scenes: Count
    """Rendered to have so many."""
    before: Side
    after: Side
    gains: bool
    """Whether evidence reward and mean IoU rose, and neither precision, recall nor accuracy fell."""
    reward: dict[str, float]
    """Weights of the terms that are on."""
    seconds: Annotated[float, Meta(ge=0)]


class Clip(NamedTuple):
    """A window: uint8 (groups, 2, H, W, 3) and what is true of it."""

    pictures: NDArray[np.uint8]
    row: Row


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="BEFORE", help="model folder that reinforcement began with, or `bundled`")
    parser.add_argument("after", metavar="AFTER", help="model folder that it left behind")
    parser.add_argument("--seed", type=int, default=1, help="any number; the scenes are unseen by every training")
    parser.add_argument("--clips", type=report.positive, default=200, help="windows that both answer (default 200)")
    parser.add_argument(
        "--scorer", default="bundled", metavar="FOLDER", help="whose windows (default: the bundled one)"
    )
    parser.add_argument(
        "--reward", type=Path, default=REWARD, metavar="CONFIG", help="training whose [reward] table weighs the terms"
    )
    parser.add_argument("--threads", type=report.positive, default=1, help="of each model (default 1)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Raises SystemExit with one line for a model or a configuration that cannot be read, and where nothing is flagged.
    Both models are looked at before anything is rendered."""
    from deploy.config import load_table
    from deploy.errors import ConfigError
    from detector.errors import DetectorError
    from reasoner.checkpoint import locate
    from reasoner.errors import ReasonerError
    from reasoner.folder import open_folder
    from reasoner.train.clip_exercises import Manner
    from reasoner.train.errors import TrainError
    from reasoner.train.gspo_config import GspoConfig
    from reasoner.train.judge import judge_folder

    began_s = time.monotonic()
    try:
        table = load_table(options.reward, GspoConfig).reward
        folders = [open_folder(locate(model)) for model in (options.before, options.after)]
        known = [set(folder.notes.categories) for folder in folders if folder.notes and folder.notes.categories]
        clips, scenes = rendered(options.seed, options.clips, options.scorer, known)
        judged = []
        for folder in folders:
            report.note(f"{folder.path} answers {len(clips)} windows")
            asked = itertools.starmap(Manner.of(folder).ask, clips)
            judged.append(judge_folder(folder.path, asked, table, {"threads": options.threads}))
    except (ConfigError, DetectorError, ReasonerError, TrainError) as error:
        raise SystemExit(f"python -m bench gspo: {error}") from None
    before, after = judged
    figures = Figures(
        seed=options.seed,
        clips=len(clips),
        true=sum(clip.row.answer for clip in clips),
        scenes=scenes,
        before=_side(options.before, before),
        after=_side(options.after, after),
        gains=after.gains(before),
        reward={str(name): weight for name, weight in table.weights().items()},
        seconds=round(time.monotonic() - began_s, 1),
    )
    found: dict[str, Any] = msgspec.to_builtins(figures)
    return found


def rendered(run: int, count: int, scorer: str, known: Sequence[Set[str]]) -> tuple[list[Clip], int]:
    """`count` windows of categories that are in each of `known`, at most EACH of a scene; and the scenes that it took.

    Raises TrainFailed where scene after scene has none.
    """
    from bench.accuracy.plan import scene_seed
    from reasoner.train.album import can_be_told
    from reasoner.train.clips import windows
    from reasoner.train.errors import TrainFailed
    from reasoner.train.row import Row

    clips: list[Clip] = []
    scenes, idle = 0, 0
    while len(clips) < count:
        if idle == IDLE_SCENES:
            raise TrainFailed(
                f"scorer {scorer!r} flags nothing in {IDLE_SCENES} scenes in a row that both models could be asked "
                "about; do the three know the same categories?"
            )
        seed = scene_seed(run, f"gspo {scenes}")
        found = [
            Clip(pictures, row)
            for pictures, labelled in windows(seed, flagged_share=1.0, scorer=scorer)
            # Numbers of NumPy become plain ones in a file of clips; so do they here.
            if can_be_told(row := msgspec.json.decode(json.dumps({**labelled, "split": "val"}), type=Row))
            and all(row.category in categories for categories in known)
        ]
        chosen = np.random.default_rng([seed, 6]).permutation(len(found))[:EACH]
        clips += [found[int(place)] for place in sorted(chosen)]
        scenes, idle = scenes + 1, 0 if found else idle + 1
        report.note(f"{min(len(clips), count)}/{count} windows, {scenes} scenes")
    return clips[:count], scenes


def _side(model: str, judged: Judged) -> Side:
    return Side(
        model=model,
        precision=judged.precision,
        recall=judged.recall,
        accuracy=judged.accuracy,
        evidence_reward=judged.evidence_reward,
        box_iou=judged.box_iou,
        onset_within_1s=judged.onset_within_1s,
    )


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line for each figure, the two models beside each other, then whether it is a gain."""
    before, after = figures["before"], figures["after"]
    yield (
        f"{figures['clips']} windows of {figures['scenes']} scenes of seed {figures['seed']}, "
        f"{figures['true']} of them true; {before['model']} → {after['model']}"
    )
    for name in ("precision", "recall", "accuracy", "evidence_reward", "box_iou", "onset_within_1s"):
        yield f"  {name:26} {_number(before[name])} → {_number(after[name])}"
    yield (
        "a gain: points better and answers no worse"
        if figures["gains"]
        else ("no gain: evidence reward and mean IoU must both rise, and precision, recall and accuracy not fall")
    )


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "gspo", "A model before and after reinforcement")


def _number(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
