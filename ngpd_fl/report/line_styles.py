"""Styles of lines in charts: the color of the algorithm, with dashes and markers that repeat the distinction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ngpd_fl.report.colors import PALETTE, method_color, method_number

_DASHES = ("", "7 3", "2 3", "7 3 2 3", "12 4")
_SYMBOLS = {
    "circle": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "square": "M-3-3h6v6h-6z",
    "diamond": "M0-4.5l4.5 4.5l-4.5 4.5l-4.5-4.5z",
    "triangle-up": "M0-4.5l4.2 7.5h-8.4z",
    "cross": "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "x": "M-1.9-3.7l1.9 1.9 1.9-1.9 1.8 1.8-1.9 1.9 1.9 1.9-1.8 1.8-1.9-1.9-1.9 1.9-1.8-1.8 1.9-1.9-1.9-1.9z",
    "triangle-down": "M0 4.5l4.2-7.5h-8.4z",
}
"""Outlines of markers around the origin, as paths in SVG, by their names in plotly."""


class LineStyle(NamedTuple):
    """Style of a line.

    Attributes:
        color: color in CSS.
        dash: dashes in SVG; empty for a solid line.
        symbol: plotly's name of the marker.
    """

    color: str
    dash: str
    symbol: str

    @property
    def outline(self) -> str:
        """Outline of a marker around the origin, as a path in SVG."""
        return _SYMBOLS[self.symbol]


def line_styles(methods: Mapping[str, str]) -> dict[str, LineStyle]:
    """Return the styles of lines by their labels, from the algorithms that the labels stand for.

    An algorithm has its color and, on the first of its lines, its dashes and markers. If all lines are of one
    algorithm, its color would say nothing: they have different colors.
    """
    is_alone = len(methods) > 1 and len(set(methods.values())) == 1
    number_of: dict[str, int] = {}
    chosen = {}
    for place, (label, method) in enumerate(sorted(methods.items())):
        variant = number_of[method] = number_of.get(method, -1) + 1
        number = place if is_alone else method_number(method) + variant
        color = PALETTE[place % len(PALETTE)] if is_alone else method_color(method)
        more = number + number // len(PALETTE) * is_alone
        chosen[label] = LineStyle(color, _DASHES[more % len(_DASHES)], [*_SYMBOLS][more % len(_SYMBOLS)])
    return {label: chosen[label] for label in methods}
