"""Reports: tables, pictures and web pages from the records of runs.

from ngpd_fl.report.pictures import write_plots
write_plots("runs/digits-ngpd-1")
"""

from ngpd_fl.report.comparison import write_comparison
from ngpd_fl.report.outcome import Outcome, read_comparison, read_outcomes, read_run

__all__ = ["Outcome", "read_comparison", "read_outcomes", "read_run", "write_comparison"]
