"""The ways a site may put each category's question: what the bundled reasoner is trained to understand.

English and Chinese; a new category is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "abandoned_object": (
        "Does somebody leave a bag behind and walk away?",
        "Does somebody leave a bag behind?",
        "Is a bag left behind?",
        "Is there an abandoned bag?",
        "Is a bag or a suitcase left unattended?",
        "Does a person put a bag down and go away without it?",
        "Has anyone abandoned an object here?",
        "Was luggage left on the floor with nobody next to it?",
        "Is an unattended object lying on the floor?",
        "Does anyone walk away from their bag?",
        "有人丢下包离开吗?",
        "是否有人遗留物品?",
        "画面中有无人看管的包吗?",
        "有人把行李放下后走开了吗?",
        "地上是否有遗弃的包?",
        "是否出现遗留物?",
    ),
    "fall": (
        "Does somebody fall to the ground?",
        "Does somebody fall?",
        "Does a person fall down?",
        "Has anyone fallen?",
        "Is there a person who collapses?",
        "Does someone fall over and lie on the floor?",
        "Did a person fall and stay down?",
        "Is anybody lying on the ground after a fall?",
        "Does a person slip or trip and fall?",
        "Has somebody collapsed on the floor?",
        "有人摔倒吗?",
        "是否有人跌倒?",
        "画面中有人倒地吗?",
        "有人突然倒下了吗?",
        "有没有人摔倒在地上?",
        "是否有人倒地不起?",
    ),
    "fight": (
        "Are people fighting?",
        "Do people fight?",
        "Is there a fight?",
        "Do two people fight with each other?",
        "Does somebody hit another person?",
        "Is anyone being attacked?",
        "Do people punch or kick each other?",
        "Has a fight broken out?",
        "Is there violence between people?",
        "Does a person strike or push another one?",
        "有人打架吗?",
        "是否有人斗殴?",
        "画面中有人互相殴打吗?",
        "有人在攻击别人吗?",
        "两个人打起来了吗?",
        "是否发生肢体冲突?",
    ),
    "running": (
        "Is somebody running?",
        "Does somebody run?",
        "Does a person run through the scene?",
        "Is anyone running?",
        "Does somebody run away?",
        "Is there a person who runs?",
        "Does a person move at a run?",
        "Is somebody sprinting or rushing?",
        "Did anyone run across the area?",
        "Is a person running fast?",
        "有人在奔跑吗?",
        "是否有人跑动?",
        "画面中有人跑步吗?",
        "有人快速跑过吗?",
        "有没有人在跑?",
        "是否有人奔跑逃离?",
    ),
}

KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "abandoned_object": (
        "bag", "luggage", "suitcase", "backpack", "abandon", "unattended", "left behind", "leave",
        "包", "遗留", "遗弃", "行李", "无人看管",
    ),
    "fall": ("fall", "fell", "collapse", "trip", "slip", "on the ground", "摔", "跌", "倒地", "倒下"),
    "fight": (
        "fight", "attack", "hit", "strike", "push", "punch", "kick", "brawl", "violen", "assault",
        "打架", "斗殴", "殴打", "攻击", "冲突", "打起来",
    ),
    "running": ("run", "sprint", "rush", "跑"),
}  # fmt: skip
"""Words by which a free question about a category is recognised."""


def questions(category: str) -> tuple[str, ...]:
    """Every phrasing of one category's question, the plain English one first; KeyError for an unknown category."""
    return QUESTIONS[category]


def language(question: str) -> Literal["en", "zh"]:
    """`zh` when the question holds a Chinese character, else `en`."""
    return "zh" if any("一" <= letter <= "鿿" for letter in question) else "en"
