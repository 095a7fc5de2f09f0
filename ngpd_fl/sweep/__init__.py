"""Sweeps: many runs that differ in a few keys, to find the best values of these.

from ngpd_fl.sweep import Plan, sweep
sweep(Plan.read("sweep.toml"), "runs/search", jobs=2)
"""

from ngpd_fl.sweep.picture import write_picture
from ngpd_fl.sweep.plan import PLAN, Plan
from ngpd_fl.sweep.sweep import sweep
from ngpd_fl.sweep.table import ranked, read_trials

__all__ = ["PLAN", "Plan", "ranked", "read_trials", "sweep", "write_picture"]
