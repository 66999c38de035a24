"""The scorer's engines against torch eager: same weights, same pictures, same process, one thread each.

Two models: the bundled scorer with its own weights, and the shape of the released SigLIP 2 B/16-256 with random ones (a
figure of speed; its text tower is left small, it runs once per rule). CPU figures are CPU time per picture, taken in
turns, medians; compare ratios, not milliseconds. On a GPU TensorRT has two peers, torch eager in fp32 and in fp16, and
beside them a large square matrix product in fp16, whose rate is what the card reaches. What 8 bits cost is told as the
recall of events: the bundled scorer, its shipped thresholds, through Scorer and Gate, on scenes that no training saw,
fp32 and int8 on the same frames.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.targets import RECALL_LOSS, RELEASED, TENSORRT, Judged, Verdict, judged

if TYPE_CHECKING:
    from detector.config import Precision
    from detector.engines import Engine
    from detector.folder import ScorerFolder
    from detector.measure import Measured, Show
    from ingest.frame import CoarseFrame
    from ingest.simulator.world import Scene

SCHEMA_FILE = Path(__file__).with_name("detector.schema.json")
BATCHES = (1, 8, 32)
SEED = 12_000_000
"""Scenes that no training, calibration, report or quantisation uses."""
SCENE_S = 40.0
PICTURES = 48
SHARE = 0.01
EAGER, EAGER_CUDA, HALF_CUDA = "torch eager", "torch eager (CUDA)", "torch fp16 (CUDA)"
CAMERAS = 100


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One engine at one batch size."""

    engine: str
    batch: int
    ms: float
    """Per picture: CPU time on a CPU, wall time on a GPU."""
    ratio: float
    """To torch eager on the same device at the same batch size."""
    half_ratio: float | None = None
    """To torch in fp16 there; none on a CPU."""
    product_share: float | None = None
    """Operations a second, of those that a square matrix product in fp16 reached in this run; none on a CPU."""


class ModelSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The engines on one model."""

    model: str
    picture_size: tuple[int, int]
    gflop: float
    """Of the image tower on one picture, by calculation."""
    speeds: tuple[Speed, ...]
    not_run: dict[str, str]
    """Engine and the reason why it has no figure."""
    product_tflops: float | None = None
    """Of a square matrix product in fp16 on the card, measured in this run; none on a CPU."""


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """What 8 bits cost the bundled scorer."""

    scenes: int
    events: int
    found_fp32: int
    """With a frame over the threshold in the first two seconds in which the event can be seen."""
    found_int8: int
    windowed_fp32: int
    """With a flagged window whose first hot frame lies inside the event, give or take two seconds."""
    windowed_int8: int
    false_per_quiet_minute_fp32: float
    false_per_quiet_minute_int8: float
    loss: float
    """Of `found`, in shares of the events."""
    loss_target: float


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """By calculation (`detector.cost`): the share of an RTX 4090 that every key frame of 100 cameras takes."""

    model: str
    interval_s: float
    precision: str
    share: float
    share_target: float
    verdict: Verdict


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Engines beside torch eager, what int8 costs, and what watching costs a GPU."""

    load: float
    """Programs that wanted a core at the end, mean of a minute: times of a busy machine say little, ratios more."""
    targets: tuple[Judged, ...]
    models: tuple[ModelSpeed, ...]
    recall: Recall | None
    """None: not asked for (--scenes 0)."""
    watching: tuple[Watching, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each engine at batch 1 (default 9)")
    parser.add_argument("--scenes", type=int, default=24, help="scenes for the recall, 0: none (default 24)")
    parser.add_argument("--bundled-only", action="store_true", help="leave the released shape out")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import os

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        bundled = bundled_folder(Path(place) / "bundled")
        makers: list[Callable[[], ScorerFolder]] = [lambda: bundled]
        if not options.bundled_only:
            makers.append(lambda: released_folder(Path(place) / "released"))
        speeds = tuple(_compare(make(), options.rounds) for make in makers)
        recall = _recall(bundled, options.scenes) if options.scenes else None
    figures = Figures(
        load=os.getloadavg()[0],
        targets=tuple(judged(speeds, recall)),
        models=speeds,
        recall=recall,
        watching=tuple(watching()),
    )
    return dict(msgspec.to_builtins(figures))


def lines(figures: dict[str, Any]) -> Iterable[str]:
    """The table for people."""
    for model in figures["models"]:
        width, height = model["picture_size"]
        yield f"  {model['model']} {width}x{height}, {model['gflop']:.2f} GFLOP a picture"
        for speed in model["speeds"]:
            yield f"    {speed['engine']:18} batch {speed['batch']:2}  {_told(speed)}"
        for engine, reason in model["not_run"].items():
            yield f"    {engine:18} not run: {reason}"
    yield f"  targets; load {figures['load']:.1f}"
    for one in figures["targets"]:
        found = one["reason"] if one["found"] is None else f"{one['found']:.2f}"
        yield f"    {one['verdict']:8} {one['target']}, wanted {one['wanted']:g}: {found} ({one['model']})"
    if found := figures["recall"]:
        yield (
            f"  recall of {found['events']} events: fp32 {found['found_fp32']}, int8 {found['found_int8']} "
            f"(loss {100 * found['loss']:.1f} points, at most {100 * found['loss_target']:.0f})"
        )
    for row in figures["watching"]:
        yield (
            f"  100 cameras, a key frame per {row['interval_s']:g} s, {row['model']} {row['precision']}: "
            f"{100 * row['share']:.2f} % of an RTX 4090 by calculation (at most {100 * row['share_target']:.0f} %: "
            f"{row['verdict']})"
        )


def _told(speed: dict[str, Any]) -> str:
    text = f"{speed['ms']:8.2f} ms  {speed['ratio']:5.2f}x"
    if speed["half_ratio"] is not None:
        text += f"  {speed['half_ratio']:5.2f}x of torch fp16"
    if speed["product_share"] is not None:
        text += f"  {100 * speed['product_share']:3.0f} % of the matrix product"
    return text


def schema() -> dict[str, Any]:
    """JSON Schema of what `--json` prints."""
    from bench.report import schema as of

    return of(Figures, "detector", "The scorer's engines")


def watching() -> Iterator[Watching]:
    """The calculation for both shapes, at usual distances of key frames."""
    from detector.cost import RTX_4090_FP16_FLOPS, gpu_share, tower_flops
    from detector.folder import read_folder

    shapes = {"bundled": read_folder("bundled").record.shape, "SigLIP 2 B-16-256": released_shape()}
    for name, shape in shapes.items():
        for precision, faster in (("fp16", 1.0), ("fp8", 2.0)):
            for interval_s in (1.0, 2.0, 5.0):
                share = gpu_share(CAMERAS, interval_s, tower_flops(shape), peak_flops=faster * RTX_4090_FP16_FLOPS)
                yield Watching(
                    model=name,
                    interval_s=interval_s,
                    precision=precision,
                    share=share,
                    share_target=SHARE,
                    verdict="met" if share <= SHARE else "missed",
                )


def released_config() -> Any:
    """SigLIP 2 B/16-256 as published, but for its text tower, which no figure here depends on."""
    from transformers import SiglipConfig

    text = {"vocab_size": 1000, "num_hidden_layers": 1, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    return SiglipConfig(vision_config={"image_size": 256, "patch_size": 16}, text_config=text)


def released_shape() -> Any:
    from detector.pair import shape_of

    return shape_of(released_config(), (256, 256), 64)


def bundled_folder(path: Path) -> ScorerFolder:
    from detector.export import rewrite
    from detector.folder import read_folder
    from detector.pictures import of_scenes
    from detector.quantise import add_int8

    folder = rewrite(read_folder("bundled"), path)
    return add_int8(folder, list(of_scenes(folder.record.shape, PICTURES)))[0]


def released_folder(path: Path) -> ScorerFolder:
    """Random weights in the released shape, quantised on synthetic scenes."""
    import torch

    from detector import adopt, export, pair
    from detector.folder import ARCHITECTURE, BUNDLED, TOKENIZER
    from detector.pictures import of_scenes
    from detector.quantise import add_int8

    torch.manual_seed(0)
    model = pair.build(released_config())
    with torch.no_grad():
        model.logit_scale.fill_(4.7)
        model.logit_bias.fill_(-16.5)
    towers = pair.PairModel(model, released_shape(), adopt.HALF.mean, adopt.HALF.std).eval().requires_grad_(False)
    export.write_weights(towers, path)
    model.config.to_json_file(path / ARCHITECTURE, use_diff=False)
    (path / TOKENIZER).write_bytes((BUNDLED / TOKENIZER).read_bytes())
    folder = export.write_record(path, adopt.record(RELEASED, model, towers, adopt.HALF))
    return add_int8(folder, list(of_scenes(folder.record.shape, 12)))[0]


def _compare(folder: ScorerFolder, rounds: int) -> ModelSpeed:
    from detector.cost import tower_flops
    from detector.engines.eager import TorchEngine
    from detector.engines.ort import OnnxEngine

    shape = folder.record.shape
    torch = TorchEngine(folder, device="cpu")
    engines: dict[str, Engine] = {
        EAGER: torch,
        "onnx fp32": OnnxEngine(folder),
        "onnx int8": OnnxEngine(folder, precision="int8"),
    }
    speeds = list(_timed(engines, EAGER, shape.picture_size, shape.channels, rounds, time.process_time))
    flop = tower_flops(shape)
    on_gpu, not_run = _on_gpu(folder)
    product = _product() if on_gpu else None
    if on_gpu:
        # As many rounds at the largest batch as are asked for at one: they are cheap there.
        many = rounds * max(BATCHES)
        found = _timed(on_gpu, EAGER_CUDA, shape.picture_size, shape.channels, many, time.perf_counter)
        speeds += of_product(list(found), flop, product)
    for engine in (*engines.values(), *on_gpu.values()):
        engine.close()
    return ModelSpeed(
        model=folder.record.name,
        picture_size=shape.picture_size,
        gflop=flop / 1e9,
        speeds=tuple(speeds),
        not_run=not_run,
        product_tflops=None if product is None else product / 1e12,
    )


def _on_gpu(folder: ScorerFolder) -> tuple[dict[str, Engine], dict[str, str]]:
    """Torch twice and TensorRT, or why not. Without torch on the card there is nothing to compare with."""
    import torch

    from bench.half import HalfTorchEngine
    from bench.shelf import scorers
    from detector.engines import load_engine
    from detector.engines.eager import TorchEngine
    from detector.errors import DetectorError

    if not torch.cuda.is_available():
        return {}, dict.fromkeys((EAGER_CUDA, HALF_CUDA, TENSORRT), "torch sees no GPU")
    engines: dict[str, Engine] = {EAGER_CUDA: TorchEngine(folder, device="cuda"), HALF_CUDA: HalfTorchEngine(folder)}
    try:
        engines[TENSORRT] = load_engine("tensorrt", folder, precision="fp16", engines=scorers())
    except DetectorError as error:
        return engines, {TENSORRT: str(error)}
    return engines, {}


def _product() -> float:
    """FLOP/s of a large square matrix product in fp16 on the card, now."""
    import torch

    from bench.roofline import ceiling

    return ceiling("cuda", torch.float16).flops


def of_product(speeds: Sequence[Speed], flop: float, product: float | None) -> Iterator[Speed]:
    """With the ratio to torch in fp16 and the share of the matrix product. flop: of one picture; product: FLOP/s."""
    half_ms = {speed.batch: speed.ms for speed in speeds if speed.engine == HALF_CUDA}
    for speed in speeds:
        half = half_ms.get(speed.batch)
        yield msgspec.structs.replace(
            speed,
            half_ratio=None if half is None else half / speed.ms,
            product_share=None if product is None else flop / (speed.ms / 1000) / product,
        )


def _timed(
    engines: dict[str, Engine],
    peer: str,
    size: tuple[int, int],
    channels: int,
    rounds: int,
    clock: Callable[[], float],
) -> Iterator[Speed]:
    import numpy as np

    rng = np.random.default_rng(0)
    for batch in BATCHES:
        pictures = rng.integers(0, 256, (batch, size[1], size[0], channels), dtype=np.uint8)
        taken: dict[str, list[float]] = {name: [] for name in engines}
        if clock is time.perf_counter:
            for engine in engines.values():
                # A GPU's first call of a size chooses kernels and captures a graph.
                engine.image(pictures)
        for _ in range(max(3, rounds // batch)):
            for name, engine in engines.items():
                start = clock()
                engine.image(pictures)
                taken[name].append((clock() - start) * 1000 / batch)
        median = {name: statistics.median(times) for name, times in taken.items()}
        for name, ms in median.items():
            yield Speed(engine=name, batch=batch, ms=ms, ratio=median[peer] / ms)


def _recall(folder: ScorerFolder, scenes: int) -> Recall:
    from detector import film

    rendered = cache(lambda seed, t_s: film.coarse_frame(film.make_scene(seed, SCENE_S), t_s, f"scene-{seed}", 60))

    def show(scene: Scene, t_s: float, camera_id: str) -> CoarseFrame:
        return rendered(scene.seed, t_s)

    exact, rounded = (_measured(folder, precision, scenes, show) for precision in ("fp32", "int8"))
    events, found, windowed = (
        [sum(getattr(each, name) for each in one.categories.values()) for one in (exact, rounded)]
        for name in ("events", "found", "windowed")
    )
    return Recall(
        scenes=scenes,
        events=events[0],
        found_fp32=found[0],
        found_int8=found[1],
        windowed_fp32=windowed[0],
        windowed_int8=windowed[1],
        false_per_quiet_minute_fp32=exact.false_per_quiet_minute,
        false_per_quiet_minute_int8=rounded.false_per_quiet_minute,
        loss=exact.recall - rounded.recall,
        loss_target=RECALL_LOSS,
    )


def _measured(folder: ScorerFolder, precision: Precision, scenes: int, show: Show) -> Measured:
    from detector.captions import watch
    from detector.config import DetectorConfig, GateConfig
    from detector.measure import measure
    from detector.rule import Rule
    from detector.scorer import Scorer

    rules = [
        msgspec.convert({"id": name, "category": name, "watch": watch(name), "question": "?"}, Rule)
        for name in sorted(folder.record.categories)
    ]
    scorer = Scorer.load(DetectorConfig(model=str(folder.path), engine="onnx", precision=precision), rules)
    try:
        return measure(scorer, rules, GateConfig(), range(SEED, SEED + scenes), SCENE_S, show=show)
    finally:
        scorer.close()


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
