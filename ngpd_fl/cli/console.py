"""Printing of results: named values and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 160


def results() -> Console:
    """Return stdout as a rich console; a file or a log gets wide lines instead of the terminal's width."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def print_lines(heading: str, lines: Iterable[tuple[str, str]], foot: str) -> None:
    """Print names and values line by line, under a heading and above a foot."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    for line in lines:
        table.add_row(*line)
    print_table(heading, table, foot)


def print_table(heading: str, table: Table, foot: str) -> None:
    """Print a table under a heading and above a foot."""
    console = results()
    console.print(f"\n{heading}\n", style="bold", markup=False)
    console.print(table)
    console.print(f"\n{foot}", soft_wrap=True, markup=False)
