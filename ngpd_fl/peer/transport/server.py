"""Listening server with a thread for each connection and a limit on unauthenticated connections."""

from __future__ import annotations

import resource
import socket
import socketserver
import threading
from typing import Any

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.sender import shut

_SHARE = 8
"""Untrusted connections take at most one in so many of the files that the process may open. The rest is for
checkpoints, data, and connections to neighbors."""


class BoundedServer(socketserver.ThreadingTCPServer):
    """A server in a thread of its own, with a limit on connections that are not trusted.

    Beyond the limit, the oldest of these is closed. So a client that connects and sends nothing, or very little at a
    time, neither uses up the files nor blocks others.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: Address, handler: type[socketserver.BaseRequestHandler], most: int) -> None:
        """Listen; raise ``OSError`` if that is not possible.

        Args:
            address: the address to listen at.
            handler: handles a connection.
            most: largest number of untrusted connections; fewer if the process may open only few files.
        """
        try:
            addresses = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except UnicodeError as error:
            raise OSError(f"{address.host!r} is no host name") from error
        self.address_family, _, _, _, where = addresses[0]
        self._most = max(1, min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE))
        self._unknown: dict[socket.socket, None] = {}  # the oldest first
        self._unknown_lock = threading.Lock()
        super().__init__(where, handler)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a new connection, and close the oldest if there are too many."""
        with self._unknown_lock:
            self._unknown[request] = None
            oldest = next(iter(self._unknown)) if len(self._unknown) > self._most else None
            if oldest is not None:
                del self._unknown[oldest]
        if oldest is not None:
            shut(oldest)
        super().process_request(request, client_address)

    def trust(self, request: socket.socket) -> None:
        """Exclude a connection from the limit."""
        with self._unknown_lock:
            self._unknown.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.trust(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report nothing: the connection was interrupted, and its peer tries again."""

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self._thread.join()
        self.server_close()
