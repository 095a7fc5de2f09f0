"""Groups of runs that differ only in their seed, and cells of groups with the same task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ngpd_fl.config.held_object import is_object_name
from ngpd_fl.records import Measure
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.settings import Keys, brief, flat, shared, without
from ngpd_fl.report.setting import OWN, graph_words, partition_words
from ngpd_fl.report.units import Spread, spread

_OF_THE_TASK = ("data.", "partition.", "topology.", "model.", "network.", "devices.", "faults.", "evaluation.split")
"""Keys of the task and its conditions; the others are of the method."""

_MACHINE = "engine."
"""Keys of the machine, which are in labels only if no other keys differ."""

_KEYS_IN_A_LABEL = 3

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ only in their seed.

    Attributes:
        label: its name, unique in its cell.
        runs: the runs, by seed.
        is_baseline: whether it is shown for comparison only, without a rank.
        notes: further columns from a study, head -> text.
    """

    label: str
    runs: list[RecordedRun]
    is_baseline: bool
    notes: dict[str, str]

    @property
    def strategy(self) -> str:
        """Name of the algorithm."""
        return self.runs[0].config.method

    @property
    def measure(self) -> Measure:
        """The measure of its runs."""
        return next((run.outcome.measure for run in self.runs if run.outcome.metrics), self.runs[0].outcome.measure)

    @property
    def counted(self) -> list[RecordedRun]:
        """The runs whose figures count: the finished ones or, without any, those that have not diverged.

        One for each seed: the same run twice says nothing of the spread over seeds.
        """
        finished = [run for run in self.runs if run.outcome.status == "finished"]
        counted = finished or [run for run in self.runs if run.outcome.status != "diverged"]
        return list({run.config.seed: run for run in counted}.values())

    def final(self, quantity: str) -> Spread:
        """Return the spread of a quantity of the last evaluations over the runs that count."""
        return spread(run.outcome.final_value(quantity) for run in self.counted)

    @property
    def ends(self) -> str:
        """Statuses of the runs that did not finish, e.g. ``1 of 3 diverged``; empty if all did."""
        statuses = Counter(run.outcome.status for run in self.runs if run.outcome.status != "finished")
        return ", ".join(f"{count} of {len(self.runs)} {status}" for status, count in statuses.items())

    @property
    def rank(self) -> float:
        """Rank, higher is better; with a diverged run, below all groups without."""
        diverged = any(run.outcome.status == "diverged" for run in self.runs)
        mean = self.final("mean").mean
        return self.measure.rank(float("nan") if diverged or mean is None else mean)


@dataclass(frozen=True, eq=False)
class Cell:
    """Groups with the same task.

    Attributes:
        title: title of its section.
        groups: its groups, the best first, baselines last.
    """

    title: str
    groups: list[Group]

    @property
    def measure(self) -> Measure:
        """The measure of its runs."""
        return self.groups[0].measure

    @property
    def runs(self) -> list[RecordedRun]:
        """All runs of its groups."""
        return [run for group in self.groups for run in group.runs]


def make_cells(runs: Sequence[RecordedRun]) -> list[Cell]:
    """Return the cells of some runs, in the order of their first runs."""
    by_task = gathered(runs, lambda run: _task(flat(run.config)))
    return [
        Cell(title, ranked(_groups(members))) for title, members in zip(_titles(by_task), by_task.values(), strict=True)
    ]


def gathered(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Return lists of items by key, in the order of their first items."""
    by_key: dict[str, list[Item]] = {}
    for item in items:
        by_key.setdefault(key(item), []).append(item)
    return by_key


def ranked(groups: Iterable[Group]) -> list[Group]:
    """Return the groups, the best first, baselines last."""
    return sorted(groups, key=lambda group: (not group.is_baseline, group.rank), reverse=True)


def unseeded(run: RecordedRun) -> str:
    """Return a key that is the same for runs that differ only in their seed."""
    return json.dumps(without(flat(run.config), ["seed"]), sort_keys=True)


def _groups(in_cell: Sequence[RecordedRun]) -> list[Group]:
    members = list(gathered(in_cell, unseeded).values())
    labels = _labels([runs[0].config.method for runs in members], [flat(runs[0].config) for runs in members])
    return [
        Group(label, sorted(runs, key=lambda run: run.config.seed), runs[0].config.training.baseline is not None, {})
        for label, runs in zip(labels, members, strict=True)
    ]


def difference(keys: Keys, others: Sequence[Keys]) -> list[str]:
    """Return the keys and values, such as ``lr 0.05``, that distinguish a configuration from others, at most a few."""
    own = without(keys, ["seed", *shared(others)])
    shown_keys = {key: value for key, value in own.items() if not key.startswith(_MACHINE)} or own
    words = [_key_words(key, value) for key, value in shown_keys.items()]
    more = [f"{len(words) - _KEYS_IN_A_LABEL} more"] * (len(words) > _KEYS_IN_A_LABEL)
    return [*words[:_KEYS_IN_A_LABEL], *more]


def _key_words(key: str, value: object) -> str:
    """Return a key and its value for labels, e.g. ``lr 0.05``, or ``own network Net`` for an object."""
    if key in OWN and isinstance(value, str) and is_object_name(value):
        return f"{OWN[key]} {value.partition(':')[2]}".rstrip()
    return f"{key.removesuffix('.name').rpartition('.')[2]} {brief(value)}"


def _labels(methods: Sequence[str], all_keys: Sequence[Keys]) -> list[str]:
    """Return the methods' names, each with its difference from others of the same name."""
    labels = []
    for name, keys in zip(methods, all_keys, strict=True):
        others = [other for method, other in zip(methods, all_keys, strict=True) if method == name]
        inner = ", ".join(difference(keys, others))
        labels.append(f"{name} ({inner})" if inner else name)
    numbers = [labels[: index + 1].count(label) for index, label in enumerate(labels)]
    return [
        f"{label} #{number}" if labels.count(label) > 1 else label
        for label, number in zip(labels, numbers, strict=True)
    ]


def _task(keys: Keys) -> str:
    return json.dumps({key: value for key, value in keys.items() if key.startswith(_OF_THE_TASK)}, sort_keys=True)


def _titles(by_task: Mapping[str, Sequence[RecordedRun]]) -> list[str]:
    """Return titles of the tasks: data and graph as far as they differ, else the keys that differ."""
    words = [(partition_words(runs[0].config), graph_words(runs[0].config)) for runs in by_task.values()]
    differ = [len(set(part)) > 1 for part in zip(*words, strict=True)]
    short = [
        "; ".join(part for part, own in zip(parts, differ, strict=True) if own or not any(differ)) for parts in words
    ]
    tasks = [json.loads(task) for task in by_task]
    same = [[task for task, other in zip(tasks, short, strict=True) if other == title] for title in short]
    return ["; ".join([title, *difference(*task)]) for title, *task in zip(short, tasks, same, strict=True)]
