"""The listening socket of the SuperLink, and limits on connections from other machines.

A connection occupies a file descriptor before its sender has proved anything, even if it never sends a byte. So
connections that have not shown a node's key are few, have little time, and give way to newer ones. Connections of this
machine are not counted.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Any, Self

STRANGERS = 64
"""Largest number of connections that have not shown a key."""

TIMEOUT = 20.0
"""Seconds that a connection has for the TLS handshake and to show a key."""

_NODES = 2048
"""Largest number of connections that have shown a key, if the system allows so many open files."""

Where = tuple[str, int]
"""IP address and port of the other end."""


class Connections:
    """Connections from other machines.

    If there are too many, the oldest one of the host with the most is ended: a flood displaces itself.
    """

    def __init__(self, strangers: int = STRANGERS, nodes: int = _NODES, timeout: float = TIMEOUT) -> None:
        """Set the limits.

        Args:
            strangers: largest number of connections that have not shown a key.
            nodes: largest number of connections that have shown one.
            timeout: seconds that a connection has to show a key.
        """
        self._limits = {False: strangers, True: nodes}
        self._pools: dict[bool, dict[Where, socket.socket]] = {False: {}, True: {}}
        self._timeout = timeout

    def enter(self, connection: socket.socket, where: Where) -> None:
        """Register a new connection; call this in the event loop that serves it."""
        if not is_this_machine(where[0]):
            self._keep(False, where, connection)
            asyncio.get_running_loop().call_later(self._timeout, self._expire, where, connection)

    def trust(self, where: Where) -> None:
        """Note that a connection has shown a key."""
        if connection := self._pools[False].pop(where, None):
            self._keep(True, where, connection)

    def _keep(self, is_known: bool, where: Where, connection: socket.socket) -> None:
        pool = {
            place: connection for place, connection in self._pools[is_known].items() if connection.fileno() != -1
        }  # the others ended
        while len(pool) >= self._limits[is_known]:
            ((busiest, _),) = Counter(host for host, _ in pool).most_common(1)
            _end(pool.pop(next(place for place in pool if place[0] == busiest)))
        self._pools[is_known] = pool | {where: connection}

    def _expire(self, where: Where, connection: socket.socket) -> None:
        if self._pools[False].get(where) is connection:
            _end(self._pools[False].pop(where))


class Listener(socket.socket):
    """A listening socket that registers each connection with ``Connections``."""

    def __init__(self, family: int, place: Any, connections: Connections) -> None:
        """Bind to an address as ``getaddrinfo`` returns it; raise ``OSError`` if that is not possible."""
        super().__init__(family, socket.SOCK_STREAM)
        self._connections = connections
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" is every address
        try:
            self.bind(place)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection and register it."""
        connection, address = super().accept()
        self._connections.enter(connection, address[:2])
        return connection, address

    @classmethod
    def at(cls, host: str, port: int, connections: Connections) -> list[Self]:
        """Return sockets that listen at an address and on 127.0.0.1, where this machine finds its SuperLink.

        Raises:
            OSError: a socket cannot listen there.
        """
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = {place: family for family, _, _, _, place in addresses}
        if not {place[0] for place in places} & {"0.0.0.0", "::", "127.0.0.1"}:
            places[("127.0.0.1", port)] = socket.AF_INET
        listeners: list[Self] = []
        try:
            for place, family in places.items():
                listeners.append(cls(family, place, connections))
        except OSError as error:
            for listener in listeners:
                listener.close()
            raise OSError(f"cannot listen at {place[0]}, port {port}: {error.strerror}") from error
        return listeners


def is_this_machine(host: str) -> bool:
    """Return whether ``host`` is a loopback IP address; False for anything that is not an address."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def raise_limit() -> int:
    """Raise this process's limit of open files; return the number of connections of nodes that it suffices for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * _NODES if hard == resource.RLIM_INFINITY else min(hard, 4 * _NODES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return _NODES if soft == resource.RLIM_INFINITY else min(_NODES, soft // 2)


def _end(connection: socket.socket) -> None:
    """End a connection that the event loop holds; the event loop notices."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended already
        pass
