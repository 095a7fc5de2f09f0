"""All keys of the configuration by their dotted names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ngpd_fl.config.config import Config
from ngpd_fl.config.installed import register_all
from strategies import STRATEGIES
from topologies import TOPOLOGIES


def all_keys() -> list[str]:
    """Return every key that ``--set`` takes, e.g. ``strategy.lr``; one that several forms of a section share once."""
    return list(all_fields())


def all_fields() -> dict[str, list[FieldInfo]]:
    """Return each key's definitions, one for every form of its section; an empty list for a section as a whole."""
    register_all()
    fields: dict[str, list[FieldInfo]] = {}
    for section, field in Config.model_fields.items():
        if section == "strategy":
            models: list[type[BaseModel]] = [options for options, _ in STRATEGIES.values()]
        elif section == "topology":
            models = list(TOPOLOGIES.values())
        else:
            models = _models(field.annotation)
        for key, definition in _fields(section, field, models):
            fields.setdefault(key, []).extend(definition)
    return fields


def _fields(prefix: str, own: FieldInfo, models: list[type[BaseModel]]) -> Iterator[tuple[str, list[FieldInfo]]]:
    """Yield the keys under ``prefix``; a part that may be given by its name alone is a key as well."""
    if not models or any("name" in model.model_fields for model in models):
        yield prefix, [] if models else [own]
    for model in models:
        for name, field in model.model_fields.items():
            yield from _fields(f"{prefix}.{name}", field, _models(field.annotation))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the option classes that an annotation names; nothing for a list of them, which is set as a whole."""
    if get_origin(annotation) is tuple:
        return []
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
