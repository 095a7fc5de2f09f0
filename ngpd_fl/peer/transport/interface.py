"""Transport of frames between the processes of neighboring nodes: opaque bytes over directed, numbered edges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Frame = Sequence[bytes | memoryview]
"""A message in pieces that arrive as one, so that a header and tensors are sent without a copy."""

Receive = Callable[[int, memoryview], None]
"""A function of an edge and the frame that came over it."""


class Routes(NamedTuple):
    """The directed edges with an end in one process, by their numbers.

    Edge 2e goes from i to j and edge 2e + 1 back, with (i, j) = ``topology.edges[e]``. An edge between two nodes of
    the process is in both attributes.

    Attributes:
        outgoing: edge -> name of the peer that hosts its receiver.
        incoming: edge -> name of the peer that hosts its sender.
    """

    outgoing: Mapping[int, str]
    incoming: Mapping[int, str]

    @classmethod
    def of(cls, own: str, hosts: Mapping[int, str], edges: NDArray[np.int64]) -> Self:
        """Return the routes of a peer.

        Args:
            own: the name of the peer.
            hosts: node -> name of the peer that hosts it.
            edges: the topology's edges, int64 ``[E, 2]``.
        """
        outgoing, incoming = {}, {}
        for number, (i, j) in enumerate(edges.tolist()):
            for edge, sender, receiver in ((2 * number, i, j), (2 * number + 1, j, i)):
                if hosts[sender] == own:
                    outgoing[edge] = hosts[receiver]
                if hosts[receiver] == own:
                    incoming[edge] = hosts[sender]
        return cls(outgoing, incoming)


class Counts(NamedTuple):
    """Counters of a transport since its start.

    Attributes:
        sent: frames that the receiver has accepted.
        sent_bytes: their bytes, without the overhead of the protocol.
        received: frames passed to ``receive``.
        received_bytes: their bytes.
        replaced: frames that a newer frame of the same edge replaced before they left.
        retried: failed attempts after which a frame waits again.
        refused: connections of unknown peers, and frames that were too large or on an edge of another sender.
    """

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    replaced: int = 0
    retried: int = 0
    refused: int = 0


class Tally:
    """Counters that any thread can increase."""

    def __init__(self) -> None:
        """Start at zero."""
        self.counts = Counts()
        self._lock = threading.Lock()

    def add(self, **more: int) -> None:
        """Increase the counters of these names."""
        with self._lock:
            self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items()})


class Transport(Protocol):
    """Carries frames over the edges of one process. Any frame may be lost."""

    @property
    def routes(self) -> Routes:
        """The edges with an end in the process."""
        ...

    def start(self, receive: Receive, queue_length: int = 1, largest: int | None = None) -> None:
        """Listen and connect until the transport is closed.

        Args:
            receive: called with every frame from the peer that hosts the edge's sender. The call comes from a thread of
                the transport, or from the thread of ``send`` on an edge inside the process. It must be quick and must
                not raise. It owns the frame.
            queue_length: largest number of frames of an edge that wait. Nodes that wait for each other may be one round
                apart, and need two.
            largest: largest size of a frame in bytes, sent or received. Defaults to the limit of the transport.
        """
        ...

    def send(self, edge: int, frame: Frame) -> None:
        """Send a frame without waiting. Of the frames of an edge that have not left yet, only the newest are kept.

        The pieces must not change until the frame has left.

        Raises:
            ValueError: the edge begins at no node of this process.
        """
        ...

    def counts(self) -> Counts:
        """Return the counters so far."""
        ...

    def problems(self) -> Mapping[str, str]:
        """Return the neighbors that could not be reached at the last attempt, with the reasons."""
        ...

    def close(self) -> None:
        """Stop. Queued frames have a short time to leave; nothing is received afterwards."""
        ...
