"""Sender of frames: a thread and a connection for each neighbor, and the queue of its frames."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.interface import Frame, Tally

PIECE_BYTES, PIECE_SECONDS = 1 << 18, 60.0
"""Bytes sent or received at once, and the longest time for them, or for an answer."""

_CONNECT, _GONE = 5.0, 10.0
"""Seconds to connect, and of silence after which a machine counts as gone."""

_SHORTEST, _LONGEST = 0.05, 0.2
"""Seconds between two attempts to reach a neighbor: the first pause, and the limit up to which it doubles."""


class Sender(threading.Thread):
    """Sends the frames for one neighbor. A frame is sent again until it gets through or a newer one replaces it.

    Attributes:
        outbox: the waiting frames.
        problem: reason why the last attempt failed; None if it did not.
    """

    def __init__(self, name: str, address: Address, context: ssl.SSLContext | None, tally: Tally) -> None:
        """Set the neighbor and its address.

        Args:
            name: the name in its certificate.
            address: the address at which it listens.
            context: proves this identity and verifies the neighbor. None means no TLS.
            tally: the counters.
        """
        super().__init__(name=f"to {name}", daemon=True)
        self.outbox = Outbox()
        self.problem: str | None = None
        self._tally = tally
        self._connection = _Connection(name, address, context)

    def run(self) -> None:
        """Send until the outbox is closed."""
        pause = _SHORTEST
        while (item := self.outbox.take()) is not None:
            edge, frame = item
            was_up = self._connection.sock is not None
            try:
                size = self._connection.put(edge, frame)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self._tally.add(**{"retried" if self.outbox.put_back(edge, frame) else "replaced": 1})
                if was_up:  # perhaps only this connection has ended, e.g. with the neighbor's earlier process
                    continue
                self.problem = str(error) or type(error).__name__
                self.outbox.pause(pause)
                pause = min(2 * pause, _LONGEST)
            else:
                self._tally.add(sent=1, sent_bytes=size)
                self.problem, pause = None, _SHORTEST
        self._connection.close()

    def stop(self) -> None:
        """Cancel the frame that is being sent, and end the thread."""
        self.outbox.close()
        self._connection.abort()
        if self.ident is not None:  # it was started, unless the own address was in use
            self.join(_CONNECT)


class _Connection(http.client.HTTPConnection):
    """A connection to a peer that proves its name; the first frame opens it."""

    def __init__(self, name: str, address: Address, context: ssl.SSLContext | None) -> None:
        super().__init__(address.host, address.port, timeout=_CONNECT)
        self._name = name
        self._context = context

    def connect(self) -> None:
        """Connect, and verify the identity of the peer."""
        super().connect()
        watch(self.sock)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
        self.sock.settimeout(PIECE_SECONDS)

    def put(self, edge: int, frame: Frame) -> int:
        """Send a frame, wait until it is accepted, and return its size in bytes."""
        views = [memoryview(piece).cast("B") for piece in frame]
        size = sum(len(view) for view in views)
        self.request("PUT", f"/edge/{edge}", _pieces(views), {"Content-Length": str(size)})
        answer = self.getresponse()
        if answer.status != http.client.NO_CONTENT:
            raise http.client.HTTPException(f"refused: {answer.status}")  # the rest of the answer may be anything
        answer.read()  # empty, by its status
        return size

    def abort(self) -> None:
        """Interrupt any thread that waits on the connection."""
        sock = self.sock
        if sock is not None:
            shut(sock)


def _pieces(views: list[memoryview]) -> Iterator[memoryview]:
    for view in views:
        for begin in range(0, len(view), PIECE_BYTES):
            yield view[begin : begin + PIECE_BYTES]


def watch(sock: socket.socket) -> None:
    """End a connection when the machine at its other end disappears without notice."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_USER_TIMEOUT", int(1000 * _GONE))):
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def shut(sock: socket.socket) -> None:
    """End a connection on which another thread waits."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own would remove state of the other thread
    except OSError:  # it has ended already
        pass


class Outbox:
    """Queue of the newest frames of each edge, for the one thread that sends them, the oldest first."""

    def __init__(self) -> None:
        """Start empty, with room for one frame per edge."""
        self._length = 1
        self._waiting: dict[int, deque[Frame]] = {}
        self._sending = False
        self._closed = False
        self._change = threading.Condition()

    def keep(self, count: int) -> None:
        """Make room for ``count`` frames per edge."""
        self._length = count

    def put(self, edge: int, frame: Frame) -> bool:
        """Queue a frame, and return whether it replaced an older one; after ``close`` it is dropped."""
        with self._change:
            if self._closed:
                return False
            frames = self._waiting.setdefault(edge, deque())
            frames.append(frame)
            replaced = len(frames) > self._length
            if replaced:
                frames.popleft()
            self._change.notify_all()
            return replaced

    def take(self) -> tuple[int, Frame] | None:
        """Wait for a frame of the edge that has waited longest, remove and return it; None after ``close``.

        The call also reports that the frame before has left or was put back.
        """
        with self._change:
            self._sending = False
            self._change.notify_all()
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._sending = True
            edge = next(iter(self._waiting))
            frames = self._waiting.pop(edge)
            frame = frames.popleft()
            if frames:  # the edge goes to the end of the queue
                self._waiting[edge] = frames
            return edge, frame

    def put_back(self, edge: int, frame: Frame) -> bool:
        """Queue a frame that did not get through, unless newer ones fill the queue; return whether it waits."""
        with self._change:
            frames = self._waiting.setdefault(edge, deque())
            has_room = len(frames) < self._length
            if has_room:
                frames.appendleft(frame)
            return has_room

    def pause(self, seconds: float) -> None:
        """Wait, at most until ``close``."""
        with self._change:
            self._change.wait_for(lambda: self._closed, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until all frames have left, at most for ``seconds``."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def close(self) -> None:
        """Drop the waiting frames, and end the sending thread."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
