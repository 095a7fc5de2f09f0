"""Round at which one algorithm reaches the final accuracy of the best other one, in each cell of a study.

`python -m benchmarks.lead STUDY [LABEL]` with a study's folder: in each cell the best other peer by its final mean
accuracy over the nodes, and the round of the evaluation at which LABEL (NGPD) first has that, by the mean over the
seeds. Peers of second order (`kfac-gossip`) do not count as rivals.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pyarrow.parquet

from ngpd_fl.config import Config

Curve = dict[int, float]


def curves(folder: Path, label: str) -> dict[tuple[str, str], Curve]:
    """Return the mean accuracy by round, over the seeds, of each cell's peers: ``label`` and its rivals."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in pyarrow.parquet.read_table(folder / "runs.parquet").to_pylist():
        if row["phase"] != "final" or row["role"] != "peer" or row["status"] != "finished":
            continue
        run = folder / "runs" / row["run"]
        second_order = Config.load(run / "config.toml").strategy.second_order
        if second_order and row["strategy"] != label:
            continue
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            metrics = json.loads(line)
            found[row["cell"], row["strategy"]][metrics["round"]].append(metrics["mean_accuracy"])
    return {key: {round: fmean(values) for round, values in of.items()} for key, of in found.items()}


def main(folder: str, label: str = "NGPD") -> None:
    """Print a line per cell."""
    known = curves(Path(folder), label)
    for cell in dict.fromkeys(cell for cell, _ in known):
        own = known.get((cell, label))
        rivals = {other: curve for (of, other), curve in known.items() if of == cell and other != label}
        if own is None or not rivals:
            continue
        best = max(rivals, key=lambda other: rivals[other][max(rivals[other])])
        rounds, final = max(rivals[best]), rivals[best][max(rivals[best])]
        reached = next((round for round, value in own.items() if value >= final), None)
        words = "not" if reached is None else f"by round {reached} of {rounds} ({100 * reached / rounds:.0f} %)"
        print(f"{cell:24} {label} {100 * own[max(own)]:.2f} %; {best} {100 * final:.2f} %, reached {words}")


if __name__ == "__main__":
    if len(sys.argv) in (2, 3):
        main(*sys.argv[1:])
    else:
        print("usage: python -m benchmarks.lead STUDY [LABEL], with the folder of a study that was run")
