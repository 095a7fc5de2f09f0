"""The configuration of a run: its sections, their combination, checks and errors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngpd_fl.config.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load all public names with the first: help reads a module or two, without scipy."""
    public = import_module("ngpd_fl.config.public")
    if name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    """Name what is loaded on demand as well."""
    return sorted({*globals(), *import_module("ngpd_fl.config.public").__all__})
