"""Cameras in: RTSP to compressed ring, coarse key frames, and windows cut on demand."""
