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
    "crowd": (
        "many people standing together",
        "a crowd has gathered",
        "a dense group of people",
        "a large group of persons in one place",
        "people crowd together",
        "six or more people close to each other",
        "a gathering of people",
        "a mob",
        "人群聚集",
        "很多人聚在一起",
        "人员密集",
        "一大群人围拢",
        "多人聚集",
        "拥挤的人群",
    ),
    "fire_smoke": (
        "fire or smoke",
        "flames on the floor",
        "something is burning",
        "dark smoke rises",
        "an open fire",
        "a plume of smoke",
        "something smoulders",
        "a blaze",
        "有火焰",
        "冒出浓烟",
        "着火了",
        "地上有东西燃烧",
        "明火",
        "烟雾升起",
    ),
    "intrusion": (
        "a person inside the marked zone",
        "somebody stands in the restricted area",
        "a person on the hatched floor",
        "an intruder in the zone",
        "someone has entered the forbidden area",
        "a person where nobody may be",
        "trespassing in the marked area",
        "somebody walks in the no-go zone",
        "有人在禁区内",
        "有人闯入标记区域",
        "人员入侵",
        "有人站在划线区域里",
        "擅自进入禁止区域",
        "区域入侵",
    ),
    "loitering": (
        "a person loitering",
        "somebody hangs about in one place",
        "a person paces up and down",
        "someone lingers and walks to and fro",
        "a loiterer",
        "a person who does not go on",
        "somebody wanders around the same spot",
        "a suspicious person lingering",
        "有人徘徊",
        "可疑人员逗留",
        "有人来回走动",
        "有人在原地踱步",
        "人员滞留",
        "长时间逗留的人",
    ),
    "tamper": (
        "the camera is covered",
        "something hides the lens",
        "a cloth over the camera",
        "the view is blocked",
        "paint sprayed on the lens",
        "the picture is mostly covered",
        "a covered camera",
        "sabotage of the camera",
        "镜头被遮挡",
        "摄像头被盖住",
        "画面被挡住",
        "镜头被喷漆",
        "摄像机被破坏",
        "视野被遮住",
    ),
    "vehicle_wrong_way": (
        "a car driving the wrong way",
        "a vehicle against the traffic",
        "a wrong-way driver",
        "a car drives against the arrows of its lane",
        "a vehicle in the wrong direction",
        "a car on the wrong side of the road",
        "a vehicle moves against its lane",
        "wrong-way driving",
        "车辆逆行",
        "汽车反方向行驶",
        "逆向行驶的车",
        "有车开错方向",
        "违反车道方向的车辆",
        "机动车逆行",
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
    "small_group": ("a few people stand together", "几个人站在一起"),
    "family_walks": ("a few people walk side by side", "几个人并排走过"),
    "steam": ("steam rises from a drain", "蒸汽冒出"),
    "lamp": ("a lamp is on", "灯亮着"),
    "stands_at_zone": ("a person stands before the marked zone", "有人站在区域边上"),
    "skirts_zone": ("a person walks along the marked zone", "有人沿着区域边缘走"),
    "waits": ("a person stands and waits", "有人站着等待"),
    "turns_back": ("a person turns back", "有人掉头离开"),
    "close_passer": ("a person passes right before the camera", "有人从镜头前经过"),
    "lights_out": ("the lights are out", "灯灭了"),
    "vehicle_right_way": ("a car drives the right way", "车辆正常行驶"),
    "vehicle_stops": ("a car has stopped in its lane", "车辆停在车道上"),
    "car": ("there is a car in the picture", "画面中有一辆车"),
    "fire": ("there are flames in the picture", "画面中有火苗"),
    "smoke": ("there is smoke in the picture", "画面中有烟"),
    "cover": ("something covers the picture", "有东西盖住画面"),
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
