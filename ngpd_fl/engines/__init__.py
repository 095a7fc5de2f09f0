"""Engines: what drives an algorithm over a whole network."""

from ngpd_fl.engines.checks import check_topology
from ngpd_fl.engines.crew import NOTHING, Crew, Parcel, Work, default_chunk_size
from ngpd_fl.engines.event_driven import EventEngine
from ngpd_fl.engines.example import example_letter, message_bytes
from ngpd_fl.engines.feed import DataFeed, Feed
from ngpd_fl.engines.links import Slip
from ngpd_fl.engines.reference import PooledFeed, ReferenceEngine, all_reduce_bytes, fedavg_bytes
from ngpd_fl.engines.schedule import lr_scale
from ngpd_fl.engines.snapshot import is_curvature
from ngpd_fl.engines.vectorised import RoundInfo, VectorisedEngine

__all__ = [
    "NOTHING",
    "Crew",
    "DataFeed",
    "EventEngine",
    "Feed",
    "Parcel",
    "PooledFeed",
    "ReferenceEngine",
    "RoundInfo",
    "Slip",
    "VectorisedEngine",
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
