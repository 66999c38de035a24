"""Names of evidence files, relative to the data folder: what a record's `uri` says is where the file lies."""

EVIDENCE = "evidence"
CLIP = "clip.mp4"
BACKGROUND = "background.jpg"
COUNTER = "counter"
"""Folder, inside an alert's, of the frames that argue against it."""


def frame_name(index: int) -> str:
    """File of one fine frame of the window."""
    return f"frame-{index:03d}.jpg"


def counter_name(index: int) -> str:
    """File of one fine frame of the window that contradicts the alert."""
    return f"{COUNTER}/{frame_name(index)}"


def evidence_uri(alert_id: str, name: str) -> str:
    return f"{EVIDENCE}/{alert_id}/{name}"
