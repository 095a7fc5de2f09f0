"""Plan of a sweep: a configuration, the keys to vary, the sampler and the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from ngpd_fl.config import (
    Config,
    InputError,
    Section,
    choices,
    one_line,
    read_text,
    read_toml,
    require_trust,
    translated_plan,
)
from ngpd_fl.records import METRICS, Measure, figure_measure
from ngpd_fl.sweep.space import Dimension, Range, first_possible, parse_space
from ngpd_fl.training import compose

SWEEP_FILE = "sweep.toml"
"""Name of the plan's file in a sweep's folder."""


class SweepSection(Section):
    """``[sweep]``: the section of the file beside the configuration."""

    sampler: Literal["grid", "random", "tpe"] = Field(
        "grid", description="grid (every combination), random, or tpe (draws where earlier trials were good)"
    )
    trials: int | None = Field(None, ge=1, description="number of trials, for random and tpe")
    objective: str | None = Field(
        None, description="final figure to rank trials by; default: mean_accuracy, or mean_rmse"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the sampler; that of the runs is `seed` above")
    keys: dict[str, Any] = Field(description='key = list of values or {low, high, log}, e.g. "strategy.lr" = [0.1]')


@dataclass(frozen=True)
class SweepPlan:
    """Plan of a sweep.

    Attributes:
        text: text of the file.
        base: the configuration, without ``[sweep]``.
        space: the keys to vary, with their values or ranges.
        sampler: ``"grid"``, ``"random"`` or ``"tpe"``.
        trials: number of trials.
        objective: the final figure to rank trials by.
        seed: seed of the sampler.
    """

    text: str
    base: Mapping[str, Any]
    space: Mapping[str, Dimension]
    sampler: str
    trials: int
    objective: str
    seed: int

    @classmethod
    def read(
        cls, path: Path | str, *, trust_code: bool = True, measure: Measure | None = None, recorded: bool = False
    ) -> SweepPlan:
        """Read a sweep's file and check that at least one trial is possible, including its data set.

        Trials are evaluated on the validation split, unless the file says otherwise.

        Args:
            path: the file.
            trust_code: whether code that the file names may run; a recorded file may come from anybody.
            measure: the measure of its runs. Defaults to that of a trial, whose data are read.
            recorded: whether the file may be of an earlier version, whose names are read as those of this one.

        Raises:
            InputError: the file is not valid.
        """
        path = Path(path)
        content = read_toml(path, "sweep file")
        content = translated_plan(content) if recorded else content
        if not isinstance(given := content.pop("sweep", None), dict):
            raise InputError(f"sweep file {path}: has no section [sweep]")
        try:
            section = SweepSection(**{"keys": {}, **given})
        except ValidationError as error:
            raise InputError(one_line(error, SweepSection, "sweep")) from None
        base = _on_validation(content)
        space = parse_space(section.keys, base, "sweep.keys")
        trials = _trials(section, space)
        if measure is None:
            measure = first_possible(space, lambda values: _measure(Config.of(base, values), path, trust_code))
        objective = final_figure(section.objective, measure, "sweep.objective")
        text = read_text(path, "sweep file ")
        return cls(text, base, space, section.sampler, trials, objective, section.seed)

    @property
    def higher_is_better(self) -> bool:
        """Whether the best objective is the highest."""
        return self.measure.higher_is_better

    @property
    def measure(self) -> Measure:
        """The objective's measure."""
        return figure_measure(self.objective)

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a trial's keys, in the order of the file, from Optuna's parameters."""
        return {key: dimension.value(params[key]) for key, dimension in self.space.items()}

    def same_search(self, other: SweepPlan) -> bool:
        """Return whether another plan is the same but for the number of trials."""
        own, others = ((p.base, p.space, p.sampler, p.objective, p.seed) for p in (self, other))
        return own == others


def _measure(config: Config, path: Path, trust_code: bool) -> Measure:
    """Return the measure of a trial's task."""
    return compose(require_trust(config, path, trust_code)).dataset.task.measure


def _on_validation(values: dict[str, Any]) -> dict[str, Any]:
    evaluation = values.get("evaluation", {})
    if isinstance(evaluation, dict):  # else the configuration reports the error
        values["evaluation"] = {"split": "validation", **evaluation}
    return values


def _trials(section: SweepSection, space: Mapping[str, Dimension]) -> int:
    if section.sampler != "grid":
        if section.trials is None:
            raise InputError(f"sweep.trials: sampler = {section.sampler} needs the number of trials")
        return section.trials
    number = 1
    for key, dimension in space.items():
        if isinstance(dimension, Range):
            raise InputError(f"sweep.keys.{key}: a grid has no ranges; give a list, or set sampler to random or tpe")
        number *= len(dimension.values)
    if section.trials is not None:
        raise InputError(f"sweep.trials: a grid has {number} trials, one for each combination; leave it unset")
    return number


def final_figure(name: str | None, measure: Measure, where: str) -> str:
    """Return the name of a final figure, by default that of the nodes' mean.

    Raises:
        InputError: runs with this measure have no such final figure.
    """
    fields = METRICS[measure].model_fields.items()
    figures = {field: {kind for kind in get_args(info.annotation) or (info.annotation,)} for field, info in fields}
    allowed = [field for field, kinds in figures.items() if field.endswith(f"_{measure.key}") and float in kinds]
    name = name or f"mean_{measure.key}"
    if name not in allowed:
        raise InputError(f"{where}: {name!r} is not a final figure of these runs; {choices(name, allowed)}")
    return name
