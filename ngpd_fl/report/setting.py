"""A configuration in a few words, for titles and headings."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from ngpd_fl.config import Config
from ngpd_fl.report.units import short_percent
from topologies import StaticSchedule

_ELSEWHERE = {"name", "nodes", "weights", "schedule", "edges", "graphs", "fingerprint"}
"""What a heading says in another place, or what is too long for it."""


_NOUNS = {
    "ring": "ring",
    "torus": "torus",
    "star": "star",
    "path": "path",
    "edges": "given graph",
    "sequence": "given sequence of graphs",
    "file": "graph from a file",
}
"""Families whose name is a noun, or says little in a sentence; any other is the name of a kind of graph."""


def graph_words(config: Config) -> str:
    """Return the graph, e.g. ``ring of 8 nodes, random matching in each round``."""
    topology = config.topology
    varying = {"matching": "a random matching each round", "failing": "edges failing at random"}
    noun = _NOUNS.get(topology.name, f"{topology.name.removesuffix('-graph')} graph")
    words = f"{_named(noun, topology)} of {topology.nodes} nodes"
    if not isinstance(topology.schedule, StaticSchedule):
        words += f", {varying.get(topology.schedule.name, topology.schedule.name)}"
    return words


def split_words(config: Config) -> str:
    """Return the data and how they are divided, e.g. ``digits, classes (classes_per_node 2)``."""
    return f"{config.data.dataset}, {_named(config.partition.name, config.partition)}"


def setting_words(config: Config) -> str:
    """Return graph, data, length and seed; the schedule of lr and the loss of messages only where there is one."""
    training = config.training
    steps = f"{training.rounds} round{'s' * (training.rounds > 1)} of {training.local_steps} local steps"
    if training.until_accuracy is not None:
        steps = f"at most {steps}, until {short_percent(training.until_accuracy)} mean accuracy"
    if training.lr_schedule != "constant":
        after = f" after {_plain(training.lr_milestones)}" if training.lr_milestones else ""
        steps += f", lr by {training.lr_schedule}{after}"
    if training.lr_warmup:
        steps += f", warm-up {training.lr_warmup}"
    if config.network.message_loss:
        steps += f", {short_percent(config.network.message_loss)} of messages lost"
    return f"{graph_words(config)}; {split_words(config)}; {steps}; seed {config.seed}"


def common_words(configs: Iterable[Config]) -> str:
    """Return the setting that runs share, or that they share none."""
    words = {setting_words(config) for config in configs}
    return words.pop() if len(words) == 1 else "runs with different settings"


def _named(name: str, options: BaseModel) -> str:
    """Return a section's name with its own parameters in brackets, those left unset not."""
    values = options.model_dump(exclude=_ELSEWHERE, exclude_none=True)
    inner = ", ".join(f"{key} {_plain(value)}" for key, value in values.items())
    return f"{name} ({inner})" if inner else name


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
