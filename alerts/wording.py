"""Headline and summary of an alert, English and Chinese. Words of models and sites are data: cleaned, not trusted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

from alerts.instant import clock_text
from detector.rule import Category

Language = Literal["en", "zh"]
HEADLINE_CHARS = 80
SUMMARY_CHARS = 400
MAX_SENTENCES = 12
NOTE_CHARS = 120
_SHORTEST = 16
"""A shorter sentence is replaced by a template; it would leave too much of the summary to the spaces between."""
_WORDS: dict[Category, tuple[str, str]] = {
    "abandoned_object": ("Object left behind", "遗留物品"),
    "crowd": ("Crowd", "人群聚集"),
    "fall": ("Person fell", "人员跌倒"),
    "fight": ("Fight", "打架斗殴"),
    "fire_smoke": ("Fire or smoke", "烟火"),
    "intrusion": ("Intrusion", "区域入侵"),
    "loitering": ("Loitering", "徘徊逗留"),
    "running": ("Person running", "人员奔跑"),
    "tamper": ("Camera tampered with", "摄像机遭破坏"),
    "vehicle_wrong_way": ("Vehicle going the wrong way", "车辆逆行"),
    "other": ("Event", "事件"),
}
_LABELS_ZH = {
    "bag": "包", "backpack": "背包", "suitcase": "行李箱", "object": "物体",
    "person": "人员", "people": "人群", "man": "男子", "woman": "女子", "child": "儿童",
    "car": "汽车", "red car": "红色汽车", "truck": "卡车", "bicycle": "自行车", "dog": "狗",
    "fire": "火焰", "smoke": "烟雾",
}  # fmt: skip
_GOES_ON = re.compile(r"(?:[!?。！？]|\.\s)\W*\w")
"""A sentence ends and another begins: then nobody can tell for which of them the claim's evidence stands."""
_SECONDS = re.compile(r"(?P<at>\bat\s*)?(?<![\d.])(?P<n>\d+(?:\.\d+)?)\s*(?:s\b|sec(?:onds?)?\b|秒)")


class Mention(msgspec.Struct, frozen=True):
    """A claim as the summary speaks of it."""

    sentence: str
    label: str
    time_s: float
    """As the model wrote it."""
    utc_ns: int


class Wording(msgspec.Struct, frozen=True):
    """The summary, and where each mention stands in it; None for one that found no room."""

    summary: str
    spans: tuple[tuple[int, int] | None, ...]


def plain(text: str, limit: int = 400) -> str:
    """One line without control, format or unassigned characters, at most `limit` characters."""
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return shorten(" ".join(kept.split()), limit)


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def happening(category: Category, language: Language) -> str:
    """What a category is called."""
    return _WORDS[category][language == "zh"]


def headline(category: Category, rule_name: str, camera: str, language: Language) -> str:
    """At most 80 characters: what, and at which camera; the camera's name gives way first."""
    what = shorten(plain(rule_name) or happening(category, language), 50)
    room = HEADLINE_CHARS - len(what) - 4
    where = shorten(plain(camera), room)
    return f"{where}:{what}" if language == "zh" else f"{what} at {where}"


def asked_again(question: str, answer: str, language: Language) -> str:
    """At most 120 characters: what was asked about a later window, and what the answer was; the question gives way."""
    said = shorten(plain(answer), 40) or ("否" if language == "zh" else "No.")
    frame = "再次提问“{}”，回答“{}”" if language == "zh" else "Asked again “{}”, answered “{}”"
    return frame.format(shorten(plain(question), NOTE_CHARS - len(frame.format("", said))), said)


def summarise(mentions: Sequence[Mention], language: Language, tz: str) -> Wording:
    """At most 400 characters made only of claims: the model's sentences where they are in the wanted language.

    Seconds of the window are replaced by the site's clock; claims that share a sentence share its span.
    """
    groups: dict[str, list[int]] = {}
    for index, mention in enumerate(mentions):
        groups.setdefault(mention.sentence, []).append(index)
    parts: list[tuple[str, list[int]]] = []
    for sentence, members in groups.items():
        told = _told(sentence, [mentions[i] for i in members], language, tz)
        if told:
            parts.append((told, members))
        else:
            parts += [(_template(mentions[i], language, tz), [i]) for i in members]
    parts = parts[:MAX_SENTENCES]
    joint = "" if language == "zh" else " "
    room = SUMMARY_CHARS - len(joint) * (len(parts) - 1)
    fair = room if sum(len(text) for text, _ in parts) <= room else room // len(parts)
    spans: list[tuple[int, int] | None] = [None] * len(mentions)
    summary = ""
    for text, members in parts:
        summary += joint if summary else ""
        start = len(summary)
        summary += shorten(text, fair)
        for index in members:
            spans[index] = (start, len(summary))
    return Wording(summary, tuple(spans))


def _told(sentence: str, members: list[Mention], language: Language, tz: str) -> str | None:
    """The model's sentence with clock times, or None where a template serves better."""
    text = plain(sentence, SUMMARY_CHARS)
    chinese = any("\u4e00" <= c <= "\u9fff" for c in text)
    if chinese != (language == "zh") or len(text) < _SHORTEST or _GOES_ON.search(text):
        return None

    def clock(found: re.Match[str]) -> str:
        for mention in members:
            if abs(mention.time_s - float(found["n"])) < 0.05:
                return ("at " if found["at"] else "") + clock_text(mention.utc_ns, tz)
        return found[0]

    return _SECONDS.sub(clock, text)


def _template(mention: Mention, language: Language, tz: str) -> str:
    clock, label = clock_text(mention.utc_ns, tz), plain(mention.label, 60) or "object"
    if language == "zh":
        return f"{clock} 画面中出现{_LABELS_ZH.get(label.lower(), label)}。"
    return f"{label[:1].upper()}{label[1:]} seen at {clock}."
