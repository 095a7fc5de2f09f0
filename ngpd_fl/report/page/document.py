"""The page's document: data of the runs rendered by a template."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ngpd_fl.config import InputError
from ngpd_fl.records import require_folder_of, write_text
from ngpd_fl.report.costs import COSTS
from ngpd_fl.report.line_styles import LineStyle, line_styles
from ngpd_fl.report.node_timelines import KINDS
from ngpd_fl.report.page.chart import HEIGHT, WIDTH, draw
from ngpd_fl.report.page.collection import read_runs
from ngpd_fl.report.page.curves import END_QUANTITIES, QUANTITIES, curves, quantities_of, run_curve
from ngpd_fl.report.page.details import details
from ngpd_fl.report.page.groups import Cell
from ngpd_fl.report.page.study import PageContent, page_content
from ngpd_fl.report.page.tables import (
    configurations,
    cost_texts,
    end_texts,
    environments,
    figures,
    group_values,
    lines,
    run_rows,
    seeds,
    shared_keys,
)
from ngpd_fl.report.page.target import default_target, known_costs, missing_costs
from ngpd_fl.report.page.template import asset, environment

_SCRIPTS = ("tools.js", "plots.js", "results.js", "details.js")


def write_page(
    folders: Sequence[Path | str], out: Path | str, title: str | None = None, target: float | None = None
) -> Path:
    """Write a page about all runs in some folders; an earlier page of this name is replaced.

    Args:
        folders: folders of runs, comparisons, sweeps or studies, or folders that hold such.
        out: the file, ``.html``.
        title: the page's title. Defaults to the folders' names.
        target: mean accuracy (or error) over nodes whose cost is shown at first. Defaults to 90 % of the best final
            one of each setting.

    Returns:
        The file.

    Raises:
        InputError: a folder holds no run, a record is damaged, the target is out of range, or the file cannot be
            written. No file is written then.
    """
    out, paths = Path(out), [Path(folder) for folder in folders]
    if out.suffix != ".html":
        raise InputError(f"out: {out} should end in .html")
    if out.is_dir():
        raise InputError(f"out: {out} is a folder")
    require_folder_of(out)
    content = page_content(read_runs(paths))
    for cell in content.cells:
        _require_one_measure(cell)
        if target is not None and (target <= 0 or (cell.measure.is_share and target > 1)):
            raise InputError(f"target: {target:g} should be above 0 and, as an accuracy, at most 1, e.g. 0.9")
    names = ", ".join(path.resolve().name for path in paths)
    text = _render(content, title or content.title or names, content.target if target is None else target)
    try:
        write_text(out, text)
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror})") from error
    return out


def _require_one_measure(cell: Cell) -> None:
    """Raise ``InputError`` if some runs of a cell have accuracies and others errors: a record is not what it was."""
    for run in cell.runs:
        if run.outcome.metrics and run.outcome.measure.key != cell.measure.key:
            name, other = run.outcome.measure.name, cell.measure.name
            raise InputError(f"{run.path}: has evaluations by {name}, other runs of {cell.title!r} by {other}")


def _render(content: PageContent, title: str, target: float | None) -> str:
    from plotly.offline import get_plotlyjs

    cells = content.cells
    by_label = line_styles({group.label: group.strategy for cell in cells for group in cell.groups})
    runs = list(dict.fromkeys(run for cell in cells for run in cell.runs))
    sections = [_section(cell, by_label, target) for cell in cells]
    run_details = details(cells)
    return (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            notes=content.notes,
            version=version("ngpd-fl"),
            num_runs=len(runs),
            num_groups=len(by_label),
            sections=[section for section, _ in sections],
            overview=_overview(cells) if len(cells) > 1 else None,
            own_quantities=QUANTITIES,
            runs=[row for cell in cells for row in run_rows(cell)],
            shared=shared_keys([group for cell in cells for group in cell.groups]),
            configurations=configurations(cells),
            environments=environments(runs),
            provenance=lines(content.provenance),
            details=run_details,
            partition=next((entry for entry in run_details["runs"] if entry["labels"]), None),
            size=(WIDTH, HEIGHT),
            data={
                "cells": [data for _, data in sections],
                "costs": {cost.key: {"label": cost.label, "unit": cost.unit} for cost in COSTS},
                "own": list(QUANTITIES),
                "details": run_details,
                "kinds": KINDS,
            },
            style=asset("style.css"),
            scripts=[asset(name) for name in _SCRIPTS],
            plotly=Markup(get_plotlyjs()),
        )
    )


def _section(cell: Cell, by_label: dict[str, LineStyle], target: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a cell's data for the template, and for the script."""
    costs, measure = known_costs(cell), cell.measure
    drawn = [(by_label[group.label], curves(group, costs)) for group in cell.groups]
    wanted, why = (default_target(cell) or (None, "")) if target is None else (target, "")
    keys = {key for _, curve in drawn for key in curve["lines"]}
    known = [quantity for quantity in quantities_of(measure) if quantity.key in keys]
    heads = list(dict.fromkeys(head for group in cell.groups for head in group.notes))
    section = {
        "title": cell.title,
        "measure": measure,
        "target": None if wanted is None else f"{measure.factor * wanted:.10g}",
        "target_why": why,
        "end_quantities": END_QUANTITIES,
        "quantities": known,
        "group_values": group_values(cell),
        "costs": costs,
        "note_heads": heads,
        "rows": [
            {
                "label": group.label,
                "style": by_label[group.label],
                "is_baseline": group.is_baseline,
                "seeds": seeds(group),
                "number": len(group.runs),
                "ends": group.ends,
                "figures": values,
                "end_texts": end_texts(group),
                "costs": spent,
                "notes": [group.notes.get(head, "") for head in heads],
            }
            for group, values, spent in zip(cell.groups, figures(cell), cost_texts(cell, costs, wanted), strict=True)
        ],
        "charts": [chart for quantity in known if (chart := draw(quantity, drawn))],
        "missing": [
            *(f"{words}: never evaluated" for key, words in QUANTITIES.items() if key not in keys),
            *missing_costs(cell),
        ],
    }
    data = {
        "title": cell.title,
        "measure": {name: getattr(measure, name) for name in ("label", "factor", "unit", "higher_is_better", "name")},
        "costs": [cost.key for cost in costs],
        "quantities": {
            quantity.key: {
                "words": quantity.words,
                **{name: getattr(quantity.measure, name) for name in ("label", "factor", "unit")},
            }
            for quantity in known
        },
        "groups": [
            {
                "label": group.label,
                "ends": group.ends,
                "style": style._asdict(),
                "curves": lines_of_group,
                "runs": [run_curve(run.outcome.metrics, costs) for run in group.runs],
            }
            for group, (style, lines_of_group) in zip(cell.groups, drawn, strict=True)
        ],
    }
    return section, data


def _overview(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the mean over nodes for each label in each cell, with the best of each cell marked."""
    labels = list(dict.fromkeys(group.label for cell in cells for group in cell.groups))
    rows = []
    for cell in cells:
        means = {group.label: row[0] for group, row in zip(cell.groups, figures(cell), strict=True)}
        rows.append((cell.title, [means.get(label) for label in labels]))
    return {"labels": labels, "rows": rows}
