"""Plan of a study: its cells, its strategies, and the configurations of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from ngpd_fl.records import Measure, figure_measure
from ngpd_fl.study.cell import Keys, StudyCell, make_cells, require_name
from ngpd_fl.study.file import FinalSection, PaperSection, StrategySection, StudySection, TuningSection, section
from ngpd_fl.sweep.plan import final_figure
from ngpd_fl.sweep.space import Dimension, dotted, first_possible, parse_space
from ngpd_fl.training import compose

STUDY_FILE = "study.toml"
"""Name of the plan's file in a study's folder."""

_RESERVED = ("seed", "evaluation.split")
"""Keys that the study sets in every run."""

_MOST_RUNS, _MOST_TRIALS = 100_000, 1_000
"""Most runs of a study, and most trials of a strategy in a cell."""


@dataclass(frozen=True)
class StudyStrategy:
    """One of the compared strategies.

    Attributes:
        label: its name in tables.
        role: ``"peer"`` or ``"baseline"``.
        fixed: its keys.
        space: the keys to tune, with their ranges.
        start: values of the first trials.
        only: cells to run it in, each by names of its values; empty for all cells.
        skip: cells not to run it in, likewise.
        cells: keys for some cells, with names of the cells' values.
    """

    label: str
    role: str
    fixed: Keys
    space: Mapping[str, Dimension]
    start: Sequence[Keys]
    only: Sequence[Sequence[str]]
    skip: Sequence[Sequence[str]]
    cells: Sequence[tuple[Sequence[str], Keys]]

    def runs_in(self, cell: StudyCell) -> bool:
        """Return whether the strategy is run in a cell."""
        wanted = not self.only or any(cell.matches(words) for words in self.only)
        return wanted and not any(cell.matches(words) for words in self.skip)


@dataclass(frozen=True)
class StudyPlan:
    """Plan of a study.

    Attributes:
        text: text of the file.
        title: title of the tables.
        notes: notes for readers.
        base: the configuration that all runs share.
        tuning: the search for values.
        final: the reported runs.
        objective: the final figure to tune and rank by.
        cells: all cells, in the order of the file; the first axis varies slowest.
        strategies: all strategies, in the order of the file.
        paper: published figures.
    """

    text: str
    title: str
    notes: str
    base: Keys
    tuning: TuningSection
    final: FinalSection
    objective: str
    cells: Sequence[StudyCell]
    strategies: Sequence[StudyStrategy]
    paper: Sequence[PaperSection]

    @classmethod
    def read(
        cls, path: Path | str, data_dir: Path | None = None, *, trust_code: bool = True, recorded: bool = False
    ) -> StudyPlan:
        """Read a study's file and check that each strategy can be run in each of its cells.

        Args:
            path: the file.
            data_dir: the folder of the data set. Defaults to the file's.
            trust_code: whether code that the file names may run; a recorded file may come from anybody.
            recorded: whether the file may be of an earlier version, whose names are read as those of this one.

        Raises:
            InputError: the file is not valid; one line says why.
        """
        path = Path(path)
        return cls.parse(path, data_dir, recorded=recorded)._with_objective(path, trust_code)

    @classmethod
    def parse(cls, path: Path, data_dir: Path | None = None, *, recorded: bool = False) -> StudyPlan:
        """Read a study's file without checking any run; the objective stays empty."""
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
        axes = {
            axis: {value: _keys(keys, f"axes.{axis}.{value}") for value, keys in values.items()}
            for axis, values in file.axes.items()
        }
        cells = make_cells(axes)
        if not file.strategies:
            raise InputError("strategies: none given; give at least one section [strategies.LABEL]")
        strategies = [_strategy(label, given, file.base, tuning) for label, given in file.strategies.items()]
        paper = [section(PaperSection, given, f"paper.{index}") for index, given in enumerate(file.paper)]
        text = read_text(path, "study file ")
        plan = cls(text, file.title, file.notes, file.base, tuning, final, "", cells, strategies, paper)
        plan._check_names()
        plan._check_size()
        return plan

    @property
    def measure(self) -> Measure:
        """The objective's measure."""
        return figure_measure(self.objective)

    def pairs(self) -> list[tuple[StudyCell, StudyStrategy]]:
        """Return all pairs of a cell and a strategy that is run in it, cell by cell."""
        return [(cell, strategy) for cell in self.cells for strategy in self.strategies if strategy.runs_in(cell)]

    def tuning_cell(self, cell: StudyCell, strategy: StudyStrategy) -> StudyCell:
        """Return the cell in which a strategy is tuned for ``cell``."""
        words = _words(self.tuning.cell or "")
        if self.tuning.cell is None or cell.matches(words):
            return cell
        axes = {axis for other in self.cells for axis, value in other.values.items() if value in words}
        for other in self.cells:
            rest = all(other.values[axis] == value for axis, value in cell.values.items() if axis not in axes)
            if rest and other.matches(words) and strategy.runs_in(other):
                return other
        return cell  # the strategy is not run in the cell for tuning

    def trial(self, cell: StudyCell, strategy: StudyStrategy, values: Keys) -> Config:
        """Return a trial's configuration; raise ``InputError`` if the combination is not possible."""
        own = {"seed": self.tuning.seed, "evaluation.split": "validation"}
        return self._config(cell, strategy, values, self.tuning.overrides | own)

    def report(self, cell: StudyCell, strategy: StudyStrategy, values: Keys, seed: int) -> Config:
        """Return a reported run's configuration; raise ``InputError`` if the combination is not possible."""
        return self._config(cell, strategy, values, self.final.overrides | {"seed": seed, "evaluation.split": "test"})

    def _config(self, cell: StudyCell, strategy: StudyStrategy, values: Keys, last: Keys) -> Config:
        """Return the base with all layers put over it; a new topology or strategy clears the options of the last."""
        own = [keys for words, keys in strategy.cells if cell.matches(words)]
        given = dict(self.base)
        for layer in (*cell.layers, strategy.fixed, *own, values, last):
            given = put_over(given, layer)
        return Config(**given)

    def selected(self, only: str | None) -> list[tuple[StudyCell, StudyStrategy]]:
        """Return the pairs whose cell and label have all the words of ``--only``."""
        words = set(_words(only or ""))
        pairs = self.pairs()
        known = {word for cell, strategy in pairs for word in (*cell.values.values(), strategy.label, cell.name)}
        if unknown := sorted(words - known):
            raise InputError(f"--only {only}: {unknown[0]!r} is not known; {choices(unknown[0], sorted(known))}")
        chosen = [(cell, strategy) for cell, strategy in pairs if cell.matches(words - {strategy.label})]
        if not chosen:
            raise InputError(f"--only {only}: no strategy is run in such a cell")
        return chosen

    def _check_names(self) -> None:
        """Raise ``InputError`` if the file refers to a cell or a label that does not exist."""
        values = {value for cell in self.cells for value in cell.values.values()} or {"all"}
        labels = [strategy.label for strategy in self.strategies]
        for label in labels:
            require_name(label, f"strategies.{label}")
            if label in values:
                raise InputError(f"strategies.{label}: must not be a value of an axis")
        named: list[tuple[str, Sequence[str]]] = []
        for strategy in self.strategies:
            where = f"strategies.{strategy.label}"
            named += [(f"{where}.only", words) for words in strategy.only]
            named += [(f"{where}.skip", words) for words in strategy.skip]
            named += [(f"{where}.cells", words) for words, _ in strategy.cells]
        named += [(f"paper.{index}.cell", _words(paper.cell)) for index, paper in enumerate(self.paper)]
        if self.tuning.cell is not None:
            named.append(("tuning.cell", _words(self.tuning.cell)))
        for where, words in named:
            if not words or not any(cell.matches(words) for cell in self.cells):
                name, more = "/".join(words), ", or several of them with slashes between"
                raise InputError(f"{where}: {name!r} is not a cell; {choices(name, sorted(values), more)}")
        for index, paper in enumerate(self.paper):
            if paper.strategy not in labels:
                raise InputError(
                    f"paper.{index}.strategy: {paper.strategy!r} is not known; {choices(paper.strategy, labels)}"
                )
        for strategy in self.strategies:
            if not any(strategy.runs_in(cell) for cell in self.cells):
                raise InputError(f"strategies.{strategy.label}: only and skip leave no cell")

    def _check_size(self) -> None:
        """Raise ``InputError`` if there are more runs than a study can keep account of."""
        number = sum(self.tuning.budget(len(strategy.space)) + len(self.final.seeds) for _, strategy in self.pairs())
        if number > _MOST_RUNS:
            raise InputError(
                f"the study would have {number} runs; allowed: at most {_MOST_RUNS}; give fewer cells, trials or seeds"
            )

    def _with_objective(self, path: Path, trust_code: bool) -> StudyPlan:
        """Return the plan with its objective, after checking that every run is possible."""
        examples: dict[tuple[str, str], Config] = {}
        for cell, strategy in self.pairs():
            try:
                config = first_possible(strategy.space, partial(_possible, self, cell, strategy))
            except InputError as error:
                raise InputError(f"{cell.name}/{strategy.label}: {error}") from error
            config = require_trust(config, path, trust_code)
            examples.setdefault((config.data.dataset, config.partition.name), config)
        measures = {
            compose(config).dataset.task.measure for config in examples.values()
        }  # also checks that the data are there
        if len(measures) > 1:
            raise InputError("axes: some data sets have classes, others real-valued targets; a study needs one kind")
        measure = measures.pop()
        _check_figures("final.targets", self.final.targets, measure)
        for index, paper in enumerate(self.paper):
            _check_figures(f"paper.{index}.value", [paper.value], measure)
        objective = final_figure(self.tuning.objective, measure, "tuning.objective")
        return replace(self, objective=objective)


def _check_figures(where: str, figures: Sequence[float], measure: Measure) -> None:
    """Raise ``InputError`` unless figures are possible, and differ where tables name columns by them."""
    for figure in figures:
        if figure <= 0 or (measure.higher_is_better and figure > 1):
            allowed = "above 0, at most 1, e.g. 0.9" if measure.higher_is_better else "above 0"
            raise InputError(f"{where}: {figure:g} cannot be reached as {measure.name}; allowed: {allowed}")
    if twice := [text for text, count in Counter(f"{figure:g}" for figure in figures).items() if count > 1]:
        raise InputError(f"{where}: {twice[0]} is given twice, to six digits")


def _possible(plan: StudyPlan, cell: StudyCell, strategy: StudyStrategy, values: Keys) -> Config:
    """Return a reported run of a pair; raise ``InputError`` if its trials or reported runs are not possible."""
    plan.trial(cell, strategy, values)
    config = plan.report(cell, strategy, values, plan.final.seeds[0])
    check_topology(config.strategy, build_topology(config))
    return config


def _strategy(label: str, given: Mapping[str, Any], base: Keys, tuning: TuningSection) -> StudyStrategy:
    where = f"strategies.{label}"
    strategy = section(StrategySection, given, where)
    fixed = _keys(strategy.fixed, f"{where}.fixed")
    if "strategy.name" not in fixed:
        raise InputError(f"{where}.fixed: strategy.name is required")
    space: dict[str, Dimension] = {}
    if strategy.search:
        space = parse_space(strategy.search, put_over(base, fixed), f"{where}.search")
    if reserved := [key for key in space if key in _RESERVED]:
        raise InputError(f"{where}.search.{reserved[0]}: is set by the study")
    start = [_keys(values, f"{where}.start.{index}") for index, values in enumerate(strategy.start)]
    for index, values in enumerate(start):
        if values.keys() != space.keys():
            raise InputError(f"{where}.start.{index}: should give the keys of search, {', '.join(space) or 'none'}")
        for key, value in values.items():
            if not space[key].holds(value):
                raise InputError(f"{where}.start.{index}.{key}: {value!r} is not in the range or list of search")
    if (trials := tuning.budget(len(space))) > _MOST_TRIALS:
        raise InputError(
            f"tuning.trials: {where} would have {trials} trials in a cell; allowed: at most {_MOST_TRIALS}"
        )
    if len(start) > trials:
        raise InputError(f"{where}.start: {len(start)} points, but [tuning] gives {trials} trials")
    cells = [(_words(cell), _keys(keys, f"{where}.cells.{cell}")) for cell, keys in strategy.cells.items()]
    only, skip = ([_words(cell) for cell in cells] for cells in (strategy.only, strategy.skip))
    return StudyStrategy(label, strategy.role, fixed, space, start, only, skip, cells)


def _keys(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return overrides by dotted keys; raise ``InputError`` if one is unknown or reserved for the study."""
    keys = dotted(given, where)
    if reserved := [key for key in keys if key in _RESERVED]:
        raise InputError(f"{where}.{reserved[0]}: is set by the study")
    return keys


def _check_base(base: Keys) -> None:
    _keys({key: value for key, value in base.items() if key == "seed"}, "base")
    evaluation = base.get("evaluation")
    if isinstance(evaluation, Mapping) and "split" in evaluation:
        raise InputError("base.evaluation.split: is set by the study")


def _check_seeds(tuning: TuningSection, final: FinalSection) -> None:
    if twice := [seed for seed, count in Counter(final.seeds).items() if count > 1]:
        raise InputError(f"final.seeds: {twice[0]} is given twice")
    for seed in final.seeds:
        if seed == tuning.seed:
            raise InputError(f"final.seeds: {seed} is the trials' seed (tuning.seed); choose others")


def _words(cell: str) -> list[str]:
    return cell.split("/") if cell else []
