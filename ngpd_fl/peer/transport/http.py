"""Frames over HTTP/1.1 with mutual TLS 1.3, by Python's own ``http`` and ``ssl``. See docs/explanation/transport.md.

A process connects to every process that hosts a neighbor, shows its certificate, and sends frames by ``PUT /edge/E``.
The answer to an accepted frame is empty. Frames in the other direction have a connection of their own.
"""

from __future__ import annotations

import time

from ngpd_fl.config import InputError
from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.credentials import Credentials, Insecure
from ngpd_fl.peer.transport.interface import Counts, Frame, Receive, Routes, Tally
from ngpd_fl.peer.transport.listener import Listener
from ngpd_fl.peer.transport.peers import Peers
from ngpd_fl.peer.transport.sender import Sender

_TIMEOUT = 1.0
"""Seconds in which queued frames may still leave at the end."""


class HttpTransport:
    """A ``Transport`` over HTTP.

    A frame that does not get through is sent again until a newer frame of its edge replaces it, so it may arrive twice.
    The frames of an edge arrive in order.
    """

    def __init__(
        self, identity: Credentials | Insecure, peers: Peers, routes: Routes, *, largest_frame: int = 1 << 30
    ) -> None:
        """Set the identity of this process, the other peers, and the edges.

        Args:
            identity: the identity of this process, with a name in ``peers``.
            peers: all peers.
            routes: the edges with an end in this process.
            largest_frame: largest size of a frame in bytes, sent or received, so that no neighbor can fill the memory.

        Raises:
            InputError: the name is not in ``peers``, or the identity is insecure and a peer is on another machine.
        """
        neighbors = {*routes.outgoing.values(), *routes.incoming.values()} - {identity.name}
        self._listens_at = peers[identity.name].listens_at
        addresses = {name: Address.of(peers[name].address) for name in sorted(neighbors)}
        if isinstance(identity, Insecure) and not identity.forced:
            for address in (self._listens_at, *addresses.values()):
                if not address.is_loopback:
                    raise InputError(f"{address}: is not on this machine; without TLS only loopback is allowed")
        client = None if isinstance(identity, Insecure) else identity.client_context()
        self._context = None if isinstance(identity, Insecure) else identity.server_context()
        self._name = identity.name
        self.routes = routes
        self._largest = largest_frame
        self._tally = Tally()
        hosts = sorted(set(routes.outgoing.values()) - {identity.name})
        self._senders = {name: Sender(name, addresses[name], client, self._tally) for name in hosts}
        self._receive: Receive | None = None
        self._listener: Listener | None = None

    def start(self, receive: Receive, queue_length: int = 1, largest: int | None = None) -> None:
        """Listen and connect; raise ``InputError`` if the address is in use or not of this machine."""
        self._receive = receive
        self._largest = self._largest if largest is None else largest
        incoming = {edge: name for edge, name in self.routes.incoming.items() if name != self._name}
        try:
            self._listener = Listener(self._listens_at, self._context, incoming, self._largest, receive, self._tally)
        except OSError as error:
            raise InputError(f"{self._listens_at}: cannot listen there ({error.strerror or error})") from error
        for sender in self._senders.values():
            sender.outbox.keep(queue_length)
            sender.start()

    def send(self, edge: int, frame: Frame) -> None:
        """Queue a frame; on an edge inside the process, deliver it."""
        if edge not in self.routes.outgoing:
            raise ValueError(f"edge {edge}: begins at no node of this process")
        if (size := sum(memoryview(piece).nbytes for piece in frame)) > self._largest:
            raise ValueError(f"edge {edge}: {size} bytes are more than {self._largest}")
        name = self.routes.outgoing[edge]
        if name != self._name:
            self._tally.add(replaced=int(self._senders[name].outbox.put(edge, frame)))
        elif self._receive is not None:
            self._tally.add(sent=1, sent_bytes=size, received=1, received_bytes=size)
            self._receive(edge, memoryview(b"".join(frame)))

    def counts(self) -> Counts:
        """Return the counters so far."""
        return self._tally.counts

    def problems(self) -> dict[str, str]:
        """Return the neighbors that could not be reached at the last attempt, with the reasons."""
        return {name: sender.problem for name, sender in self._senders.items() if sender.problem is not None}

    def close(self) -> None:
        """Stop sending and listening."""
        end = time.monotonic() + _TIMEOUT
        for sender in self._senders.values():
            sender.outbox.finish(max(0.0, end - time.monotonic()))
        for sender in self._senders.values():
            sender.stop()
        if self._listener is not None:
            self._listener.close()
        self._receive = None
