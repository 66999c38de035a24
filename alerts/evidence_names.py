"""Names of evidence files, relative to the data folder: what a record's `uri` says is where the file lies."""

EVIDENCE = "evidence"
CLIP = "clip.mp4"
BACKGROUND = "background.jpg"


def frame_name(index: int) -> str:
    """File of one fine frame of the window."""
    return f"frame-{index:03d}.jpg"


def evidence_uri(alert_id: str, name: str) -> str:
    return f"{EVIDENCE}/{alert_id}/{name}"
