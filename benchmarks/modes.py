"""Comparison of the modes of a round: with a straggler, in computing time, and for many nodes.

    python -m benchmarks.modes [straggler] [cost] [size]

* `straggler`: 16 nodes on a torus, 8 of 10 classes each, one of them 10 times slower: virtual time until the nodes'
  mean accuracy is 95 %, NGPD. On MNIST where NGPD_FL_DATA_DIR names its folder, else on digits.
* `cost`: process time of a local step by the clock, with log-normal speeds, over the synchronous engine's; one thread,
  both in turn, medians. Random images: arithmetic does not depend on them.
* `size`: peak memory and process time of a node-step of 20 asynchronous rounds of many nodes and of 100, each in a
  process of its own.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ngpd_fl import Config, run
from ngpd_fl.engines.engine import RoundInfo
from ngpd_fl.training import compose, make_clock, make_engine

SLOW, GOAL = {5: 10.0}, 0.95
WAYS: dict[str, dict[str, Any]] = {
    "synchronous": {"mode": "synchronous"},
    "neighbor-synchronous": {"mode": "neighbor-synchronous"},
    "local, timeout 0.5 rounds": {"mode": "neighbor-synchronous", "timeout_seconds": 0.5},
    "asynchronous": {"mode": "asynchronous"},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "DSGD, 1 local step": {"strategy": {"name": "dsgd", "momentum": 0.0}, "training": {"local_steps": 1}},
    "NGPD, 1 local step": {"strategy": "ngpd", "training": {"local_steps": 1}},
    "NGPD, 8 local steps": {"strategy": "ngpd", "training": {"local_steps": 8}},
}
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "ecl": ({"name": "ecl", "mixing": 0.0}, 1000),
    "ngpd": ({"name": "ngpd"}, 200),
}
"""Algorithm -> its options, and how many nodes are many."""


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return random images, sized as MNIST's, and labels: 20,000 to train, 10 to test."""
    generator = torch.Generator().manual_seed(0)
    train, labels = torch.randn(20_000, 1, 28, 28, generator=generator), torch.arange(20_000) % 10
    return train, labels, train[:10], labels[:10]


def straggler(ways: dict[str, dict[str, Any]] = WAYS, rounds: int = 100, **sections: Any) -> dict[str, float | None]:
    """Return the virtual time to the goal for each way, in rounds of a node that is not slow; None: not reached.

    Args:
        ways: name -> keys of ``training``.
        rounds: at which it is given up.
        sections: what differs from the setting otherwise.
    """
    folder = os.environ.get("NGPD_FL_DATA_DIR")
    data = {"dataset": "mnist", "data_dir": folder} if folder else {"dataset": "digits"}
    setting: dict[str, Any] = {
        "data": data,
        "partition": {"name": "classes", "classes_per_node": 8},
        "topology": {"name": "torus", "nodes": 16},
        "model": {"name": "mlp", "hidden": [64]},
        "strategy": "ngpd",
        "devices": {"slow": SLOW, "seconds_per_step": 1 / 8, "relative_cost": 1.0},  # 8 local steps: 1 s
        **sections,
    }
    found = {}
    for name, way in ways.items():
        config = Config(**setting, training={"rounds": rounds, "until_accuracy": GOAL, "local_steps": 8, **way})
        found[name] = run(config).summary["target"]["virtual_seconds"]
    return found


def cost(options: dict[str, Any], nodes: int = 64, repeats: int = 5, steps: int = 16) -> tuple[float, float]:
    """Return process seconds of a node-step of the synchronous engine and of the asynchronous mode."""
    torch.set_num_threads(1)
    engines, rounds = [], steps // options["training"]["local_steps"]  # steps hold two of K-FAC's decompositions
    for mode in ("synchronous", "asynchronous"):
        training = {"rounds": 10_000, "mode": mode, **options["training"]}
        devices = {"step_sigma": 0.5} if mode == "asynchronous" else {}
        job = compose(_network(options["strategy"], nodes, training=training, devices=devices))
        engines.append(make_engine(job, make_clock(job)))
    times = [[_seconds_per_step(engine.run_round, rounds) for engine in engines] for _ in range(repeats + 1)][1:]
    synchronous, asynchronous = (statistics.median(column) for column in zip(*times, strict=True))
    return synchronous, asynchronous


def size(options: dict[str, Any], nodes: int, rounds: int = 20) -> tuple[float, float]:
    """Return this process' peak memory in GiB and the process seconds of a node-step of asynchronous rounds."""
    torch.set_num_threads(1)
    training = {"rounds": rounds, "mode": "asynchronous", "local_steps": 1}
    topology = {"name": "random-regular", "degree": 4, "nodes": nodes}
    job = compose(_network(options, nodes, training=training, topology=topology, devices={"step_sigma": 0.5}))
    seconds = _seconds_per_step(make_engine(job, make_clock(job)).run_round, rounds)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, seconds


def _network(strategy: Any, nodes: int, **sections: Any) -> Config:
    values: dict[str, Any] = {
        "data": {"dataset": "benchmarks.modes:images", "batch_size": 32},
        "partition": "iid",
        "topology": {"name": "torus", "nodes": nodes},
        "model": {"name": "mlp", "hidden": [64]},
        "strategy": strategy,
    }
    return Config(**values | sections)


def _seconds_per_step(run_round: Callable[[], RoundInfo], rounds: int) -> float:
    began = time.process_time()
    steps = sum(run_round().node_steps for _ in range(rounds))
    return (time.process_time() - began) / steps


def _print_straggler() -> None:
    print(f"virtual time to {100 * GOAL:.0f} %, in rounds of a node that is not slow", flush=True)
    for name, way in WAYS.items():
        seconds = straggler({name: way})[name]
        print(f"  {name:<28}{'not reached' if seconds is None else f'{seconds:8.1f}'}", flush=True)


def _print_cost() -> None:
    print(f"{'process time of a node-step':<30}{'synchronous':>14}{'asynchronous':>14}{'ratio':>8}")
    for name, options in ALGORITHMS.items():
        one, other = cost(options)
        print(f"  {name:<28}{1e3 * one:>11.3f} ms{1e3 * other:>11.3f} ms{other / one:>8.2f}", flush=True)


def _print_size() -> None:
    print(f"{'20 asynchronous rounds':<30}{'nodes':>8}{'peak memory':>14}{'node-step':>14}")
    for name, (_, many) in SIZES.items():
        for nodes in (100, many):
            command = [sys.executable, "-m", "benchmarks.modes", "one-size", name, str(nodes)]
            memory, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            print(f"  {name:<28}{nodes:>8}{float(memory):>10.2f} GiB{1e3 * float(seconds):>11.3f} ms", flush=True)


PARTS: dict[str, Callable[[], None]] = {"straggler": _print_straggler, "cost": _print_cost, "size": _print_size}


def main() -> None:
    """Print the parts that are named, by default all."""
    if sys.argv[1:2] == ["one-size"]:
        print(*size(SIZES[sys.argv[2]][0], int(sys.argv[3])))
        return
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
