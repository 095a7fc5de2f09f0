"""Cost of the trackers: the time of a whole run with and without each that is installed.

Medians of 5 pairs of runs, one after the other, each in a folder of its own; NGPD on 8 nodes, evaluated after every
round. The start and the end of a tracker take a time that does not grow with the run: it is listed apart, and is not
in the percentage. Trackers write to this machine only.

    python -m benchmarks.trackers
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config
from ngpd_fl.config.extras import TRACKERS, has_extra
from ngpd_fl.training.run import run
from ngpd_fl.training.trackers import Tracker, make_tracker

PAIRS = 5
ROUNDS = 100
OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def timed(tracker: Tracker) -> dict[str, float]:
    """Let a tracker add up the seconds of its methods, by their names."""
    seconds: dict[str, float] = {}

    def wrap(name: str, method: Callable[..., None]) -> None:
        def measured(*given: Any) -> None:
            began = time.perf_counter()
            method(*given)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began

        setattr(tracker, name, measured)

    for name in ("on_start", "on_evaluation", "on_end"):
        wrap(name, getattr(tracker, name))
    return seconds


def seconds_of(config: Config, folder: Path, name: str | None) -> tuple[float, dict[str, float]]:
    """Return the seconds of a run, and those of its tracker's methods."""
    trackers = [make_tracker(name)] if name else []
    parts = timed(trackers[0]) if trackers else {}
    began = time.perf_counter()
    run(config, folder, trackers)
    return time.perf_counter() - began, parts


def rows(pairs: int = PAIRS, rounds: int = ROUNDS) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield each tracker, the run's seconds without it, and medians of what it adds.

    These are: percent of the whole run without the start and the end, seconds of start and end, milliseconds of an
    evaluation.
    """
    config = Config(training={"rounds": rounds})
    count = len(run(config).metrics)
    for name in filter(has_extra, TRACKERS):
        plain, shares, ends, evaluations = [], [], [], []
        for pair in range(pairs):
            without, _ = seconds_of(config, Path(f"{name}-{pair}-without"), None)
            whole, parts = seconds_of(config, Path(f"{name}-{pair}-with"), name)
            edges = parts["on_start"] + parts["on_end"]
            plain.append(without)
            shares.append(100 * ((whole - edges) / without - 1))
            ends.append(edges)
            evaluations.append(1000 * parts["on_evaluation"] / count)
        seconds, share, end, evaluation = map(statistics.median, (plain, shares, ends, evaluations))
        yield name, seconds, share, end, evaluation


def main() -> None:
    """Print a row for each tracker."""
    print("| tracker | run | adds | start and end | an evaluation |\n| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= OFFLINE | {"TRACKIO_DIR": str(Path("trackio").absolute())}
        for name, plain, share, ends, evaluation in rows():
            print(f"| {name} | {plain:.1f} s | {share:+.1f} % | {ends:.1f} s | {evaluation:.1f} ms |", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
