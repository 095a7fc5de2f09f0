"""Speed of several workers over one: rounds of the engine, in turn in one process, wall time, medians of the ratios.

Random images of 28 x 28 (MLP, LeNet) and 3 x 32 x 32 (ResNet-8), batch 32, ring, one exchange per 4 local steps, one
CPU thread within an operation. Results are the same bit for bit, which is checked.

    python -m benchmarks.workers [WORKERS] [--seconds S]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ngpd_fl.config import ModelConfig
from ngpd_fl.core.machine import cores, processor
from ngpd_fl.core.workers import Workers
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Split
from ngpd_fl.engines import DataMinibatches, EngineSettings, SynchronousEngine
from ngpd_fl.models import Categorical, SupervisedObjective, build_model
from strategies import DSGDOptions, NGPDOptions, StrategyOptions, make_strategy
from topologies import parse_topology

BATCH, EXAMPLES, LOCAL_STEPS, REPEATS = 32, 4096, 4, 7
JOBS: list[tuple[str, ModelConfig, StrategyOptions, int]] = [
    ("DSGD, MLP 784-64-10", ModelConfig(name="mlp", hidden=(64,)), DSGDOptions(momentum=0.0), 8),
    ("DSGD, MLP 784-64-10", ModelConfig(name="mlp", hidden=(64,)), DSGDOptions(momentum=0.0), 64),
    ("DSGD, MLP 784-64-10", ModelConfig(name="mlp", hidden=(64,)), DSGDOptions(momentum=0.0), 256),
    ("DSGD, LeNet", ModelConfig(name="lenet"), DSGDOptions(), 16),
    ("NGPD, LeNet", ModelConfig(name="lenet"), NGPDOptions(), 16),
    ("NGPD, ResNet-8", ModelConfig(name="resnet8"), NGPDOptions(), 8),
]


def engine(model: ModelConfig, options: StrategyOptions, nodes: int, workers: Workers) -> SynchronousEngine:
    """Return an engine of nodes on a ring."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 32, 32) if model.name == "resnet8" else (1, 28, 28)
    split = Split(
        torch.randn(EXAMPLES, *shape, generator=generator), torch.randint(10, (EXAMPLES,), generator=generator)
    )
    network, likelihood = build_model(model, shape, 10, 0, torch.float32), Categorical()
    loss = SupervisedObjective(network, likelihood)
    objective = KFAC(network, likelihood, shape, options) if isinstance(options, NGPDOptions) else loss
    parts = [part.numpy() for part in torch.arange(EXAMPLES).tensor_split(nodes)]
    minibatches = DataMinibatches(split, parts, BATCH, seed=0)
    settings = EngineSettings(
        make_strategy(options, objective),
        parse_topology({"name": "ring", "nodes": nodes}).build(0),
        minibatches,
        network.start(),
        LOCAL_STEPS,
        rounds=1000,
        one_by_one=loss.dense_layers is None,
        workers=workers,
    )
    return SynchronousEngine(settings)


def seconds(work: Callable[[], object], calls: int) -> float:
    """Return the wall time of one call, the mean of several."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workers", nargs="?", type=int, default=cores())
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, {cores()} cores, torch {torch.__version__}")
    print(f"{'job':<22}{'nodes':>6}{'1 worker':>16}{f'{given.workers} workers':>16}{'ratio':>8}   (node-steps/s)")
    for name, model, options, nodes in JOBS:
        one = engine(model, options, nodes, Workers(1))
        several = engine(model, options, nodes, Workers(given.workers))
        for _ in range(4):  # until functions are traced
            one.run_round()
            several.run_round()
        calls = max(1, round(given.seconds / REPEATS / seconds(one.run_round, 1)))
        several.run_round()
        times = [(seconds(one.run_round, calls), seconds(several.run_round, calls)) for _ in range(REPEATS)]
        assert torch.equal(one.params(), several.params())
        steps = nodes * LOCAL_STEPS
        rates = [steps / statistics.median(column) for column in zip(*times, strict=True)]
        ratio = statistics.median(first / second for first, second in times)
        print(f"{name:<22}{nodes:>6}{rates[0]:>16.0f}{rates[1]:>16.0f}{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
