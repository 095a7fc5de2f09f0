"""Reports: tables and pictures from the records of runs.

from ngpd_fl.report import write_plots
write_plots("runs/digits-ngpd-1")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngpd_fl.report.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load all public names with the first: what prints figures reads a module or two, without matplotlib."""
    public = import_module("ngpd_fl.report.public")
    if name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    """Name what is loaded on demand as well."""
    return sorted({*globals(), *import_module("ngpd_fl.report.public").__all__})
