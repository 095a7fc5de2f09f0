"""Measures of evaluation: accuracy for classes, the error for real-valued targets."""

from __future__ import annotations

import math
from typing import NamedTuple


class Measure(NamedTuple):
    """A quantity, its direction, and its notation.

    Attributes:
        key: its key in records, e.g. in ``mean_accuracy``.
        name: its name in text, also at the beginning of a title.
        short: its name in the head of a column.
        label: label of an axis, with the unit.
        group: name of a group of examples: splits divide by it, and records have a value for each.
        groups: the plural of ``group``.
        examples: name of the training examples, in the plural.
        higher_is_better: whether a higher value is better.
        factor: factor from the recorded number to the displayed one.
        form: format specification of the displayed number, for ``format``.
        unit: text after the displayed number.
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
        """Direction of the worst value: ``"min"`` or ``"max"``."""
        return "min" if self.higher_is_better else "max"

    def rank(self, value: float) -> float:
        """Return a number that increases with the quality of ``value``; lowest for a value that is not finite."""
        if not math.isfinite(value):
            return -math.inf
        return value if self.higher_is_better else -value

    def text(self, value: float) -> str:
        """Return a value as text: an accuracy of 0.9234 as ``92.3 %``, an error of 54.148 as ``54.15``."""
        return f"{self.factor * value:{self.form}}{self.unit}" if math.isfinite(value) else "not finite"


ACCURACY = Measure("accuracy", "accuracy", "acc.", "accuracy (%)", "class", "classes", "images", True, 100, ".1f", " %")
"""Share of examples whose class is recognized, in [0, 1]."""

RMSE = Measure("rmse", "RMSE", "RMSE", "RMSE (unit of the targets)", "bin", "bins", "examples", False, 1, "#.4g", "")
"""Root mean square error in the unit of the targets; the mean over the targets if there are several."""
