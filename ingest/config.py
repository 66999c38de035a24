"""Settings of the cameras and of ingest."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ingest.source import redact

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Unit = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Point = tuple[Unit, Unit]


def _crosses_itself(points: tuple[Point, ...]) -> bool:
    """Whether two sides cross between their ends: then it is not said what is inside."""

    def turn(a: Point, b: Point, c: Point) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    sides = list(zip(points, [*points[1:], *points[:1]], strict=True))
    return any(
        turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
        for place, (a, b) in enumerate(sides)
        for c, d in sides[:place]
    )


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[camera]]` table. `url` may hold `${NAME}` or be `file:PATH`-referenced secrets, already resolved here."""

    id: Identifier
    url: str
    name: str = ""
    tls_verify: bool = True
    """Whether an rtsps:// camera must show a certificate that is trusted."""
    tls_ca: str = ""
    """PEM file of the authority that signed it; empty: the system's."""
    zones: dict[Identifier, tuple[Point, ...]] = {}
    """Polygons in 0..1 of the displayed frame."""

    def __post_init__(self) -> None:
        for zone, points in self.zones.items():
            if len(points) < 3:
                raise ValueError(f"zone {zone!r} has {len(points)} points, a polygon needs at least 3")
            if _crosses_itself(points):
                raise ValueError(
                    f"zone {zone!r} crosses its own outline; give its points in order along the outline, or two zones"
                )

    def __repr__(self) -> str:
        """Records end up in logs and tracebacks: without the URL's credentials."""
        return f"CameraConfig(id={self.id!r}, url={redact(self.url)!r}, name={self.name!r})"


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[ingest]` table."""

    ring_s: Annotated[float, Meta(ge=10, le=600)] = 60.0
    ring_mib: Annotated[int, Meta(ge=4, le=4096)] = 96
    """Bound of one camera's ring in MiB; whole GOPs are evicted, oldest first."""
    coarse_size: tuple[Annotated[int, Meta(ge=32)], Annotated[int, Meta(ge=32)]] = (640, 360)
    """Coarse frames are reduced to fit this width and height, aspect kept, px."""
    coarse_interval_s: Annotated[float, Meta(ge=0, le=5)] = 0.8
    """Key frames closer together than this are not decoded."""
    fine_step_s: Annotated[float, Meta(ge=0.1, le=5)] = 0.5
    open_timeout_s: Positive = 5.0
    read_timeout_s: Positive = 5.0
    max_pixels: Annotated[int, Meta(ge=1024)] = 8_294_400
    """Largest frame that is decoded, px (4K UHD)."""
    backoff_max_s: Positive = 30.0
