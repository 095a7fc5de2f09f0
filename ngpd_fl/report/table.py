"""The figures of runs in words: line by line for one, side by side for several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ngpd_fl.report import units
from ngpd_fl.report.outcome import Outcome

HEADS = ("", "mean acc.", "min acc.", "averaged", "best mean", "consensus", "sent", "train time")
"""Of a comparison's columns: accuracy of the nodes' models, of the averaged model, the best mean with its round."""


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs, the best first: by their last mean accuracy, the highest first; diverged or without any: last.

    Where all were to end at the same accuracy, those that reached it come first, by the rounds it took them.
    """
    comparable = len({outcome.config.training.until_accuracy for outcome in outcomes}) == 1

    def rank(outcome: Outcome) -> tuple[float, float]:
        rounds = outcome.reached.round if comparable and outcome.reached else math.inf
        return -rounds, outcome.last.mean_accuracy if outcome.last and outcome.status != "diverged" else -1

    return sorted(outcomes, key=rank, reverse=True)


def side_by_side(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the table's rows, the heads first, the best run next.

    With the rounds to the target where a run had one, and with the runs' ends where not all are finished.
    """
    runs = ranked(outcomes)
    rows = [HEADS, *map(_row, runs)]
    if any(run.config.training.until_accuracy is not None for run in runs):
        rows = _with_column(rows, ("rounds to target", *map(_rounds_to_target, runs)))
    if any(run.status != "finished" for run in runs):
        rows = _with_column(rows, ("status", *map(end_words, runs)))
    return rows


def line_by_line(outcome: Outcome) -> list[tuple[str, str]]:
    """Return one run's figures, each with what it is."""
    last, best = outcome.last, outcome.best
    lines = [("status", end_words(outcome))]
    if (target := outcome.config.training.until_accuracy) is not None:
        lines.append(("target", f"mean {units.short_percent(target)} {_target_words(outcome)}"))
    if last is not None and best is not None:
        speed = f" ({last.node_steps / last.train_seconds:,.0f} node-steps/s)" if last.train_seconds else ""
        mean, worst, highest = map(units.percent, (last.mean_accuracy, last.min_accuracy, last.max_accuracy))
        lines += [
            ("accuracy of the nodes", f"mean {mean}, worst {worst}, best {highest}"),
            ("on classes as their own", f"mean {units.percent(last.mean_own_accuracy)}"),
            ("averaged model", units.percent(last.averaged_model_accuracy)),
            ("best mean", f"{units.percent(best.mean_accuracy)} in round {best.round}"),
            ("consensus distance", units.distance(last.consensus_distance)),
            ("sent", units.size(last.bytes_sent)),
            ("training time", units.seconds(last.train_seconds) + speed),
        ]
    if unused := outcome.summary.get("unused_classes"):
        lines.append(("on no node", f"class{'es' * (len(unused) > 1)} {', '.join(map(str, unused))}"))
    return lines


def end_words(outcome: Outcome) -> str:
    """Return how far a run came, e.g. ``diverged in round 3 of 30``; a target may end it before all rounds."""
    rounds, planned = (outcome.last.round if outcome.last else 0), outcome.config.training.rounds
    if outcome.status == "finished":
        done = str(planned) if outcome.reached is None else f"{rounds} of {planned}"
        return f"finished after {done} round{'s' * (planned > 1)}"
    return f"{outcome.status} {'in' if outcome.status == 'diverged' else 'after'} round {rounds} of {planned}"


def _target_words(outcome: Outcome) -> str:
    """Return whether the target was reached, and at what cost."""
    reached = outcome.reached
    if reached is None:
        return "not reached"
    cost = f"{units.size(reached.bytes_sent)} sent, {units.seconds(reached.train_seconds)} of training"
    return f"reached in round {reached.round} ({cost})"


def _rounds_to_target(outcome: Outcome) -> str:
    if outcome.config.training.until_accuracy is None:
        return "no target"
    return "not reached" if outcome.reached is None else str(outcome.reached.round)


def _with_column(rows: Iterable[tuple[str, ...]], column: Iterable[str]) -> list[tuple[str, ...]]:
    return [(*row, cell) for row, cell in zip(rows, column, strict=True)]


def _row(outcome: Outcome) -> tuple[str, ...]:
    """Return a run's figures under ``HEADS``."""
    last, best = outcome.last, outcome.best
    if last is None or best is None:
        return (outcome.name, *["-"] * (len(HEADS) - 1))
    return (
        outcome.name,
        units.percent(last.mean_accuracy),
        units.percent(last.min_accuracy),
        units.percent(last.averaged_model_accuracy),
        f"{units.percent(best.mean_accuracy)} ({best.round})",
        units.distance(last.consensus_distance),
        units.size(last.bytes_sent),
        units.seconds(last.train_seconds),
    )
