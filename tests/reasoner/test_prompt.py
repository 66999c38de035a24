"""The prompt is exact where it is a format, and holds no control token from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.prompt import CLAIM_FORMAT, MAX_TEXT, messages, prompt_sha256, sanitise, time_texts


def texts(prompt: list[dict[str, object]]) -> str:
    content = prompt[-1]["content"]
    assert isinstance(content, list)
    return "".join(part.get("text", "<image>") for part in content)


def test_frames_carry_their_own_times() -> None:
    assert texts(messages("Does somebody fall?", [0.0, 0.5, 12.5])) == (
        "Frame 1 at 0.0s: <image>\nFrame 2 at 0.5s: <image>\nFrame 3 at 12.5s: <image>\n"
        "The video is in total 12 seconds.\nDoes somebody fall?"
    )


def test_the_instruction_demands_the_exact_claim_format() -> None:
    assert CLAIM_FORMAT == "<obj>object_name</obj><box>bounding_box</box>at<t>time_in_seconds</t>s"
    system = messages("Why?", [0.0])[0]
    assert system["role"] == "system"
    assert CLAIM_FORMAT in system["content"][0]["text"]
    assert "0 to 1000" in system["content"][0]["text"]
    assert "pixels" in messages("Why?", [0.0], coordinates="pixels")[0]["content"][0]["text"]
    assert "中文" in messages("Why?", [0.0], "zh")[0]["content"][0]["text"]


def test_the_brief_style_is_the_user_turn_alone() -> None:
    brief = messages("Why?", [0.0, 1.0], style="brief", place="Gate 1")
    assert [message["role"] for message in brief] == ["user"]
    assert "Gate 1" not in texts(brief)
    assert "Camera: Gate 1\n" in texts(messages("Why?", [0.0], place="Gate 1"))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0, 0.52, 1.04], ["0.0", "0.5", "1.0"]),
        ([0.0, 0.04, 0.08], ["0.00", "0.04", "0.08"]),
        ([0.0, 0.004], ["0.000", "0.004"]),
        ([], []),
    ],
)
def test_times_keep_frames_apart(times: list[float], expected: list[str]) -> None:
    assert time_texts(times) == expected


@given(st.text(alphabet=st.sampled_from("<|>imend_startpad thinkboxobj/\n\x00"), max_size=80))
def test_no_control_token_survives(text: str) -> None:
    clean = sanitise(text)
    assert "<|" not in clean
    assert "|>" not in clean
    assert "<think>" not in clean
    assert "\n" not in clean
    assert sanitise(clean) == clean.strip()


def test_long_text_is_cut() -> None:
    assert len(sanitise("a" * 10_000)) == MAX_TEXT


def test_the_hash_is_of_the_whole_prompt() -> None:
    one = prompt_sha256(messages("Why?", [0.0]))
    assert one == prompt_sha256(messages("Why?", [0.0]))
    assert len({one, prompt_sha256(messages("Who?", [0.0])), prompt_sha256(messages("Why?", [0.5]))}) == 3
