"""Printing of results: named values and tables, in the terminal's width or, into a file or a pipe, in 80 columns."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def results() -> Console:
    """Return stdout as a rich console, as wide as the terminal; a file or a pipe has COLUMNS, or 80."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=shutil.get_terminal_size().columns)


def print_lines(heading: str, lines: Iterable[tuple[str, str]], foot: str) -> None:
    """Print names and values line by line, under a heading and above a foot."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    for line in lines:
        table.add_row(*line)
    print_table(heading, table, foot)


def print_table(heading: str, table: Table, foot: str) -> None:
    """Print a table under a heading and above a foot. What does not fit goes on in the next line: nothing is cut."""
    for column in table.columns:
        column.overflow = "fold"
    console = results()
    console.print(f"\n{heading}\n", style="bold", markup=False)
    console.print(table)
    print_foot(foot)


def print_foot(text: str) -> None:
    """Print the lines after a table, wrapped at spaces; a path or a command in backticks stays whole."""
    console = results()
    console.print(f"\n{wrapped(text, console.width)}", soft_wrap=True, markup=False)


def print_step(text: str) -> None:
    """Print a line on stderr about a step that has ended; where it is longer than 80 columns, it goes on indented."""
    print(wrapped(text, 80, "    "), file=sys.stderr, flush=True)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return text in lines of at most ``width`` columns, broken at spaces outside of backticks."""
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    lines = (
        textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in whole.split("\n")
    )
    return "\n".join(lines).replace("\0", " ")
