"""TensorBoard's event files of a run's evaluations, which can be plotted during the run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ngpd_fl.config.extras import require_extra
from ngpd_fl.records.metrics import PERPLEXITY, Metrics

TAGS = {
    "mean_accuracy": "accuracy/mean",
    "min_accuracy": "accuracy/min",
    "max_accuracy": "accuracy/max",
    "mean_own_accuracy": "accuracy/mean_own",
    "averaged_model_accuracy": "accuracy/averaged_model",
    "mean_perplexity": "perplexity/mean",
    "averaged_model_perplexity": "perplexity/averaged_model",
    "perplexity": "nodes/perplexity",
    "mean_exact_match": "accuracy/mean_exact_match",
    "averaged_model_exact_match": "accuracy/averaged_model_exact_match",
    "exact_match": "nodes/exact_match",
    "train_loss": "training/loss",
    "trust_shrink": "training/trust_shrink",
    "consensus_distance": "training/consensus_distance",
    "bytes_sent": "cost/bytes_sent",
    "train_seconds": "cost/train_seconds",
    "virtual_seconds": "cost/virtual_seconds",
    "joules": "cost/joules",
    "node_steps": "cost/node_steps",
    "accuracy": "nodes/accuracy",
    "own_accuracy": "nodes/own_accuracy",
    "class_accuracy": "classes/accuracy",
    "averaged_model_class_accuracy": "classes/averaged_model",
}
"""Tags of the recorded values, by round: a number as a scalar, a list as a histogram. In regression, errors keep their
own names, under ``errors/``."""

_BINS = 50
"""Number of bins of a histogram, for any number of nodes: each covers two percent of 1, or of the largest error."""


class EventFiles:
    """Event files in a folder; an evaluation is in them when ``add`` returns.

    Numbers are stored as 32-bit floats, as TensorBoard does. A missing value, or one that is not finite, leaves a gap.
    """

    def __init__(self, path: Path, since: int | None = None) -> None:
        """Make the folder and a file in it; raise ``InputError`` if tensorboard is not installed.

        Args:
            path: the folder.
            since: a round; TensorBoard ignores the values of this and later rounds in earlier files. Defaults to none
                ignored.
        """
        self._writer: Any = require_tensorboard()(path, purge_step=since)

    def add(self, metrics: Metrics) -> None:
        """Write one evaluation."""
        for name in type(metrics).model_fields.keys() - {"round"}:
            value, tag = getattr(metrics, name), TAGS.get(name, f"errors/{name}")
            if isinstance(value, list):
                is_share = metrics.measure.is_share and name != PERPLEXITY.key
                self._add_histogram(tag, [number for number in value if number is not None], is_share, metrics.round)
            elif value is not None:
                self._writer.add_scalar(tag, value, metrics.round)
        self._writer.flush()

    def _add_histogram(self, tag: str, values: list[float], is_share: bool, round: int) -> None:
        if not values:
            return
        low, high = (0.0, 1.0) if is_share else (min(0.0, *values), max(0.0, *values) or 1.0)
        inside = np.clip(values, low, high)  # rounding may exceed 1
        self._writer.add_histogram(tag, inside, round, bins=np.linspace(low, high, _BINS + 1))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def require_tensorboard() -> Any:
    """Return torch's ``SummaryWriter``, which has no types; raise ``InputError`` if tensorboard is not installed.

    Only this function imports it: a run without event files does not need the package.
    """
    require_extra("tensorboard", "tensorboard")
    return import_module("torch.utils.tensorboard").SummaryWriter
