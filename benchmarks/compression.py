"""Accuracy against bytes: NGPD and its peers with whole and with compressed messages.

    python -m benchmarks.compression [rounds]

Digits, 8 nodes on a ring, 3 of 10 classes each, a small perceptron, 4 local steps a round; defaults otherwise. For each
compression: payload of a message, and the nodes' mean accuracy (and that of the averaged model) at the number of bytes
that the smallest compression sends in the whole run, and after all rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from ngpd_fl import Config, run

HALF_STEP: dict[str, Any] = {"name": "ngpd", "theta": 0.5}
QUARTER = {"name": "random-k", "keep": 0.25}
WAYS: dict[str, dict[str, Any]] = {
    "ngpd": {"name": "ngpd"},
    "ngpd, float16": {"name": "ngpd", "message_dtype": "float16"},
    "ngpd, random-k 0.25": {"name": "ngpd", "compress": QUARTER},
    "ngpd, random-k 0.25, float16": {"name": "ngpd", "compress": QUARTER, "message_dtype": "float16"},
    "ngpd, theta 0.5": HALF_STEP,
    "ngpd, theta 0.5, quantize 4": {**HALF_STEP, "compress": {"name": "quantize", "bits": 4}},
    "ngpd, theta 0.5, quantize 2": {**HALF_STEP, "compress": {"name": "quantize", "bits": 2}},
    "ngpd, theta 0.5, top-k 0.1": {**HALF_STEP, "compress": {"name": "top-k", "keep": 0.1}},
    "c-ecl 0.25": {"name": "c-ecl", "compress": QUARTER},
    "dsgd": {"name": "dsgd"},
    "choco-sgd, top-k 0.1": {"name": "choco-sgd"},
    "choco-sgd, momentum 0.9, quantize 4": {"name": "choco-sgd", "momentum": 0.9, "compress": "quantize"},
}
"""Compared options of the algorithms, by name."""

Point = tuple[int, float, float]
"""Bytes that a node has sent, mean accuracy, accuracy of the averaged model."""


def curve(strategy: dict[str, Any], rounds: int, nodes: int = 8) -> list[Point]:
    """Return the points of all evaluations."""
    config = Config(
        data={"dataset": "digits"},
        partition={"name": "classes", "classes_per_node": 3},
        topology={"name": "ring", "nodes": nodes},
        model={"name": "mlp", "hidden": [32]},
        training={"rounds": rounds, "local_steps": 4},
        strategy=strategy,
    )
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "run")
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    return [(line["bytes_sent"] // nodes, line["mean_accuracy"], line["averaged_model_accuracy"]) for line in lines]


def at(points: list[Point], budget: float) -> Point:
    """Return the last point within a number of bytes."""
    return max((point for point in points if point[0] <= budget), default=points[0])


def main(rounds: int = 80) -> None:
    """Print a table."""
    curves = {name: curve(strategy, rounds) for name, strategy in WAYS.items()}
    least = min(points[-1][0] for points in curves.values())
    print(f"| | KiB a message | after {least / 1e6:.2f} MB a node | after {rounds} rounds |\n| --- | --- | --- | --- |")
    for name, points in curves.items():
        size = points[-1][0] / rounds / 2 / 1024
        same, end = at(points, least), points[-1]
        print(f"| {name} | {size:.2f} | {same[1]:.1%} / {same[2]:.1%} | {end[1]:.1%} / {end[2]:.1%} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
