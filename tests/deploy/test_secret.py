"""Nothing that is written shows a secret: logs, errors, tables."""

import io
import logging
from collections.abc import Iterator

import pytest

from deploy import logs
from deploy.secret import Redaction

CANARY = "p%40ss:w/rd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("opening rtsp://user.name:p%40ss:w/rd@10.0.0.5/x", "opening rtsp://***@10.0.0.5/x"),
        ("refused: p%40ss:w/rd", "refused: ***"),
        ("refused: p%2540ss%3Aw%2Frd", "refused: ***"),
        ("refused: p@ss:w/rd", "refused: ***"),
        ("http://a:b@host/ and rtsp://c@host2/", "http://***@host/ and rtsp://***@host2/"),
        ("nothing secret at noon: user@example.org", "nothing secret at noon: user@example.org"),
    ],
)
def test_exact_values_in_every_spelling_and_every_url(text: str, shown: str) -> None:
    assert Redaction([CANARY])(text) == shown


def test_very_short_secrets_mask_no_words() -> None:
    assert Redaction(["a"])("a camera at rtsp://u:a@host") == "a camera at rtsp://***@host"


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("debug", [False, True])
def test_logs_are_masked_and_one_line_unless_asked(debug: bool) -> None:
    out = io.StringIO()
    logs.set_up(Redaction([CANARY]), debug=debug, stream=out)
    log = logging.getLogger("somewhere")
    try:
        raise ValueError(f"cannot open rtsp://u:{CANARY}@host\nsecond line")
    except ValueError as error:
        log.error("failed: %s", error, exc_info=error)
    text = out.getvalue()
    assert CANARY not in text
    assert ("Traceback" in text) is debug
    if not debug:
        assert text.count("\n") == 1
        assert text.endswith("ERROR somewhere: failed: cannot open rtsp://***@host second line\n")
