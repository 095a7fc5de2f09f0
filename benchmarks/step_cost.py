"""NGPD's time per local step over plain SGD's in the same engine, and both beside a plain PyTorch loop.

8 nodes (2 for ResNet-8), batch 64, one thread, process time; the median over rounds of 100 local steps at every node,
measured in turn, so that a drift of the machine's speed falls on all alike. Random images: arithmetic does not depend
on them. NGPD has its defaults; "cheap" refreshes the factors half as often and keeps half of the eigenvectors.

    python -m benchmarks.step_cost [lenet] [resnet8] [mlp]
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from ngpd_fl.config import ModelConfig
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Split
from ngpd_fl.engines import DataMinibatches, EngineSettings, SynchronousEngine
from ngpd_fl.models import Categorical, SupervisedObjective, build_model
from strategies import DSGDOptions, NGPDOptions, make_strategy
from topologies import parse_topology

BATCH, STEPS, REPEATS, EXAMPLES = 64, 100, 5, 6400
CHEAP = {"factor_every": 8, "basis_every": 16, "rank": 32}


class Case(NamedTuple):
    """A network, the images it reads, and the number of nodes."""

    title: str
    model: ModelConfig
    image: tuple[int, int, int]
    nodes: int


CASES = {
    "lenet": Case("LeNet 1x28x28", ModelConfig(name="lenet"), (1, 28, 28), 8),
    "resnet8": Case("ResNet-8 3x32x32", ModelConfig(name="resnet8"), (3, 32, 32), 2),
    "mlp": Case("MLP 784-128-64-10", ModelConfig(name="mlp", hidden=(128, 64)), (1, 28, 28), 8),
}


def engine(case: Case, options: DSGDOptions | NGPDOptions) -> SynchronousEngine:
    """Return an engine on random images."""
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randn(EXAMPLES, *case.image, generator=generator), torch.randint(10, (EXAMPLES,), generator=generator)
    )
    network = build_model(case.model, case.image, 10, 0, torch.float32)
    if isinstance(options, NGPDOptions):
        strategy = make_strategy(options, KFAC(network, Categorical(), case.image, options))
    else:
        strategy = make_strategy(options, SupervisedObjective(network, Categorical()))
    parts = torch.arange(EXAMPLES).view(case.nodes, -1).numpy()
    minibatches = DataMinibatches(split, list(parts), BATCH, seed=0)
    topology = parse_topology({"name": "ring", "nodes": case.nodes}).build(0)
    return SynchronousEngine(EngineSettings(strategy, topology, minibatches, network.start(), STEPS, rounds=1))


def plain_loop(case: Case) -> Callable[[], None]:
    """Return SGD on separate ``nn.Module``s, one after the other, as a loop over nodes would do."""
    network = build_model(case.model, case.image, 10, 0, torch.float32).module
    networks = [copy.deepcopy(network) for _ in range(case.nodes)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.01) for each in networks]
    inputs, labels, loss = torch.randn(EXAMPLES, *case.image), torch.randint(10, (EXAMPLES,)), nn.CrossEntropyLoss()

    def steps() -> None:
        for _ in range(STEPS):
            for each, optimizer in zip(networks, optimizers, strict=True):
                batch = torch.randint(EXAMPLES, (BATCH,))
                optimizer.zero_grad()
                loss(each(inputs[batch]), labels[batch]).backward()
                optimizer.step()

    return steps


def seconds(work: Callable[[], object]) -> float:
    """Return the process time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'model':<20}{'plain loop':>12}{'SGD':>10}{'NGPD':>10}{'NGPD cheap':>12}   NGPD/SGD  cheap/SGD  SGD/loop")
    for case in [CASES[name] for name in sys.argv[1:] or CASES]:
        jobs: list[Callable[[], object]] = [
            plain_loop(case),
            engine(case, DSGDOptions(momentum=0.0)).run_round,
            engine(case, NGPDOptions()).run_round,
            engine(case, NGPDOptions.model_validate(CHEAP)).run_round,
        ]
        times = [[seconds(job) for job in jobs] for _ in range(REPEATS + 1)][1:]  # the first warms up
        columns = [statistics.median(column) / (case.nodes * STEPS) for column in zip(*times, strict=True)]
        ratios = (statistics.median(row[i] / row[j] for row in times) for i, j in ((2, 1), (3, 1), (1, 0)))
        milliseconds = [f"{1000 * value:.2f} ms" for value in columns]
        print(
            f"{case.title:<20}{milliseconds[0]:>12}{milliseconds[1]:>10}{milliseconds[2]:>10}{milliseconds[3]:>12}"
            + "".join(f"{ratio:>11.2f}" for ratio in ratios),
            flush=True,
        )
    print("cheap: " + ", ".join(f"{key} {value}" for key, value in CHEAP.items()))


if __name__ == "__main__":
    main()
