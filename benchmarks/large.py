"""Peak memory of large networks of LeNets, measured in a process of its own each, and what `estimate` says of it.

MNIST-sized random images, batch 32, one exchange a local step, a random 4-regular graph, two rounds. Times include the
start and two evaluations.

    nice python -m benchmarks.large [NODES ...]
"""

from __future__ import annotations

import subprocess
import sys
import time

import torch

from ngpd_fl import Config, run
from ngpd_fl.core import machine
from ngpd_fl.profiling import estimate
from ngpd_fl.report.units import seconds, size

EXAMPLES = 20_000
STRATEGIES = ("dsgd", "ecl", "ngpd")


def images() -> tuple[torch.Tensor, ...]:
    """Return random images; memory and arithmetic do not depend on them."""
    train, test = torch.randn(EXAMPLES, 1, 28, 28), torch.randn(200, 1, 28, 28)
    return train, torch.arange(EXAMPLES) % 10, test, torch.arange(200) % 10


def config(strategy: str, nodes: int) -> Config:
    """Return a run of two rounds."""
    return Config(
        data={"dataset": "benchmarks.large:images", "validation_fraction": 0.0},
        partition="iid",
        topology={"name": "random-regular", "nodes": nodes, "degree": 4},
        strategy=strategy,
        model="lenet",
        training={"rounds": 2, "local_steps": 1},
        evaluation={"every": 2},
    )


def measure(what: str, strategy: str, nodes: int) -> None:
    """Print the bytes and the seconds a round, estimated or measured in this process."""
    settings = config(strategy, nodes)
    if what == "estimate":
        found = estimate(settings)
        print(found.memory, found.round)
        return
    began = time.perf_counter()
    run(settings)
    print(machine.peak_resident(), (time.perf_counter() - began) / 2)


def main() -> None:
    """Measure each algorithm and number of nodes."""
    if len(sys.argv) == 4 and sys.argv[1] in ("estimate", "run"):
        return measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print("| algorithm | nodes | peak memory | estimated | ratio | a round |\n| --- | --- | --- | --- | --- | --- |")
    for strategy in STRATEGIES:
        for nodes in [int(word) for word in sys.argv[1:]] or [1024, 4096]:
            results = []
            for what in ("estimate", "run"):
                command = [sys.executable, "-m", "benchmarks.large", what, strategy, str(nodes)]
                results.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            (guess, _), (peak, took) = results
            ratio, duration = int(guess) / int(peak), seconds(float(took))
            print(f"| {strategy} | {nodes} | {size(int(peak))} | {size(int(guess))} | {ratio:.2f} | {duration} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
