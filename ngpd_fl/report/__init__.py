"""Reports: tables, pictures and web pages from the records of runs.

from ngpd_fl.report.pictures import write_plots
write_plots("runs/digits-ngpd-1")
"""

from ngpd_fl.report.outcome import Outcome, read_comparison, read_outcomes, read_run
from ngpd_fl.report.table import write_comparison

__all__ = ["Outcome", "read_comparison", "read_outcomes", "read_run", "write_comparison"]
