"""Trains the bundled scorer on labelled synthetic scenes, start to finish, in minutes on one core.

render -> learn -> export -> calibrate -> measure. What it learns: for each frame and each statement ("fall: somebody
has fallen down") whether it holds (a sigmoid per pair, after SigLIP), and for each 16x16 token whether it holds there.
The second is what makes it learn at all at this size: the truth of a scene says where things are.

It does not fine-tune released checkpoints, use a GPU, or learn from footage.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import torch

from detector import captions, export, film, strict
from detector.calibrate import SEED as CALIBRATION_SEED
from detector.calibrate import calibrate
from detector.config import DetectorConfig, GateConfig, ScorerTrainConfig
from detector.engines.ort import OnnxEngine
from detector.errors import TrainingError
from detector.folder import TOKENIZER, WEIGHTS, CategoryRecord, ScorerFolder, Shape, read_folder
from detector.inherit import inherit
from detector.learner import Learner
from detector.measure import SEED as MEASURE_SEED
from detector.measure import Measured, measure
from detector.preprocess import CHANNELS
from detector.rule import Rule
from detector.samples import SEEDS_PER_RUN, load_samples
from detector.scorer import Scorer
from detector.seen import look
from detector.statement import Tokens, learn_tokens

log = logging.getLogger(__name__)

UNKNOWN = CategoryRecord(
    slope=1.0, offset=0.0, novelty=0.0, threshold=0.5, strict=0.5, recall=0.0, flags_per_minute=0.0
)


class TrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` gives back and writes to `report.json`."""

    model: str
    """The model folder."""
    steps: int
    seconds: float
    loss_first: float
    loss_last: float
    """Means over the first and the last twentieth of the steps."""
    recall: float
    """Share of events, on scenes neither learned from nor calibrated on, with a frame over the threshold in time."""
    false_windows_per_quiet_minute: float
    measured: Measured


def train(config: ScorerTrainConfig, out: Path, resume: bool = False) -> TrainReport:
    """Trains, and writes OUT/model (the folder to serve), metrics.jsonl, report.json and checkpoint.pt.

    Raises TrainingError if there is nothing to resume, or an earlier run that would be written over, if what is to be
    resumed belongs to a training with other settings, or if what it is to start from does not fit.
    """
    torch.set_num_threads(config.threads)
    held = [name for name in ("checkpoint.pt", "report.json") if (out / name).exists()]
    if held and not resume:
        raise TrainingError(f"{out} holds {held[0]} of an earlier run; go on with --resume, or name another --out")
    out.mkdir(parents=True, exist_ok=True)
    model_folder = out / "model"
    model_folder.mkdir(exist_ok=True)
    shape = _shape(config)
    samples = load_samples(config, shape)
    missing = [category for category in config.categories if category not in samples.names]
    if missing:
        raise TrainingError(
            f"no rendered scene shows {', '.join(missing)}: take them out of `categories` or add scenes"
        )
    learn_tokens(captions.corpus(samples.names, config.categories), config.vocabulary, model_folder / TOKENIZER)
    torch.manual_seed(config.seed)
    learner = Learner(config, shape, samples, Tokens(model_folder / TOKENIZER, shape.text_length))
    if config.start_from:
        inherit(learner.model, model_folder / TOKENIZER, config.start_from)
        learner.average.load_state_dict(learner.model.state_dict())
        if config.mistaken_share:
            log.info("%d frames that %s takes for events", learner.dwell_on_mistakes(), config.start_from)
    losses = learner.learn(out, resume)
    folder = _calibrated(config, learner, model_folder)
    measured = _measured(config, model_folder)
    report = TrainReport(
        model=str(model_folder),
        steps=learner.step,
        seconds=round(learner.seconds, 1),
        loss_first=losses[0],
        loss_last=losses[1],
        recall=round(measured.recall, 4),
        false_windows_per_quiet_minute=round(measured.false_per_quiet_minute, 4),
        measured=measured,
    )
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    log.info(
        "%s: recall %.3f, %.2f windows per quiet minute", folder.path, measured.recall, measured.false_per_quiet_minute
    )
    return report


def _shape(config: ScorerTrainConfig) -> Shape:
    return Shape(
        channels=CHANNELS,
        width=config.width,
        depth=config.depth,
        text_width=config.text_width,
        text_depth=config.text_depth,
        vocabulary=config.vocabulary,
        dim=config.dim,
    )


def _calibrated(config: ScorerTrainConfig, learner: Learner, path: Path) -> ScorerFolder:
    """Exports, looks at the held-out scenes with the exported model, and writes the record with what came of it."""
    model = learner.average.eval()
    export.write_weights(model, path)
    record = export.draft(model, f"witness-scorer-{config.seed}", dict.fromkeys(config.categories, UNKNOWN))
    numbers: dict[str, int | float | str] = {
        "seed": config.seed,
        "steps": learner.step,
        "frames": len(learner.samples),
        "scenes": config.scenes,
        "held_out_scenes": config.held_out_scenes,
        "batch": config.batch,
        "cycles": config.cycles,
        "learning_rate": config.learning_rate,
        "mistaken_share": config.mistaken_share,
        "emphasis": ", ".join(f"{category} {times}" for category, times in sorted(config.emphasis.items())),
        "start_from": read_folder(config.start_from).record.sha256[WEIGHTS] if config.start_from else "",
    }
    record = msgspec.structs.replace(record, training=numbers)
    folder = export.write_record(path, record)
    engine = OnnxEngine(folder, threads=config.threads)
    first = CALIBRATION_SEED + config.seed * SEEDS_PER_RUN
    scenes = [film.make_scene(first + index, config.scene_s) for index in range(config.held_out_scenes)]
    seen = look(engine, model.shape, scenes, config.key_interval_s)
    first = strict.QUIET_SEED + config.seed * SEEDS_PER_RUN
    scenes = [strict.quiet_scene(first + index) for index in range((config.held_out_scenes + 1) // 2)]
    quiet = look(engine, model.shape, scenes, config.key_interval_s)
    categories = calibrate(engine, folder, config.categories, seen, quiet, config.flag_cost)
    engine.close()
    return export.write_record(path, msgspec.structs.replace(record, categories=categories))


def _measured(config: ScorerTrainConfig, path: Path) -> Measured:
    rules = [
        Rule(id=category, category=category, watch=captions.watch(category), question="?")
        for category in config.categories
    ]
    scorer = Scorer.load(DetectorConfig(model=str(path), engine="onnx", threads=config.threads), rules)
    first = MEASURE_SEED + config.seed * SEEDS_PER_RUN
    try:
        seeds = range(first, first + config.held_out_scenes)
        return measure(scorer, rules, GateConfig(), seeds, config.scene_s, config.key_interval_s)
    finally:
        scorer.close()
