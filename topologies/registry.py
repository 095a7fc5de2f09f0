"""Registry of the families of topologies. A new one is an options class in a module that ``TOPOLOGIES`` lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import topologies.directed as directed
import topologies.families as families
import topologies.files as files
import topologies.given as given
import topologies.periodic as periodic
import topologies.random_families as random_families
from topologies.options import TopologyOptions


def _families_of(module: ModuleType) -> Iterator[tuple[str, type[TopologyOptions]]]:
    """Yield the families that a module defines: its options classes that have a name."""
    for options in vars(module).values():
        if isinstance(options, type) and issubclass(options, TopologyOptions) and options.__module__ == module.__name__:
            name = options.model_fields["name"].default
            if isinstance(name, str):
                yield name, options


TOPOLOGIES = {
    name: options
    for module in (families, random_families, periodic, directed, given, files)
    for name, options in _families_of(module)
}
"""The families by name: every options class with a default ``name`` in one of these modules."""


def parse_topology(value: str | Mapping[str, Any]) -> TopologyOptions:
    """Return the options that a plain name or a mapping with ``name`` stands for.

    Raises:
        ValueError: the name is missing or not known.
        pydantic.ValidationError: another value is missing or not allowed.
    """
    values = {"name": value} if isinstance(value, str) else value
    allowed = ", ".join(TOPOLOGIES)
    if "name" not in values:
        raise ValueError(f"this key is required; allowed: {allowed}")
    name = values["name"]
    if name not in list(TOPOLOGIES):  # a list, not the mapping: what was given need not be hashable
        raise ValueError(f"{name!r} is not known; allowed: {allowed}")
    return TOPOLOGIES[name].model_validate(values)
