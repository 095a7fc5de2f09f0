"""Pictures of a folder's records at the end of a command, where the packages that draw them are installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ngpd_fl.cli.console import warn
from ngpd_fl.config.extras import has_extra, remedy


def draw(folder: Path, quiet: bool, *, trust_code: bool) -> None:
    """Draw the pictures of a run or a comparison, or say once what that needs; for the rest as ``write_plots``."""
    if has_extra("report"):
        from ngpd_fl.report.pictures import write_plots

        write_plots(folder, trust_code=trust_code)
    elif not quiet:
        _say_what_is_missing()


@cache
def _say_what_is_missing() -> None:
    warn(f"no pictures are drawn: matplotlib is not installed; {remedy('report')}")
