"""A study's results as people read them: in Markdown, in LaTeX and, by the same words, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby

from ngpd_fl.records.rows import Row
from ngpd_fl.report import units
from ngpd_fl.study.plan import Plan
from ngpd_fl.study.results import cost_name, figures, target_words
from ngpd_fl.sweep.workers import DIVERGED, FAILED

BEST, NEAR = "best", "near"
"""How a row is marked."""

LEGEND = "Mean and standard deviation over seeds. Bold: the best; *: within one standard deviation of it."

_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "round": ("rounds", "{:g}".format),
    "bytes_sent": ("sent", units.size),
    "virtual_seconds": ("virtual time", units.seconds),
    "joules": ("energy", units.energy),
}
"""What is shown of the costs: in words, and how a number is written."""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def heads(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """Return the columns' heads."""
    costs = [f"{_COSTS[cost][0]} to {target_words(plan, target)}" for target, cost in _shown_costs(plan, rows)]
    return ["strategy", *figures(plan).values(), *costs, "values", *["paper"] * _has_paper(rows), "seeds"]


def cells(plan: Plan, rows: Sequence[Row]) -> list[list[str]]:
    """Return the columns of each row, without marks."""
    return [
        [
            row["strategy"],
            *(_spread(plan, row, name) for name in figures(plan)),
            *(_cost(row, target, cost) for target, cost in _shown_costs(plan, rows)),
            _values(row),
            *[row["paper"] or ""] * _has_paper(rows),
            _state(row),
        ]
        for row in rows
    ]


def markdown(plan: Plan, rows: Sequence[Row], progress: str) -> str:
    """Return all cells' tables with the title, the notes and how far the study is."""
    parts = [f"# {plan.title}", plan.notes, f"{progress}.", LEGEND]
    first = heads(plan, rows)
    lines = {id(row): line for row, line in zip(rows, cells(plan, rows), strict=True)}
    for name, group in groupby(rows, key=lambda row: row["cell"]):
        group_rows = list(group)
        table = [_bar(first), _bar(["---", *["---:"] * (len(first) - 1)])]
        role = "peer"
        for row in group_rows:
            if row["role"] != role:
                role = row["role"]
                table.append(_bar(["*baselines*", *[""] * (len(first) - 1)]))
            label, *rest = (cell.replace("|", "\\|") for cell in lines[id(row)])
            place = list(figures(plan)).index(plan.objective)
            if row[BEST]:
                label, rest[place] = f"**{label}**", f"**{rest[place]}**"
            elif row[NEAR]:
                rest[place] += r" \*"
            table.append(_bar([label, *rest]))
        parts += [f"## {name}", skew_words(group_rows), "\n".join(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def skew_words(rows: Sequence[Row]) -> str:
    """Return how the labels of a cell's nodes differ and how that lies on its graph; empty where it is not known.

    Of the first peer that knows: others may run on another graph.
    """
    row = next((row for row in rows if row["of_neighborhoods"] is not None), None)
    if row is None:
        return ""
    return (
        f"Label skew, as total variation: of the nodes {row['total_variation']:.2f}, between neighbors "
        f"{row['between_neighbors']:.2f}, of neighborhoods {row['of_neighborhoods']:.2f}."
    )


def latex(plan: Plan, rows: Sequence[Row], progress: str) -> str:
    """Return one table of all cells, for a document that uses the package booktabs; the values are left out."""
    first = heads(plan, rows)
    dropped = first.index("values")
    lines = {id(row): line for row, line in zip(rows, cells(plan, rows), strict=True)}
    width = len(first) - 1
    out = [
        f"% {plan.title}: {progress}".replace("\n", " "),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(plan.title)}. {escape(LEGEND)}}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _row([escape(head) for place, head in enumerate(first) if place != dropped]),
    ]
    for name, group in groupby(rows, key=lambda row: row["cell"]):
        out += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(name)}}}}} \\"]
        role = "peer"
        for row in group:
            if row["role"] != role:
                role = row["role"]
                out.append(rf"\cmidrule{{1-{width}}}")
            texts = [escape(cell) for place, cell in enumerate(lines[id(row)]) if place != dropped]
            place = 1 + list(figures(plan)).index(plan.objective)
            if row[BEST]:
                texts[0], texts[place] = rf"\textbf{{{texts[0]}}}", rf"\textbf{{{texts[place]}}}"
            elif row[NEAR]:
                texts[place] += "$^{*}$"
            out.append(_row(texts))
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Return text as LaTeX sets it."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def _row(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"


def _bar(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _has_paper(rows: Sequence[Row]) -> bool:
    return any(row["paper"] for row in rows)


def _shown_costs(plan: Plan, rows: Sequence[Row]) -> list[tuple[float, str]]:
    """Return the targets and costs that have a column: rounds and bytes always, others where a run knows them."""
    return [
        (target, cost)
        for target in plan.final.targets
        for cost in _COSTS
        if cost in ("round", "bytes_sent") or any(row[cost_name(cost, target)] is not None for row in rows)
    ]


def _spread(plan: Plan, row: Row, name: str) -> str:
    """Return ``97.53 ± 0.12 %``."""
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    if mean is None:
        return "-"
    measure = plan.measure
    form = ".2f" if measure.higher_is_better else measure.form  # the differences between strategies may be small
    around = "" if sd is None else f" ± {measure.factor * sd:{form}}"
    return f"{measure.factor * mean:{form}}{around}{measure.unit}"


def _cost(row: Row, target: float, cost: str) -> str:
    """Return the median, and of how many seeds it is where not of all."""
    reached, over = row[f"reached_{target:g}"], row["finished"] + row[DIVERGED]
    if not over:
        return "-"
    if not reached:
        return "not reached"
    value = row[cost_name(cost, target)]
    text = "-" if value is None else _COSTS[cost][1](value)
    return text if reached == over else f"{text} ({reached} of {over})"


def _values(row: Row) -> str:
    values = json.loads(row["values"] or "{}")
    shown = {key.removeprefix("strategy."): value for key, value in values.items()}
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )


def _state(row: Row) -> str:
    """Return how many seeds there are, and what is missing or went wrong."""
    if row["hopeless"]:
        return "no trial finished"
    if row["tried"] < row["trials"]:
        return f"{row['tried']} of {row['trials']} trials"
    words = [f"{status} {row[status]} of {row['seeds']}" for status in (DIVERGED, FAILED) if row[status]]
    done = row["finished"] + row[DIVERGED] + row[FAILED]
    return ", ".join([str(done) if done == row["seeds"] else f"{done} of {row['seeds']}", *words])
