"""``ngpd-fl report``: one web page about any number of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="folders of runs, comparisons, sweeps or studies")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="the page, .html; an earlier one of this name is replaced")
    ] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="title of the page; default: the folders' names")] = None,
    target: Annotated[
        float | None,
        typer.Option(
            metavar="ACCURACY",
            help="mean accuracy over the nodes, e.g. 0.9 (or error), whose cost is reported; default: 90 % of the best"
            " at the end; the page lets its reader choose another",
        ),
    ] = None,
) -> None:
    """Write one web page about runs: results, curves, graphs, partitions, configurations, commands to repeat them.

    The page is self-contained, so it can be sent and opened anywhere. Folders are searched for runs.
    """
    from ngpd_fl.report.page import write_page

    print(write_page(directories, out, title, target))
