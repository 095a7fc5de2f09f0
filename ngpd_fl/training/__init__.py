"""From a configuration to the parts of a run: the one place where they are put together."""

from ngpd_fl.training.engine_choice import account, make_engine, make_watch
from ngpd_fl.training.job import DTYPES, Job, build_strategy, compose, pick_device

__all__ = ["DTYPES", "Job", "account", "build_strategy", "compose", "make_engine", "make_watch", "pick_device"]
