"""How groups are told apart: by color, and just as well without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ngpd_fl.report.page.groups import Cell
from ngpd_fl.report.style import PALETTE


class Look(NamedTuple):
    """Of a group's line.

    Attributes:
        color: as CSS has it.
        dash: as SVG has it; empty for a solid line.
        symbol: of its markers, as plotly calls it.
    """

    color: str
    dash: str
    symbol: str


_DASHES = ("", "7 3", "2 3", "7 3 2 3", "12 4")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")


def looks(cells: Sequence[Cell]) -> dict[str, Look]:
    """Return the look of each label, the same in all cells, so that a strategy is known again.

    Colors begin again after the seventh label; with dashes and markers the next 28 differ all the same.
    """
    labels = list(dict.fromkeys(group.label for cell in cells for group in cell.groups))
    size = len(PALETTE)
    return {
        label: Look(
            PALETTE[place % size],
            _DASHES[(place + place // size) % len(_DASHES)],
            _SYMBOLS[(place + place // size) % len(_SYMBOLS)],
        )
        for place, label in enumerate(sorted(labels))
    }
