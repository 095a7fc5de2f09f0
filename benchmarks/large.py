"""Peak memory and time of large networks, measured in a process of its own each, and what `estimate` says of them.

A number is one of nodes with a LeNet each, on a random 4-regular graph, with one exchange a local step, two rounds;
times include the start and two evaluations. `resnet18` (torchvision's, with GroupNorm) and `transformer` (6 layers of
384) have about 11 million parameters: 4 nodes on a ring, 8 local steps a round, two rounds; times are those of a local
step of all nodes, without start and evaluation. Random data, batch 32.

    nice python -m benchmarks.large [NODES ... resnet18 transformer]
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import torch

from ngpd_fl import Config, run
from ngpd_fl.core import machine
from ngpd_fl.profiling import estimate
from ngpd_fl.report.units import seconds, size

EXAMPLES = 20_000
STRATEGIES = ("dsgd", "ecl", "ngpd")
CASES = ("1024", "4096", "resnet18", "transformer")
LOCAL_STEPS = 8


def images(size: int = 28, channels: int = 1) -> tuple[torch.Tensor, ...]:
    """Return random images; memory and arithmetic do not depend on them."""
    train, test = torch.randn(EXAMPLES, channels, size, size), torch.randn(200, channels, size, size)
    return train, torch.arange(EXAMPLES) % 10, test, torch.arange(200) % 10


def colors() -> tuple[torch.Tensor, ...]:
    """Return random images of CIFAR-10's size."""
    return images(32, 3)


def texts() -> tuple[torch.Tensor, ...]:
    """Return random sequences of 80 of 79 characters, each with the next characters as targets."""
    train, test = torch.randint(79, (EXAMPLES // 10, 81)), torch.randint(79, (200, 81))
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:]


def config(strategy: str, case: str) -> Config:
    """Return a run of two rounds."""
    common = {"strategy": strategy, "partition": "iid", "evaluation": {"every": 2}}
    data: dict[str, Any] = {"validation_fraction": 0.0}
    steps = {"rounds": 2, "local_steps": LOCAL_STEPS}
    if case.isdecimal():
        return Config(
            data={"dataset": "benchmarks.large:images", **data},
            topology={"name": "random-regular", "nodes": int(case), "degree": 4},
            model="lenet",
            training={"rounds": 2, "local_steps": 1},
            **common,
        )
    ring = {"name": "ring", "nodes": 4}
    if case == "resnet18":
        data = {"dataset": "benchmarks.large:colors", **data}
        return Config(data=data, topology=ring, model="torchvision:resnet18", training=steps, **common)
    data = {"dataset": "benchmarks.large:texts", **data}
    model = {"name": "transformer", "width": 384, "layers": 6, "heads": 6}
    return Config(data=data, topology=ring, model=model, training=steps, **common)


def measure(what: str, strategy: str, case: str) -> None:
    """Print the bytes, and the seconds a round or a local step, estimated or measured in this process."""
    settings = config(strategy, case)
    if what == "estimate":
        found = estimate(settings)
        print(found.memory, found.round)
        return
    began = time.perf_counter()
    result = run(settings)
    took = (time.perf_counter() - began) / 2
    if not case.isdecimal():
        took = result.metrics[-1].train_seconds / (2 * LOCAL_STEPS)
    print(machine.peak_resident(), took)


def main() -> None:
    """Measure each algorithm and number of nodes."""
    if len(sys.argv) == 4 and sys.argv[1] in ("estimate", "run"):
        return measure(sys.argv[1], sys.argv[2], sys.argv[3])
    print("| algorithm | case | peak memory | estimated | ratio | time |\n| --- | --- | --- | --- | --- | --- |")
    for strategy in STRATEGIES:
        for case in sys.argv[1:] or CASES:
            results = []
            for what in ("estimate", "run"):
                command = [sys.executable, "-m", "benchmarks.large", what, strategy, case]
                results.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            (guess, _), (peak, took) = results
            ratio, duration = int(guess) / int(peak), seconds(float(took))
            print(f"| {strategy} | {case} | {size(int(peak))} | {size(int(guess))} | {ratio:.2f} | {duration} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
