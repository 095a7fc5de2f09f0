"""Cell of a study: a combination of the axes' values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ngpd_fl.config import InputError
from ngpd_fl.records import METRICS

Keys = Mapping[str, Any]

_MOST, _LONGEST = 10_000, 100
"""Most cells of a study, and most characters of a name."""

_COLUMNS = {field for kind in METRICS.values() for field in kind.model_fields}.union(
    "cell strategy role phase trial seed status note rounds seconds run".split(),
    "seeds finished diverged failed trials tried hopeless values paper best near".split(),
    "total_variation between_neighbors of_neighborhoods".split(),
)
_FIGURES = re.compile(r".*(_mean|_sd|_to_[\de.+-]+)|reached_.*|.*\..*")
"""Names of columns of the tables, and of their figures, costs and keys."""


@dataclass(frozen=True)
class StudyCell:
    """One combination of the axes' values, in which strategies are compared.

    Attributes:
        values: names of the axes' values, by axis.
        layers: keys of the values, in the order of the axes.
    """

    values: Mapping[str, str]
    layers: Sequence[Keys]

    @property
    def name(self) -> str:
        """The cell's name, e.g. ``ring/iid``; ``all`` if there are no axes."""
        return "/".join(self.values.values()) or "all"

    def matches(self, words: Iterable[str]) -> bool:
        """Return whether all words are names of the cell's values."""
        return set(words) <= {*self.values.values(), *["all"] * (not self.values)}


def make_cells(axes: Mapping[str, Mapping[str, Keys]]) -> list[StudyCell]:
    """Return the product of the axes, given as axis -> value -> keys.

    Raises:
        InputError: there are too many, an axis has no values, or a name is not possible.
    """
    if (number := math.prod(map(len, axes.values()))) > _MOST:
        raise InputError(f"axes: their product has {number} cells; allowed: at most {_MOST}")
    seen: set[str] = set()
    for axis, values in axes.items():
        require_name(axis, f"axes.{axis}")
        if axis in _COLUMNS or _FIGURES.fullmatch(axis):
            raise InputError(f"axes.{axis}: is the name of a column of the tables; choose another")
        if not values:
            raise InputError(f"axes.{axis}: has no values; give at least one")
        for value in values:
            require_name(value, f"axes.{axis}.{value}")
            if value in seen:
                raise InputError(f"axes.{axis}.{value}: must occur once among all axes")
            seen.add(value)
    return [
        StudyCell(
            dict(zip(axes, names, strict=True)),
            [values[name] for values, name in zip(axes.values(), names, strict=True)],
        )
        for names in product(*axes.values())
    ]


def require_name(name: str, where: str) -> None:
    """Raise ``InputError`` if an axis, a value or a label cannot have this name."""
    if not name.strip() or "/" in name or not name.isprintable() or len(name) > _LONGEST:
        raise InputError(f"{where}: must be 1 to {_LONGEST} characters that can be printed, without a slash")
