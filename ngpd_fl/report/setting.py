"""Short descriptions of a configuration, for titles and headings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from ngpd_fl.config import Config
from ngpd_fl.config.held_object import is_object_name
from ngpd_fl.config.partitions import IndicesPartition
from ngpd_fl.report.units import short_percent
from topologies import StaticSchedule

_ELSEWHERE = {"name", "nodes", "weights", "schedule", "edges", "graphs", "labels", "fingerprint"}
"""Options that headings give elsewhere, or that are too long for them."""

_FEW = 4
"""Most stragglers named."""

_NOUNS = {
    "ring": "ring",
    "torus": "torus",
    "star": "star",
    "path": "path",
    "edges": "given graph",
    "sequence": "given sequence of graphs",
    "file": "graph from a file",
}
"""Nouns for families whose name is not that of a kind of graph."""

OWN = {"data.dataset": "own data", "model.name": "own network", "partition.file": "own lists"}
"""Words for objects of a program, by the keys that record them."""


def graph_words(config: Config) -> str:
    """Return a description of the graph, e.g. ``ring of 8 nodes, a random matching each round``."""
    topology = config.topology
    varying = {"matching": "a random matching each round", "failing": "edges failing at random"}
    noun = _NOUNS.get(topology.name, f"{topology.name.removesuffix('-graph')} graph")
    words = f"{_named(noun, topology)} of {topology.nodes} nodes"
    if not isinstance(topology.schedule, StaticSchedule):
        words += f", {varying.get(topology.schedule.name, topology.schedule.name)}"
    return words


def partition_words(config: Config) -> str:
    """Return a description of data and partition, e.g. ``digits, classes (classes_per_node 2)``."""
    data, partition = config.data.dataset, config.partition
    is_own = isinstance(partition, IndicesPartition) and is_object_name(str(partition.file))
    words = OWN["partition.file"] if is_own else _named(partition.name, partition)
    return f"{OWN['data.dataset'] if is_object_name(data) else data}, {words}"


def setting_words(config: Config) -> str:
    """Return a description of graph, data, length and seed, and of other options that are not the default.

    A baseline has no graph; the number of nodes stands for it.
    """
    training = config.training
    steps = f"{training.rounds} round{'s' * (training.rounds > 1)} of {training.local_steps} local steps"
    if training.until_accuracy is not None:
        steps = f"at most {steps}, until {short_percent(training.until_accuracy)} mean accuracy"
    if training.lr_schedule != "constant":
        after = f" after {_plain(training.lr_milestones)}" if training.lr_milestones else ""
        steps += f", lr by {training.lr_schedule}{after}"
    if training.lr_warmup:
        steps += f", warm-up {training.lr_warmup}"
    if words := clock_words(config):
        steps += f", {words}"
    if config.network.message_loss:
        steps += f", {short_percent(config.network.message_loss)} of messages lost"
    if faults := config.faults.model_dump(exclude_defaults=True):
        steps += f", faults ({', '.join(faults)})"
    nodes = graph_words(config) if training.baseline is None else f"{config.topology.nodes} nodes"
    return f"{nodes}; {partition_words(config)}; {steps}; seed {config.seed}"


def clock_words(config: Config) -> str:
    """Return a description of the virtual clock, e.g. ``asynchronous, timeout 2 s``; empty without one."""
    training, devices, words = config.training, config.devices, list[str]()
    if config.has_clock:
        words.append(training.mode)
    if training.timeout_seconds is not None:
        words.append(f"timeout {training.timeout_seconds:g} s")
    if devices.mix is not None:
        shares = sum(devices.mix.values())
        words.append(
            "devices drawn, " + ", ".join(f"{100 * n / shares:.3g} % {name}" for name, n in devices.mix.items())
        )
    if devices.classes:
        counts = Counter(devices.classes)
        words.append("devices " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    if devices.step_sigma:
        words.append(f"spread of step times {devices.step_sigma:g}")
    if devices.link_sigma:
        words.append(f"spread of links {devices.link_sigma:g}")
    if devices.slow:
        names = dict(enumerate(config.topology.node_names))
        slow = list(devices.slow.items())[:_FEW]
        nodes = ", ".join(f"{names.get(node, node)} (x {factor:g})" for node, factor in slow)
        words.append(f"slow: {nodes}" + ", ..." * (len(devices.slow) > _FEW))
    if devices.replay is not None:
        words.append(f"events of {devices.replay.name}")
    return ", ".join(words)


def common_words(configs: Iterable[Config]) -> str:
    """Return the setting of all runs, or that settings differ."""
    words = {setting_words(config) for config in configs}
    return words.pop() if len(words) == 1 else "runs with different settings"


def _named(name: str, options: BaseModel) -> str:
    """Return a section's name with its set options in brackets."""
    values = options.model_dump(exclude=_ELSEWHERE, exclude_none=True)
    inner = ", ".join(f"{key} {_plain(value)}" for key, value in values.items())
    return f"{name} ({inner})" if inner else name


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return value.name
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
