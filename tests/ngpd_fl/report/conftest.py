"""Runs made up without training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.records import Metrics
from ngpd_fl.report import Outcome

MakeOutcome = Callable[..., Outcome]


def metrics(round: int, num_nodes: int, **values: Any) -> Metrics:
    """An evaluation whose accuracies rise with the round and with the node."""
    accuracy = [min(1.0, 0.1 + 0.05 * round + 0.001 * node) for node in range(num_nodes)]
    made: dict[str, Any] = {
        "round": round,
        "node_steps": 8 * num_nodes * round,
        "train_seconds": 0.5 * round,
        "bytes_sent": 40_000 * num_nodes * round,
        "train_loss": 1.0 if round else None,
        "trust_shrink": 1.0 if round else None,
        "mean_accuracy": sum(accuracy) / num_nodes,
        "min_accuracy": min(accuracy),
        "max_accuracy": max(accuracy),
        "mean_own_accuracy": 0.9,
        "averaged_model_accuracy": 0.5,
        "consensus_distance": 0.1 * round,
        "accuracy": accuracy,
        "own_accuracy": accuracy,
        "class_accuracy": [0.5] * 10,
        "averaged_model_class_accuracy": [0.5] * 10,
    }
    return Metrics(**(made | values))


@pytest.fixture
def make_outcome() -> MakeOutcome:
    """Make a run up: its name, its evaluations by round, its status, its target, and values of the last one."""

    def make(
        name: str = "ngpd",
        rounds: int = 5,
        status: str = "finished",
        nodes: int = 4,
        target: float | None = None,
        **last: Any,
    ) -> Outcome:
        config = Config(topology={"nodes": nodes}, training={"rounds": max(rounds, 1), "until_accuracy": target})
        found = [metrics(round, nodes) for round in range(rounds)]
        return Outcome(name, config, [*found, metrics(rounds, nodes, **last)], {"status": status})

    return make
