"""Sweeps: runs that differ in a few keys, to find the best values of these keys.

from ngpd_fl.sweep import SweepPlan, run_sweep
run_sweep(SweepPlan.read("sweep.toml"), "runs/search", jobs=2)
"""

from ngpd_fl.sweep.picture import write_picture
from ngpd_fl.sweep.plan import SWEEP_FILE, SweepPlan
from ngpd_fl.sweep.sweep import run_sweep
from ngpd_fl.sweep.table import ranked, read_trials

__all__ = ["SWEEP_FILE", "SweepPlan", "ranked", "read_trials", "run_sweep", "write_picture"]
