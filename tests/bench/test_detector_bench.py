"""The detector's benchmark: what it prints holds to its schema, and its calculations to what torch counts."""

from __future__ import annotations

import argparse
import json
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from bench import detector as bench
from bench.detector import SCHEMA_FILE, lines, released_config, released_shape, run, schema, watching
from detector.cost import RTX_4090_FP16_FLOPS, gpu_share, tower_flops
from detector.folder import WEIGHTS, read_folder


def test_the_schema_file_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.detector"


def test_a_short_run_holds_to_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, small: every engine on the bundled model, one scene."""
    monkeypatch.setattr(bench, "BATCHES", (1, 2))
    monkeypatch.setattr(bench, "PICTURES", 8)
    figures = run(argparse.Namespace(rounds=1, scenes=1, bundled_only=True))
    printed = json.loads(json.dumps({"bench": "detector", **figures, "machine": {}}))
    jsonschema.Draft202012Validator(schema()).validate(printed)
    (model,) = figures["models"]
    timed = {(speed["engine"], speed["batch"]) for speed in model["speeds"]}
    assert {(name, batch) for name in ("torch eager", "onnx fp32", "onnx int8") for batch in (1, 2)} <= timed
    assert all(speed["ratio"] == pytest.approx(1) for speed in model["speeds"] if speed["engine"] == "torch eager")
    assert "tensorrt" in model["not_run"] or any(name.startswith("tensorrt") for name, _ in timed)
    assert figures["recall"]["scenes"] == 1
    assert len(list(lines(figures))) == 2 + len(timed) + len(model["not_run"]) + 1 + len(figures["watching"])


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
