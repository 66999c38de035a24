"""The scorer on small models: shapes, state per camera, rules; and the bundled model on a scene."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from detector import film
from detector.config import DetectorConfig, GateConfig
from detector.errors import RuleNotServed
from detector.folder import BUNDLED, RECORD, CategoryRecord, ScorerFolder, read_folder
from detector.measure import measure
from detector.scorer import Scorer, unserved
from detector.similarity import pooled, probability
from ingest.frame import CoarseFrame
from ingest.simulator.world import Scene
from tests.detector.material import CATEGORIES, coarse, rule


def noise(count: int, camera_id: str = "cam", start: int = 0) -> list[CoarseFrame]:
    rng = np.random.default_rng([start, count])
    return [
        coarse(rng.integers(0, 256, (90, 160, 3), dtype=np.uint8), float(start + t), camera_id) for t in range(count)
    ]


def test_scores_have_a_column_for_each_rule(small: DetectorConfig) -> None:
    scorer = Scorer.load(small, [rule("fall"), rule("fight", threshold=0.77), rule("running", cameras=("other",))])
    scores = scorer.score([*noise(2), *noise(1, "other")])
    assert scores.shape == (3, 3) and scores.dtype == np.float32
    assert scores[:, :2].min() > 0 and scores.max() < 1
    assert scores[:2, 2].tolist() == [0, 0] and scores[2, 2] > 0
    assert scorer.thresholds.tolist() == pytest.approx([0.3, 0.77, 0.3])
    known = read_folder(small.model).record.categories
    assert scorer.sure_from == tuple(known[category].strict for category in ("fall", "fight", "running"))
    assert "onnx" in scorer.describe() and "3 rules" in scorer.describe()


def test_nothing_to_score(small: DetectorConfig) -> None:
    assert Scorer.load(small, [rule()]).score([]).shape == (0, 1)
    assert Scorer.load(small, []).score(noise(2)).shape == (2, 0)


def test_a_batch_over_cameras_equals_one_by_one(small: DetectorConfig) -> None:
    frames = [frame for pair in zip(noise(8, "a"), noise(8, "b", 1), strict=True) for frame in pair]
    whole = Scorer.load(small, [rule()]).score(frames)
    single = Scorer.load(small, [rule()])
    np.testing.assert_allclose(whole, np.concatenate([single.score([frame]) for frame in frames]), atol=1e-5)


def test_the_same_frames_give_the_same_scores(small: DetectorConfig) -> None:
    frames = noise(12)
    first, second = (Scorer.load(small, [rule()]).score(frames) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_torch_and_onnx_score_alike(small: DetectorConfig) -> None:
    frames = noise(9)
    torch = DetectorConfig(model=small.model, engine="torch")
    difference = Scorer.load(small, [rule()]).score(frames) - Scorer.load(torch, [rule()]).score(frames)
    assert np.abs(difference).max() < 1e-3


def test_background_of_each_camera(small: DetectorConfig) -> None:
    scorer = Scorer.load(small, [rule()])
    assert scorer.background_jpeg("cam") == b""
    scorer.score([coarse(np.full((90, 160, 3), 50, np.uint8), 3.0 * t) for t in range(3)])
    assert scorer.background_jpeg("cam").startswith(b"\xff\xd8")
    assert scorer.background_jpeg("other") == b""


def test_callers_from_several_threads(small: DetectorConfig) -> None:
    scorer = Scorer.load(small, [rule()])
    with ThreadPoolExecutor(3) as pool:
        scored = list(pool.map(lambda name: scorer.score(noise(6, name)), ["a", "b", "c"]))
    np.testing.assert_allclose(scored[0], scored[1], atol=1e-5)
    np.testing.assert_allclose(scored[0], scored[2], atol=1e-5)


def test_a_category_that_the_model_does_not_know(small: DetectorConfig, small_folder: ScorerFolder) -> None:
    strange = rule("crowd")
    reason = unserved(strange, small_folder)
    assert reason is not None and "'crowd'" in reason and "use one of abandoned_object" in reason
    with pytest.raises(RuleNotServed, match="rule 'rule-crowd'"):
        Scorer.load(small, [rule(), strange])
    assert unserved(rule(), small_folder) is None


def test_pool_of_one_token_is_the_cosine_and_a_mask_hides() -> None:
    rng = np.random.default_rng(1)
    tokens = rng.normal(size=(3, 6, 8)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=2, keepdims=True)
    texts = tokens[0, :2]
    np.testing.assert_allclose(pooled(tokens[:, :1], texts, 12.0), tokens[:, 0] @ texts.T, atol=1e-6)
    everywhere = pooled(tokens, texts, 60.0)
    assert everywhere[0].min() > 0.95, "both texts are one of the first picture's tokens"
    mask = np.ones((2, 6), bool)
    mask[0, 0] = False
    hidden = pooled(tokens, texts, 60.0, mask)
    assert hidden[0, 0] < 0.9 and hidden[0, 1] == everywhere[0, 1]


def test_probability_rises_with_likeness_and_novelty() -> None:
    category = CategoryRecord(
        slope=2.0, offset=-1.0, novelty=1.0, threshold=0.5, strict=0.9, recall=1.0, flags_per_minute=0.0
    )
    p = probability(np.array([-90, -1, 0, 1, 90], np.float32), np.zeros(5, np.float32), category)
    assert all(before < after for before, after in pairwise(p.tolist()))
    assert p[2] == pytest.approx(1 / (1 + np.e))
    assert probability(np.zeros(1, np.float32), np.ones(1, np.float32), category)[0] == pytest.approx(0.5)


def test_importing_the_room_and_its_records_is_light() -> None:
    code = (
        "import sys, detector, detector.config, detector.rule, detector.window, detector.gate, detector.engines,"
        " detector.folder, detector.errors; heavy = {'torch', 'onnxruntime', 'onnx', 'cv2', 'numpy', 'transformers',"
        " 'tokenizers', 'av'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_bundled_model_is_whole_and_small() -> None:
    folder = read_folder("bundled")
    assert set(CATEGORIES) <= set(folder.record.categories)
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) <= 8 * 1024 * 1024
    assert (BUNDLED / "README.md").is_file() and (BUNDLED / RECORD).is_file()


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_bundled_model_scores_an_event_above_quiet(category: str) -> None:
    rules = [rule(name, watch=watch) for name, watch in WATCHES.items()]
    scorer = Scorer.load(DetectorConfig(), rules)
    scene = Scene(4242, 40.0, kinds=["walking", category])
    event = next(each for each in scene.events if each.label == category)
    column = CATEGORIES.index(category)
    quiet, during = [], []
    for t_s in film.key_times(1, min(event.evident_s + 2.5, 40.0), 1.0):
        score = scorer.score([film.coarse_frame(scene, t_s, "cam", 70)])[0, column]
        if t_s < event.start_s - 1:
            quiet.append(score)
        elif t_s >= event.evident_s:
            during.append(score)
    assert max(during) >= scorer.thresholds[column]
    assert max(during) > np.mean(quiet) + 0.2


WATCHES = {
    "abandoned_object": "an unattended bag nobody is watching",
    "fall": "有人摔倒在地上不动",
    "fight": "a violent quarrel with blows",
    "running": "somebody is running very fast",
}
"""Not one of these is among the captions that the text tower learned from."""


def test_the_bundled_model_finds_events_through_the_gate() -> None:
    rules = [rule(name, watch=watch) for name, watch in WATCHES.items()]
    found = measure(Scorer.load(DetectorConfig(), rules), rules, GateConfig(), range(8_000_000, 8_000_024), 40.0)
    assert sum(each.events for each in found.categories.values()) >= 12
    assert found.recall >= 0.9
    assert sum(each.windowed for each in found.categories.values()) >= 0.9 * sum(
        each.events for each in found.categories.values()
    )
    assert found.false_per_quiet_minute < 25
