"""Topologies: graphs, schedules of active edges, and mixing weights.

``parse_topology({"name": "torus", "nodes": 16}).build(seed=0)`` is a ``Topology``; so is the one of
``EdgesOptions.from_graph(graph)`` for any networkx graph.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topologies.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load all public names with the first: help reads a module or two, without scipy."""
    public = import_module("topologies.public")
    if name not in public.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    """Name what is loaded on demand as well."""
    return sorted({*globals(), *import_module("topologies.public").__all__})
