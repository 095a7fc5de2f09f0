"""Node-rounds per second of Flower's simulation with one and with 32 nodes per client, and of the in-process engine.

Decentralized SGD, and NGPD with factors every 10 and eigenbasis every 100 steps; an MLP 784-64-10 (50,890 parameters,
float32), batch 32, one local step a round, ring. A node-round is one node's step and its exchange. Random images:
arithmetic does not depend on them. Flower has a process on every CPU, the engine one thread. The first rounds are left
out, in which processes load what they need.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ngpd_fl import Config, Progress, run, run_flower
from ngpd_fl.training.callbacks import ProgressReport

NGPD = {"name": "ngpd", "factor_every": 10, "basis_every": 100}
SIZES: list[tuple[Any, int]] = [("dsgd", 10), ("dsgd", 64), ("dsgd", 256), (NGPD, 64)]
WARM = 3
"""Rounds that are left out."""


def random_images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 64 training images for each of up to 256 nodes, and a few to evaluate on; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    counts = (16384, 100)
    inputs = [torch.randn(count, 1, 28, 28, generator=generator) for count in counts]
    labels = [torch.arange(count) % 10 for count in counts]
    return inputs[0], labels[0], inputs[1], labels[1]


def run_here(config: Config, out: None, on_progress: Callable[[Progress], None]) -> None:
    """Run the in-process engine."""
    run(config, out, [ProgressReport(on_progress)])


def node_rounds_per_second(runner: Callable[..., Any], strategy: Any, nodes: int, rounds: int, **more: Any) -> float:
    """Return the speed of ``run_here`` or ``run_flower`` after the first rounds."""
    config = Config(
        data={"dataset": "benchmarks.flower_scale:random_images", "validation_fraction": 0},
        partition="iid",
        topology={"name": "ring", "nodes": nodes},
        strategy=strategy,
        model={"name": "mlp", "hidden": (64,)},
        training={"rounds": rounds + WARM, "local_steps": 1},
        evaluation={"every": rounds + WARM},
        engine={"device": "cpu"},
    )
    seconds: dict[int, float] = {}

    def note(progress: Progress) -> None:
        seconds[progress.round] = progress.train_seconds

    runner(config, None, note, **more)
    return nodes * rounds / (seconds[rounds + WARM] - seconds[WARM])


def main() -> None:
    """Print the table."""
    print(f"flwr {version('flwr')}, ray {version('ray')}, torch {version('torch')}, {os.cpu_count()} CPUs")
    print(f"{'':<12}{'Flower, 1/client':>18}{'Flower, 32/client':>19}{'in-process':>12}    32:1  in-process:1")
    for strategy, nodes in SIZES:
        one = node_rounds_per_second(run_flower, strategy, nodes, max(3, 640 // nodes), collect=False)
        many = node_rounds_per_second(run_flower, strategy, nodes, 30, collect=False, nodes_per_client=32)
        here = node_rounds_per_second(run_here, strategy, nodes, 60)
        name = strategy if isinstance(strategy, str) else strategy["name"]
        row = (
            f"{name + ' ' + str(nodes):<12}{one:>18.0f}{many:>19.0f}{here:>12.0f}{many / one:>8.1f}{here / one:>14.1f}"
        )
        print(row, flush=True)


if __name__ == "__main__":
    main()
