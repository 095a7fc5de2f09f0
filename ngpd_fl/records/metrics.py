"""What an evaluation records: one line of ``metrics.jsonl``."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Metrics(BaseModel):
    """One evaluation. Accuracies in [0, 1]; a value that is not finite is recorded as null.

    Attributes:
        round: rounds done; 0 is the common start.
        node_steps: local steps done, summed over the nodes.
        train_seconds: time spent in rounds so far; evaluation is not counted.
        bytes_sent: payload of all messages so far, lost ones included.
        train_loss: mean over nodes and local steps since the last evaluation.
        trust_shrink: mean factor of the trust region since the last evaluation; 1 where nothing was shortened.
        mean_accuracy: of the nodes' own models on the common images.
        min_accuracy: of the worst node.
        max_accuracy: of the best node.
        mean_own_accuracy: of the nodes' own models on images distributed as their own.
        averaged_model_accuracy: of the mean of all parameters; null where they never meet in one place.
        consensus_distance: root mean square over nodes of |w_i - mean w|.
        accuracy: per node; null for one that did not answer.
        own_accuracy: per node.
        class_accuracy: per class, mean over nodes.
        averaged_model_class_accuracy: per class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int
    node_steps: int
    train_seconds: float
    bytes_sent: int
    train_loss: float | None
    trust_shrink: float | None
    mean_accuracy: float
    min_accuracy: float
    max_accuracy: float
    mean_own_accuracy: float
    averaged_model_accuracy: float | None
    consensus_distance: float | None
    accuracy: list[float | None]
    own_accuracy: list[float | None]
    class_accuracy: list[float | None]
    averaged_model_class_accuracy: list[float | None] | None

    @model_validator(mode="before")
    @classmethod
    def _finite_or_null(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values  # pydantic says what is wrong
        return {key: _null_if_not_finite(value) for key, value in values.items()}


def _null_if_not_finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_null_if_not_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
