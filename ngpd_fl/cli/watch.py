"""``ngpd-fl watch``: a live page about runs, and the same page beside a run (``--watch``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def watch(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR...]",
            help="folders of runs, comparisons, sweeps, studies or peers, also of such as begin later; default: what "
            "was written last in runs/",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="address of this machine to listen at; with others than loopback, the page's address has a token",
        ),
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port; default: 8642 or the next free one")] = None,
) -> None:
    """Show runs in a browser while they go on: curves, nodes, edges, timeline, faults; a study's cells as they fill.

    It only reads the records, so it changes and delays nothing. Ctrl-C ends it.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.watch.address import PageAddress
    from ngpd_fl.watch.server import serve

    paths = directories or [_newest()]
    for path in paths:
        try:
            if not path.is_dir():
                raise InputError(f"{path}: {'is not a folder' if path.exists() else 'there is no such folder'}")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    address = PageAddress.listen(host, port)
    print(f"{address}  (Ctrl-C ends it)", flush=True)
    serve(paths, address)


@contextmanager
def watched(folder: Path, wanted: bool, quiet: bool) -> Iterator[None]:
    """Serve the page of a folder while the context is open, if that is wanted, and print its address."""
    if not wanted:
        yield
        return
    from ngpd_fl.watch.beside import page_beside

    with page_beside(folder) as address:
        if not quiet:
            print(f"watch it at {address}", file=sys.stderr, flush=True)
        yield


def _newest() -> Path:
    """Return the folder in ``runs/`` that was written last; raise ``InputError`` if there is none."""
    from ngpd_fl.config import InputError
    from ngpd_fl.records.new_folder import RUNS
    from ngpd_fl.watch.folders import last_written

    newest = last_written(RUNS)
    if newest is None:
        raise InputError(f"{RUNS}: no run in it; name the folder of one")
    return newest
