"""``ngpd-fl show --follow``: a run's evaluations, printed as they are recorded."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.records import Metrics, RunFolder
    from ngpd_fl.records.growing_file import GrowingFile

_FIRST = 10
"""Evaluations that are shown of those that are there already."""

_PAUSE = 0.5
"""Seconds between two looks."""


def print_evaluations(directory: Path) -> None:
    """Print the latest evaluations of a run, then each new one, until the run has ended. Nothing is written.

    Args:
        directory: the run's folder. Of a run that has ended, the latest evaluations are printed.

    Raises:
        InputError: it is not the folder of a run, or a record is damaged.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.config.errors import printable
    from ngpd_fl.records import RunFolder
    from ngpd_fl.records.growing_file import GrowingFile

    if directory.is_dir() and not RunFolder.holds_run(directory):
        raise InputError(f"--follow: {directory} is not the folder of a run; name that of one run")
    folder = RunFolder.open(directory)
    config, file, is_first = folder.config(), GrowingFile(directory / "metrics.jsonl"), True
    while True:
        is_running = folder.is_running  # before the records are read: nothing comes after them
        lines, is_anew = _new_lines(file)
        for evaluation in _evaluations(folder, lines[-_FIRST:] if is_first or is_anew else lines):
            print(printable(_line(config, evaluation)), flush=True)
        is_first = is_first and not lines
        if not is_running:
            return
        time.sleep(_PAUSE)


def _new_lines(file: GrowingFile) -> tuple[list[bytes], bool]:
    """Return the lines since the last look, and whether the file has begun anew, as where a run is resumed."""
    from ngpd_fl.config import InputError

    lines: list[bytes] = []
    is_anew = False
    while True:
        piece = file.read()
        if file.problem:
            raise InputError(file.problem)
        if piece.is_anew:
            lines, is_anew = [], True
        lines += piece.lines
        if not piece.is_behind:
            return lines, is_anew


def _evaluations(folder: RunFolder, lines: list[bytes]) -> list[Metrics]:
    """Return what the lines say."""
    from ngpd_fl.config import InputError, parse_json
    from ngpd_fl.config.text_files import decoded
    from ngpd_fl.records.metrics import metrics_of

    try:
        return [metrics_of(parse_json(decoded(line))) for line in lines]
    except ValueError as error:
        folder.metrics()  # names the line
        raise InputError(f"{folder.path / 'metrics.jsonl'} is damaged ({error})") from error


def _line(config: Config, metrics: Metrics) -> str:
    """Return an evaluation in a line, with the training time left at the speed so far."""
    from ngpd_fl.report import units
    from ngpd_fl.report.progress import WIDTH, clock, fitted, metrics_words, short

    rounds = config.training.rounds
    head = f"{short(config.method)}  round {metrics.round:{len(str(rounds))}}/{rounds}  "
    words = metrics_words(metrics)
    if metrics.round and metrics.train_seconds:
        words["speed"] = f"{units.rate(metrics.node_steps / metrics.train_seconds)} node-steps/s"
        left = metrics.train_seconds / metrics.round * (rounds - metrics.round)
        if math.isfinite(left):  # else the record is not what it was
            words["left"] = f"{clock(left)} left"
    return head + fitted(words, WIDTH - len(head))
