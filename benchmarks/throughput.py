"""Node-steps per second of the engine and of a plain loop over ``nn.Module``s, and what arithmetic allows.

MLP 784-64-10, batch 32, ring, decentralized SGD without momentum, one exchange per local step, one thread, process
time; the median over repeats, measured in turn. Random images: arithmetic does not depend on them.

    python -m benchmarks.throughput [NODES ...]
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from ngpd_fl.config import ModelConfig
from ngpd_fl.data import Split
from ngpd_fl.engines import DataMinibatches, EngineSettings, SynchronousEngine
from ngpd_fl.models import Categorical, SupervisedObjective, build_model
from strategies import DSGDOptions, make_strategy
from topologies import parse_topology

HIDDEN, BATCH, EXAMPLES, LR = 64, 32, 60_000, 0.01
MODEL = ModelConfig(name="mlp", hidden=(HIDDEN,))
SECONDS, REPEATS = 2.0, 5


def images() -> Split:
    """Return random images, as many as MNIST has."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, 1, 28, 28, generator=generator)
    return Split(inputs, torch.randint(10, (EXAMPLES,), generator=generator))


def engine(split: Split, nodes: int) -> Callable[[], object]:
    """Return one round of the engine."""
    network = build_model(MODEL, (1, 28, 28), 10, 0, torch.float32)
    strategy = make_strategy(DSGDOptions(lr=LR, momentum=0.0), SupervisedObjective(network, Categorical()))
    parts = torch.arange(EXAMPLES).tensor_split(nodes)
    minibatches = DataMinibatches(split, [part.numpy() for part in parts], BATCH, seed=0)
    topology = parse_topology({"name": "ring", "nodes": nodes}).build(0)
    return SynchronousEngine(EngineSettings(strategy, topology, minibatches, network.start(), 1, rounds=1)).run_round


def plain_loop(split: Split, nodes: int) -> Callable[[], None]:
    """Return one round of a loop over separate networks: each takes a step, then averages with its two neighbors."""
    network = build_model(MODEL, (1, 28, 28), 10, 0, torch.float32).module
    networks = [copy.deepcopy(network) for _ in range(nodes)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=LR) for each in networks]
    parts = torch.arange(EXAMPLES).tensor_split(nodes)
    loss = nn.CrossEntropyLoss()

    def round() -> None:
        for each, optimizer, part in zip(networks, optimizers, parts, strict=True):
            batch = part[torch.randint(len(part), (BATCH,))]
            optimizer.zero_grad()
            loss(each(split.inputs[batch]), split.labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            before = [[parameter.clone() for parameter in each.parameters()] for each in networks]
            for node, each in enumerate(networks):
                left, right = before[node - 1], before[(node + 1) % nodes]
                for own, parameter, one, other in zip(before[node], each.parameters(), left, right, strict=True):
                    parameter.copy_((own + one + other) / 3)

    return round


def seconds(work: Callable[[], object], calls: int) -> float:
    """Return the process time of one call, the mean of several."""
    began = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - began) / calls


def rates(jobs: list[Callable[[], object]], nodes: int) -> list[list[float]]:
    """Return each job's node-steps per second, one per repeat."""
    calls = [max(1, round(SECONDS / seconds(job, 2))) for job in jobs]  # which also warms up
    times = [[seconds(job, count) for job, count in zip(jobs, calls, strict=True)] for _ in range(REPEATS)]
    return [[nodes / row[column] for row in times] for column in range(len(jobs))]


def limits() -> tuple[float, float]:
    """Return the node-steps a second that a core's matrix products allow, and those that its copies allow.

    Products are timed at the shapes of one node, one node after another. Bytes are those that a node-step cannot do
    without: its images read; parameters read, and written once; both neighbors' parameters read.
    """
    inputs, weight = torch.randn(BATCH, 784), torch.randn(HIDDEN, 784)
    hidden, last = torch.randn(BATCH, HIDDEN), torch.randn(10, HIDDEN)
    score, of_hidden = torch.randn(BATCH, 10), torch.randn(BATCH, HIDDEN)

    def products() -> None:
        for _ in range(1000):
            torch.mm(inputs, weight.t())
            torch.mm(hidden, last.t())
            torch.mm(score.t(), hidden)
            torch.mm(score, last)
            torch.mm(of_hidden.t(), inputs)

    size = 4 * (785 * HIDDEN + 10 * (HIDDEN + 1))
    source = torch.randn(2**25)
    target = torch.empty_like(source)
    copied = min(seconds(lambda: target.copy_(source), 3) for _ in range(REPEATS)) / (2 * 4 * 2**25)
    return 1000 / min(seconds(products, 1) for _ in range(REPEATS)), 1 / (copied * (4 * size + 4 * BATCH * 784))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    arithmetic, memory = limits()
    print(f"limits of this core: {arithmetic:.0f} node-steps/s by matrix products, {memory:.0f} by memory copied")
    print(f"both, one after the other: {1 / (1 / arithmetic + 1 / memory):.0f}")
    split = images()
    print(f"{'nodes':>6}{'plain loop':>14}{'engine':>12}{'ratio':>8}")
    for nodes in [int(value) for value in sys.argv[1:]] or [8, 64, 256, 1024]:
        loop, stacked = rates([plain_loop(split, nodes), engine(split, nodes)], nodes)
        ratio = statistics.median(one / other for one, other in zip(stacked, loop, strict=True))
        print(f"{nodes:>6}{statistics.median(loop):>14.0f}{statistics.median(stacked):>12.0f}{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
