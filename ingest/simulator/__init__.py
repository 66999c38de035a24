"""Simulated cameras: labelled scenes with exact truth, and an RTSP server that plays them or recorded files."""
