"""What is true of a synthetic picture, said in many ways, in English and Chinese.

A state is something that holds or does not hold on one frame: an event, a look-alike, an object, an empty place. Rules
come as `category: watch`; look-alikes and the rest are written under `other`, so that the text tower learns to tell
them from the events they resemble.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from detector.statement import statement

EVENTS: dict[str, tuple[str, ...]] = {
    "abandoned_object": (
        "a bag lying on the floor with nobody next to it",
        "a bag left behind, its owner has gone",
        "an unattended bag on the ground",
        "a suitcase or backpack that nobody is carrying and nobody stands beside",
        "somebody has put a bag down and walked away from it",
        "an abandoned piece of luggage",
        "an object left alone on the floor",
        "a forgotten bag, no person near it",
        "地上有一个无人看管的包",
        "有人把包放下后离开了",
        "遗留在地上的行李,旁边没有人",
        "被遗弃的背包或箱子",
        "包的主人已经走远",
        "地面上的遗留物品",
    ),
    "fall": (
        "a person lying on the floor",
        "somebody has fallen down",
        "a person has collapsed and lies on the ground",
        "a man or woman down on the floor, not standing",
        "someone fell and is lying flat",
        "a fallen person",
        "a body on the ground",
        "an elderly person has fallen over",
        "有人倒在地上",
        "一个人摔倒了",
        "有人躺在地面上没有起来",
        "老人跌倒",
        "人员倒地",
        "有人突然倒下",
    ),
    "fight": (
        "two people fighting",
        "people hitting each other",
        "a brawl between two persons",
        "somebody punches somebody else",
        "persons come to blows",
        "a violent fight, arms swinging",
        "people grapple and strike one another",
        "physical assault",
        "两个人在打架",
        "有人互相殴打",
        "发生斗殴",
        "有人挥拳打人",
        "人员肢体冲突",
        "两人扭打在一起",
    ),
    "running": (
        "a person running",
        "somebody runs across the place",
        "a running person",
        "someone is sprinting",
        "a person rushes through at a run",
        "somebody runs away fast",
        "a man or woman running instead of walking",
        "people running in panic",
        "有人在奔跑",
        "一个人快速跑动",
        "有人跑过去",
        "人员奔跑",
        "有人拔腿就跑",
        "快速奔跑的人",
    ),
}
OTHERS: dict[str, tuple[str, ...]] = {
    "bag_picked_up": ("a person puts a bag down and picks it up again", "有人放下包又拿起来"),
    "bag_beside_owner": ("a person stands next to the bag they put down", "主人站在自己的包旁边"),
    "sits_down": ("a person sitting on a bench", "有人坐在长凳上"),
    "ties_shoe": ("a person squats to tie a shoe", "有人蹲下系鞋带"),
    "hug": ("two people embrace", "两个人拥抱"),
    "talk": ("two people talk with their hands", "两个人在交谈"),
    "cyclist": ("a person rides a bicycle", "有人骑自行车"),
    "brisk_walk": ("a person walks briskly", "有人快步行走"),
    "walking": ("people walk through", "行人走过"),
    "person": ("there is a person in the picture", "画面中有人"),
    "bag": ("there is a bag in the picture", "画面中有一个包"),
    "empty": ("an empty place, nobody is there", "空无一人的场地"),
}
VAGUE = (
    "watch this place", "tell us when it happens", "raise an alarm", "please look out for this", "anything of the kind",
    "near the entrance", "注意这个区域", "发现后报警", "留意异常情况",
)  # fmt: skip
"""A rule's wording may say little; its category still holds."""


def phrases(state: str, categories: Sequence[str]) -> tuple[str, ...]:
    """Every statement for a state; a state without written captions is called by its name."""
    plain = (state.replace("_", " "),)
    if state in categories:
        watches = EVENTS.get(state, plain)
        return tuple(statement(state, watch) for watch in watches)
    return tuple(statement("other", caption) for caption in OTHERS.get(state, plain))


def watch(category: str) -> str:
    """A plain watch for a category, as a site might write it."""
    return EVENTS[category][0] if category in EVENTS else category.replace("_", " ")


def corpus(states: Sequence[str], categories: Sequence[str]) -> list[str]:
    """What the tokenizer learns from."""
    lines = [line for state in states for line in phrases(state, categories)]
    return lines + [statement(category, watch) for category in categories for watch in VAGUE]


def draw(state: str, categories: Sequence[str], rng: random.Random) -> str:
    """One way to say it, sometimes with words missing or, for a category, with a watch that says nothing."""
    if state in categories and rng.random() < 0.15:
        return statement(state, rng.choice(VAGUE))
    line = rng.choice(phrases(state, categories))
    if rng.random() < 0.4:
        category, _, watch = line.partition(": ")
        words = watch.split(" ") if " " in watch else list(watch)
        kept = [word for word in words if rng.random() > 0.2] or words
        line = statement(category, (" " if " " in watch else "").join(kept))
    return line
