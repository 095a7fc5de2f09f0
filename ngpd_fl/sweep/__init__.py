"""Sweeps: runs that differ in a few keys, to find the best values of these keys.

from ngpd_fl.sweep import SweepPlan, run_sweep
run_sweep(SweepPlan.read("sweep.toml"), "runs/search", jobs=2)
"""

from ngpd_fl.config.extras import require_extra

require_extra("study", "sweeps")

from ngpd_fl.sweep.picture import write_picture  # noqa: E402
from ngpd_fl.sweep.plan import SWEEP_FILE, SweepPlan  # noqa: E402
from ngpd_fl.sweep.sweep import run_sweep  # noqa: E402
from ngpd_fl.sweep.table import ranked, read_trials  # noqa: E402

__all__ = ["SWEEP_FILE", "SweepPlan", "ranked", "read_trials", "run_sweep", "write_picture"]
