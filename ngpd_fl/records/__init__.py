"""Records: writing and reading the files of a run."""

from ngpd_fl.records.checkpoints import Checkpoint, Checkpoints, DamagedCheckpoint
from ngpd_fl.records.environment import OF_ONE_RUN, describe_environment, differences
from ngpd_fl.records.evaluation import Average, Evaluation
from ngpd_fl.records.files import require_folder_of, require_new, write_tensors, write_text
from ngpd_fl.records.folder import AVERAGE, RunFolder, require_empty
from ngpd_fl.records.metrics import (
    ACCURACY,
    HAMMING_ACCURACY,
    MEASURES,
    METRICS,
    RMSE,
    TOKEN_ACCURACY,
    Accuracies,
    Errors,
    Measure,
    Metrics,
    MultiLabelAccuracies,
    TokenAccuracies,
    figure_measure,
    null_if_not_finite,
)
from ngpd_fl.records.recorder import Progress, RunRecorder, checked_retries

__all__ = [
    "ACCURACY",
    "AVERAGE",
    "HAMMING_ACCURACY",
    "MEASURES",
    "METRICS",
    "OF_ONE_RUN",
    "RMSE",
    "TOKEN_ACCURACY",
    "Accuracies",
    "Average",
    "Checkpoint",
    "Checkpoints",
    "DamagedCheckpoint",
    "Errors",
    "Evaluation",
    "Measure",
    "Metrics",
    "MultiLabelAccuracies",
    "Progress",
    "RunFolder",
    "RunRecorder",
    "TokenAccuracies",
    "checked_retries",
    "describe_environment",
    "differences",
    "figure_measure",
    "null_if_not_finite",
    "require_empty",
    "require_folder_of",
    "require_new",
    "write_tensors",
    "write_text",
]
