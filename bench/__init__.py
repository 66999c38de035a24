"""Benchmarks: python -m bench NAME [--json]; the peer is measured in the same run."""
