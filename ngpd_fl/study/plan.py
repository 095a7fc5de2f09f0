"""A study's plan: its cells, its strategies, and the configuration of each of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from ngpd_fl.config import (
    Config,
    InputError,
    build_topology,
    choices,
    expanded,
    put_over,
    read_text,
    read_toml,
    require_trust,
    translated_plan,
)
from ngpd_fl.engines import check_topology
from ngpd_fl.records import MEASURES, Measure
from ngpd_fl.study.file import FinalSection, PaperSection, StrategySection, StudySection, TuningSection, section
from ngpd_fl.sweep.plan import final_figure
from ngpd_fl.sweep.space import Dimension, dotted, first_possible, parse_space
from ngpd_fl.training import compose

PLAN = "study.toml"
"""The file's name in a study's folder."""

_OURS = ("seed", "evaluation.split")
"""Keys that the study sets in every run."""

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A setting in which strategies are compared.

    Attributes:
        values: the name of each axis' value, by axis.
        layers: the keys of each, in the order of the axes.
    """

    values: Mapping[str, str]
    layers: Sequence[Keys]

    @property
    def name(self) -> str:
        """E.g. ``ring/iid``; ``all`` where there are no axes."""
        return "/".join(self.values.values()) or "all"

    def matches(self, words: Iterable[str]) -> bool:
        """Return whether all these are values of the cell."""
        return set(words) <= {*self.values.values(), *["all"] * (not self.values)}


@dataclass(frozen=True)
class Strategy:
    """One of those that are compared.

    Attributes:
        label: in tables.
        role: ``"peer"`` or ``"baseline"``.
        fixed: its keys.
        space: what is searched for.
        start: the values of its first trials.
        only: the cells it is run in, by their values; none: all.
        skip: those it is not run in.
        cells: keys in some cells, by the cells' values.
    """

    label: str
    role: str
    fixed: Keys
    space: Mapping[str, Dimension]
    start: Sequence[Keys]
    only: Sequence[Sequence[str]]
    skip: Sequence[Sequence[str]]
    cells: Sequence[tuple[Sequence[str], Keys]]

    def runs_in(self, cell: Cell) -> bool:
        """Return whether it is compared there."""
        wanted = not self.only or any(cell.matches(words) for words in self.only)
        return wanted and not any(cell.matches(words) for words in self.skip)


@dataclass(frozen=True)
class Plan:
    """What is to be found out.

    Attributes:
        text: of the file.
        title: over the tables.
        notes: under them.
        base: the configuration that all share.
        tuning: how values are searched for.
        final: what is reported.
        objective: the final figure that is tuned and ranked by.
        cells: in the order of the file, the first axis varying slowest.
        strategies: in the order of the file.
        paper: published figures.
    """

    text: str
    title: str
    notes: str
    base: Keys
    tuning: TuningSection
    final: FinalSection
    objective: str
    cells: Sequence[Cell]
    strategies: Sequence[Strategy]
    paper: Sequence[PaperSection]

    @classmethod
    def read(
        cls, path: Path | str, data_dir: Path | None = None, *, trust_code: bool = True, recorded: bool = False
    ) -> Plan:
        """Read a study's file, and find that each strategy can be run in each of its cells.

        Args:
            path: of the file.
            data_dir: where the data set lies; none: as the file says.
            trust_code: whether code that the file names may run; a file in a folder of records may be anybody's.
            recorded: whether the file may be of an earlier version, whose names are read as those of this one.

        Raises:
            InputError: it cannot be used; one line says why.
        """
        path = Path(path)
        return cls.parse(path, data_dir, recorded=recorded)._with_objective(path, trust_code)

    @classmethod
    def parse(cls, path: Path, data_dir: Path | None = None, *, recorded: bool = False) -> Plan:
        """Return what ``read`` does, without having tried any run: what is measured is not known yet."""
        content = read_toml(path, "study file")
        file = section(StudySection, translated_plan(content) if recorded else content, "")
        tuning = section(TuningSection, file.tuning, "tuning")
        final = section(FinalSection, file.final, "final")
        _check_base(file.base)
        if data_dir is not None:
            file.base.setdefault("data", {})["data_dir"] = str(expanded(data_dir).resolve())
        tuning = tuning.model_copy(update={"overrides": _keys(tuning.overrides, "tuning.overrides")})
        final = final.model_copy(update={"overrides": _keys(final.overrides, "final.overrides")})
        _check_seeds(tuning, final)
        cells = _cells(file.axes)
        strategies = [_strategy(label, given, file.base, tuning) for label, given in file.strategies.items()]
        if not strategies:
            raise InputError("strategies: there is none; give at least one section [strategies.LABEL]")
        paper = [section(PaperSection, given, f"paper.{place}") for place, given in enumerate(file.paper)]
        text = read_text(path, "study file ")
        plan = cls(text, file.title, file.notes, file.base, tuning, final, "", cells, strategies, paper)
        plan._check_names()
        return plan

    @property
    def measure(self) -> Measure:
        """What the objective is measured in."""
        return MEASURES[self.objective.rpartition("_")[2]]

    def pairs(self) -> list[tuple[Cell, Strategy]]:
        """Return which strategy is run where, cell by cell."""
        return [(cell, each) for cell in self.cells for each in self.strategies if each.runs_in(cell)]

    def tuning_cell(self, cell: Cell, strategy: Strategy) -> Cell:
        """Return the cell whose trials say what values a strategy has in another."""
        words = _words(self.tuning.cell or "")
        if self.tuning.cell is None or cell.matches(words):
            return cell
        axes = {axis for other in self.cells for axis, value in other.values.items() if value in words}
        for other in self.cells:
            rest = all(other.values[axis] == value for axis, value in cell.values.items() if axis not in axes)
            if rest and other.matches(words) and strategy.runs_in(other):
                return other
        return cell  # it is not run there

    def trial(self, cell: Cell, strategy: Strategy, values: Keys) -> Config:
        """Return a trial's configuration; raise ``InputError`` where the combination is not possible."""
        ours = {"seed": self.tuning.seed, "evaluation.split": "validation"}
        return self._config(cell, strategy, values, self.tuning.overrides | ours)

    def report(self, cell: Cell, strategy: Strategy, values: Keys, seed: int) -> Config:
        """Return the configuration of a run that is reported; raise ``InputError`` where it is not possible."""
        return self._config(cell, strategy, values, self.final.overrides | {"seed": seed, "evaluation.split": "test"})

    def _config(self, cell: Cell, strategy: Strategy, values: Keys, last: Keys) -> Config:
        """Put layer over layer: each may name another topology or strategy, which clears what was said of the last."""
        own = [keys for words, keys in strategy.cells if cell.matches(words)]
        given = dict(self.base)
        for layer in (*cell.layers, strategy.fixed, *own, values, last):
            given = put_over(given, layer)
        return Config(**given)

    def selected(self, only: str | None) -> list[tuple[Cell, Strategy]]:
        """Return the pairs whose cell and label have all the words of ``--only``."""
        words = set(_words(only or ""))
        known = {word for cell, each in self.pairs() for word in (*cell.values.values(), each.label, cell.name)}
        if unknown := sorted(words - known):
            raise InputError(f"--only {only}: {unknown[0]!r} is not known; {choices(unknown[0], sorted(known))}")
        found = [(cell, each) for cell, each in self.pairs() if cell.matches(words - {each.label})]
        if not found:
            raise InputError(f"--only {only}: no strategy is run in such a cell")
        return found

    def _check_names(self) -> None:
        """Raise ``InputError`` where a cell or a label that is named is none."""
        values = {value for cell in self.cells for value in cell.values.values()} or {"all"}
        labels = [each.label for each in self.strategies]
        for label in labels:
            if label in values or "/" in label:
                raise InputError(f"strategies.{label}: should have no slash, and be no value of an axis")
        named = [(f"strategies.{each.label}.only", words) for each in self.strategies for words in each.only]
        named += [(f"strategies.{each.label}.skip", words) for each in self.strategies for words in each.skip]
        named += [(f"strategies.{each.label}.cells", words) for each in self.strategies for words, _ in each.cells]
        named += [(f"paper.{place}.cell", _words(each.cell)) for place, each in enumerate(self.paper)]
        if self.tuning.cell is not None:
            named.append(("tuning.cell", _words(self.tuning.cell)))
        for where, words in named:
            if not words or not any(cell.matches(words) for cell in self.cells):
                name, more = "/".join(words), ", or several of them with slashes between"
                raise InputError(f"{where}: {name!r} is no cell; {choices(name, sorted(values), more)}")
        for place, each in enumerate(self.paper):
            if each.strategy not in labels:
                raise InputError(
                    f"paper.{place}.strategy: {each.strategy!r} is not known; {choices(each.strategy, labels)}"
                )
        for strategy in self.strategies:
            if not any(strategy.runs_in(cell) for cell in self.cells):
                raise InputError(f"strategies.{strategy.label}: only and skip leave no cell")

    def _with_objective(self, path: Path, trust_code: bool) -> Plan:
        """Find that every run is possible, and what is measured."""
        examples: dict[tuple[str, str], Config] = {}
        for cell, strategy in self.pairs():
            try:
                config = first_possible(strategy.space, partial(_possible, self, cell, strategy))
            except InputError as error:
                raise InputError(f"{cell.name}/{strategy.label}: {error}") from error
            require_trust(config, path, trust_code)
            examples.setdefault((config.data.dataset, config.partition.name), config)
        measures = {compose(config).dataset.task.measure for config in examples.values()}  # also: that data are there
        if len(measures) > 1:
            raise InputError("axes: some data sets have classes, others real-valued targets; one study has one kind")
        _check_targets(self.final.targets, next(iter(measures)))
        objective = final_figure(self.tuning.objective, measures.pop(), "tuning.objective")
        return Plan(**{**self.__dict__, "objective": objective})


def _check_targets(targets: Sequence[float], measure: Measure) -> None:
    for target in targets:
        if target <= 0 or (measure.higher_is_better and target > 1):
            allowed = "above 0, at most 1, e.g. 0.9" if measure.higher_is_better else "above 0"
            raise InputError(f"final.targets: {target:g} is no {measure.name} that a run can reach; allowed: {allowed}")


def _possible(plan: Plan, cell: Cell, strategy: Strategy, values: Keys) -> Config:
    """Return a run of a pair; raise ``InputError`` where its trials or the runs reported are not possible."""
    plan.trial(cell, strategy, values)
    config = plan.report(cell, strategy, values, plan.final.seeds[0])
    check_topology(config.strategy, build_topology(config))
    return config


def _cells(axes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Cell]:
    seen: set[str] = set()
    layers: dict[str, dict[str, Keys]] = {}
    for axis, values in axes.items():
        if not values:
            raise InputError(f"axes.{axis}: has no values; give at least one")
        for value in values:
            if value in seen or not value or "/" in value:
                raise InputError(f"axes.{axis}.{value}: should have no slash and be there once among all axes")
            seen.add(value)
        layers[axis] = {value: _keys(keys, f"axes.{axis}.{value}") for value, keys in values.items()}
    return [
        Cell(
            dict(zip(layers, names, strict=True)),
            [layers[axis][name] for axis, name in zip(layers, names, strict=True)],
        )
        for names in product(*layers.values())
    ]


def _strategy(label: str, given: Mapping[str, Any], base: Keys, tuning: TuningSection) -> Strategy:
    where = f"strategies.{label}"
    found = section(StrategySection, given, where)
    fixed = _keys(found.fixed, f"{where}.fixed")
    if "strategy.name" not in fixed:
        raise InputError(f"{where}.fixed: strategy.name is required")
    space: dict[str, Dimension] = {}
    if found.search:
        space = parse_space(found.search, put_over(base, fixed), f"{where}.search")
    if ours := [key for key in space if key in _OURS]:
        raise InputError(f"{where}.search.{ours[0]}: a study sets it by itself")
    start = [_keys(values, f"{where}.start.{place}") for place, values in enumerate(found.start)]
    for place, values in enumerate(start):
        if values.keys() != space.keys():
            raise InputError(f"{where}.start.{place}: should give the keys of search, {', '.join(space) or 'none'}")
        for key, value in values.items():
            if not space[key].holds(value):
                raise InputError(f"{where}.start.{place}.{key}: {value!r} is not in the range or list of search")
    if len(start) > tuning.trials:
        raise InputError(f"{where}.start: {len(start)} points, but tuning.trials = {tuning.trials}")
    cells = [(_words(cell), _keys(keys, f"{where}.cells.{cell}")) for cell, keys in found.cells.items()]
    only, skip = ([_words(cell) for cell in cells] for cells in (found.only, found.skip))
    return Strategy(label, found.role, fixed, space, start, only, skip, cells)


def _keys(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return overrides by dotted keys; raise ``InputError`` where one is not known or not theirs to set."""
    keys = dotted(given, where)
    if ours := [key for key in keys if key in _OURS]:
        raise InputError(f"{where}.{ours[0]}: a study sets it by itself")
    return keys


def _check_base(base: Keys) -> None:
    _keys({key: value for key, value in base.items() if key == "seed"}, "base")
    evaluation = base.get("evaluation")
    if isinstance(evaluation, Mapping) and "split" in evaluation:
        raise InputError("base.evaluation.split: a study sets it by itself")


def _check_seeds(tuning: TuningSection, final: FinalSection) -> None:
    for seed in final.seeds:
        if final.seeds.count(seed) > 1:
            raise InputError(f"final.seeds: {seed} is there twice")
        if seed == tuning.seed:
            raise InputError(f"final.seeds: {seed} is that of the trials (tuning.seed); report other ones")


def _words(cell: str) -> list[str]:
    return cell.split("/") if cell else []
