"""The graph of a configuration."""

from __future__ import annotations

from ngpd_fl.config.config import Config
from ngpd_fl.config.errors import InputError
from topologies import Topology


def build_topology(config: Config) -> Topology:
    """Return the graph; raise ``InputError`` where a random one cannot be drawn."""
    try:
        return config.topology.build(config.seed)
    except ValueError as error:
        raise InputError(f"topology.{error}") from error
