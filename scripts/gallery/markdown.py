"""Docstrings, options and tables as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ngpd_fl.cli.keys import rows


def doc_text(described: Any) -> str:
    """Return a docstring: prose as it is, with `<` kept from being read as HTML; indented equations are code.

    The number of an equation moves from the margin, far to the right, to its end.
    """
    lines = (inspect.getdoc(described) or "").splitlines()
    return "\n".join(
        re.sub(r" {4,}(\(\d\))$", r"    \1", line) if line.startswith("    ") else _escaped(line) for line in lines
    )


def table(head: Sequence[str], body: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """Return a table; cells are Markdown, and with ``numbers`` all columns but the first are aligned to the right."""
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in body]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *cells])


def options_table(section: str, model: Any) -> str:
    """Return the keys of a form of a section, as `ngpd-fl keys` lists them."""
    body = [(f"`{key}`", f"`{default}`", _escaped(meaning)) for key, default, meaning in rows(section, model)]
    return table(["key", "default", "meaning"], body) if body else "It has no keys of its own."


def folded(name: str, body: str, title: str = "") -> str:
    """Return a section that opens at a click or, as its anchor is inside, when a link leads to ``#name``.

    Its heading is ``title``, followed by the name that a configuration takes.
    """
    words = f"{title.rstrip('.')} (`{name}`)" if title else f"`{name}`"
    inside = f'<span id="{name}" class="anchor"></span>\n\n{body}'
    return "\n".join([f'??? info "{words}"', "", *(f"    {line}" if line else "" for line in inside.splitlines())])


def picture_cards(pictures: Iterable[tuple[str, str]]) -> str:
    """Return small pictures in rows, each a link to the section of its name."""
    cards = (
        f'<a class="card" href="#{name}"><img src="{path}" alt="{name}" loading="lazy">{name}</a>'
        for name, path in pictures
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def _escaped(line: str) -> str:
    """Return a line whose `<` outside of code is a plain character."""
    parts = re.split(r"(`+[^`]*`+)", line)
    return "".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))
