"""Size of a checkpoint, and the time to write and to read it.

8 nodes on a ring in their first state, which is as large as any other; medians of 5. Writing includes synchronizing the
disk.

    python -m benchmarks.checkpoint [FOLDER]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.step_cost import CASES, engine
from ngpd_fl.records import Checkpoints
from strategies import DSGDOptions, NGPDOptions

REPEATS = 5
OPTIONS: dict[str, DSGDOptions | NGPDOptions] = {
    "DSGD": DSGDOptions(lr=0.05, momentum=0.9),
    "NGPD": NGPDOptions(),
    "NGPD, rank 32": NGPDOptions(rank=32),
}


def seconds(do: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        do()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Print a row for each network and algorithm."""
    print("| network | algorithm | size | write | read |\n| --- | --- | --- | --- | --- |")
    for name in ("lenet", "mlp"):
        for title, options in OPTIONS.items():
            running = engine(CASES[name], options)
            with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
                (Path(folder) / "metrics.jsonl").touch()
                checkpoints = Checkpoints(Path(folder))
                write = seconds(partial(checkpoints.write, 0, *running.state()))
                read = seconds(partial(checkpoints.read, 0))
                size = sum(path.stat().st_size for path in checkpoints.path.iterdir())
            row = f"{size / 1e6:.1f} MB | {1e3 * write:.0f} ms | {1e3 * read:.0f} ms"
            print(f"| {CASES[name].title} | {title} | {row} |", flush=True)


if __name__ == "__main__":
    main()
