"""Runs that belong together: those that differ in the seed only, and those that were set the same task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ngpd_fl.records import Measure
from ngpd_fl.report.page.collection import Run
from ngpd_fl.report.page.settings import Keys, flat, shared, shown, without
from ngpd_fl.report.page.spread import Spread, spread
from ngpd_fl.report.setting import graph_words, split_words

_OF_THE_TASK = ("data.", "partition.", "topology.", "model.", "network.", "devices.", "faults.", "evaluation.split")
"""Keys that say what is to be learned, where, and under what conditions; the others how."""

_MACHINE = "engine."
"""Keys of the machine: they are nothing that an algorithm is told apart by, unless nothing else differs."""

_KEYS_IN_A_LABEL = 3

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        label: what they are called, apart from the other groups of their cell.
        runs: by seed.
        is_reference: whether it stands beside the others for comparison only.
        notes: what a study says of it besides, column -> text.
    """

    label: str
    runs: list[Run]
    is_reference: bool
    notes: dict[str, str]

    @property
    def strategy(self) -> str:
        """Name of the algorithm."""
        return self.runs[0].config.method

    @property
    def measure(self) -> Measure:
        """What was measured."""
        return next((run.outcome.measure for run in self.runs if run.outcome.metrics), self.runs[0].outcome.measure)

    @property
    def counted(self) -> list[Run]:
        """The runs whose figures are told: those that finished; where none did, those that are not lost."""
        finished = [run for run in self.runs if run.outcome.status == "finished"]
        return finished or [run for run in self.runs if run.outcome.status != "diverged"]

    def final(self, quantity: str) -> Spread:
        """Return ``mean``, ``worst`` or ``averaged_model`` of the last evaluations, over the runs that count."""
        return spread(_final(run, quantity) for run in self.counted)

    @property
    def ends(self) -> str:
        """How the runs ended that did not finish, e.g. ``1 of 3 diverged``; empty where all did."""
        words = [run.outcome.status for run in self.runs if run.outcome.status != "finished"]
        return ", ".join(f"{words.count(each)} of {len(self.runs)} {each}" for each in dict.fromkeys(words))

    @property
    def rank(self) -> float:
        """The higher the better; with a run that diverged it comes after those without."""
        diverged = any(run.outcome.status == "diverged" for run in self.runs)
        mean = self.final("mean").mean
        return self.measure.rank(float("nan") if diverged or mean is None else mean)


@dataclass(frozen=True, eq=False)
class Cell:
    """Groups that were set the same task.

    Attributes:
        title: of the section.
        groups: the best first, references last.
    """

    title: str
    groups: list[Group]

    @property
    def measure(self) -> Measure:
        """What was measured."""
        return self.groups[0].measure

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]


def make_cells(runs: Sequence[Run]) -> list[Cell]:
    """Return the cells in the order of their first runs."""
    by_task = gathered(runs, lambda run: _task(flat(run.config)))
    return [
        Cell(title, ranked(_groups(members))) for title, members in zip(_titles(by_task), by_task.values(), strict=True)
    ]


def gathered(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Return items by what they have in common."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def ranked(groups: Iterable[Group]) -> list[Group]:
    """Return the best first, references last."""
    return sorted(groups, key=lambda group: (not group.is_reference, group.rank), reverse=True)


def unseeded(run: Run) -> str:
    """Return what is the same in runs that differ in their seed only."""
    return json.dumps(without(flat(run.config), ["seed"]), sort_keys=True)


def _groups(runs: Sequence[Run]) -> list[Group]:
    members = list(gathered(runs, unseeded).values())
    labels = _labels([each[0].config.method for each in members], [flat(each[0].config) for each in members])
    return [
        Group(label, sorted(each, key=lambda run: run.config.seed), each[0].config.training.baseline is not None, {})
        for label, each in zip(labels, members, strict=True)
    ]


def told_apart(keys: Keys, others: Sequence[Keys]) -> list[str]:
    """Return in words what tells keys apart from others, ``lr 0.05``; a few of them where they are many."""
    own = without(keys, ["seed", *shared(others)])
    told = {key: value for key, value in own.items() if not key.startswith(_MACHINE)} or own
    words = [f"{key.removesuffix('.name').rpartition('.')[2]} {_short(value)}" for key, value in told.items()]
    more = [f"{len(words) - _KEYS_IN_A_LABEL} more"] * (len(words) > _KEYS_IN_A_LABEL)
    return [*words[:_KEYS_IN_A_LABEL], *more]


def _short(value: object) -> str:
    """Return a value for a label; what a search has drawn has more digits than anybody reads."""
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def _labels(methods: Sequence[str], all_keys: Sequence[Keys]) -> list[str]:
    """Return the name of each one's method, with what tells it apart from others of the same name."""
    labels = []
    for name, keys in zip(methods, all_keys, strict=True):
        others = [each for method, each in zip(methods, all_keys, strict=True) if method == name]
        inner = ", ".join(told_apart(keys, others))
        labels.append(f"{name} ({inner})" if inner else name)
    numbers = [labels[: place + 1].count(label) for place, label in enumerate(labels)]
    return [
        f"{label} #{number}" if labels.count(label) > 1 else label
        for label, number in zip(labels, numbers, strict=True)
    ]


def _task(keys: Keys) -> str:
    return json.dumps({key: value for key, value in keys.items() if key.startswith(_OF_THE_TASK)}, sort_keys=True)


def _titles(by_task: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return each task's data and graph in words as far as they differ, with keys where words do not."""
    words = [(split_words(runs[0].config), graph_words(runs[0].config)) for runs in by_task.values()]
    differ = [len(set(part)) > 1 for part in zip(*words, strict=True)]
    short = [
        "; ".join(part for part, own in zip(each, differ, strict=True) if own or not any(differ)) for each in words
    ]
    tasks = [json.loads(task) for task in by_task]
    same = [[task for task, other in zip(tasks, short, strict=True) if other == title] for title in short]
    return ["; ".join([title, *told_apart(*each)]) for title, *each in zip(short, tasks, same, strict=True)]


def _final(run: Run, quantity: str) -> float | None:
    """Return a figure of a run's end; None where there is none."""
    if quantity == "averaged_model":
        return run.outcome.averaged_model
    return None if run.outcome.last is None else float(getattr(run.outcome.last, quantity))
