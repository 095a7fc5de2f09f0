"""Tables of runs: labeled lines for one run, rows side by side for several."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ngpd_fl.records import Metrics, checked_retries, write_text
from ngpd_fl.report import units
from ngpd_fl.report.outcome import Outcome, read_comparison
from ngpd_fl.report.setting import common_words


def heads(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the heads of the columns."""
    measures = {outcome.measure for outcome in outcomes}
    mean, worst = "mean", "worst"
    if len(measures) == 1:
        (measure,) = measures
        mean, worst = f"mean {measure.short}", f"{measure.worst} {measure.short}"
    return ("", mean, worst, "averaged", "best mean", "consensus", "sent", "train time")


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs by their last mean over nodes, the best first; diverged runs and those without a mean last.

    If all runs have the same target accuracy, those that reached it come first, by rounds or, if all have a clock, by
    virtual time, because rounds of different modes are not comparable.
    """
    by_clock = all(outcome.has_clock for outcome in outcomes)
    comparable = len({outcome.config.training.until_accuracy for outcome in outcomes}) == 1

    def rank(outcome: Outcome) -> tuple[float, float]:
        cost = math.inf
        if comparable and (reached := outcome.reached):
            cost = (reached.virtual_seconds or 0.0) if by_clock else reached.round
        if outcome.last is None or outcome.status == "diverged":
            return -cost, -math.inf
        return -cost, outcome.measure.rank(outcome.last.mean)

    return sorted(outcomes, key=rank, reverse=True)


def side_by_side(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the rows of the table: the heads, then the runs, the best first.

    Virtual time, energy, rounds to the target and status have columns if a run needs them. A run ends at its target, so
    that its row gives the cost of reaching it.
    """
    runs = ranked(outcomes)
    rows = [heads(outcomes), *map(_row, runs)]
    if any(run.has_clock for run in runs):
        rows = _with_column(rows, ("virtual time", *map(_virtual_time, runs)))
    if any(run.has_energy for run in runs):
        rows = _with_column(rows, ("energy", *map(_energy, runs)))
    if any(run.config.training.until_accuracy is not None for run in runs):
        rows = _with_column(rows, ("rounds to target", *map(_rounds_to_target, runs)))
    if any(run.status != "finished" for run in runs):
        rows = _with_column(rows, ("status", *map(end_words, runs)))
    return rows


def line_by_line(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the labeled figures of one run."""
    last, best = outcome.last, outcome.best
    lines = [("status", end_words(outcome))]
    if (target := outcome.config.training.until_accuracy) is not None:
        lines.append(("target", f"mean {units.short_percent(target)} {_target_words(outcome)}"))
    if last is not None and best is not None:
        speed = f" ({units.rate(last.node_steps / last.train_seconds)} node-steps/s)" if last.train_seconds else ""
        measure, text = outcome.measure, outcome.measure.text
        lines += [
            (
                f"{measure.name} of the nodes",
                f"mean {text(last.mean)}, worst {text(last.worst)}{_label_of(outcome, last.worst)}, "
                f"best {text(last.best)}{_label_of(outcome, last.best)}",
            ),
            (f"on their own {measure.groups}", f"mean {text(last.mean_own)}"),
            ("averaged model", _averaged(outcome)),
            ("best mean", f"{text(best.mean)} in round {best.round}"),
            *_other_lines(last),
            ("consensus distance", _distance(outcome)),
            ("sent", units.size(last.bytes_sent)),
            ("training time", units.seconds(last.train_seconds) + speed),
        ]
    lines += _clock_lines(outcome)
    if outcome.summary.get("evaluated_on") == "own":
        evaluated = f"each node's own {outcome.config.evaluation.split} {outcome.measure.examples}"
        lines.append(("evaluated on", evaluated))
    if unused := outcome.summary.get("unused_classes"):
        group = outcome.measure.groups if len(unused) > 1 else outcome.measure.group
        lines.append(("on no node", f"{group} {', '.join(map(str, unused))}"))
    if retried := checked_retries(outcome.summary.get("decomposition_retries", {})):
        lines.append(("eigendecompositions", "; ".join(_retries(*item) for item in retried.items())))
    return lines


def _retries(factor: str, counts: dict[str, int]) -> str:
    """Return the number of failed decompositions of a factor, by remedy."""
    words = ", ".join(f"{times} {how}" for how, times in counts.items() if how != "width")
    return f"{factor} factor, {counts['width']} wide, failed at first: {words}"


def _label_of(outcome: Outcome, value: float) -> str:
    """Return the label, in brackets, of the first node with a value of the last evaluation; empty without labels."""
    topology, nodes = outcome.config.topology, outcome.last.nodes if outcome.last else []
    if not topology.has_labels or value not in nodes or len(nodes) != topology.nodes:
        return ""
    return f" ({topology.node_names[nodes.index(value)]})"


def _other_lines(last: Metrics) -> list[tuple[str, str]]:
    """Return the lines of further measures, such as R2 or the perplexity, as far as they are finite."""
    values = {measure: last.values(measure) for measure in last.others}
    return [
        (measure.name, f"mean {measure.text(value.mean)}, averaged model {measure.text(value.averaged_model)}")
        for measure, value in values.items()
        if math.isfinite(value.mean) and math.isfinite(value.averaged_model)
    ]


def end_words(outcome: Outcome) -> str:
    """Return a run's status with its rounds, e.g. ``diverged in round 3 of 30``."""
    rounds, planned = (outcome.last.round if outcome.last else 0), outcome.config.training.rounds
    if outcome.status == "finished":
        done = str(planned) if outcome.reached is None else f"{rounds} of {planned}"
        return f"finished after {done} round{'s' * (planned > 1)}"
    return f"{outcome.status} {'in' if outcome.status == 'diverged' else 'after'} round {rounds} of {planned}"


def _target_words(outcome: Outcome) -> str:
    """Return whether the target was reached, with the cost."""
    reached = outcome.reached
    if reached is None:
        return "not reached"
    cost = f"{units.size(reached.bytes_sent)} sent, {units.seconds(reached.train_seconds)} of training"
    if reached.virtual_seconds is not None:
        cost += f", {units.seconds(reached.virtual_seconds)} of virtual time"
    if reached.joules is not None:
        cost += f", {units.energy(reached.joules)}"
    return f"reached in round {reached.round} ({cost})"


def _rounds_to_target(outcome: Outcome) -> str:
    if outcome.config.training.until_accuracy is None:
        return "no target"
    return "not reached" if outcome.reached is None else str(outcome.reached.round)


def _virtual_time(outcome: Outcome) -> str:
    last = outcome.last
    return "-" if last is None or last.virtual_seconds is None else units.seconds(last.virtual_seconds)


def _energy(outcome: Outcome) -> str:
    return "-" if outcome.last is None or outcome.last.joules is None else units.energy(outcome.last.joules)


def _with_column(rows: Iterable[tuple[str, ...]], column: Iterable[str]) -> list[tuple[str, ...]]:
    return [(*row, cell) for row, cell in zip(rows, column, strict=True)]


def _averaged(outcome: Outcome) -> str:
    """Return the averaged model's value; ``-`` if it was never evaluated."""
    value = outcome.averaged_model
    return "-" if value is None else outcome.measure.text(value)


def _distance(outcome: Outcome) -> str:
    """Return the last consensus distance; ``-`` if it was never computed."""
    return "-" if outcome.averaged_model is None else units.distance(outcome.final("consensus_distance"))


def _row(outcome: Outcome) -> tuple[str, ...]:
    """Return a run's figures under ``heads``."""
    last, best = outcome.last, outcome.best
    if last is None or best is None:
        return (outcome.name, *["-"] * (len(heads([outcome])) - 1))
    text = outcome.measure.text
    return (
        outcome.name,
        text(last.mean),
        text(last.worst),
        _averaged(outcome),
        f"{text(best.mean)} ({best.round})",
        _distance(outcome),
        units.size(last.bytes_sent),
        units.seconds(last.train_seconds),
    )


def _clock_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the labeled figures of the virtual clock; empty without one.

    Time and energy are those of the last evaluation, the others come from the summary of an ended run.
    """
    last, clock = outcome.last, outcome.clock
    lines = []
    if clock:
        lines.append(("clock", f"{clock['mode']}; {_devices(clock['node_device'])}"))
    if last is not None and last.virtual_seconds is not None:
        lines += [
            ("virtual time", units.seconds(last.virtual_seconds)),
            ("energy", "not known" if last.joules is None else units.energy(last.joules)),
        ]
    if clock:
        lines += [
            ("rounds of a node", _range(clock["node_rounds"])),
            ("messages", _messages(clock)),
            ("staleness", _staleness(clock["staleness"])),
        ]
    return lines


def mean_age(staleness: Mapping[str, int]) -> float:
    """Return the mean age of messages counted by age; nan without messages."""
    number = sum(staleness.values())
    return sum(int(age) * count for age, count in staleness.items()) / number if number else float("nan")


def _devices(names: list[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def _range(rounds: list[int]) -> str:
    low, high = min(rounds), max(rounds)
    return str(low) if low == high else f"{low} to {high}, mean {sum(rounds) / len(rounds):.1f}"


def _messages(clock: Mapping[str, Any]) -> str:
    """Return the numbers of sent, received, dropped and in-flight messages."""
    words = [f"{clock['messages_sent']:,} sent", f"{clock['messages_taken']:,} received"]
    words += [f"{count:,} {why}" for why, count in sorted(clock["messages_dropped"].items())]
    if on_their_way := clock["messages_on_their_way"]:
        words.append(f"{on_their_way:,} in flight")
    return ", ".join(words)


def _staleness(ages: Mapping[str, int]) -> str:
    """Return the mean and largest age of received messages, in rounds of the receiver."""
    if not ages:
        return "no message was received"
    return f"mean {mean_age(ages):.2f}, at most {max(map(int, ages))} (rounds of the receiver)"


def write_comparison(folder: Path) -> None:
    """Write ``comparison.json`` and ``comparison.md`` about the runs so far, the best first."""
    outcomes = read_comparison(folder)
    if outcomes:
        write_text(folder / "comparison.json", _comparison_json(outcomes))
        write_text(folder / "comparison.md", _markdown(outcomes))


def _comparison_json(outcomes: Sequence[Outcome]) -> str:
    """Return each run's name and summary."""
    content = {
        "setting": common_words(outcome.config for outcome in outcomes),
        "runs": [{"name": outcome.name, **outcome.summary} for outcome in ranked(outcomes)],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the runs' common setting and a table."""
    heads, *rows = side_by_side(outcomes)
    rule = ("---", *["---:"] * (len(heads) - 1))
    table = "".join(f"| {' | '.join(row)} |\n" for row in (heads, rule, *rows))
    return f"{common_words(outcome.config for outcome in outcomes)}\n\n{table}"
