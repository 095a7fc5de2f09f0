"""Templates of the page, which escape all text, and its style and scripts."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}  # keys unsorted
    return made


def asset(name: str) -> Markup:
    """Return a file of the package for inclusion in the page, not escaped."""
    return Markup((files(__package__) / "templates" / name).read_text(encoding="utf-8"))
