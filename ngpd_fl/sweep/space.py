"""What a sweep varies: keys of the configuration, and the values or the range of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, TypeVar, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import TypeAdapter, ValidationError

from ngpd_fl.config import DEFAULT_NAMES, Config, InputError, all_fields, all_keys, choices, require_current

_RANGE = ("low", "high", "log")

_TRIED = 200
"""Of more combinations than that, it is not sought any further for one that is possible."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Choices:
    """A key's values, one by one.

    Attributes:
        values: as TOML gave them.
    """

    values: Sequence[Any]

    @property
    def labels(self) -> list[Any]:
        """The values as Optuna keeps them: what is no single value, e.g. the widths of an MLP, as JSON."""
        return [json.dumps(value) if isinstance(value, list | dict) else value for value in self.values]

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from."""
        return CategoricalDistribution(self.labels)

    @property
    def specimens(self) -> Sequence[Any]:
        """Values to try the configuration with."""
        return self.values

    def value(self, label: Any) -> Any:
        """Return the value of one of the labels."""
        return self.values[self.labels.index(label)]

    def label(self, value: Any) -> Any:
        """Return what Optuna keeps of one of the values."""
        return self.labels[list(self.values).index(value)]

    def holds(self, value: Any) -> bool:
        """Return whether it is one of the values."""
        return value in self.values


@dataclass(frozen=True)
class Range:
    """A key's least and largest value; whole numbers lie between where the key takes these only.

    Attributes:
        low: the least.
        high: the largest.
        log: whether logarithms are drawn, so that 0.01 to 0.1 is as likely as 0.1 to 1.
        whole: whether values are whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def specimens(self) -> Sequence[Any]:
        """Values to try the configuration with."""
        return (self.low, self.high)

    def value(self, label: Any) -> Any:
        """Return what Optuna drew: it is the value."""
        return label

    def label(self, value: Any) -> Any:
        """Return what Optuna keeps of a value: the same."""
        return value

    def holds(self, value: Any) -> bool:
        """Return whether a value lies between both ends."""
        number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


Dimension = Choices | Range


def parse_space(keys: Mapping[str, Any], base: Mapping[str, Any], where: str) -> dict[str, Dimension]:
    """Return what is varied, by dotted keys.

    Args:
        keys: ``[sweep.keys]`` as TOML gave it: a list of values or ``{low, high, log}`` for each key, which may be
            written with dots, in quotes or not.
        base: the configuration that they are put over.
        where: the section, for errors.

    Raises:
        InputError: a key is not known or there twice, a list is empty, a value or a range is not possible.
    """
    if not keys:
        raise InputError(f'{where}: nothing to sweep; give keys with lists or ranges, e.g. "strategy.lr" = [0.1, 0.2]')
    found: dict[str, Dimension] = {}
    for key, value in dotted(keys, where).items():
        place = f"{where}.{key}"
        found[key] = _choices(key, value, base, where) if isinstance(value, list) else _range(key, value, place)
    return found


def first_possible(space: Mapping[str, Dimension], attempt: Callable[[dict[str, Any]], Found]) -> Found:
    """Return what ``attempt`` makes of the first values, by key, that it can use; raise its first ``InputError``."""
    first = None
    for values in islice(product(*(dimension.specimens for dimension in space.values())), _TRIED):
        try:
            return attempt(dict(zip(space, values, strict=True)))
        except InputError as error:
            first = first or error
    assert first is not None, "no key is without a value"
    raise first


def dotted(keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a configuration's keys with dots, however they were written.

    A mapping is a section where the configuration has one of that name, and the name of one stands for its ``name``.

    Args:
        keys: as TOML gave them.
        where: the section, for errors.

    Raises:
        InputError: a key is not known or there twice.
    """
    given: list[tuple[str, Any]] = []
    _flatten("", keys, given, where)
    names = [key for key, _ in given]
    if twice := [key for key in names if names.count(key) > 1]:
        raise InputError(f"{where}.{twice[0]}: there twice; give it once")
    return dict(given)


def _flatten(prefix: str, keys: Mapping[str, Any], found: list[tuple[str, Any]], where: str) -> None:
    known = all_keys()
    for name, value in keys.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and any(each.startswith(f"{key}.") for each in known):
            _flatten(f"{key}.", value, found, where)
            continue
        key = f"{key}.name" if key in DEFAULT_NAMES else key
        require_current({key: value}, f"{where}.")
        if key not in known:
            near = [each for each in known if each.partition(".")[0] == key.partition(".")[0]]  # its section's
            raise InputError(f"{where}.{key}: unknown key; {choices(key, near or known)}")
        found.append((key, value))


def _choices(key: str, values: list[Any], base: Mapping[str, Any], where: str) -> Choices:
    if not values:
        raise InputError(f"{where}.{key}: the list is empty; give at least one value")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise InputError(f"{where}.{key}: {value!r} is there twice")
        if key.endswith(".name"):
            _check_name(key, value, base, where)
        else:
            _check_value(key, value, f"{where}.{key}")
    return Choices(values)


def _range(key: str, given: Any, where: str) -> Range:
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: should be a list of values or {{low, high, log}} (got {given!r})")
    if unknown := [name for name in given if name not in _RANGE]:
        raise InputError(f"{where}.{unknown[0]}: unknown key; {choices(unknown[0], _RANGE)}")
    bounds = [given.get("low"), given.get("high")]
    log = given.get("log", False)
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in bounds):
        raise InputError(f"{where}: a range needs two numbers, low and high (got {dict(given)})")
    low, high = (float(bound) for bound in bounds if bound is not None)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"{where}: low must be less than high (got {bounds[0]} and {bounds[1]})")
    if not isinstance(log, bool):
        raise InputError(f"{where}.log: should be true or false (got {log!r})")
    if log and low <= 0:
        raise InputError(f"{where}: with log = true low must be above 0 (got {bounds[0]})")
    types = {kind for field in all_fields()[key] for kind in get_args(field.annotation) or (field.annotation,)}
    if not types & {int, float}:
        raise InputError(f"{where}: takes no numbers, so it has no range; give a list of values")
    whole = float not in types
    if whole and not all(isinstance(bound, int) for bound in bounds):
        raise InputError(f"{where}: takes whole numbers only (got {bounds[0]} and {bounds[1]})")
    for bound in bounds:
        _check_value(key, bound, where)
    return Range(low, high, log, whole)


def _check_value(key: str, value: Any, where: str) -> None:
    """Raise ``InputError`` where the key can never have this value, whatever the others are."""
    reason = ""
    for field in all_fields()[key]:
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            reason = reason or error.errors()[0]["msg"]
        else:
            return
    raise InputError(f"{where}: {reason[0].lower()}{reason[1:]} (got {value!r})")


def _check_name(key: str, value: Any, base: Mapping[str, Any], where: str) -> None:
    """The same for a name, which decides about the other keys of its section."""
    try:
        Config.of(base, {key: value})
    except InputError as error:  # also of what else is wrong with it, on which other keys may decide
        if str(error).startswith(f"{key}: "):
            raise InputError(f"{where}.{error}") from error
