"""The public names of ``ngpd_fl.report``."""

from ngpd_fl.report.comparison import write_comparison
from ngpd_fl.report.outcome import Outcome, read_comparison, read_outcomes, read_run
from ngpd_fl.report.plots import write_plots

__all__ = ["Outcome", "read_comparison", "read_outcomes", "read_run", "write_comparison", "write_plots"]
