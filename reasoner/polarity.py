"""Whether an output says yes or no, and whether it says both: how an answer begins, and what takes it back."""

from __future__ import annotations

import re

from reasoner.scanner import TAG, Mark

_BOTH = re.compile(
    r"(?:(?:yes|true)\s{0,2}(?:[/|]|or|and|或)\s{0,2}(?:no|false)|(?:no|false)\s{0,2}(?:[/|]|or|and|或)\s{0,2}(?:yes|true))"
    r"(?=[\"'*)）]{0,3}[ \t]{0,2}(?:[.。!！?？;；\r\n]|$))"
    r"|是\s?[/或]?\s?否(?!定的)|有\s?(?:[/或]\s?)?没有|有\s?[/或]\s?无|有\s?无(?!人(?!员))|是不是",
    re.IGNORECASE,
)
"""A choice repeated, not made. In English it ends its sentence ("Yes and no one helps" is none); 无人 is "unattended",
是否定的 "is negative"."""
_YES = re.compile(r"(?:yes|true|是的?|有|存在|出现|发生)(?![a-z])", re.IGNORECASE)
_NO = re.compile(r"(?:no|none|false|是否定的|否|不是|没有|没|无|未|不)(?![a-z])", re.IGNORECASE)
_ALONE = re.compile(
    r"(?:^|[.。!！;\n])[\s\"'*]{0,4}(?:(?P<yes>yes|是的?)|no|否|不是?|没有)(?=[\"'*]{0,2}\s{0,2}(?:[.。,!！;:\n]|$))",
    re.IGNORECASE,
)
"""A sentence that begins with a yes or a no on its own: "No.", "No, ..."; not "No one ..."."""


def yes_or_no(answer: str) -> bool | None:
    """How an answer begins, in English or Chinese; None for neither, and for "Yes or no"."""
    start = answer.lstrip(" \t\r\n\"'*:：.。,，(（")
    if _BOTH.match(start):
        return None
    if _NO.match(start):
        return False
    return True if _YES.match(start) else None


def both_answers(yes: bool, text: str, marks: list[Mark]) -> bool:
    """Whether another answer than the one that counts, whole or cut short, says the opposite of it."""
    return any(answers and yes_or_no(TAG.sub("", part)) is (not yes) for part, answers in _outside(text, marks))


def taken_back(yes: bool, text: str, marks: list[Mark], answer: tuple[int, int]) -> bool:
    """Whether a later sentence of the answer, or behind it, says the opposite of its beginning. answer: its place."""
    parts = [text[slice(*answer)], *(part for part, _ in _outside(text, marks))]
    return any((found["yes"] is None) is yes for part in parts for found in _ALONE.finditer(part))


def _outside(text: str, marks: list[Mark]) -> list[tuple[str, bool]]:
    """What is said outside of the thinking, beside tags of an answer, and whether inside of these.

    An answer within a thinking is a thought. One that is never closed is no thinking; one that a chat template has
    opened ends at its first close.
    """
    outer = [mark for mark in marks if mark.name in ("think", "answer")]
    thinks = [mark for mark in outer if mark.name == "think"]
    last_close = max((mark.start for mark in thinks if mark.closes), default=-1)
    thinking = bool(thinks) and thinks[0].closes
    parts: list[tuple[str, bool]] = []
    for mark, end in zip(outer, [*(following.start for following in outer[1:]), len(text)], strict=False):
        if mark.name == "think":
            thinking = not mark.closes and mark.start < last_close
        elif not thinking:
            parts.append((text[mark.end : end], not mark.closes))
    return parts
