"""Training of the reasoner: the tiny bundled Qwen3-VL from scratch, full-size checkpoints from rows."""
