"""Templates of the page, which escape all text, and its style and scripts."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


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
    made.filters |= {"breakable": breakable, "unbroken": unbroken}
    return made


def breakable(text: object) -> Markup:
    """Return a name that may break after slashes, underscores and the dots of keys, escaped."""
    return Markup(re.sub(r"([/_]|(?<=[a-z])\.(?=[a-z]))", r"\1<wbr>", str(escape(text))))


def unbroken(text: str) -> str:
    """Return a figure that may break before its brackets only, not before its unit."""
    return re.sub(r"(?<=\d) (?!\()|(?<=of) ", "\N{NO-BREAK SPACE}", text)


def asset(name: str) -> Markup:
    """Return a file of the package for inclusion in the page, not escaped."""
    return Markup((files(__package__) / "templates" / name).read_text(encoding="utf-8"))
