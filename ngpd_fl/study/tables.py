"""Tables of a study's results in Markdown and LaTeX, and their cells for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from ngpd_fl.records.rows import Row
from ngpd_fl.report.costs import BYTES, ENERGY, ROUNDS, VIRTUAL
from ngpd_fl.report.units import Spread
from ngpd_fl.study.plan import StudyPlan
from ngpd_fl.study.results import cost_name, figures, target_text
from ngpd_fl.sweep.tasks import DIVERGED, FAILED

BEST, NEAR = "best", "near"
"""Columns that mark rows."""

LEGEND = "Mean and standard deviation over seeds. Bold: the best; *: within one standard deviation of it."

_COSTS = {cost.field: cost for cost in (ROUNDS, BYTES, VIRTUAL, ENERGY)}
"""The costs shown, by their names in evaluations."""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def heads(plan: StudyPlan, rows: Sequence[Row]) -> list[str]:
    """Return the heads of the columns."""
    costs = [f"{_COSTS[cost].head} to {target_text(plan, target)}" for target, cost in _shown_costs(plan, rows)]
    return ["strategy", *figures(plan).values(), *costs, "values", *["paper"] * _has_paper(rows), "seeds"]


def cells(plan: StudyPlan, rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells of each row, without marks."""
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


def markdown(plan: StudyPlan, rows: Sequence[Row], progress: str) -> str:
    """Return the tables of all cells, with the title, the notes and the study's progress."""
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
            column = list(figures(plan)).index(plan.objective)
            if row[BEST]:
                label, rest[column] = f"**{label}**", f"**{rest[column]}**"
            elif row[NEAR]:
                rest[column] += r" \*"
            table.append(_bar([label, *rest]))
        parts += [f"## {name}", skew_text(group_rows), "\n".join(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def skew_text(rows: Sequence[Row]) -> str:
    """Return the label skew of a cell in a sentence; empty if it is not known.

    It is that of the first row that knows it; other strategies may run on another graph.
    """
    row = next((row for row in rows if row["of_neighborhoods"] is not None), None)
    if row is None:
        return ""
    return (
        f"Label skew, as total variation: of the nodes {row['total_variation']:.2f}, between neighbors "
        f"{row['between_neighbors']:.2f}, of neighborhoods {row['of_neighborhoods']:.2f}."
    )


def latex(plan: StudyPlan, rows: Sequence[Row], progress: str) -> str:
    """Return one table of all cells, for LaTeX documents with the package booktabs, without the tuned values."""
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
        _row([escape(head) for column, head in enumerate(first) if column != dropped]),
    ]
    for name, group in groupby(rows, key=lambda row: row["cell"]):
        out += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(name)}}}}} \\"]
        role = "peer"
        for row in group:
            if row["role"] != role:
                role = row["role"]
                out.append(rf"\cmidrule{{1-{width}}}")
            texts = [escape(cell) for column, cell in enumerate(lines[id(row)]) if column != dropped]
            column = 1 + list(figures(plan)).index(plan.objective)
            if row[BEST]:
                texts[0], texts[column] = rf"\textbf{{{texts[0]}}}", rf"\textbf{{{texts[column]}}}"
            elif row[NEAR]:
                texts[column] += "$^{*}$"
            out.append(_row(texts))
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def _row(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"


def _bar(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _has_paper(rows: Sequence[Row]) -> bool:
    return any(row["paper"] for row in rows)


def _shown_costs(plan: StudyPlan, rows: Sequence[Row]) -> list[tuple[float, str]]:
    """Return the targets and costs with a column: rounds and bytes always, others if a run knows them."""
    return [
        (target, cost)
        for target in plan.final.targets
        for cost in _COSTS
        if cost in ("round", "bytes_sent") or any(row[cost_name(cost, target)] is not None for row in rows)
    ]


def _spread(plan: StudyPlan, row: Row, name: str) -> str:
    """Return mean and standard deviation, e.g. ``97.53 ± 0.12 %``."""
    return Spread(row[f"{name}_mean"], row[f"{name}_sd"]).text(plan.measure)


def _cost(row: Row, target: float, cost: str) -> str:
    """Return the median cost, with the number of seeds if not all reached the target."""
    reached, over = row[f"reached_{target:g}"], row["finished"] + row[DIVERGED]
    if not over:
        return "-"
    if not reached:
        return "not reached"
    value = row[cost_name(cost, target)]
    text = "-" if value is None else _COSTS[cost].text(value)
    return text if reached == over else f"{text} ({reached} of {over})"


def _values(row: Row) -> str:
    values = json.loads(row["values"] or "{}")
    shown = {key.removeprefix("strategy."): value for key, value in values.items()}
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )


def _state(row: Row) -> str:
    """Return the number of seeds, and of those that are missing, diverged or failed."""
    if row["hopeless"]:
        return "no trial finished"
    if row["tried"] < row["trials"]:
        return f"{row['tried']} of {row['trials']} trials"
    words = [f"{status} {row[status]} of {row['seeds']}" for status in (DIVERGED, FAILED) if row[status]]
    done = row["finished"] + row[DIVERGED] + row[FAILED]
    return ", ".join([str(done) if done == row["seeds"] else f"{done} of {row['seeds']}", *words])
