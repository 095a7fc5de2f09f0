"""What a run is evaluated by: accuracy where classes are learned, the error where real-valued targets are."""

from __future__ import annotations

import math
from typing import NamedTuple


class Measure(NamedTuple):
    """A quantity, its direction, and how it is written.

    Attributes:
        key: in records, e.g. ``mean_accuracy``.
        name: in words, also as the beginning of a title.
        short: over a column.
        label: of an axis, with the unit.
        group: what examples are grouped by: splits divide by it, and records have a value for each.
        groups: more than one of them.
        examples: what the training examples are called.
        higher_is_better: whether it is.
        factor: from the recorded number to the one that is shown.
        form: of the number shown, as ``format`` takes it.
        unit: what is written after it.
    """

    key: str
    name: str
    short: str
    label: str
    group: str
    groups: str
    examples: str
    higher_is_better: bool
    factor: float
    form: str
    unit: str

    @property
    def worst(self) -> str:
        """``"min"`` or ``"max"``, whichever is the worst."""
        return "min" if self.higher_is_better else "max"

    def rank(self, value: float) -> float:
        """Return a number that is the higher the better ``value`` is; one that is not finite is the worst of all."""
        if not math.isfinite(value):
            return -math.inf
        return value if self.higher_is_better else -value

    def text(self, value: float) -> str:
        """Return an accuracy of 0.9234 as ``92.3 %``, an error of 54.148 as ``54.15``."""
        return f"{self.factor * value:{self.form}}{self.unit}" if math.isfinite(value) else "not finite"


ACCURACY = Measure("accuracy", "accuracy", "acc.", "accuracy (%)", "class", "classes", "images", True, 100, ".1f", " %")
"""Share of examples whose class is recognized, in [0, 1]."""

RMSE = Measure("rmse", "RMSE", "RMSE", "RMSE (unit of the targets)", "bin", "bins", "examples", False, 1, "#.4g", "")
"""Root mean square error in the unit of the targets; of several targets the mean over them."""
