"""The page has words for all that a verdict can carry: a raw name in front of an operator is a mistake."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args, get_type_hints

import alerts.console
from alerts.birth import _decision
from alerts.provenance import RecheckRecord
from alerts.retraction import REASON
from reasoner import decision, reason
from reasoner.backends import Output
from reasoner.degenerate import Fault
from reasoner.evidence import Binding
from reasoner.parse import parse
from reasoner.verify import Agreement

STATIC = Path(alerts.console.__file__).parent / "static"
FORMAT, SHAPES = ((STATIC / name).read_text("utf-8") for name in ("format.js", "shapes.js"))


def keys(table: str, of: str = FORMAT) -> set[str]:
    (body,) = re.findall(rf"const {table} = \{{(.*?)\}};", of, re.DOTALL)
    return set(re.findall(r"^\s*(\w+):", body, re.MULTILINE))


def test_every_component_of_the_confidence_has_a_name() -> None:
    parsed = parse("<think>Nothing.</think><answer>No.</answer>", 6.0)
    agreement = Agreement((), 0.5, 0.5, True, 0.5)
    known = decision.components(0.5, Output("No.", (), 1, 1, True), parsed, Binding((), (), 0), agreement, None)
    assert {*known, "counterfactual", "self_consistency", "second_look"} <= keys("COMPONENTS")


def test_every_recheck_has_a_name() -> None:
    hints = get_type_hints(RecheckRecord)
    assert set(get_args(hints["kind"])) == keys("RECHECKS") and set(get_args(hints["status"])) == keys("CHECK", SHAPES)
    assert set(get_args(hints["outcome"])) - {"answered"} == keys("OUTCOME", SHAPES)


def test_every_reason_has_a_sentence() -> None:
    told = set()
    for source in (inspect.getsource(decision.decide), inspect.getsource(reason.Reasoner.reason)):
        told |= set(re.findall(r'"(?:rejected|needs_review|confirmed)", \("(\w+)",\)', source))
        told |= set(re.findall(r'reasons\.append\("(\w+)"\)', source))
    assert len(told) == 7 and {*told, *decision.DOUBTS.values(), *get_args(Fault)} <= keys("REASONS")
    own = {"claims_left_out", REASON, *re.findall(r'"(\w+)": ', inspect.getsource(_decision))}
    assert len(own) == 5 and own <= keys("REASONS")
