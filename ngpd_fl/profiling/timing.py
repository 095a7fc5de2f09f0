"""Time and memory of rounds, and time of evaluations, of a part of the network, carried over in proportion."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.models import synchronize
from ngpd_fl.profiling.memory import taken_bytes
from ngpd_fl.profiling.subnetwork import part_of
from ngpd_fl.training import Job
from strategies import Phase

_LONG_ROUND = 1.0
"""Seconds: larger parts of the network are tried until a round takes longer."""
_BUDGET = 5.0
"""Seconds for repeated measurements of all kinds of rounds; each kind is measured at least once."""
_REPEATS = 5


class MeasuredRounds(NamedTuple):
    """Rounds of a part of a network.

    Attributes:
        seconds: mean time of a round of the whole network, in proportion.
        nodes: the number of nodes of the part.
        taken: bytes that the process takes after some rounds of the part.
        per_node: bytes by which that grows with a node; None if only one part was measured.
    """

    seconds: float
    nodes: int
    taken: int
    per_node: float | None


def measure_rounds(job: Job, size: int, most: int) -> MeasuredRounds:
    """Measure rounds of a part of the network.

    It grows from ``size`` up to ``most`` nodes, until a round takes long enough to be extrapolated.
    """
    num_nodes, taken = job.topology.num_nodes, dict[int, int]()
    while True:
        engine = SynchronousEngine(replace(job.engine_settings, topology=part_of(job.topology, size)))
        seconds = [_timed(job, engine.run_round) for _ in range(2)][-1]  # the first has a start-up cost
        taken[size] = taken_bytes(job.compute_devices)
        if size >= most or seconds > _LONG_ROUND:
            break
        size = most if 2 * size >= most else 2 * size
        del engine  # before the next one
    *_, before, last = [0, *taken]
    per_node = (taken[last] - taken[before]) / (last - before) if before else None
    return MeasuredRounds(mean_round(job, engine) * num_nodes / size, size, taken[size], per_node)


def mean_round(job: Job, engine: SynchronousEngine) -> float:
    """Return the mean seconds of a run's rounds.

    Rounds that refresh the same parts of the curvature are of one kind; a few of each kind are timed.
    """
    training = job.config.training
    kinds: dict[tuple[Phase, ...], list[int]] = {}
    for number in range(training.rounds):
        steps = range(number * training.local_steps, (number + 1) * training.local_steps)
        kinds.setdefault(tuple(map(job.strategy.phase, steps)), []).append(number)
    total = 0.0
    for numbers in kinds.values():
        seconds: list[float] = []
        while len(seconds) < _REPEATS and sum(seconds) < _BUDGET / len(kinds):
            engine.round = numbers[len(seconds) % len(numbers)]
            seconds.append(_timed(job, engine.run_round))
        total += len(numbers) * median(seconds)
    return total / training.rounds


def evaluation_seconds(job: Job) -> float:
    """Return the seconds of an evaluation, in proportion to those of two models.

    An evaluation takes N + 1 models on common examples, 2 N on the nodes' own.
    """
    start, num_nodes = job.model.start()[None], job.topology.num_nodes
    models = num_nodes + 1 if job.evaluated_on == "common" else 2 * num_nodes

    def evaluate() -> None:
        job.evaluate(start, [0])

    return median(_timed(job, evaluate) for _ in range(3)) * models / 2


def _timed(job: Job, action: Callable[[], object]) -> float:
    """Return the seconds of an action, with the work that it leaves to a GPU."""
    began = time.perf_counter()
    action()
    synchronize(job.compute_devices)
    return time.perf_counter() - began
