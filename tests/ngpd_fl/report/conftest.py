"""Runs made up without training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.records import Accuracies, Errors, Metrics
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
    return Accuracies(**(made | values))


def errors(round: int, num_nodes: int, **values: Any) -> Metrics:
    """The same with errors, which fall with the round: accuracy a becomes the error 100 - 90 a."""
    old = metrics(round, num_nodes).model_dump()
    made = {key: value for key, value in old.items() if "accuracy" not in key}
    for key in ("mean_accuracy", "mean_own_accuracy", "averaged_model_accuracy"):
        made[key.replace("accuracy", "rmse")] = 100 - 90 * old[key]
    made["rmse"] = made["own_rmse"] = [100 - 90 * each for each in old["accuracy"]]
    made |= {"min_rmse": min(made["rmse"]), "max_rmse": max(made["rmse"])}
    made |= {"bin_rmse": [50.0] * 10, "averaged_model_bin_rmse": [50.0] * 10}
    made |= {"mean_r2": 0.25, "averaged_model_r2": 0.5, "r2": [0.25] * num_nodes}
    return Errors(**(made | values))


@pytest.fixture
def make_outcome() -> MakeOutcome:
    """Make a run up: its name, its evaluations by round, its status, its target, and values of the last one."""

    def make(
        name: str = "ngpd",
        rounds: int = 5,
        status: str = "finished",
        nodes: int = 4,
        of: Callable[..., Metrics] = metrics,
        target: float | None = None,
        **last: Any,
    ) -> Outcome:
        config = Config(topology={"nodes": nodes}, training={"rounds": max(rounds, 1), "until_accuracy": target})
        found = [of(round, nodes) for round in range(rounds)]
        return Outcome(name, config, [*found, of(rounds, nodes, **last)], {"status": status})

    return make


@pytest.fixture
def make_regression(make_outcome: MakeOutcome) -> MakeOutcome:
    """The same of a run that learned real-valued targets."""
    return partial(make_outcome, of=errors)
