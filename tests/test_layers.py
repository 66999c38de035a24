"""Imports run one way through the rooms, at the top of a file and inside functions alike."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("ingest", "detector", "reasoner", "alerts", "deploy", "bench", "tests")
JUNK_DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "manager"}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and first name of every absolute import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def against_order(room: str, source: str) -> list[tuple[int, str]]:
    rank = ORDER.index(room)
    return [(line, name) for line, name in imports(source) if name in ORDER and ORDER.index(name) > rank]


@pytest.mark.parametrize(
    ("room", "source", "lines"),
    [
        ("alerts", "import ingest.frame\nfrom reasoner.verdict import Verdict\n", []),
        ("alerts", "from deploy.config import load\n", [1]),
        ("ingest", "def f():\n    import detector.scorer\n", [2]),
        ("deploy", "from . import runner\nimport bench\n", [2]),
    ],
)
def test_the_check_itself(room: str, source: str, lines: list[int]) -> None:
    assert [line for line, _ in against_order(room, source)] == lines


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_from_the_left(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"the room {room} has no Python file"
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for line, name in against_order(room, file.read_text("utf-8"))
    ]
    assert wrong == []


def test_no_junk_drawers() -> None:
    files = [file for room in ORDER for file in (ROOT / room).rglob("*.py")]
    assert [str(file.relative_to(ROOT)) for file in files if file.stem in JUNK_DRAWERS] == []
