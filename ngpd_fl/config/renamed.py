"""Renamed keys, values and flags of earlier versions, in one table.

An old name in user input is an error that gives the new one. An old name in a record is read as the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ngpd_fl.config.errors import InputError
from strategies.base import RENAMED

KEYS = {
    "faults.garbage": "faults.corrupt",
    "faults.lie": "faults.byzantine",
    **{f"strategy.{old}": f"strategy.{new}" for old, new in RENAMED.items()},
    "topology.neighbours": "topology.neighbors",
    "training.patience": "training.timeout_seconds",
    "training.reference": "training.baseline",
}

VALUES = {
    "role": {"reference": "baseline"},
    "strategy.compress.name": {"quantise": "quantize"},
    "training.mode": {"local": "neighbor-synchronous"},
    "partition.name": {"dirichlet-nodes": "dirichlet-uniform"},
}
"""Key -> old value -> new value. ``role`` is that of a study's strategies; version 0.1 has renamed the partition."""

FLAGS = {
    "--patience": "--round-timeout",
    "--start-patience": "--start-timeout",
    "--tensorboard": "--track tensorboard",
}

_SECTIONS = {key.rpartition(".")[0] for key in (*KEYS, *KEYS.values(), *VALUES)}

_TABLES = (
    *("", "sweep.keys"),
    *("base", "tuning.overrides", "final.overrides", "axes.*.*"),
    *("strategies.*", "strategies.*.fixed", "strategies.*.search", "strategies.*.start", "strategies.*.cells.*"),
)
"""Parts of the files of sweeps and studies that hold keys of a configuration; * is any name."""


class _Names(NamedTuple):
    keys: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]


_CURRENT = _Names(KEYS, VALUES)
_OF_0_1 = _Names(
    {new: old for old, new in KEYS.items()},
    {key: {new: old for old, new in names.items()} for key, names in VALUES.items() if key != "partition.name"},
)

_OnRename = Callable[[str], None]


def translated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a configuration of any version (sections and keys, or keys with dots) under today's names."""
    return _renamed("", values, _CURRENT)


def translated_plan(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a sweep's or a study's file of any version under today's names."""
    for place in _TABLES:
        content = _translated_at(place.split(".") if place else [], content)
    return dict(content)


ADDED = {
    "data": {"task", "sequence_length"},
    "model": {"embedding", "width", "layers", "heads", "init_per_node"},
    "strategy": {"kfac_approx", "other_layers"},
}
"""Keys that version 0.1 did not have, by section."""


def with_names_of_0_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a configuration under the names of version 0.1, by which studies know their runs."""
    return _renamed("", values, _OF_0_1)


def require_current(values: Mapping[str, Any], where: str = "") -> None:
    """Raise ``InputError`` where a configuration has old names; the line gives the new ones.

    Args:
        values: as ``translated`` takes them.
        where: the part of a sweep's or a study's file that holds them, with a dot behind.
    """
    lines: list[str] = []
    _renamed("", values, _CURRENT, lines.append)
    if lines:
        raise InputError("; ".join(where + line for line in lines))


def _renamed(
    prefix: str, values: Mapping[str, Any], names: _Names, on_rename: _OnRename = lambda line: None
) -> dict[str, Any]:
    """Return the values of the section ``prefix`` (with a dot behind) under other names."""
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        new_key = names.keys.get(key, key)
        if new_key != key:
            on_rename(f"{key}: renamed to {new_key}")
        renamed[new_key.removeprefix(prefix)] = _renamed_value(key, value, names, on_rename)
    return renamed


def _renamed_value(key: str, value: Any, names: _Names, on_rename: _OnRename) -> Any:
    """Return a key's value, or each of those that a sweep tries, under its other name."""
    if isinstance(value, Mapping):
        return _renamed(f"{key}.", value, names, on_rename) if key in _SECTIONS else value
    if isinstance(value, list):
        return [_renamed_value(key, entry, names, on_rename) for entry in value]
    key = f"{key}.name" if f"{key}.name" in names.values else key  # a section is given by its name alone
    if not isinstance(value, str) or value not in names.values.get(key, {}):
        return value
    new = names.values[key][value]
    on_rename(f"{key}: {value!r} was renamed to {new!r}")
    return new


def _translated_at(place: list[str], content: Any) -> Any:
    """Return the content of a file with one of its parts translated, as far as that is there."""
    if not place and isinstance(content, list):
        return [_translated_at(place, entry) for entry in content]
    if not isinstance(content, Mapping):
        return content
    if not place:
        return translated(content)
    first, *rest = place
    return {name: _translated_at(rest, value) if first in ("*", name) else value for name, value in content.items()}
