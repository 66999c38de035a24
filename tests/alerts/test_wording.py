"""Headlines and summaries, English and Chinese."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from alerts.wording import HEADLINE_CHARS, Mention, headline, summarise
from detector.rule import Category

START_NS = 1_764_000_000_000_000_000  # 2025-11-24T16:00:00Z


def mention(sentence: str, label: str = "bag", time_s: float = 2.0) -> Mention:
    return Mention(sentence, label, time_s, START_NS + round(time_s * 1e9))


SUMMARIES = {
    "clock": (["The person at 1.0s leaves the bag."], "en", "The person at 00:00:01 leaves the bag."),
    "glued": (["The person at1.0s leaves the bag."], "en", "The person at 00:00:01 leaves the bag."),
    "unknown second": (["The person at 7.5s leaves the bag."], "en", "The person at 7.5s leaves the bag."),
    "too short": (["Bag."], "en", "Bag seen at 00:00:01."),
    "chinese": (["一个人在1.0秒把包留在了地上然后离开了。"], "zh", "一个人在00:00:01把包留在了地上然后离开了。"),
    "english for a chinese site": (["The person at 1.0s leaves the bag."], "zh", "00:00:01 画面中出现包。"),
    "chinese for an english site": (["一个人在1.0秒把包留在了地上然后离开了现场。"], "en", "Bag seen at 00:00:01."),
    "several in one": (["The person leaves the bag. The building burns down."], "en", "Bag seen at 00:00:01."),
    "several in one, chinese": (["一个人把包留在了地上。整栋楼都烧毁了。"], "zh", "00:00:01 画面中出现包。"),
    "a stop in a number": (["The person leaves v1.2 of the bag...!"], "en", "The person leaves v1.2 of the bag...!"),
    "two": (["A first sentence of some length.", "And a second one of some length."], "en",
            "A first sentence of some length. And a second one of some length."),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMMARIES)
def test_summary(name: str) -> None:
    sentences, language, expected = SUMMARIES[name]
    told = summarise([mention(s, time_s=1.0) for s in sentences], language, "Asia/Shanghai")  # type: ignore[arg-type]
    assert told.summary == expected


def test_claims_of_one_sentence_share_its_span() -> None:
    told = summarise([mention("The person leaves the bag behind."), mention("The person leaves the bag behind.")],
                     "en", "UTC")  # fmt: skip
    assert told.spans[0] == told.spans[1] == (0, len(told.summary))


@pytest.mark.parametrize("category", get_args(Category))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_category_has_a_headline(category: Any, language: Any) -> None:
    for name, camera in [("", "Gate 1"), ("r" * 300, "c" * 300)]:
        line = headline(category, name, camera, language)
        assert 0 < len(line) <= HEADLINE_CHARS
        assert (":" in line) == (language == "zh")
