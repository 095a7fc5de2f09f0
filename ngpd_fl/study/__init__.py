"""Studies: which of several strategies is best, each tuned with the same effort, over cells and seeds.

from ngpd_fl.study import Plan, study
study(Plan.read("study.toml"), "runs/study", jobs=2)
"""

from ngpd_fl.study.plan import PLAN, Plan
from ngpd_fl.study.study import Standing, standing, study

__all__ = ["PLAN", "Plan", "Standing", "standing", "study"]
