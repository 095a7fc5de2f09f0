"""Records: writing and reading the files of a run."""

from ngpd_fl.records.checkpoints import Checkpoint, Checkpoints, DamagedCheckpoint
from ngpd_fl.records.environment import OF_ONE_RUN, describe_environment, differences
from ngpd_fl.records.evaluation import Average, Evaluation
from ngpd_fl.records.files import write_tensors, write_text
from ngpd_fl.records.folder import AVERAGE, RunFolder, require_empty
from ngpd_fl.records.metrics import (
    ACCURACY,
    MEASURES,
    METRICS,
    RMSE,
    Accuracies,
    Errors,
    Measure,
    Metrics,
    null_if_not_finite,
)
from ngpd_fl.records.recorder import Progress, RunRecorder, checked_retries
from ngpd_fl.records.tensorboard import EventFiles, require_tensorboard

__all__ = [
    "ACCURACY",
    "AVERAGE",
    "MEASURES",
    "METRICS",
    "OF_ONE_RUN",
    "RMSE",
    "Accuracies",
    "Average",
    "Checkpoint",
    "Checkpoints",
    "Errors",
    "Evaluation",
    "EventFiles",
    "Measure",
    "Metrics",
    "Progress",
    "DamagedCheckpoint",
    "RunFolder",
    "RunRecorder",
    "checked_retries",
    "describe_environment",
    "differences",
    "null_if_not_finite",
    "require_empty",
    "require_tensorboard",
    "write_tensors",
    "write_text",
]
