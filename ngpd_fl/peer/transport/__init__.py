"""Transports of frames between peers, and the identities and addresses of peers. See docs/explanation/transport.md."""

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.credentials import Credentials, Insecure
from ngpd_fl.peer.transport.http import HttpTransport
from ngpd_fl.peer.transport.interface import Counts, Frame, Receive, Routes, Transport
from ngpd_fl.peer.transport.memory import MemoryNetwork, MemoryTransport, seeded
from ngpd_fl.peer.transport.peers import Peer, Peers

__all__ = [
    "Address",
    "Counts",
    "Credentials",
    "Frame",
    "HttpTransport",
    "Insecure",
    "MemoryNetwork",
    "MemoryTransport",
    "Peer",
    "Peers",
    "Receive",
    "Routes",
    "Transport",
    "seeded",
]
