"""The page has words for all that a verdict can carry: a raw name in front of an operator is a mistake."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import alerts.console
from reasoner import decision, reason
from reasoner.backends import Output
from reasoner.degenerate import Fault
from reasoner.evidence import Binding
from reasoner.parse import parse
from reasoner.verify import Agreement

FORMAT = (Path(alerts.console.__file__).parent / "static" / "format.js").read_text("utf-8")


def keys(table: str) -> set[str]:
    (body,) = re.findall(rf"const {table} = \{{(.*?)\}};", FORMAT, re.DOTALL)
    return set(re.findall(r"^\s*(\w+):", body, re.MULTILINE))


def test_every_component_of_the_confidence_has_a_name() -> None:
    parsed = parse("<think>Nothing.</think><answer>No.</answer>", 6.0)
    agreement = Agreement((), 0.5, 0.5, True, 0.5)
    known = decision.components(0.5, Output("No.", (), 1, 1, True), parsed, Binding((), (), 0), agreement, None)
    assert {*known, "counterfactual", "second_look"} <= keys("COMPONENTS")


def test_every_reason_has_a_sentence() -> None:
    told = set()
    for source in (inspect.getsource(decision.decide), inspect.getsource(reason.Reasoner.reason)):
        told |= set(re.findall(r'"(?:rejected|needs_review|confirmed)", \("(\w+)",\)', source))
        told |= set(re.findall(r'reasons\.append\("(\w+)"\)', source))
    assert len(told) == 6 and {*told, *decision.DOUBTS.values(), *get_args(Fault)} <= keys("REASONS")
