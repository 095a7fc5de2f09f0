"""Display of a run in a notebook: HTML with figures and a small chart, or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ngpd_fl.config import InputError
from ngpd_fl.records.display import DisplayedRun
from ngpd_fl.report.colors import method_color
from ngpd_fl.report.costs import ROUNDS
from ngpd_fl.report.line_styles import LineStyle
from ngpd_fl.report.outcome import Outcome
from ngpd_fl.report.page.chart import HEIGHT, WIDTH, draw
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.curves import QUANTITIES, Quantity, curves
from ngpd_fl.report.page.groups import Group
from ngpd_fl.report.page.template import environment
from ngpd_fl.report.setting import setting_words
from ngpd_fl.report.table import line_by_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = {"mean": ("", "circle"), "worst": ("2 3", "triangle-down"), "averaged_model": ("7 3", "square")}
"""Dashes and markers of the quantities in the chart."""


def html(run: DisplayedRun) -> str:
    """Return a run as HTML without scripts, for light and dark pages: setting, figures, and a chart."""
    outcome = Outcome(*run)
    group = Group(outcome.config.method, [RecordedRun(Path(run.name), outcome, {})], False, {})
    curve = curves(group, (ROUNDS,))
    color = method_color(outcome.config.method)
    styles = {key: LineStyle(color, *_LINES[key]) for key in QUANTITIES if key in curve["lines"]}
    lines = [(style, {"spent": curve["spent"], "lines": {"all": curve["lines"][key]}}) for key, style in styles.items()]
    return (
        environment()
        .get_template("notebook.html")
        .render(
            name=run.name,
            method=outcome.config.method,
            setting=setting_words(outcome.config),
            figures=line_by_line(outcome),
            chart=draw(Quantity("all", outcome.measure.label, outcome.measure), lines),
            legend=[(QUANTITIES[key], style) for key, style in styles.items()],
            size=(WIDTH, HEIGHT),
        )
    )


def figure(run: DisplayedRun) -> Figure:
    """Return a picture of a run's measure against rounds; raise ``InputError`` if nothing has been evaluated yet."""
    from ngpd_fl.report.pictures.curves import measure_figure
    from ngpd_fl.report.pictures.style import drawing

    if not run.metrics:
        raise InputError("plot: nothing has been evaluated yet")
    with drawing():
        return measure_figure([Outcome(*run)], ROUNDS)
