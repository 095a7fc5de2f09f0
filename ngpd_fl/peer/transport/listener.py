"""Receiver of frames: a listening server with a thread for each neighbor's connection."""

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
from ngpd_fl.peer.transport.sender import PIECE_BYTES, PIECE_SECONDS, shut, watch
from ngpd_fl.peer.transport.server import BoundedServer

_HANDSHAKE = 5.0
"""Seconds in which a connecting peer must prove its identity."""

_STRANGERS = 64
"""Largest number of connections without a proven identity; beyond it, the oldest is closed."""

_TIMEOUT = 5.0
"""Seconds in which a connection must end when it is closed."""


class _Connection(NamedTuple):
    """A connection and the thread that reads it."""

    socket: socket.socket
    thread: threading.Thread


class Listener(BoundedServer):
    """Accepts ``PUT /edge/E`` from the peer that hosts the edge's sender."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None,
        incoming: Mapping[int, str],
        largest_frame: int,
        receive: Receive,
        tally: Tally,
    ) -> None:
        """Listen; raise ``OSError`` if that is not possible.

        Args:
            address: the address to listen at.
            context: proves this identity and verifies others. None lets everyone send on every edge.
            incoming: edge -> name of the peer that hosts its sender.
            largest_frame: largest size of a frame in bytes.
            receive: called with every frame.
            tally: the counters.
        """
        self.incoming = incoming
        self.largest_frame = largest_frame
        self.receive = receive
        self.tally = tally
        self._context = context
        self._connections: dict[object, _Connection] = {}
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
                self.trust(request)
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
        """Stop; nothing is received afterwards."""
        with self._lock:
            self._closed = True
            connections = list(self._connections.values())
        super().close()
        for connection in connections:
            _end(connection)

    def _enter(self, key: object, connection: socket.socket) -> bool:
        """Replace a neighbor's earlier connection once that has ended, so that frames stay in order."""
        mine = _Connection(connection, threading.current_thread())
        with self._lock:
            if self._closed:
                return False
            before, self._connections[key] = self._connections.get(key), mine
        if before is not None:
            _end(before)
        return True

    def _leave(self, key: object) -> None:
        with self._lock:
            if self._connections[key].thread is threading.current_thread():
                del self._connections[key]


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
        """Read a frame; return whether every piece came in time."""
        for begin in range(0, len(frame), PIECE_BYTES):
            piece, until = frame[begin : begin + PIECE_BYTES], time.monotonic() + PIECE_SECONDS
            while piece:
                self.connection.settimeout(max(until - time.monotonic(), 0.001))
                taken = self.rfile.readinto1(piece)
                if not taken:
                    return False
                piece = piece[taken:]
        self.connection.settimeout(None)  # the next frame may come at any time
        return True

    def _refuse(self, status: http.HTTPStatus) -> None:
        self.server.tally.add(refused=1)
        self.close_connection = True  # the content was not read
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
        """Write no log."""


def names_of(connection: ssl.SSLSocket) -> set[str]:
    """Return the DNS names in the certificate of the other side."""
    certificate = connection.getpeercert() or {}
    alternatives: Any = certificate.get("subjectAltName", ())
    return {value for kind, value in alternatives if kind == "DNS"}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _end(connection: _Connection) -> None:
    shut(connection.socket)
    if connection.thread is not threading.current_thread():
        connection.thread.join(_TIMEOUT)
