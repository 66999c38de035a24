"""What is known of a camera from outside: its state, the reason for it, and counters."""

from typing import Literal

import msgspec

from ingest.errors import Fault

State = Literal["connecting", "online", "offline", "stopped"]


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. Counters run since the camera was started, over all its connections."""

    camera_id: str
    state: State
    fault: Fault | None = None
    """Kind of the trouble while offline."""
    reason: str = ""
    """One line for people while offline: what, where, how to mend it. Never a credential."""
    reconnects: int = 0
    """Connections after the first one."""
    epoch: int = 0
    codec: str = ""
    size: tuple[int, int] = (0, 0)
    """Displayed width and height, px; (0, 0) before the first picture."""
    received_packets: int = 0
    received_bytes: int = 0
    key_frames: int = 0
    coarse_decoded: int = 0
    dropped: dict[str, int] = {}
    """By reason: `interval` (key frames closer than wanted), `undecodable`, `corrupt` (given on, but marked), `late`
    (a key frame overtook a picture of a long GOP), `not_taken` (the parent was slow), `no_key_frame` (packets that
    nothing could be made of)."""
    ring_s: float = 0.0
    ring_bytes: int = 0
    last_frame_utc_ns: int | None = None
    """Capture time of the newest coarse frame."""
    camera_offset_ms: float | None = None
    """The camera's clock minus ours by its sender reports, delay included; None: it sends none."""


class CameraEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of state, or a new epoch of a camera that stays online."""

    camera_id: str
    state: State
    epoch: int
    utc_ns: int
    fault: Fault | None = None
    reason: str = ""


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one short connection to a camera found."""

    camera_id: str
    codec: str
    size: tuple[int, int]
    """Displayed width and height, px."""
    first_picture_s: float
    """From the start of the connection to its first decoded picture."""
    clock_source: str
    clock_offset_ms: float | None
