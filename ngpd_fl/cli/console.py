"""Printing of results: named values and tables, in the terminal's width or, into a file or a pipe, in 80 columns."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from ngpd_fl.config.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
    from rich.table import Table


_WIDTH = 80
"""Columns of a line on stderr, which may be a log."""


def results() -> Console:
    """Return stdout as a rich console, as wide as the terminal; a file or a pipe has COLUMNS, or 80.

    Words of records, which may be a stranger's, reach the terminal without control sequences.
    """
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=shutil.get_terminal_size().columns)
    console.push_render_hook(_Printable())  # type: ignore[arg-type]  # rich's base class would have to be imported
    return console


class _Printable:
    """Hook of a console that shows what cannot be printed as escapes; styles are put in after it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    """Something to print, of which only what can be printed is shown."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def new_table() -> Table:
    """Return an empty table, with a line under the heads of its columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def print_lines(heading: str, lines: Iterable[tuple[str, str]], foot: str) -> None:
    """Print names and values line by line, under a heading and above a foot."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    for line in lines:
        table.add_row(*line)
    print_table(heading, table, foot)


def print_table(heading: str, table: Table, foot: str) -> None:
    """Print a table under a heading and above a foot; columns that do not fit come below, with the first one."""
    for column in table.columns:
        column.overflow = "fold"  # a word that is too long goes on in the next line: nothing is cut
    console = results()
    console.print(f"\n{heading}\n", style="bold", markup=False)
    for number, part in enumerate(_parts(table, console)):
        if number:
            console.print()
        console.print(part)
    print_foot(foot)


def fits(table: Table, console: Console) -> bool:
    """Return whether every row of a table has room in a line."""
    unbounded = console.options.update(max_width=1_000_000)
    return console.measure(table, options=unbounded).maximum <= console.width


def _parts(table: Table, console: Console) -> Iterator[Table]:
    """Yield the table or, where it is too wide, tables of some of its columns, each with the first one."""
    if not table.show_header:
        yield table
        return
    shown = [0]
    for place in range(1, len(table.columns)):
        if len(shown) > 1 and not fits(_with_columns(table, [*shown, place]), console):
            yield _with_columns(table, shown)
            shown = [0]
        shown.append(place)
    yield _with_columns(table, shown)


def _with_columns(table: Table, places: Sequence[int]) -> Table:
    """Return the table with some of its columns."""
    part = copy(table)
    part.columns = [replace(table.columns[place], _index=index) for index, place in enumerate(places)]
    return part


def print_foot(text: str) -> None:
    """Print the lines after a table, wrapped at spaces; a path or a command in backticks stays whole."""
    console = results()
    console.print(f"\n{wrapped(text, console.width)}", soft_wrap=True, markup=False)


def print_step(*words: str) -> None:
    """Print a line on stderr about a step that has ended; where it is longer than 80 columns, it goes on indented."""
    first, *others = map(printable, words)
    lines = [first]
    for word in others:
        if len(line := f"{lines[-1]}  {word}") <= _WIDTH:
            lines[-1] = line
        else:
            lines.append(f"    {word}")
    print("\n".join(wrapped(line, _WIDTH, "    ") for line in lines), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning as one line on stderr; an empty one is none."""
    if text:
        print(f"ngpd-fl: warning: {printable(text)}", file=sys.stderr, flush=True)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return text in lines of at most ``width`` columns, broken at spaces outside of backticks."""
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    lines = (
        textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in whole.split("\n")
    )
    return "\n".join(lines).replace("\0", " ")
