"""Records: what a run writes and how it is read again."""

from ngpd_fl.records.environment import describe_environment
from ngpd_fl.records.folder import AVERAGE, RunFolder, require_empty
from ngpd_fl.records.ledger import Ledger, Progress
from ngpd_fl.records.metrics import Metrics

__all__ = ["AVERAGE", "Ledger", "Metrics", "Progress", "RunFolder", "describe_environment", "require_empty"]
