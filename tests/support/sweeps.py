"""Small sweeps, and what executors must not change in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet

from tests.support.interrupted_runs import TIMINGS, assert_same_records

SHORT = """
model = "softmax"
topology.nodes = 4
training = {rounds = 3, local_steps = 2}
[sweep.keys]
strategy.name = ["dsgd", "ngpd"]
"""

LONG = SHORT.replace("rounds = 3", "rounds = 1000").replace("[sweep.keys]", "evaluation.every = 20\n[sweep.keys]")
"""Long enough to be stopped in the middle."""


def assert_same_sweeps(folder: Path, other: Path) -> None:
    """Let two sweeps have the same files with the same content, apart from timings and the order of their ends."""

    def names(root: Path) -> set[Path]:
        return {path.relative_to(root) for path in root.rglob("*")}

    assert names(folder) == names(other)
    tables = [pyarrow.parquet.read_table(each / "trials.parquet").to_pylist() for each in (folder, other)]
    timeless = [[{key: row[key] for key in row.keys() - TIMINGS} for row in table] for table in tables]
    assert timeless[0] == timeless[1]
    assert (folder / "sweep.toml").read_bytes() == (other / "sweep.toml").read_bytes()
    for trial in folder.glob("trial-*"):
        assert_same_records(trial, other / trial.name)
