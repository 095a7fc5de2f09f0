"""A run's evaluations as event files, which TensorBoard draws while the run is still going."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ngpd_fl.config import InputError
from ngpd_fl.records.metrics import Metrics

TAGS = {
    "mean_accuracy": "accuracy/mean",
    "min_accuracy": "accuracy/min",
    "max_accuracy": "accuracy/max",
    "mean_own_accuracy": "accuracy/mean_own",
    "averaged_model_accuracy": "accuracy/averaged_model",
    "train_loss": "training/loss",
    "trust_shrink": "training/trust_shrink",
    "consensus_distance": "training/consensus_distance",
    "bytes_sent": "cost/bytes_sent",
    "train_seconds": "cost/train_seconds",
    "node_steps": "cost/node_steps",
    "accuracy": "nodes/accuracy",
    "own_accuracy": "nodes/own_accuracy",
    "class_accuracy": "classes/accuracy",
    "averaged_model_class_accuracy": "classes/averaged_model",
}
"""What is recorded under which name, by round: a number as a scalar, a list of shares as a histogram."""

_BINS = np.linspace(0, 1, 51)
"""Of the histograms: two percent each, however many nodes there are."""


class EventFiles:
    """Event files in a folder; an evaluation is in them when ``add`` returns.

    Numbers are stored as 32-bit floats, as TensorBoard does; one that is missing or not finite leaves a gap.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder and a file in it; raise ``InputError`` where tensorboard is not installed."""
        self._writer: Any = require_tensorboard()(path)

    def add(self, metrics: Metrics) -> None:
        """Write one evaluation."""
        for name, tag in TAGS.items():
            value = getattr(metrics, name)
            if isinstance(value, list):
                shares = np.clip([each for each in value if each is not None], 0, 1)  # rounding may exceed 1
                if len(shares):
                    self._writer.add_histogram(tag, shares, metrics.round, bins=_BINS)
            elif value is not None:
                self._writer.add_scalar(tag, value, metrics.round)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def require_tensorboard() -> Any:
    """Return torch's ``SummaryWriter``, which has no types; raise ``InputError`` where tensorboard is not installed.

    It is imported here and nowhere else: a run without event files does not need the package.
    """
    try:
        return import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard: the package is not installed; `pip install tensorboard` brings it") from error
