"""Records: what a run writes and how it is read again."""

from ngpd_fl.records.environment import describe_environment
from ngpd_fl.records.folder import AVERAGE, RunFolder, require_empty
from ngpd_fl.records.metrics import Metrics
from ngpd_fl.records.tensorboard import require_tensorboard

__all__ = ["AVERAGE", "Metrics", "RunFolder", "describe_environment", "require_empty", "require_tensorboard"]
