"""What 8 bits cost a scorer, as its folder records it, and the lines that say it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of one category that are found with each precision, on the same frames."""

    events: int
    fp32: int
    int8: int

    @property
    def loss(self) -> float:
        """Of recall, in shares of the events; below 0 where 8 bits find more."""
        return (self.fp32 - self.int8) / self.events if self.events else 0.0


class Rounding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the 8-bit graph of one folder."""

    cosine_mean: float
    """Of the tokens of held-out pictures with their fp32 selves."""
    cosine_min: float
    scenes: int = 0
    """Synthetic scenes on which recall was counted; 0: it was not."""
    scene_s: float = 0.0
    first_seed: int = 0
    categories: dict[str, Kept] = {}
    false_fp32: float = 0.0
    """Windows flagged per minute in which nothing happens."""
    false_int8: float = 0.0

    @property
    def total(self) -> Kept:
        """Over all categories."""
        return Kept(
            **{name: sum(getattr(one, name) for one in self.categories.values()) for name in Kept.__struct_fields__}
        )


def lines(rounding: Rounding) -> Iterator[str]:
    """One for each category, then the totals; for a rounding whose recall was counted."""
    width = max(map(len, rounding.categories), default=0)
    for name, kept in sorted(rounding.categories.items()):
        yield f"int8: {name:{width}}  {_told(kept)}"
    total = rounding.total
    yield (
        f"int8: all categories: {_told(total)}; false windows per quiet minute: fp32 {rounding.false_fp32:.2f}, "
        f"int8 {rounding.false_int8:.2f} ({rounding.scenes} synthetic scenes of {rounding.scene_s:.0f} s, one event is "
        f"{100 / max(total.events, 1):.1f} points)"
    )


def _told(kept: Kept) -> str:
    if not kept.events:
        return "no event in these scenes"
    return f"{kept.events} events, fp32 finds {kept.fp32}, int8 {kept.int8}: recall lost {100 * kept.loss:.1f} points"
