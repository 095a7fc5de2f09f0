"""Shell completion of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ngpd_fl.config.installed import names
from ngpd_fl.config.partitions import PartitionConfig
from ngpd_fl.config.sections import DATASETS, MODELS


def completed(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return the completion of a value, which may be several names separated by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in values() if name.startswith(last)]

    return complete


def names_of(key: str, field: FieldInfo) -> Iterable[str]:
    """Return the names that a key takes as values; none for keys without names."""
    if key == "data.dataset":
        return names("datasets", DATASETS)
    if key == "model.name":
        return names("models", MODELS)
    if key == "partition.name":
        forms: Any = get_args(get_args(PartitionConfig)[0])
        return [form.model_fields["name"].default for form in forms]
    if key == "strategy.name":
        return strategy_names()
    if key == "topology.name":
        from topologies.registry import TOPOLOGIES

        return names("topologies", TOPOLOGIES)
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def strategy_names() -> Iterable[str]:
    """Return the names of all algorithms."""
    from strategies.registry import STRATEGIES

    return names("strategies", STRATEGIES)
