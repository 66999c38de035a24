"""Kept training frames are used again only while the same code would make them."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import msgspec
import pytest

import detector
from detector import samples
from detector.config import ScorerTrainConfig
from detector.folder import Shape

SHAPE = Shape(width=160, depth=3, text_width=128, text_depth=2, vocabulary=900, dim=96)
KEPT_BY = {2: "a91d2c26e343d0a9"}
"""FORMAT to the digest of the code that made such frames."""


def code_digest() -> str:
    """Of the shaping modules and of `samples.render`, without comments, docstrings and layout."""
    room = Path(detector.__file__).parent
    parts = [_bare(ast.parse((room / f"{name}.py").read_text("utf-8"))) for name in samples.SHAPING]
    own = ast.parse(Path(samples.__file__).read_text("utf-8")).body
    parts += [_bare(node) for node in own if isinstance(node, ast.FunctionDef) and node.name == "render"]
    parts.append(f"{samples.ORDINARY_SHARE}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _bare(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            said = [one for one in node.body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
            node.body = [one for one in node.body if one not in said]
    return ast.unparse(tree)


def test_frames_of_other_code_are_not_used_again() -> None:
    assert code_digest() == KEPT_BY.get(samples.FORMAT), (
        f"what shapes kept training frames has changed (now {code_digest()}): where planes or labels may differ, raise "
        "FORMAT in detector/samples.py; then note the digest here"
    )


def test_the_digest_sees_constants_and_code_but_no_comments() -> None:
    one = _bare(ast.parse('"""Said."""\nA = 3.0\n"""Half."""\n\ndef f() -> int:\n    """Said."""\n    return 1\n'))
    assert one == _bare(ast.parse("A = 3.0  # other\ndef f() -> int:\n    return 1\n"))
    assert one != _bare(ast.parse("A = 3.5\ndef f() -> int:\n    return 1\n"))
    assert one != _bare(ast.parse("A = 3.0\ndef f() -> int:\n    return 2\n"))


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"scenes": 401}, {"scene_s": 61.0}, {"key_interval_s": 2.0}, {"sparse_share": 0.0}]
)
def test_the_key_follows_the_settings_that_shape(changes: dict[str, float]) -> None:
    config = ScorerTrainConfig()
    assert samples._key(config, SHAPE) != samples._key(msgspec.structs.replace(config, **changes), SHAPE)
    same = msgspec.structs.replace(config, steps=1, batch=1, render_workers=4, cache="elsewhere")
    assert samples._key(config, SHAPE) == samples._key(same, SHAPE)
