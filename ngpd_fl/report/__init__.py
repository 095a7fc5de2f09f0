"""Reports: tables and pictures from the records of runs.

from ngpd_fl.report import write_plots
write_plots("runs/digits-ngpd-1")
"""

import ngpd_fl.report.backend  # isort: skip # noqa: F401 # before any import of matplotlib

from ngpd_fl.report.comparison import write_comparison
from ngpd_fl.report.outcome import Outcome, read_comparison, read_outcomes, read_run
from ngpd_fl.report.plots import write_plots

__all__ = ["Outcome", "read_comparison", "read_outcomes", "read_run", "write_comparison", "write_plots"]
