"""The side that sends: a thread and a connection for each neighbor."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.interface import Frame, Tally

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


class Outbox:
    """Holds the newest frames for each edge, and gives them to the one thread that sends, the oldest first."""

    def __init__(self) -> None:
        """Begin empty, with room for one frame for each edge."""
        self._length = 1
        self._waiting: dict[int, deque[Frame]] = {}
        self._sending = False
        self._closed = False
        self._change = threading.Condition()

    def keep(self, count: int) -> None:
        """Make room for so many frames for each edge."""
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
        """Wait for a frame and remove it, one of the edge that has waited longest; None: closed.

        Taking the next frame means that the one before has left or is back.
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
            if frames:  # at the end of the line
                self._waiting[edge] = frames
            return edge, frame

    def put_back(self, edge: int, frame: Frame) -> bool:
        """Let a frame that did not get through wait again, unless newer ones take the room; return whether it waits."""
        with self._change:
            frames = self._waiting.setdefault(edge, deque())
            has_room = len(frames) < self._length
            if has_room:
                frames.appendleft(frame)
            return has_room

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until ``close``."""
        with self._change:
            self._change.wait_for(lambda: self._closed, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until all has left, or so long."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def close(self) -> None:
        """Drop the waiting frames, and let the sending thread end."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()
