"""Benchmarks: scripts that print measurements. Run one as ``python -m benchmarks.NAME``."""
