"""From a configuration to the parts of a run: the one place where they are put together."""

from ngpd_fl.training.engine_choice import account, make_engine, make_watch
from ngpd_fl.training.job import Job, build_strategy, compose

__all__ = ["Job", "account", "build_strategy", "compose", "make_engine", "make_watch"]
