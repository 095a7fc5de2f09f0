"""A study's file, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from ngpd_fl.config import InputError, Section, one_line, require_current
from ngpd_fl.config.sections import Seed

Kind = TypeVar("Kind", bound=Section)


class StudySection(Section):
    """The whole file; its parts are validated one by one, so that errors name their section."""

    title: str = Field(description="over the tables")
    notes: str = Field("", description="what a reader must know, e.g. in what the study differs from a paper")
    base: dict[str, Any] = Field({}, description="a configuration, as --config takes it, that all runs share")
    tuning: dict[str, Any] = Field(description="see TuningSection")
    final: dict[str, Any] = Field(description="see FinalSection")
    axes: dict[str, dict[str, dict[str, Any]]] = Field(
        {}, description="axis -> value -> keys; the cells are the product of the axes"
    )
    strategies: dict[str, dict[str, Any]] = Field(description="label -> see StrategySection")
    paper: list[dict[str, Any]] = Field([], description="published figures, see PaperSection")


class TuningSection(Section):
    """``[tuning]``: how each strategy's values are searched for, on the validation split."""

    trials: int = Field(ge=1, description="of each strategy, the same number for all")
    sampler: Literal["tpe", "random"] = Field("tpe", description="random, or tpe: after half of the trials, at most 10")
    seed: int = Field(0, ge=0, lt=2**32, description="of the trials' runs, and keys their draws")
    objective: str | None = Field(
        None, description="final figure that strategies are tuned and ranked by; unset: mean_accuracy, or mean_rmse"
    )
    overrides: dict[str, Any] = Field({}, description="keys of the trials only, e.g. fewer rounds")
    cell: str | None = Field(
        None, description="tune in this cell, or with this value of an axis, for all; unset: in each cell"
    )


class FinalSection(Section):
    """``[final]``: the runs that are reported, on the test split."""

    seeds: list[Seed] = Field(min_length=1, description="one run each; none is that of the trials")
    targets: list[float] = Field([], description="accuracies (or errors) whose cost is reported")
    overrides: dict[str, Any] = Field({}, description="keys of these runs only")


class StrategySection(Section):
    """``[strategies.LABEL]``."""

    role: Literal["peer", "baseline"] = Field("peer", description="a baseline is shown, but not ranked")
    fixed: dict[str, Any] = Field(description="keys of this strategy, strategy.name among them")
    search: dict[str, Any] = Field({}, description="as in sweeps: lists or {low, high, log}; empty: nothing is tuned")
    start: list[dict[str, Any]] = Field([], description="values that are tried first; they count as trials")
    only: list[str] = Field([], description="the cells that it is run in; empty: all")
    skip: list[str] = Field([], description="cells that it is not run in")
    cells: dict[str, dict[str, Any]] = Field({}, description="cell -> keys of this strategy there")


class PaperSection(Section):
    """``[[paper]]``: a published figure, shown beside ours."""

    cell: str = Field(description="where it belongs")
    strategy: str = Field(description="label")
    value: float = Field(description="an accuracy in [0, 1], or an error")
    what: str = Field("", description="which figure it is, e.g. Table II")


def section(kind: type[Kind], given: Mapping[str, Any], where: str) -> Kind:
    """Return a section of the file; raise ``InputError`` with one line where it cannot be used."""
    require_current(given, f"{where}." if where else "")
    try:
        return kind(**given)
    except ValidationError as error:
        raise InputError(one_line(error, kind, where)) from None
