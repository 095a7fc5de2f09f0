"""Estimates: what a run will take, before it is run."""

from ngpd_fl.profiling.estimate import Estimate, estimate

__all__ = ["Estimate", "estimate"]
