"""The answer sentence in the language that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reasoner.numerals import shifted

EVENTS_ZH: Mapping[str, str] = {
    "abandoned_object": "有人遗留物品",
    "crowd": "人群聚集",
    "fall": "有人摔倒",
    "fight": "有人打架",
    "fire_smoke": "起火或冒烟",
    "intrusion": "有人闯入",
    "loitering": "有人徘徊",
    "running": "有人奔跑",
    "tamper": "有人遮挡或破坏摄像头",
    "vehicle_wrong_way": "车辆逆行",
}
"""Per category, what happens."""
SEEN_ZH: Mapping[str, str] = {
    "a person picks the bag up again": "有人又拿起了包",
    "a person sits down": "有人坐下",
    "a person ties a shoe": "有人系鞋带",
    "two people hug": "两人拥抱",
    "people walk by": "有人走过",
    "people stand": "有人站着",
    "nothing happens": "没有异常",
    "a bag is left behind": "有人遗留物品",
    "a person falls": "有人摔倒",
    "two people fight": "有人打架",
    "a person runs": "有人奔跑",
}
"""Sentences that the bundled model says of what it sees instead."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEAD = re.compile(r"^(yes|no)\b[\s.,:!。，]*", re.IGNORECASE)


def sentence(answer: str, lang: str, category: str | None, span_s: tuple[float, float] | None, offset_s: float) -> str:
    """A model's answer about a window as one about the whole file.

    Times move by `offset_s`. In Chinese the known sentences of a category become Chinese; anything else is kept.
    """
    plain = " ".join(_CONTROL.sub(" ", answer).split())
    if not plain:
        return "没有回答。" if lang == "zh" else "No answer."
    if lang != "zh":
        return shifted(plain, offset_s)
    lead = _LEAD.match(plain)
    what = EVENTS_ZH.get(category or "")
    if what is not None and lead is not None and plain.isascii():
        if lead[1].lower() == "yes":
            when = f"{span_s[0]:.1f}-{span_s[1]:.1f}秒" if span_s else ""
            return f"视频中{when}{what}。"
        seen = SEEN_ZH.get(plain[lead.end() :].strip(" .").lower())
        return f"视频中未发现{what}{':' + seen if seen else ''}。"
    moved = shifted(plain, offset_s)
    if lead is None:
        return moved
    rest = moved[lead.end() :].strip()
    return ("是。" if lead[1].lower() == "yes" else "否。") + rest
