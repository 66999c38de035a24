"""The output language as a regular expression, for servers that hold a model to one.

It fixes the form (tags closed, numbers that are numbers), never what is said; an output that is cut at the limit of
new tokens still breaks it, so the parser reads everything as before.
"""

from __future__ import annotations

from typing import Any, Literal

from reasoner.boxes import Coordinates

Dialect = Literal["vllm", "sglang", "off"]

_NUMBER = {"rel1000": r"[0-9]{1,4}", "pixels": r"[0-9]{1,5}", "norm01": r"[01]\.[0-9]{1,4}"}


def expression(coordinates: Coordinates) -> str:
    """No look-around and no back-reference: what the grammar engines of both servers can compile."""
    number = _NUMBER[coordinates]
    box = rf"<box>\[{number}, ?{number}, ?{number}, ?{number}\]</box>"
    claim = rf"<obj>[^<>]+</obj>({box})+at<t>[0-9]{{1,4}}(\.[0-9]{{1,2}})?</t>s"
    return rf"<think>([^<]|{claim})*</think>\n?<answer>[^<]+</answer>"


def constraint(dialect: Dialect, coordinates: Coordinates) -> dict[str, Any]:
    """Fields of a chat completion request (vLLM: `structured_outputs`; SGLang: `regex`); empty for `off`."""
    match dialect:
        case "vllm":
            return {"structured_outputs": {"regex": expression(coordinates)}}
        case "sglang":
            return {"regex": expression(coordinates)}
        case "off":
            return {}
