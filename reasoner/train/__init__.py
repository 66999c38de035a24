"""Training of the reasoner: the tiny bundled Qwen3-VL, from nothing to a calibrated folder."""
