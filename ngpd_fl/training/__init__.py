"""Training: a run's parts and engine, built from its configuration, the training loop, and its callbacks."""

from ngpd_fl.training.engine import make_clock, make_engine
from ngpd_fl.training.job import Job, build_strategy, compose

__all__ = ["Job", "build_strategy", "compose", "make_clock", "make_engine"]
