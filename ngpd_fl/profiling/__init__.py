"""Profiling: estimates of a run, calibration of a machine, and checks of an installation."""

from ngpd_fl.profiling.estimation import Estimate, estimate

__all__ = ["Estimate", "estimate"]
