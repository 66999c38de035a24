"""Where a configuration is wrong: msgspec's message, turned into one line with an exact path and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from alerts.config import Bootstrap
from ingest.config import Identifier
from reasoner.config import ReasonerConfig


def _pattern(annotation: Any) -> str:
    return str(get_args(annotation)[1].pattern)


PHRASES = {
    _pattern(Identifier): "1 to 64 letters, digits, _ . or -, the first a letter or digit",
    _pattern(Bootstrap): "HOST:PORT, several joined by commas",
    _pattern(get_type_hints(ReasonerConfig, include_extras=True)["device"]): "auto, cpu, cuda, cuda:N or mps",
}
"""What a pattern means, for those that are worth a sentence."""
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)


def describe(error: msgspec.ValidationError, document: Mapping[str, Any], shape: type[msgspec.Struct]) -> str:
    """`PATH (ID): WHAT`: the path with every index and key, and the id of the table it lies in.

    document: the data that was refused; shape: the struct it was to become.
    """
    found = _AT.match(str(error))
    what, path, key = (found["what"], found["path"] or "$", found["key"]) if found else (str(error), "$", None)
    steps = list(_exact(document, _steps(path), shape, str(error)))
    if key:
        steps = _bad_key(document, steps, shape, str(error))
    return f"{_path(steps)}{_id(document, steps)}: {_plain(what, shape, steps)}"


def _steps(path: str) -> list[str | int | None]:
    """`$.camera[0].zones[...]` as ["camera", 0, "zones", None]; None is a key that msgspec does not tell."""
    return [
        step["field"] if step["field"] else int(step["index"]) if step["index"] else None
        for step in _STEP.finditer(path)
    ]


def _exact(
    document: Mapping[str, Any], steps: list[str | int | None], shape: type[msgspec.Struct], text: str
) -> Iterator[str | int]:
    """The steps with each untold key found: the one that still fails in the same way when it is alone."""
    here: Any = document
    done: list[str | int] = []
    for step in steps:
        known = step if step is not None else _culprit(document, done, shape, text)
        done.append(known)
        yield known
        here = here[known]


def _culprit(document: Mapping[str, Any], path: list[str | int], shape: type[msgspec.Struct], text: str) -> str:
    keys = list(_walk(document, path))
    for key in keys:
        if _refusal(_only(document, path, key), shape) == text:
            return str(key)
    return str(keys[0])


def _bad_key(
    document: Mapping[str, Any], steps: list[str | int], shape: type[msgspec.Struct], text: str
) -> list[str | int]:
    return [*steps, _culprit(document, steps, shape, text)]


def _walk(document: Any, path: list[str | int]) -> Any:
    for step in path:
        document = document[step]
    return document


def _only(value: Any, path: list[str | int], key: str) -> Any:
    """A copy in which the mapping at `path` keeps one key."""
    if not path:
        return {key: value[key]}
    head, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_only(item, rest, key) if index == head else item for index, item in enumerate(value)]
    return {name: _only(item, rest, key) if name == head else item for name, item in value.items()}


def _refusal(document: Any, shape: type[msgspec.Struct]) -> str:
    try:
        msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _path(steps: list[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _id(document: Mapping[str, Any], steps: list[str | int]) -> str:
    """` (gate-1)` when the path goes through a table of a list that has an id."""
    if len(steps) < 2 or not isinstance(steps[1], int):
        return ""
    table = _walk(document, steps[:2])
    name = table.get("id") if isinstance(table, Mapping) else None
    return f" ({name[:64]})" if isinstance(name, str) and name.isprintable() else ""


def _plain(what: str, shape: type[msgspec.Struct], steps: list[str | int]) -> str:
    """msgspec's phrase in this project's words."""
    if unknown := _UNKNOWN.match(what):
        return _unknown_key(unknown[1], fields(shape, steps))
    if missing := _MISSING.match(what):
        return f'missing key "{missing[1]}"'
    for pattern, phrase in PHRASES.items():
        if what.endswith(f"matching regex {pattern!r}"):
            return f"must be {phrase}"
    if what == "Expected `array`, got `object`" and len(steps) == 1:
        return f"a list of tables; write [[{steps[0]}]] instead of [{steps[0]}]"
    if what.startswith("Invalid enum value") and (choices := _choices(shape, steps)):
        return f"unknown value{what[len('Invalid enum value') :]}; known are {', '.join(choices)}"
    return what[:1].lower() + what[1:]


def _unknown_key(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}" if known else "remove it"
    return f"unknown key {msgspec.json.encode(key).decode()}; {hint}"


def fields(shape: Any, steps: list[str | int]) -> list[str]:
    """Names of the keys allowed at a path; empty where no struct lies there."""
    struct = _at(shape, steps)
    return [field.encode_name for field in msgspec.structs.fields(struct)] if struct else []


def _choices(shape: Any, steps: list[str | int]) -> list[str]:
    """Values of the literal at a path."""
    struct = _at(shape, steps[:-1])
    return _literals(get_type_hints(struct).get(str(steps[-1]))) if struct and steps else []


def _literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in _literals(inner)]


def _at(shape: Any, steps: list[str | int]) -> Any:
    """The struct that is expected at a path; None where another type is."""
    for step in steps:
        if isinstance(step, str):
            shape = _struct(get_type_hints(shape).get(step))
        if shape is None:
            return None
    return shape


def _struct(annotation: Any) -> Any:
    """The struct inside an annotation such as `tuple[CameraConfig, ...]` or `KafkaConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    for inner in get_args(annotation):
        if (found := _struct(inner)) is not None:
            return found
    return None
