"""Numbers with units, and their spread over runs, formatted for readers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, stdev
from typing import NamedTuple

from ngpd_fl.records import Measure


def short_percent(share: float) -> str:
    """Return 0.9 as ``90 %`` and 0.9255 as ``92.55 %``, with all digits of the share."""
    return f"{100 * share:.10g} %"


def size(num_bytes: float) -> str:
    """Return 9235200 as ``9.2 MB``; a step is a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def rate(per_second: float) -> str:
    """Return 1234.5 as ``1,234`` and 0.2623 as ``0.26``, so that a slow rate is not rounded to 0."""
    return f"{per_second:,.0f}" if per_second >= 9.95 else f"{per_second:.2g}"


def seconds(duration: float) -> str:
    """Return 0.123 as ``0.12 s``, 6.57 as ``6.6 s`` and 75 as ``1:15 min``."""
    if duration < 0.995:
        return f"{duration:.2f} s"
    if duration < 59.95:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def energy(joules: float) -> str:
    """Return 0.5 as ``0.50 J`` and 12345 as ``12.3 kJ``; a step is a thousand."""
    for unit in ("J", "kJ", "MJ"):
        if joules < 999.5:
            return f"{joules:#.3g} {unit}".replace(". ", " ")
        joules /= 1000
    return f"{joules:,.1f} GJ"


def distance(value: float | None) -> str:
    """Return a consensus distance with three digits, or ``not finite`` for None."""
    return "not finite" if value is None else f"{value:#.3g}"


class Spread(NamedTuple):
    """Mean and standard deviation of a figure over runs.

    Attributes:
        mean: mean over the runs; nan if one value is not finite, None if there is no value.
        sd: sample standard deviation; None with fewer than two values.
    """

    mean: float | None
    sd: float | None

    def text(self, measure: Measure) -> str:
        """Return the spread as text, e.g. ``92.31 ± 0.42 %``, or a dash if there is no value.

        The standard deviation has the decimals of the mean.
        """
        if self.mean is None:
            return "-"
        if not math.isfinite(self.mean):
            return measure.text(self.mean)
        # Differences between algorithms may be smaller than the digits of one run.
        form = ".2f" if measure.is_share else measure.form
        mean = f"{measure.factor * self.mean:{form}}".removesuffix(".")
        same = form if "e" in mean else f".{len(mean.partition('.')[2])}f"
        band = "" if self.sd is None else f" ± {measure.factor * self.sd:{same}}"
        return f"{mean}{band}{measure.unit}"


def spread(values: Iterable[float | None]) -> Spread:
    """Return the spread of the values that are not None."""
    known = [value for value in values if value is not None]
    if not known:
        return Spread(None, None)
    if not all(map(math.isfinite, known)):
        return Spread(math.nan, None)
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None)
