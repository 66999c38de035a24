"""The close look: Qwen3-VL answers, points at its evidence, and the evidence is checked independently."""
