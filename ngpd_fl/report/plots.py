"""The pictures of a run or of a comparison, made from its records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ngpd_fl.config import build_topology
from ngpd_fl.records import RunFolder
from ngpd_fl.report.curves import BYTES, ROUNDS, SECONDS, consensus_figure, measure_figure
from ngpd_fl.report.graph import graph_figure
from ngpd_fl.report.outcome import Outcome, read_outcomes
from ngpd_fl.report.split import count_labels, split_figure
from ngpd_fl.report.style import save


def write_plots(folder: Path | str) -> list[Path]:
    """Draw what a run, or a comparison of runs, has recorded into its ``plots/``; earlier pictures are replaced.

    Args:
        folder: of the run, be it finished or not, or of a comparison.

    Returns:
        The files, ``plots/*.png``.

    Raises:
        InputError: no run is there, a record is damaged, a file cannot be written, or (last of all, after the other
            pictures) the data set is not where the run found it.
    """
    folder = Path(folder)
    outcomes = read_outcomes(folder)
    figures = _run_figures(outcomes[0]) if RunFolder.holds_run(folder) else _curves(outcomes)
    return [save(figure, folder / "plots" / f"{name}.png") for name, figure in figures]


def _curves(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, Figure]]:
    """Yield name and picture of what runs recorded over their rounds; those without an evaluation are left out."""
    evaluated = [outcome for outcome in outcomes if outcome.metrics]
    if not evaluated:
        return
    for name, cost in (("rounds", ROUNDS), ("bytes", BYTES), ("seconds", SECONDS)):
        for measure in dict.fromkeys(outcome.measure for outcome in evaluated):
            alike = [outcome for outcome in evaluated if outcome.measure is measure]
            yield f"{measure.key}_{name}", measure_figure(alike, cost)
    if any(metrics.has_average for outcome in evaluated for metrics in outcome.metrics):
        yield "consensus", consensus_figure(evaluated)


def _run_figures(outcome: Outcome) -> Iterator[tuple[str, Figure]]:
    """Yield name and picture of a single run: its curves, the graph with the nodes' last values, the split."""
    yield from _curves([outcome])
    values = outcome.last.nodes if outcome.last else None
    yield "graph", graph_figure(outcome.config, build_topology(outcome.config), values, outcome.measure)
    yield "split", split_figure(outcome.config, *count_labels(outcome.config))
