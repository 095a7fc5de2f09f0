"""Static charts of the page, for print and for browsers without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ngpd_fl.report.line_styles import LineStyle
from ngpd_fl.report.page.curves import Quantity, Values, thinned

WIDTH, HEIGHT = 340, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 8, 30
_POINTS, _MARKERS = 50, 4
_TICKS = 5

_TOP_VALUE = 1e300
"""Largest end of an axis, up to which its ticks are numbers."""


class Line(NamedTuple):
    """Line of a group in a chart, in its coordinates.

    Attributes:
        style: its color, dashes and symbol.
        strokes: its pieces between missing values, each as ``x,y x,y ...``.
        band: outline of its band; empty without one.
        markers: positions of its markers.
    """

    style: LineStyle
    strokes: list[str]
    band: str
    markers: list[tuple[float, float]]


class Chart(NamedTuple):
    """Chart of one quantity against rounds.

    Attributes:
        title: name of the quantity.
        lines: lines of the groups.
        x_ticks: positions and texts of the horizontal axis.
        y_ticks: positions and texts of the vertical axis.
        x_label: label of the horizontal axis.
        y_label: label of the vertical axis.
    """

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_label: str
    y_label: str


def draw(quantity: Quantity, drawn: Sequence[tuple[LineStyle, dict[str, Any]]]) -> Chart | None:
    """Return the chart of a quantity from the groups' ``curves``; None if no group has the quantity."""
    key, title, measure = quantity
    have = [(style, curve["spent"]["rounds"], curve["lines"][key]) for style, curve in drawn if key in curve["lines"]]
    values = [measure.factor * value for _, _, line in have for value in line["mean"] if value is not None]
    if not values:
        return None
    x_ends = (0.0, max(x for _, rounds, _ in have for x in rounds) or 1.0)
    y_ends = (0.0, 100.0) if measure.is_share else (0.0, min(max(0.0, 1.05 * max(values)) or 1.0, _TOP_VALUE))

    def x(value: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * value / x_ends[1], 1)

    def y(value: float) -> float:
        share = min(max(measure.factor * value / y_ends[1], 0), 1)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share, 1)

    lines = []
    for style, rounds, line in have:
        places = thinned(range(len(rounds)), _POINTS)
        mean, sd = ([values[place] for place in places] if values else [] for values in (line["mean"], line["sd"]))
        points = [
            (x(rounds[place]), None if value is None else y(value)) for place, value in zip(places, mean, strict=True)
        ]
        known = [(across, up) for across, up in points if up is not None]
        lines.append(Line(style, _strokes(points), _band([x(rounds[p]) for p in places], mean, sd, y), _some(known)))
    return Chart(
        title,
        lines,
        [(x(value), f"{value:g}") for value in _round_values(x_ends[1])],
        [(y(value / measure.factor), f"{value:g}") for value in _round_values(y_ends[1])],
        "rounds",
        measure.label,
    )


def _strokes(points: Sequence[tuple[float, float | None]]) -> list[str]:
    pieces: list[list[str]] = [[]]
    for across, up in points:
        if up is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{across:g},{up:g}")
    return [" ".join(piece) for piece in pieces if piece]


def _band(x: Sequence[float], mean: Values, sd: Values, y: Any) -> str:
    """Return the outline of the band from mean - sd to mean + sd."""
    known = [(a, m, s) for a, m, s in zip(x, mean, sd, strict=False) if m is not None and s is not None]
    upper = [f"{a:g},{y(m + s):g}" for a, m, s in known]
    lower = [f"{a:g},{y(m - s):g}" for a, m, s in reversed(known)]
    return " ".join(upper + lower)


def _some(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return thinned(points, _MARKERS + 1)[1:] or list(points)


def _round_values(end: float) -> list[float]:
    """Return about five round numbers from 0 to the end of an axis."""
    raw = end / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [float(f"{step * number:.10g}") for number in range(int(end / step + 1e-9) + 1)]
