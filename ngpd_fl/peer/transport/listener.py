"""The side that receives: a thread for each neighbor's connection."""

from __future__ import annotations

import http
import http.server
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.interface import Receive, Tally
from ngpd_fl.peer.transport.sender import shut, watch
from ngpd_fl.peer.transport.server import BoundedServer

_HANDSHAKE = 5.0
"""Seconds that a connecting peer has to prove its identity."""

_STRANGERS = 64
"""Connections at most that have not proved it yet; the oldest of more are closed."""

_PIECE = 1 << 18
_PROGRESS = 60.0
"""Bytes of a frame, and seconds that they have to come in: as ``sender.py`` has to send them."""

_TIMEOUT = 5.0
"""Seconds that a connection has to end when it is asked to."""


class _Line(NamedTuple):
    """A connection and the thread that reads it."""

    socket: socket.socket
    thread: threading.Thread


class Listener(BoundedServer):
    """Takes ``PUT /edge/E`` from the peer that hosts the edge's sender."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None,
        incoming: Mapping[int, str],
        largest_frame: int,
        receive: Receive,
        tally: Tally,
    ) -> None:
        """Listen; raise ``OSError`` where that is not possible.

        Args:
            address: where.
            context: proves this identity and verifies others; None: everyone may send on every edge.
            incoming: who sends on which edge.
            largest_frame: bytes.
            receive: takes the frames.
            tally: what counts.
        """
        self.incoming = incoming
        self.largest_frame = largest_frame
        self.receive = receive
        self.tally = tally
        self._context = context
        self._lines: dict[object, _Line] = {}
        self._lock = threading.Lock()
        self._closed = False
        most = _STRANGERS if context is not None else max(_STRANGERS, 4 * len(set(incoming.values())))
        super().__init__(address, socketserver.BaseRequestHandler, most)  # see finish_request

    def get_request(self) -> tuple[Any, Any]:
        """Return a new connection; its handshake is left to its thread."""
        request, client_address = super().get_request()
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, client_address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Identify the connecting peer, and read its frames if it is a neighbor."""
        try:
            request.settimeout(_HANDSHAKE)
            watch(request)
            names = set(self.incoming.values())
            if self._context is not None:
                request.do_handshake()
                names &= names_of(request)
                self.vouch_for(request)
        except OSError:
            self.tally.add(refused=1)
            return
        request.settimeout(None)
        if not names:
            self.tally.add(refused=1)
            return
        key = object() if self._context is None else frozenset(names)
        if self._enter(key, request):
            try:
                _Handler(request, client_address, self, names)
            finally:
                self._leave(key)

    def close(self) -> None:
        """Stop, and receive nothing afterwards."""
        with self._lock:
            self._closed = True
            lines = list(self._lines.values())
        super().close()
        for line in lines:
            _end(line)

    def _enter(self, key: object, connection: socket.socket) -> bool:
        """Accept a neighbor's connection in place of the one it had, once that has ended: frames stay in order."""
        mine = _Line(connection, threading.current_thread())
        with self._lock:
            if self._closed:
                return False
            before, self._lines[key] = self._lines.get(key), mine
        if before is not None:
            _end(before)
        return True

    def _leave(self, key: object) -> None:
        with self._lock:
            if self._lines[key].thread is threading.current_thread():
                del self._lines[key]


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reads the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def __init__(self, request: socket.socket, client_address: Any, server: Listener, names: set[str]) -> None:
        self._names = names
        super().__init__(request, client_address, server)

    def do_PUT(self) -> None:
        """Receive a frame."""
        edge, size = _number(self.path.removeprefix("/edge/")), _number(self.headers.get("Content-Length", ""))
        if edge is None or self.server.incoming.get(edge) not in self._names:
            self._refuse(http.HTTPStatus.FORBIDDEN)
        elif size is None or size > self.server.largest_frame:
            self._refuse(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            frame = np.empty(size, np.uint8).data  # bytearray would write zeros first
            if not self._read(frame):
                self.close_connection = True
                return
            self.server.receive(edge, frame)
            self.server.tally.add(received=1, received_bytes=size)
            self._answer(http.HTTPStatus.NO_CONTENT)

    def _read(self, frame: memoryview) -> bool:
        """Fill a frame; return whether it came, each piece in time."""
        for begin in range(0, len(frame), _PIECE):
            piece, until = frame[begin : begin + _PIECE], time.monotonic() + _PROGRESS
            while piece:
                self.connection.settimeout(max(until - time.monotonic(), 0.001))
                taken = self.rfile.readinto1(piece)
                if not taken:
                    return False
                piece = piece[taken:]
        self.connection.settimeout(None)  # until the next there may be any time
        return True

    def _refuse(self, status: http.HTTPStatus) -> None:
        self.server.tally.add(refused=1)
        self.close_connection = True  # what follows was not read
        self._answer(status)

    def _answer(self, status: http.HTTPStatus) -> None:
        self.send_response_only(status)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Reject a request that is not for a frame."""
        self._refuse(http.HTTPStatus(code))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def names_of(connection: ssl.SSLSocket) -> set[str]:
    """Return the DNS names that the other side has proved to have."""
    certificate = connection.getpeercert() or {}
    alternatives: Any = certificate.get("subjectAltName", ())
    return {value for kind, value in alternatives if kind == "DNS"}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _end(line: _Line) -> None:
    shut(line.socket)
    if line.thread is not threading.current_thread():
        line.thread.join(_TIMEOUT)
