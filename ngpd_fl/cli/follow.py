"""``ngpd-fl show --follow``: a run's evaluations, printed as they are recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.records import Metrics

_FIRST = 10
"""Evaluations that are shown of those that are there already."""

_PAUSE, _SHARE = 0.5, 0.1
"""Seconds between two looks at least; share of the time that reading the records may take."""


def print_evaluations(directory: Path) -> None:
    """Print the latest evaluations of a run, then each new one, until the run has ended. Nothing is written.

    Args:
        directory: the run's folder. Of a run that has ended, the latest evaluations are printed.

    Raises:
        InputError: it is not the folder of a run, or a record is damaged.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.records import RunFolder

    if directory.is_dir() and not RunFolder.holds_run(directory):
        raise InputError(f"--follow: {directory} is not the folder of a run; name that of one run")
    folder = RunFolder.open(directory)
    config, path = folder.config(), directory / "metrics.jsonl"
    size, printed = -1, -1
    while True:
        is_going = folder.is_going  # before the records are read: nothing comes after them
        began = time.monotonic()
        if path.exists() and path.stat().st_size != size:
            size = path.stat().st_size
            metrics = folder.metrics()
            new = metrics[-_FIRST:] if printed < 0 else metrics[printed:]
            for evaluation in new:
                print(_line(config, evaluation), flush=True)
            printed = len(metrics)
        if not is_going:
            return
        time.sleep(max(_PAUSE, (time.monotonic() - began) / _SHARE))


def _line(config: Config, metrics: Metrics) -> str:
    """Return an evaluation in a line, with the training time left at the speed so far."""
    from ngpd_fl.report import units
    from ngpd_fl.report.progress import WIDTH, clock, fitted, metrics_words, short

    rounds = config.training.rounds
    head = f"{short(config.method)}  round {metrics.round:{len(str(rounds))}}/{rounds}  "
    words = metrics_words(metrics)
    if metrics.round:
        words["speed"] = f"{units.rate(metrics.node_steps / metrics.train_seconds)} node-steps/s"
        words["left"] = f"{clock(metrics.train_seconds / metrics.round * (rounds - metrics.round))} left"
    return head + fitted(words, WIDTH - len(head))
