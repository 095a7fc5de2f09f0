"""Conversion of node labels in the configuration to node numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpd_fl.config.errors import InputError
from topologies import TopologyOptions

_SCHEDULES = ("leave", "slow", "cut", "corrupt", "byzantine")
_NODES = ("node", "edges", "groups")
"""Keys of ``faults`` that are lists, and keys of their entries that name nodes."""


def by_number(section: str, values: Any, topology: TopologyOptions) -> Any:
    """Return the values of the section ``devices`` or ``faults`` with numbers in place of labels.

    A text is a label or, failing that, a number. Other errors are left to the validation of the section.

    Raises:
        InputError: a text is neither; the message names the key.
    """
    if not isinstance(values, Mapping):
        return values
    names = topology.node_names if topology.has_labels else ()
    numbers = {name: node for node, name in enumerate(names)}
    if section == "devices":
        slow = values.get("slow")
        if not isinstance(slow, Mapping):
            return values
        named = {_number("devices.slow", node, numbers): factor for node, factor in slow.items()}
        if len(named) < len(slow):
            raise InputError("devices.slow: a node is named twice, by its label and by its number")
        return {**values, "slow": named}
    return {**values, **{key: _entries(key, values[key], numbers) for key in _SCHEDULES if key in values}}


def _entries(schedule: str, entries: Any, numbers: Mapping[str, int]) -> Any:
    """Return a schedule of faults with numbers for labels."""
    if not isinstance(entries, list | tuple):
        return entries
    numbered = []
    for place, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            named = {key: entry[key] for key in _NODES if key in entry}
            key = f"faults.{schedule}.{place}"
            entry = {**entry, **{name: _number(f"{key}.{name}", given, numbers) for name, given in named.items()}}
        numbered.append(entry)
    return numbered


def _number(key: str, given: Any, numbers: Mapping[str, int]) -> Any:
    """Return the number of a node, or numbers in lists as deep as the names are."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [_number(key, name, numbers) for name in given]
    if not isinstance(given, str):
        return given
    if given in numbers:
        return numbers[given]
    if given.isdecimal() and len(given) < 20:
        return int(given)
    if all(name.isdecimal() for name in numbers):
        return given  # as wrong as it would be without labels
    known = ", ".join(list(numbers)[:10]) + ", ..." * (len(numbers) > 10)
    raise InputError(f"{key}: there is no node {given!r}; allowed: {known}, or 0 to {len(numbers) - 1}")
