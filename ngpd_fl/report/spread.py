"""Mean and standard deviation over runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, stdev
from typing import NamedTuple

from ngpd_fl.records import ACCURACY, Measure


class Spread(NamedTuple):
    """Mean and standard deviation of a figure over runs.

    Attributes:
        mean: mean over the runs; nan if one value is not finite, None if there is no value.
        sd: sample standard deviation; None with fewer than two values.
    """

    mean: float | None
    sd: float | None

    def text(self, measure: Measure) -> str:
        """Return the spread as text, e.g. ``92.31 ± 0.42 %``, or a dash if there is no value."""
        if self.mean is None:
            return "-"
        if not math.isfinite(self.mean):
            return measure.text(self.mean)
        # Differences between algorithms may be smaller than the digits of one run.
        form = ".2f" if measure is ACCURACY else measure.form
        band = "" if self.sd is None else f" ± {measure.factor * self.sd:{form}}"
        return f"{measure.factor * self.mean:{form}}{band}{measure.unit}"


def spread(values: Iterable[float | None]) -> Spread:
    """Return the spread of the values that are not None."""
    known = [value for value in values if value is not None]
    if not known:
        return Spread(None, None)
    if not all(map(math.isfinite, known)):
        return Spread(math.nan, None)
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None)
