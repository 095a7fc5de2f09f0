"""Looks of lines: the color of the algorithm, with dashes and markers that repeat the distinction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ngpd_fl.report.colors import PALETTE, method_color, method_number

_DASHES = ("", "7 3", "2 3", "7 3 2 3", "12 4")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")


class Look(NamedTuple):
    """Look of a line.

    Attributes:
        color: its color in CSS.
        dash: its dashes in SVG; empty for a solid line.
        symbol: its markers' symbol in plotly.
    """

    color: str
    dash: str
    symbol: str


def looks(methods: Mapping[str, str]) -> dict[str, Look]:
    """Return the looks of lines by their labels, from the algorithms that the labels stand for.

    An algorithm has its color and, on the first of its lines, its dashes and markers. If all lines are of one
    algorithm, its color would say nothing: they have different colors.
    """
    is_alone = len(methods) > 1 and len(set(methods.values())) == 1
    number_of: dict[str, int] = {}
    found = {}
    for place, (label, method) in enumerate(sorted(methods.items())):
        variant = number_of[method] = number_of.get(method, -1) + 1
        number = place if is_alone else method_number(method) + variant
        color = PALETTE[place % len(PALETTE)] if is_alone else method_color(method)
        more = number + number // len(PALETTE) * is_alone
        found[label] = Look(color, _DASHES[more % len(_DASHES)], _SYMBOLS[more % len(_SYMBOLS)])
    return {label: found[label] for label in methods}
