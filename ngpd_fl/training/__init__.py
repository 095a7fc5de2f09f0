"""Training: the parts of a run, built from its configuration."""

from ngpd_fl.training.engine import make_clock, make_engine
from ngpd_fl.training.job import Job, build_strategy, compose

__all__ = ["Job", "build_strategy", "compose", "make_clock", "make_engine"]
