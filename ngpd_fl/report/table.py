"""The figures of runs in words: line by line for one, side by side for several."""

from __future__ import annotations

from collections.abc import Sequence

from ngpd_fl.report import units
from ngpd_fl.report.outcome import Outcome

HEADS = ("", "mean acc.", "min acc.", "averaged", "best mean", "consensus", "sent", "train time")
"""Of a comparison's columns: accuracy of the nodes' models, of the averaged model, the best mean with its round."""


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs by their last mean accuracy, the highest first; diverged or without any: last."""

    def rank(outcome: Outcome) -> float:
        return outcome.last.mean_accuracy if outcome.last and outcome.status != "diverged" else -1

    return sorted(outcomes, key=rank, reverse=True)


def side_by_side(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the table's rows, the heads first, the best run next; with the runs' ends where not all are finished."""
    rows = [_row(outcome) for outcome in ranked(outcomes)]
    if all(outcome.status == "finished" for outcome in outcomes):
        return [HEADS, *rows]
    ends = [end_words(outcome) for outcome in ranked(outcomes)]
    return [(*HEADS, "status"), *((*row, end) for row, end in zip(rows, ends, strict=True))]


def line_by_line(outcome: Outcome) -> list[tuple[str, str]]:
    """Return one run's figures, each with what it is."""
    last, best = outcome.last, outcome.best
    lines = [("status", end_words(outcome))]
    if last is not None and best is not None:
        speed = f" ({last.node_steps / last.train_seconds:,.0f} node-steps/s)" if last.train_seconds else ""
        mean, worst, highest = map(units.percent, (last.mean_accuracy, last.min_accuracy, last.max_accuracy))
        averaged = outcome.final("averaged_model_accuracy")
        lines += [
            ("accuracy of the nodes", f"mean {mean}, worst {worst}, best {highest}"),
            ("on classes as their own", f"mean {units.percent(last.mean_own_accuracy)}"),
            ("averaged model", units.percent(averaged)),
            ("best mean", f"{units.percent(best.mean_accuracy)} in round {best.round}"),
            ("consensus distance", _distance(outcome)),
            ("sent", units.size(last.bytes_sent)),
            ("training time", units.seconds(last.train_seconds) + speed),
        ]
    if unused := outcome.summary.get("unused_classes"):
        lines.append(("on no node", f"class{'es' * (len(unused) > 1)} {', '.join(map(str, unused))}"))
    return lines


def end_words(outcome: Outcome) -> str:
    """Return how far a run came, e.g. ``diverged in round 3 of 30``."""
    rounds, planned = (outcome.last.round if outcome.last else 0), outcome.config.training.rounds
    if outcome.status == "finished":
        return f"finished after {planned} round{'s' * (planned > 1)}"
    return f"{outcome.status} {'in' if outcome.status == 'diverged' else 'after'} round {rounds} of {planned}"


def _distance(outcome: Outcome) -> str:
    """Return the last consensus distance; ``-`` where the parameters never met in one place."""
    if outcome.final("averaged_model_accuracy") is None:
        return "-"
    return units.distance(outcome.final("consensus_distance"))


def _row(outcome: Outcome) -> tuple[str, ...]:
    """Return a run's figures under ``HEADS``."""
    last, best = outcome.last, outcome.best
    if last is None or best is None:
        return (outcome.name, *["-"] * (len(HEADS) - 1))
    return (
        outcome.name,
        units.percent(last.mean_accuracy),
        units.percent(last.min_accuracy),
        units.percent(outcome.final("averaged_model_accuracy")),
        f"{units.percent(best.mean_accuracy)} ({best.round})",
        _distance(outcome),
        units.size(last.bytes_sent),
        units.seconds(last.train_seconds),
    )
