"""The detector's benchmark: what it prints holds to its schema, and its calculations to what torch counts."""

from __future__ import annotations

import argparse
import json
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from bench.detector import models, run, speed
from bench.detector.figures import SCHEMA_FILE, ModelSpeed, Recall, Speed, lines, schema
from bench.detector.models import released_config, released_shape
from bench.detector.speed import HALF_CUDA, of_product, on_gpu
from bench.detector.targets import RELEASED, TENSORRT, judged
from bench.detector.watching import watching
from bench.half import HalfTorchEngine
from detector.cost import RTX_4090_FP16_FLOPS, gpu_share, tower_flops
from detector.engines.eager import TorchEngine
from detector.folder import WEIGHTS, read_folder


def test_the_schema_file_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.detector.figures"


def test_a_short_run_holds_to_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, small: every engine on the bundled model, one scene."""
    monkeypatch.setattr(speed, "BATCHES", (1, 2))
    monkeypatch.setattr(models, "PICTURES", 8)
    figures = run(argparse.Namespace(rounds=1, scenes=1, bundled_only=True))
    printed = json.loads(json.dumps({"bench": "detector", **figures, "machine": {}}))
    jsonschema.Draft202012Validator(schema()).validate(printed)
    (model,) = figures["models"]
    timed = {(speed["engine"], speed["batch"]) for speed in model["speeds"]}
    assert {(name, batch) for name in ("torch eager", "onnx fp32", "onnx int8") for batch in (1, 2)} <= timed
    assert all(speed["ratio"] == pytest.approx(1) for speed in model["speeds"] if speed["engine"] == "torch eager")
    assert TENSORRT in model["not_run"] or any(name == TENSORRT for name, _ in timed)
    judged = {(one["target"].split(":")[0], one["model"]): one["verdict"] for one in figures["targets"]}
    assert judged[TENSORRT, RELEASED] == "not run"
    assert {judged[name, model["model"]] for name in ("onnx fp32", "onnx int8")} <= {"met", "missed"}
    assert figures["recall"]["scenes"] == 1
    assert len(list(lines(figures))) == 2 + len(timed) + len(model["not_run"]) + 1 + len(figures["watching"]) + len(
        judged
    )


def counted_flops(tower: Any, *size: int) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tower(torch.zeros(1, *size, dtype=torch.uint8))
    return float(counter.get_total_flops())


def test_operations_are_those_that_torch_counts() -> None:
    from detector.model import load_weights
    from detector.pair import PairModel, build

    folder = read_folder("bundled")
    model = load_weights(folder.record.shape, folder.file(WEIGHTS))
    assert tower_flops(folder.record.shape) == pytest.approx(counted_flops(model.image, 144, 256, 7), rel=1e-6)
    config = released_config()
    config.vision_config.num_hidden_layers = 2
    shape = msgspec.structs.replace(released_shape(), depth=2)
    pair = PairModel(build(config), shape, (0.5,) * 3, (0.5,) * 3)
    assert tower_flops(shape) == pytest.approx(counted_flops(pair.image, 256, 256, 3), rel=1e-4)


def test_the_share_of_a_gpu() -> None:
    """100 pictures a second of a thousandth of what it does in one: a tenth."""
    assert gpu_share(200, 2.0, 0.7e9, peak_flops=1e12, achieved=0.7) == pytest.approx(0.1)
    assert gpu_share(100, 2.0, 1e9) == pytest.approx(50e9 / (0.7 * RTX_4090_FP16_FLOPS))
    for wrong in ({"cameras": 0}, {"interval_s": 0.0}, {"flops": -1.0}):
        with pytest.raises(ValueError, match="must be positive"):
            gpu_share(**{"cameras": 1, "interval_s": 1.0, "flops": 1.0, **wrong})  # type: ignore[arg-type]


def test_which_watching_is_within_a_hundredth() -> None:
    rows = {(row.model, row.precision, row.interval_s): row.share for row in watching()}
    assert all(share < 0.001 for (model, _, _), share in rows.items() if model == "bundled")
    released = [rows["SigLIP 2 B-16-256", "fp16", interval_s] for interval_s in (1.0, 2.0, 5.0)]
    assert np.allclose(np.diff(np.log(released)), -np.log([2.0, 2.5]))
    assert released[2] <= 0.01 < released[1]


def test_the_share_of_the_matrix_product_and_the_ratio_to_half_precision() -> None:
    """1 GFLOP in 2 ms is 0.5 TFLOP/s, half of a product of 1 TFLOP/s."""
    speeds = [Speed(engine=name, batch=32, ms=ms, ratio=1.0) for name, ms in ((HALF_CUDA, 6.0), (TENSORRT, 2.0))]
    half, fast = of_product(speeds, 1e9, 1e12)
    found = [fast.half_ratio, fast.product_share, half.half_ratio, half.product_share]
    assert found == pytest.approx([3, 0.5, 1, 1 / 6])


@pytest.mark.parametrize(
    ("onnx", "alone", "share", "loss", "verdicts"),
    [
        ((2.0, 2.6), 3.0, 0.60, 0.01, ["met"] * 5),
        ((1.9, 2.6), 2.9, 0.59, 0.02, ["missed", "met", "missed", "missed", "missed"]),
        ((2.0, 2.6), None, None, None, ["met", "met", "not run", "not run", "not run"]),
    ],
)
def test_each_target_is_judged(
    onnx: tuple[float, float], alone: float | None, share: float | None, loss: float | None, verdicts: list[str]
) -> None:
    speeds = [
        Speed(engine="onnx fp32", batch=batch, ms=1, ratio=ratio) for batch, ratio in zip((1, 8), onnx, strict=True)
    ]
    speeds.append(Speed(engine="onnx int8", batch=1, ms=1, ratio=4.0))
    if alone is not None:
        speeds.append(Speed(engine=TENSORRT, batch=1, ms=1, ratio=alone, product_share=0.99))
        speeds.append(Speed(engine=TENSORRT, batch=32, ms=1, ratio=0.1, product_share=share))
    not_run = {} if alone is not None else {TENSORRT: "no card"}
    model = ModelSpeed(model=RELEASED, picture_size=(256, 256), gflop=1.0, speeds=tuple(speeds), not_run=not_run)
    recall = None
    if loss is not None:
        recall = Recall(
            scenes=1, events=1, found_fp32=1, found_int8=1, windowed_fp32=1, windowed_int8=1,
            false_per_quiet_minute_fp32=0, false_per_quiet_minute_int8=0, loss=loss, loss_target=0.01,
        )  # fmt: skip
    found = list(judged([model], recall))
    assert [one.verdict for one in found] == verdicts
    assert all(bool(one.reason) == (one.verdict == "not run") for one in found)
    if alone is None:
        assert found[2].reason == found[3].reason == "no card"


def test_without_a_gpu_for_torch_there_is_a_reason_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engines, not_run = on_gpu(read_folder("bundled"))
    assert not engines
    assert TENSORRT in not_run and all("sees no GPU" in reason for reason in not_run.values())


def test_half_precision_scores_as_the_whole_one_does() -> None:
    """bfloat16 on a CPU, where fp16 products are slow: the same way through the towers."""
    import torch

    folder = read_folder("bundled")
    exact, half = TorchEngine(folder, device="cpu"), HalfTorchEngine(folder, device="cpu", dtype=torch.bfloat16)
    width, height = folder.record.shape.picture_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, folder.record.shape.channels), np.uint8)
    wanted, found = exact.image(pictures), half.image(pictures)
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert 0 < np.abs(found - wanted).max() < 0.2
    assert (found * wanted).sum(-1).min() > 0.97
