"""Engines that run an algorithm on the nodes of a network."""

from ngpd_fl.core.directed_edges import EdgeHeader
from ngpd_fl.engines.baseline import (
    BaselineEngine,
    PooledMinibatches,
    all_reduce_bytes,
    fedavg_bytes,
    weighted_mean,
    weighted_preconditioned_mean,
)
from ngpd_fl.engines.engine import Engine, EngineSettings, RoundInfo, check_topology, default_chunk_size
from ngpd_fl.engines.event_driven import EventEngine
from ngpd_fl.engines.example import example_payload, message_bytes
from ngpd_fl.engines.minibatches import DataMinibatches, Minibatches
from ngpd_fl.engines.node_group import NO_MESSAGES, NodeGroup, OutgoingMessages
from ngpd_fl.engines.states import is_curvature
from ngpd_fl.engines.synchronous import SynchronousEngine

__all__ = [
    "NO_MESSAGES",
    "BaselineEngine",
    "DataMinibatches",
    "EdgeHeader",
    "Engine",
    "EngineSettings",
    "EventEngine",
    "Minibatches",
    "NodeGroup",
    "OutgoingMessages",
    "PooledMinibatches",
    "RoundInfo",
    "SynchronousEngine",
    "all_reduce_bytes",
    "check_topology",
    "default_chunk_size",
    "example_payload",
    "fedavg_bytes",
    "is_curvature",
    "message_bytes",
    "weighted_mean",
    "weighted_preconditioned_mean",
]
