"""Engines: what drives an algorithm over a whole network."""

from ngpd_fl.engines.baseline import BaselineEngine, PooledMinibatches, all_reduce_bytes, fedavg_bytes
from ngpd_fl.engines.checks import check_topology
from ngpd_fl.engines.edge_state import EdgeHeader
from ngpd_fl.engines.event_driven import EventEngine
from ngpd_fl.engines.example import example_letter, message_bytes
from ngpd_fl.engines.lr_schedule import lr_scale
from ngpd_fl.engines.minibatches import DataMinibatches, Feed
from ngpd_fl.engines.node_group import NOTHING, NodeGroup, OutgoingMessages, Work, default_chunk_size
from ngpd_fl.engines.snapshot import is_curvature
from ngpd_fl.engines.synchronous import RoundInfo, SynchronousEngine

__all__ = [
    "NOTHING",
    "NodeGroup",
    "DataMinibatches",
    "EventEngine",
    "Feed",
    "OutgoingMessages",
    "PooledMinibatches",
    "BaselineEngine",
    "RoundInfo",
    "EdgeHeader",
    "SynchronousEngine",
    "Work",
    "all_reduce_bytes",
    "check_topology",
    "default_chunk_size",
    "fedavg_bytes",
    "is_curvature",
    "lr_scale",
    "example_letter",
    "message_bytes",
]
