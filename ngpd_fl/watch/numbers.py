"""Numbers as the page gets them: short, and null where they are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

Number = float | int | None


def short(value: float | None, digits: int = 6) -> Number:
    """Return a number with so many digits, as an integer if whole; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def shorts(values: Iterable[float | None], digits: int = 4) -> list[Number]:
    """Return short numbers."""
    return [short(value, digits) for value in values]
