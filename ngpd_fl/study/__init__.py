"""Studies: comparison of strategies over cells and seeds, each tuned with the same number of trials.

from ngpd_fl.study import StudyPlan, run_study
run_study(StudyPlan.read("study.toml"), "runs/study", jobs=2)
"""

from ngpd_fl.config.extras import require_extra

require_extra("study", "studies")

from ngpd_fl.study.plan import STUDY_FILE, StudyPlan  # noqa: E402
from ngpd_fl.study.study import StudyProgress, run_study, study_progress  # noqa: E402

__all__ = ["STUDY_FILE", "StudyPlan", "StudyProgress", "run_study", "study_progress"]
