"""Transport of frames between the processes of neighboring nodes: opaque bytes over directed, numbered edges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Frame = Sequence[bytes | memoryview]
"""A message in pieces, which arrive as one: a header and tensors need no copy before they are sent."""

Receive = Callable[[int, memoryview], None]
"""Takes an edge and the frame that came over it."""


class Routes(NamedTuple):
    """The directed edges with an end in one process, by their numbers.

    Edge 2e goes from i to j and edge 2e + 1 back, with (i, j) = ``topology.edges[e]``. An edge between two nodes of
    the process is in both.

    Attributes:
        outgoing: name of the peer that hosts an edge's receiver.
        incoming: name of the peer that hosts an edge's sender.
    """

    outgoing: Mapping[int, str]
    incoming: Mapping[int, str]

    @classmethod
    def of(cls, own: str, hosts: Mapping[int, str], edges: NDArray[np.int64]) -> Self:
        """Return the routes of a peer.

        Args:
            own: its name.
            hosts: for each node the name of the peer that hosts it.
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
    """Counters of a transport since it began; numbers only grow.

    Attributes:
        sent: frames that the other side has taken.
        sent_bytes: their bytes, without what the protocol adds.
        received: frames handed to ``receive``.
        received_bytes: their bytes.
        replaced: frames that never left, since a newer one for the same edge came.
        retried: times that a frame did not get through and waits again.
        refused: connections of strangers, and frames that were too large or on an edge that is not their sender's.
    """

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    replaced: int = 0
    retried: int = 0
    refused: int = 0


class Tally:
    """Counts in the making, for any thread."""

    def __init__(self) -> None:
        """Begin with zeros."""
        self.counts = Counts()
        self._lock = threading.Lock()

    def add(self, **more: int) -> None:
        """Add to the counts of these names."""
        with self._lock:
            self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items()})


class Transport(Protocol):
    """Carries frames over the edges of one process. Any may be lost."""

    @property
    def routes(self) -> Routes:
        """The edges with an end in the process."""
        ...

    def start(self, receive: Receive, queue_length: int = 1, largest: int | None = None) -> None:
        """Begin to listen and to connect, and go on connecting until closed.

        Args:
            receive: called with each frame that comes from the peer that hosts the edge's sender, from a thread of
                the transport's (on an edge inside the process: from that of ``send``). It must be quick and must not
                raise; the frame is its own to keep.
            queue_length: frames of an edge that wait at most. Where nodes keep step, neighbors may be one round apart
                and need two.
            largest: bytes of a frame at most; more is neither sent nor taken. None: as many as the transport allows.
        """
        ...

    def send(self, edge: int, frame: Frame) -> None:
        """Send a frame, without waiting; of those of an edge that have not left yet only the newest are kept.

        The pieces must not change until they have left.

        Raises:
            ValueError: the edge begins at no node of this process.
        """
        ...

    def counts(self) -> Counts:
        """Return what was done so far."""
        ...

    def problems(self) -> Mapping[str, str]:
        """Return for each neighbor that was not reached when it was last tried the reason."""
        ...

    def close(self) -> None:
        """Stop. What is queued has a short time to leave; nothing is received afterwards."""
        ...
