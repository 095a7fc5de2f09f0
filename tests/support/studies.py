"""A small study, and pretended results of its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from ngpd_fl.config import Config
from ngpd_fl.records import Accuracies
from ngpd_fl.study import StudyPlan
from ngpd_fl.study.runs import CompletedRun, RunStore

TEXT = """
title = "Digits: 100 % of_the & {small}"
notes = "Only a test."

[base]
model = "softmax"
topology = {nodes = 4}
training = {rounds = 2, local_steps = 2}

[tuning]
trials = 2

[final]
seeds = [1, 2, 3]
targets = [0.4, 0.99]

[axes.graph]
ring = {"topology.name" = "ring"}
star = {"topology.name" = "star"}

[axes.split]
iid = {partition = "iid"}
classes = {"partition.name" = "classes", "partition.classes_per_node" = 5}

[strategies.ngpd]
fixed = {strategy = "ngpd"}
search = {"strategy.lr" = {low = 0.01, high = 1.0, log = true}}
start = [{"strategy.lr" = 0.05}]

[strategies.dsgd]
fixed = {strategy.name = "dsgd"}
search = {"strategy.lr" = [0.1, 0.2]}

[strategies.gossip]
role = "baseline"
fixed = {strategy.name = "kfac-gossip"}
only = ["ring"]
skip = ["ring/classes"]
cells.iid = {"topology.name" = "circulant", "topology.offsets" = [1, 2], "topology.nodes" = 5}

[[paper]]
cell = "ring/iid"
strategy = "ngpd"
value = 0.975
what = "Table II"
"""


def read(folder: Path, text: str = TEXT) -> StudyPlan:
    """Return the plan of a file with this text."""
    path = folder / "file.toml"
    path.write_text(text)
    return StudyPlan.read(path)


class PretendRunStore(RunStore):
    """RunStore of which a test says what comes of them: an accuracy, a status, or None where they are not over."""

    def __init__(self, folder: Path, result: Callable[[Config], float | str | None]) -> None:
        super().__init__(folder)
        self.result = result
        self.configs: dict[str, Config] = {}

    def key(self, config: Config) -> str:  # type: ignore[override]
        key = hashlib.sha256(config.to_toml().encode()).hexdigest()[:16]
        self.configs[key] = config
        return key

    def record(self, key: str) -> CompletedRun | None:
        result = self.result(self.configs[key])
        if result is None or isinstance(result, str):
            return None if result is None else CompletedRun(result, "", {"status": result, "final": None}, [])
        final = {"mean_accuracy": result, "min_accuracy": result - 0.1, "averaged_model_accuracy": result + 0.01}
        metrics = [evaluation(0, 0.1), evaluation(5, result - 0.05), evaluation(9, result)]
        return CompletedRun("finished", "", {"status": "finished", "final": final, "rounds": 9}, metrics)


def evaluation(round: int, accuracy: float) -> Accuracies:
    """Return the recorded evaluation after a round."""
    return Accuracies(
        round=round,
        node_steps=8 * round,
        train_seconds=0.5 * round,
        bytes_sent=1000 * round,
        train_loss=None,
        trust_shrink=None,
        consensus_distance=0.1,
        mean_accuracy=accuracy,
        min_accuracy=accuracy,
        max_accuracy=accuracy,
        mean_own_accuracy=accuracy,
        averaged_model_accuracy=accuracy,
        accuracy=[],
        own_accuracy=[],
        class_accuracy=[],
        averaged_model_class_accuracy=None,
    )
