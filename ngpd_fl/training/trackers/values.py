"""Values of an evaluation by their names in trackers: numbers, and histograms over nodes or classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.records import Metrics
from ngpd_fl.records.metrics import PERPLEXITY

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
"""Recorded value -> its name in trackers: a number is a scalar, a list a histogram. Errors of regression keep their own
names, under ``errors/``."""

_BINS = 50
"""Number of bins of a histogram, for any number of nodes: each covers two percent of 1, or of the largest error."""


class Histogram(NamedTuple):
    """Values of the nodes, or of the classes, and the bins to count them in.

    Attributes:
        values: the known values, ``[N]``.
        edges: edges of the bins, ``[51]``; all values lie between the first and the last.
    """

    values: NDArray[np.float64]
    edges: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of values in each bin, ``[50]``."""
        return np.histogram(self.values, self.edges)[0]


class Values(NamedTuple):
    """Values of an evaluation. One that is missing or not finite leaves a gap.

    Attributes:
        round: rounds done.
        scalars: numbers by their tags.
        histograms: histograms by their tags.
    """

    round: int
    scalars: dict[str, float]
    histograms: dict[str, Histogram]


def values_of(metrics: Metrics) -> Values:
    """Return the values of an evaluation by their tags."""
    values = Values(metrics.round, {}, {})
    for name in type(metrics).model_fields.keys() - {"round"}:
        value, tag = getattr(metrics, name), TAGS.get(name, f"errors/{name}")
        if isinstance(value, list):
            known = [number for number in value if number is not None]
            if known:
                is_share = metrics.measure.is_share and name != PERPLEXITY.key
                values.histograms[tag] = _histogram(known, is_share)
        elif value is not None:
            values.scalars[tag] = value
    return values


def _histogram(values: list[float], is_share: bool) -> Histogram:
    low, high = (0.0, 1.0) if is_share else (min(0.0, *values), max(0.0, *values) or 1.0)
    return Histogram(np.clip(values, low, high), np.linspace(low, high, _BINS + 1))  # rounding may exceed 1
