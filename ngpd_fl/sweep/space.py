"""Search space of a sweep: keys of the configuration with their values or ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import TypeAdapter, ValidationError

from ngpd_fl.config import DEFAULT_NAMES, Config, InputError, all_fields, all_keys, choices, require_current

_RANGE = ("low", "high", "log")

_MOST_ATTEMPTS = 200
"""Most combinations to try in the search for one that is possible."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Choices:
    """List of a key's values.

    Attributes:
        values: the values, as read from TOML.
    """

    values: Sequence[Any]

    @property
    def labels(self) -> list[Any]:
        """The values for Optuna: lists and tables, e.g. the widths of an MLP, as JSON."""
        return [json.dumps(value) if isinstance(value, list | dict) else value for value in self.values]

    @property
    def distribution(self) -> BaseDistribution:
        """The distribution that Optuna draws from."""
        return CategoricalDistribution(self.labels)

    @property
    def specimens(self) -> Sequence[Any]:
        """Values to check the configuration with."""
        return self.values

    def value(self, label: Any) -> Any:
        """Return the value of a label."""
        return self.values[self.labels.index(label)]

    def label(self, value: Any) -> Any:
        """Return the label of a value."""
        return self.labels[list(self.values).index(value)]

    def holds(self, value: Any) -> bool:
        """Return whether ``value`` is in the list."""
        return value in self.values


@dataclass(frozen=True)
class Range:
    """Range of a key's values.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether values are uniform in the logarithm, so that 0.01 to 0.1 is as likely as 0.1 to 1.
        whole: whether values are whole numbers, as the key requires.
    """

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def distribution(self) -> BaseDistribution:
        """The distribution that Optuna draws from."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def specimens(self) -> Sequence[Any]:
        """Values to check the configuration with."""
        return (self.low, self.high)

    def value(self, label: Any) -> Any:
        """Return the value of a label: the same number."""
        return label

    def label(self, value: Any) -> Any:
        """Return the label of a value: the same number."""
        return value

    def holds(self, value: Any) -> bool:
        """Return whether ``value`` is in the range."""
        number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


Dimension = Choices | Range


def parse_space(keys: Mapping[str, Any], base: Mapping[str, Any], where: str) -> dict[str, Dimension]:
    """Return the search space, by dotted keys.

    Args:
        keys: ``[sweep.keys]`` as read from TOML: a list of values or ``{low, high, log}`` for each key, in dotted keys
            or nested tables.
        base: the configuration whose keys are varied.
        where: the section's name, for errors.

    Raises:
        InputError: a key is unknown or given twice, a list is empty, a value or a range is not possible.
    """
    if not keys:
        raise InputError(f'{where}: nothing to sweep; give keys with lists or ranges, e.g. "strategy.lr" = [0.1, 0.2]')
    space: dict[str, Dimension] = {}
    for key, value in dotted(keys, where).items():
        name = f"{where}.{key}"
        space[key] = _choices(key, value, base, where) if isinstance(value, list) else _range(key, value, name)
    return space


def first_possible(space: Mapping[str, Dimension], attempt: Callable[[dict[str, Any]], Result]) -> Result:
    """Return the result of ``attempt`` for the first values, by key, that are possible; else raise its first error."""
    first = None
    for values in islice(product(*(dimension.specimens for dimension in space.values())), _MOST_ATTEMPTS):
        try:
            return attempt(dict(zip(space, values, strict=True)))
        except InputError as error:
            first = first or error
    assert first is not None, "every key has a value"
    raise first


def dotted(keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return keys of a configuration, nested or not, as dotted keys.

    A table is a section if the configuration has one of that name; a value for a section stands for its ``name``.

    Args:
        keys: the keys, as read from TOML.
        where: the section's name, for errors.

    Raises:
        InputError: a key is unknown or given twice.
    """
    given: list[tuple[str, Any]] = []
    _flatten("", keys, given, where)
    names = [key for key, _ in given]
    if twice := [key for key in names if names.count(key) > 1]:
        raise InputError(f"{where}.{twice[0]}: is given twice; give it once")
    return dict(given)


def _flatten(prefix: str, keys: Mapping[str, Any], flat: list[tuple[str, Any]], where: str) -> None:
    known = all_keys()
    for name, value in keys.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in known):
            _flatten(f"{key}.", value, flat, where)
            continue
        key = f"{key}.name" if key in DEFAULT_NAMES else key
        require_current({key: value}, f"{where}.")
        if key not in known:
            near = [other for other in known if other.partition(".")[0] == key.partition(".")[0]]  # of its section
            raise InputError(f"{where}.{key}: unknown key; {choices(key, near or known)}")
        flat.append((key, value))


def _choices(key: str, values: list[Any], base: Mapping[str, Any], where: str) -> Choices:
    if not values:
        raise InputError(f"{where}.{key}: the list is empty; give at least one value")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise InputError(f"{where}.{key}: {value!r} is given twice")
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
    types = {kind for field in all_fields()[key] for kind in _types(field.annotation)}
    if not types & {int, float}:
        raise InputError(f"{where}: is not a number, so it has no range; give a list of values")
    whole = float not in types
    if whole and not all(isinstance(bound, int) for bound in bounds):
        raise InputError(f"{where}: needs whole numbers (got {bounds[0]} and {bounds[1]})")
    for bound in bounds:
        _check_value(key, bound, where)
    return Range(low, high, log, whole)


def _types(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without their bounds."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _types(parts[0])
    elif parts and get_origin(annotation) is not Literal:
        for part in parts:
            yield from _types(part)
    else:
        yield annotation


def _check_value(key: str, value: Any, where: str) -> None:
    """Raise ``InputError`` if the key can never have this value, whatever the others are."""
    if isinstance(value, float) and not math.isfinite(value):  # their sections refuse it, not their types
        raise InputError(f"{where}: input should be a finite number (got {value!r})")
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
    """Raise ``InputError`` if a name, which decides about the other keys of its section, is not possible."""
    try:
        Config.of(base, {key: value})
    except InputError as error:  # other errors may depend on other keys
        if str(error).startswith(f"{key}: "):
            raise InputError(f"{where}.{error}") from error
