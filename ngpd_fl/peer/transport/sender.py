"""The side that sends: a thread and a connection for each neighbor."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.counts import Tally
from ngpd_fl.peer.transport.interface import Frame
from ngpd_fl.peer.transport.outbox import Outbox

_PIECE = 1 << 18
"""Bytes written at once: time limits are for each."""

_CONNECT, _PROGRESS, _GONE = 5.0, 60.0, 10.0
"""Seconds to connect in, to send a piece or get an answer in, and after which a silent machine counts as gone."""

_SHORTEST, _LONGEST = 0.05, 0.2
"""Seconds between two attempts to reach a neighbor: the first, and what it doubles up to."""


class Sender(threading.Thread):
    """Sends what waits for one neighbor, each frame until it has got through or a newer one waits.

    Attributes:
        outbox: what waits.
        problem: why the neighbor was not reached when it was last tried; None: it was.
    """

    def __init__(self, name: str, address: Address, context: ssl.SSLContext | None, tally: Tally) -> None:
        """Set the neighbor and its address.

        Args:
            name: that of its certificate.
            address: where it listens.
            context: proves this identity and verifies the neighbor; None: nothing does.
            tally: what counts.
        """
        super().__init__(name=f"to {name}", daemon=True)
        self.outbox = Outbox()
        self.problem: str | None = None
        self._tally = tally
        self._connection = _Connection(name, address, context)

    def run(self) -> None:
        """Send until closed."""
        pause = _SHORTEST
        while (item := self.outbox.take()) is not None:
            edge, frame = item
            was_up = self._connection.sock is not None
            try:
                size = self._connection.put(edge, frame)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self._tally.add(**{"retried" if self.outbox.put_back(edge, frame) else "replaced": 1})
                if was_up:  # it may be that only this connection has ended, such as with the process before
                    continue
                self.problem = str(error) or type(error).__name__
                self.outbox.pause(pause)
                pause = min(2 * pause, _LONGEST)
            else:
                self._tally.add(sent=1, sent_bytes=size)
                self.problem, pause = None, _SHORTEST
        self._connection.close()

    def stop(self) -> None:
        """Break off what is being sent, and end."""
        self.outbox.close()
        self._connection.abort()
        if self.ident is not None:  # it was started: the own address may have been taken
            self.join(_CONNECT)


class _Connection(http.client.HTTPConnection):
    """One to a peer that proves its name; it is opened with the first frame."""

    def __init__(self, name: str, address: Address, context: ssl.SSLContext | None) -> None:
        super().__init__(address.host, address.port, timeout=_CONNECT)
        self._name = name
        self._context = context

    def connect(self) -> None:
        """Connect, and find out whether it is who it should be."""
        super().connect()
        watch(self.sock)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
        self.sock.settimeout(_PROGRESS)

    def put(self, edge: int, frame: Frame) -> int:
        """Send a frame, wait until it was taken, and return its size in bytes."""
        views = [memoryview(piece).cast("B") for piece in frame]
        size = sum(len(view) for view in views)
        self.request("PUT", f"/edge/{edge}", _pieces(views), {"Content-Length": str(size)})
        answer = self.getresponse()
        if answer.status != http.client.NO_CONTENT:
            raise http.client.HTTPException(f"refused: {answer.status}")  # what else it says may be anything
        answer.read()  # nothing, by its status
        return size

    def abort(self) -> None:
        """Make any thread that waits on the connection fail."""
        sock = self.sock
        if sock is not None:
            shut(sock)


def _pieces(views: list[memoryview]) -> Iterator[memoryview]:
    for view in views:
        for begin in range(0, len(view), _PIECE):
            yield view[begin : begin + _PIECE]


def watch(sock: socket.socket) -> None:
    """Let a connection end when the machine at its other end is gone without notice."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_USER_TIMEOUT", int(1000 * _GONE))):
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def shut(sock: socket.socket) -> None:
    """End a connection from another thread than the one that waits on it."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own would take away what the other thread uses
    except OSError:  # it has ended already
        pass
