"""Decentralized algorithms, each written once for one node, and the contract that they keep."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load all public names with the first: help reads a module or two."""
    public = import_module("strategies.public")
    if name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    """Name what is loaded on demand as well."""
    return sorted({*globals(), *import_module("strategies.public").__all__})
