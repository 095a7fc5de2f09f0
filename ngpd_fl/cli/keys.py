"""``ngpd-fl keys``: every key of the configuration with its default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

Section = Annotated[str | None, typer.Argument(metavar="[SECTION]", help="e.g. strategy or data; default: all")]

_FLOWER = "flower"
"""The section of keys that only runs through Flower have: the fields of ``FlowerConfig``, without a prefix."""


def keys(section: Section = None) -> None:
    """Print the keys that --set and a TOML file take, with their defaults and meanings.

    A section with a name, such as strategy, is printed once for each name. The keys under "flower" are for -c of
    Flower's own command; `ngpd-fl flower run` has options for the ones that it needs.
    """
    from rich.table import Table
    from rich.text import Text

    from ngpd_fl.cli.console import results
    from ngpd_fl.config import Config, InputError, choices

    console = results()
    sections = [*Config.model_fields, _FLOWER]
    if section is not None and section not in sections:
        raise InputError(f"{section!r} is no section; {choices(section, sections)}")
    for name in sections if section is None else [section]:
        for heading, model in variants(name):
            table = Table.grid(padding=(0, 3, 0, 0))
            for row in rows(name, model):
                table.add_row(*map(Text, row))
            console.print(f"\n{heading}", style="bold", markup=False)
            console.print(table)


def variants(section: str) -> Iterator[tuple[str, type[BaseModel] | None]]:
    """Yield a heading and the class of each form of a section; None for a key that is no section."""
    from ngpd_fl.config import Config
    from ngpd_fl.config.installed import register_all
    from strategies import STRATEGIES
    from topologies import TOPOLOGIES

    if section == _FLOWER:
        from ngpd_fl.flower.run_config import FlowerConfig

        yield section, FlowerConfig
        return
    register_all()
    annotation = Config.model_fields[section].annotation
    if section == "strategy":
        yield from ((f"strategy.name = {name}", options) for name, (options, _) in STRATEGIES.items())
    elif section == "topology":
        yield from ((f"topology.name = {name}", options) for name, options in TOPOLOGIES.items())
    elif get_args(annotation):
        yield from ((f"{section}.name = {form.model_fields['name'].default}", form) for form in get_args(annotation))
    elif isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield section, annotation
    else:
        yield section, None


def rows(section: str, model: type[BaseModel] | None) -> Iterator[tuple[str, str, str]]:
    """Yield key, default and meaning."""
    from ngpd_fl.config import Config

    if model is None:
        field = Config.model_fields[section]
        yield section, _shown(field.get_default()), field.description or ""
        return
    named = section in ("strategy", "topology", "partition")
    for key, field in model.model_fields.items():
        if not (named and key == "name"):
            default = "(required)" if field.is_required() else _shown(field.get_default(call_default_factory=True))
            yield field.alias or f"{section}.{key}", default, field.description or ""


def _shown(default: Any) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return str(list(default))  # as --set takes it
    return str(getattr(default, "name", default))
