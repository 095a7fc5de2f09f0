"""All pictures of a run or a comparison, drawn from its records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ngpd_fl.config import build_topology, require_trust
from ngpd_fl.records import RunFolder
from ngpd_fl.records.files import refuse_link
from ngpd_fl.report.costs import BYTES, ENERGY, ROUNDS, SECONDS, VIRTUAL
from ngpd_fl.report.node_timelines import logged_timelines
from ngpd_fl.report.outcome import Outcome, read_outcomes
from ngpd_fl.report.pictures.curves import consensus_figure, measure_figure
from ngpd_fl.report.pictures.graph import graph_figure
from ngpd_fl.report.pictures.partition import count_labels, partition_figure
from ngpd_fl.report.pictures.staleness import staleness_figure
from ngpd_fl.report.pictures.style import drawing, save
from ngpd_fl.report.pictures.timeline import timeline_figure


def write_plots(folder: Path | str, *, trust_code: bool = False) -> list[Path]:
    """Draw the records of a run, or of a comparison, into its ``plots/``; earlier pictures are replaced.

    Args:
        folder: the folder of a run, finished or not, or of a comparison.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run, as it must if
            label counts were not recorded.

    Returns:
        The files, ``plots/*.png``; without a graph for a baseline.

    Raises:
        InputError: the folder holds no run, a record is damaged, a file cannot be written, or (after all other
            pictures) the data set is no longer where it was.
    """
    folder = Path(folder)
    refuse_link(folder / "plots")
    outcomes = read_outcomes(folder)
    figures = _run_figures(outcomes[0], folder, trust_code) if RunFolder.holds_run(folder) else _curves(outcomes)
    with drawing():
        return [save(figure, folder / "plots" / f"{name}.png") for name, figure in figures]


def _curves(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, Figure]]:
    """Yield names and pictures of the runs' curves; runs without an evaluation are left out."""
    evaluated = [outcome for outcome in outcomes if outcome.metrics]
    if not evaluated:
        return
    by_clock = [outcome for outcome in evaluated if outcome.has_clock]
    by_energy = [outcome for outcome in by_clock if outcome.has_energy]
    costs = [(cost, evaluated) for cost in (ROUNDS, BYTES, SECONDS)] + [(VIRTUAL, by_clock), (ENERGY, by_energy)]
    for cost, known in costs:
        for measure in dict.fromkeys(outcome.measure for outcome in known):
            alike = [outcome for outcome in known if outcome.measure is measure]
            yield f"{measure.key}_{cost.key}", measure_figure(alike, cost)
            for other in alike[0].metrics[0].others if cost is ROUNDS else ():
                yield f"{other.key}_{cost.key}", measure_figure(alike, cost, other)
    if any(metrics.has_average for outcome in evaluated for metrics in outcome.metrics):
        yield "consensus", consensus_figure(evaluated)


def _run_figures(outcome: Outcome, folder: Path, trust_code: bool) -> Iterator[tuple[str, Figure]]:
    """Yield names and pictures of a single run: curves, the graph with the nodes' last values, and the partition.

    With the virtual clock also the staleness of messages, if one was stale, and the timeline from an event log.
    """
    yield from _curves([outcome])
    values, topology = outcome.last.nodes if outcome.last else None, build_topology(outcome.config)
    if outcome.config.training.baseline is None:
        yield "graph", graph_figure(outcome.config, topology, values, outcome.measure)
    if outcome.clock and any(age != "0" for age in outcome.clock["staleness"]):
        yield "staleness", staleness_figure(outcome.config, outcome.clock["staleness"])
    if (log := folder / "events.jsonl").exists():
        yield "timeline", timeline_figure(outcome.config, logged_timelines(log, topology))
    counts = RunFolder(folder).label_counts()
    is_whole = counts is not None and len(counts) == outcome.config.topology.nodes
    if counts is None or not is_whole or outcome.last is None:  # before an evaluation the measure is not known
        trusted = require_trust(outcome.config, folder, trust_code)
        yield "partition", partition_figure(outcome.config, *count_labels(trusted))
    else:
        yield "partition", partition_figure(outcome.config, counts, outcome.measure)
