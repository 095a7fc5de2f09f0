"""Algorithms, topologies, data sets and models of other installed packages, which register them by entry points.

The groups are ``ngpd_fl.strategies``, ``ngpd_fl.topologies``, ``ngpd_fl.datasets`` and ``ngpd_fl.models``. Built-in
names are never replaced. A package is imported when its name is used, or when everything is listed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.held_object import HeldObject, is_object_name, require_object
from ngpd_fl.config.import_paths import import_object, is_import_path

Registered = Literal["strategies", "topologies"]
Kind = Registered | Literal["datasets", "models"]

logger = logging.getLogger(__name__)


def installed(kind: Kind) -> dict[str, EntryPoint]:
    """Return the parts of a kind by their names; none of them is imported."""
    return _entries(kind, tuple(sys.path))


def names(kind: Kind, ours: Iterable[str]) -> list[str]:
    """Return the built-in names and those of installed parts."""
    return list(dict.fromkeys([*ours, *installed(kind)]))


@lru_cache(maxsize=8)
def _entries(kind: Kind, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the entry points; looking for them takes too long to be done for each of a study's configurations."""
    return {entry.name: entry for entry in entry_points(group=f"ngpd_fl.{kind}")}


def own_object(name: str, kind: Kind, key: str, held: HeldObject | None = None) -> Any:
    """Return what a user's own name stands for: an object, an import path, or a part of an installed package.

    Args:
        name: ``object:NAME``, ``package.module:name``, or the name of an entry point.
        kind: of the part.
        key: the configuration's key that holds the name.
        held: the object that the configuration's section holds.

    Raises:
        InputError: it cannot be imported, or is an object that is missing; one line names the key and says why.
    """
    if is_object_name(name):
        return require_object(held, key, name, key.partition(".")[0])
    if is_import_path(name):
        return import_object(name, key)
    entry = installed(kind)[name]
    try:
        return import_object(entry.value, key)
    except InputError as error:
        package = "another package" if entry.dist is None else entry.dist.name
        raise InputError(f"{key}: {name!r}, which {package} registers: {str(error).partition(': ')[2]}") from error


def register(kind: Registered, registry: MutableMapping[str, Any], name: str) -> None:
    """Add the installed part of this name to a registry that does not know it; do nothing where there is none.

    Raises:
        InputError: it cannot be imported, or is not what the registry holds.
    """
    if name in registry or name not in installed(kind):
        return
    key = "strategy.name" if kind == "strategies" else "topology.name"
    part = own_object(name, kind, key)
    _check(kind, part, f"{key}: {name!r} is {installed(kind)[name].value}, which")
    registry[name] = part


def register_all() -> None:
    """Register every algorithm and topology that is installed; warn of one that cannot be used."""
    from strategies import STRATEGIES
    from topologies import TOPOLOGIES

    registries: dict[Registered, MutableMapping[str, Any]] = {"strategies": STRATEGIES, "topologies": TOPOLOGIES}
    for kind, registry in registries.items():
        for name in installed(kind):
            try:
                register(kind, registry, name)
            except InputError as error:
                logger.warning("%s", error)


def _check(kind: Kind, part: Any, subject: str) -> None:
    from strategies import StrategyOptions
    from topologies import TopologyOptions

    if kind == "strategies":
        pair = part if isinstance(part, tuple) and len(part) == 2 else (None, None)
        if not (_is_class(pair[0], StrategyOptions) and callable(pair[1])):
            raise InputError(f"{subject} should be a pair: a class of StrategyOptions, and the class of the algorithm")
    elif not _is_class(part, TopologyOptions):
        raise InputError(f"{subject} should be a class of TopologyOptions")


def _is_class(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)
