"""The README's figure and table, drawn from the tables of the studies in ``benchmarks/studies/results``.

    python scripts/results_figure.py     # writes docs/images/results.png and prints the table

Left: final test accuracy of every peer algorithm where each node has 2 of 10 classes. Right: what is left of it when
messages are lost. Both show means over three seeds; error bars are standard deviations.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ngpd_fl.report.pictures.style import FAINT, LIGHT, PALETTE, dress, new_figure, save

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "studies" / "results"
LOSSES = ("0 %", "1 %", "10 %")
LABELED = {"NGPD": PALETTE[0], "RelaySGD": PALETTE[1], "gradient tracking": PALETTE[2], "D2": PALETTE[3]}
"""Color of the algorithms whose lines have a name of their own; the others are gray."""

BESIDE: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
"""Place of a label: to the right of its point."""

Row = dict[str, str]


def read(study: str) -> list[Row]:
    """Return the rows of a study's peers, the best of each cell first."""
    with (RESULTS / study / "results.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["role"] == "peer"]


def percent(row: Row, name: str = "mean_accuracy") -> tuple[float, float]:
    """Return the mean and the standard deviation of a figure in percent."""
    return 100 * float(row[f"{name}_mean"]), 100 * float(row[f"{name}_sd"])


def draw(skew: list[Row], loss: list[Row]) -> None:
    """Write the figure."""
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    for place, row in enumerate(reversed(skew)):
        mean, deviation = percent(row)
        is_ours = row["strategy"] == "NGPD"
        color = PALETTE[0] if is_ours else "#8c8c8c"
        left.errorbar(mean, place, xerr=deviation, color=color, marker="o", ms=7 if is_ours else 5, lw=1.6, capsize=2.5)
        left.annotate(f"{mean:.1f}", (mean + deviation, place), fontsize=9, color=color, **BESIDE)
    left.set_yticks(range(len(skew)), [row["strategy"] for row in reversed(skew)])
    left.set_xlim(60, 100)
    left.set_xlabel("test accuracy of the nodes' models, %")
    left.grid(axis="x", color=LIGHT)
    dress(left, "Label skew", "MNIST, ring of 8 nodes with 2 of 10 classes each, 120 rounds of 8 local steps")
    names = list(dict.fromkeys(row["strategy"] for row in loss))
    for name in names:
        means, deviations = zip(*(percent(row) for row in loss if row["strategy"] == name), strict=True)
        color = LABELED.get(name, "#bdbdbd")
        style = {"color": color, "lw": 2.4 if name in LABELED else 1.4, "marker": "o", "ms": 4, "capsize": 2}
        right.errorbar(range(len(LOSSES)), means, deviations, zorder=3 if name in LABELED else 2, **style)
        if name in LABELED:
            right.annotate(name, (2, means[-1]), color=color, **BESIDE)
    right.annotate("gray: QG-DSGDm-N,\nECL, DSGD", (1, 88), color=FAINT, fontsize=9, ha="center", va="top")
    right.set_xticks(range(len(LOSSES)), LOSSES)
    right.set_xlim(-0.15, 3.1)
    right.set_ylim(0, 100)
    right.set_xlabel("share of messages lost")
    right.set_ylabel("test accuracy, %")
    right.grid(axis="y", color=LIGHT)
    dress(right, "Message loss", "MNIST, ring of 16 nodes, Dirichlet 0.01, 400 rounds of 1 local step")
    save(figure, ROOT / "docs" / "images" / "results.png")


def print_table(skew: list[Row], loss: list[Row]) -> None:
    """Print the README's table."""
    lossy = {row["strategy"]: row for row in loss if row["loss"] == "10 %"}
    print("| | label skew | worst node | 10 % of messages lost |\n| --- | ---: | ---: | ---: |")
    for row in skew:
        name = row["strategy"]
        figures = [percent(row), percent(row, "min_accuracy"), percent(lossy[name]) if name in lossy else None]
        cells = ["" if figure is None else "{:.1f} ± {:.1f}".format(*figure) for figure in figures]
        print(f"| {f'**{name}**' if name == 'NGPD' else name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    skew, loss = read("label-skew"), read("message-loss")
    draw(skew, loss)
    print_table(skew, loss)
