"""Sections of a study's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from ngpd_fl.config import InputError, Section, one_line, require_current
from ngpd_fl.config.sections import Seed

Kind = TypeVar("Kind", bound=Section)


class StudySection(Section):
    """The whole file. Its sections are validated one by one, so that errors name them."""

    title: str = Field(description="title of the tables")
    notes: str = Field("", description="notes for readers, e.g. how the study differs from a paper")
    base: dict[str, Any] = Field({}, description="configuration that all runs share, as for --config")
    tuning: dict[str, Any] = Field(description="see TuningSection")
    final: dict[str, Any] = Field(description="see FinalSection")
    axes: dict[str, dict[str, dict[str, Any]]] = Field(
        {}, description="axis -> value -> keys; the cells are the product of the axes"
    )
    strategies: dict[str, dict[str, Any]] = Field(description="label -> see StrategySection")
    paper: list[dict[str, Any]] = Field([], description="published figures, see PaperSection")


class TuningSection(Section):
    """``[tuning]``: the search for each strategy's values, on the validation split."""

    trials: int | None = Field(None, ge=1, description="number of trials, the same for each strategy")
    trials_per_key: int | None = Field(
        None, ge=1, description="instead of trials: number of trials of a strategy for each key of its search"
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="random, or tpe from half of the trials on (at most 10 random ones)"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the trials' runs and of their drawn values")
    objective: str | None = Field(
        None, description="final figure to tune and rank by; default: mean_accuracy, or mean_rmse"
    )
    overrides: dict[str, Any] = Field({}, description="keys for the trials only, e.g. fewer rounds")
    cell: str | None = Field(
        None, description="cell, or value of an axis, in which to tune for all cells; default: each cell"
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.trials is None) == (self.trials_per_key is None):
            raise ValueError("trials: give trials, the same number for each strategy, or trials_per_key")
        return self

    def budget(self, keys: int) -> int:
        """Return the number of trials of a strategy whose search has so many keys; 0 if it has none."""
        if self.trials_per_key is not None:
            return self.trials_per_key * keys
        return (self.trials or 0) if keys else 0


class FinalSection(Section):
    """``[final]``: the reported runs, on the test split."""

    seeds: list[Seed] = Field(min_length=1, description="seeds of the reported runs, without that of the trials")
    targets: list[float] = Field([], description="accuracies (or errors) for which to report the cost of reaching them")
    overrides: dict[str, Any] = Field({}, description="keys for these runs only")


class StrategySection(Section):
    """``[strategies.LABEL]``: one strategy."""

    role: Literal["peer", "baseline"] = Field("peer", description="a baseline is shown, but not ranked")
    fixed: dict[str, Any] = Field(description="keys of this strategy, including strategy.name")
    search: dict[str, Any] = Field({}, description="lists or {low, high, log}, as in sweeps; empty: nothing to tune")
    start: list[dict[str, Any]] = Field([], description="values to try first; they count as trials")
    only: list[str] = Field([], description="cells to run it in; default: all")
    skip: list[str] = Field([], description="cells not to run it in")
    cells: dict[str, dict[str, Any]] = Field({}, description="keys of this strategy in some cells")


class PaperSection(Section):
    """``[[paper]]``: a published figure, shown beside the study's."""

    cell: str = Field(description="cell of the figure")
    strategy: str = Field(description="label of the strategy")
    value: float = Field(description="an accuracy in [0, 1], or an error")
    what: str = Field("", description="source of the figure, e.g. Table II")


def section(kind: type[Kind], given: Mapping[str, Any], where: str) -> Kind:
    """Return a section of the file; raise ``InputError`` with one line if it is not valid."""
    require_current(given, f"{where}." if where else "")
    try:
        return kind(**given)
    except ValidationError as error:
        raise InputError(one_line(error, kind, where)) from None
