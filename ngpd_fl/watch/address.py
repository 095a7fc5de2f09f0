"""The address of the live page: a socket that listens, the names that a browser may call it by, and a token."""

from __future__ import annotations

import errno
import secrets
import socket
from ipaddress import ip_address

from ngpd_fl.config import InputError
from ngpd_fl.core.address import Address, check_host

PORT = 8642
"""Port of the page where none is named; the next free one if it is taken."""

_TRIED = 20


class PageAddress:
    """A listening socket and what a request must have to be answered.

    Attributes:
        socket: the socket.
        token: first part of every path; empty on loopback, where only this machine's users can connect.
    """

    def __init__(self, listening: socket.socket, host: str, token: str) -> None:
        """Take a listening socket, the host that the user named, and the token."""
        self.socket, self._host, self.token = listening, host, token

    @classmethod
    def listen(cls, host: str = "127.0.0.1", port: int | None = None) -> PageAddress:
        """Listen at an address; raise ``InputError`` if that is not possible.

        Args:
            host: a name or address of this machine. Other ones than loopback get a token.
            port: of TCP. Defaults to the first free one from ``PORT`` on.
        """
        try:
            check_host(host)
        except ValueError as error:
            raise InputError(f"--host: {error}") from error
        token = "" if Address(host, PORT).is_loopback else secrets.token_urlsafe(24)
        ports = range(PORT, PORT + _TRIED) if port is None else [port]
        for number in ports:
            try:
                family, kind, protocol, _, place = socket.getaddrinfo(
                    host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )[0]
                listening = socket.socket(family, kind, protocol)
                try:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listening.bind(place)
                    listening.listen(128)
                except OSError:
                    listening.close()
                    raise
                return cls(listening, host, token)
            except OSError as error:
                if port is None and error.errno == errno.EADDRINUSE:
                    continue
                raise InputError(f"--host, --port: {host}:{number} cannot be used ({error.strerror})") from error
        taken = f"ports {ports[0]} to {ports[-1]} of {host} are all in use"
        raise InputError(f"the live page: {taken}; `ngpd-fl watch --port` takes another")

    def __str__(self) -> str:
        """Return the address for a browser."""
        host = self._host
        try:
            if ip_address(host).is_unspecified:
                host = socket.gethostname()
        except ValueError:
            pass
        path = f"{self.token}/" if self.token else ""
        return f"http://{Address(host, self.socket.getsockname()[1])}/{path}"

    def accepts(self, header: str) -> bool:
        """Return whether a request's ``Host`` is a name of this server; of a page that was rebound to it, it is not.

        The port may be any, as behind an SSH tunnel. A server on all addresses also takes any IP address, since nobody
        can rebind one, and the machine's own names.
        """
        host = header.rpartition("]")[0].lstrip("[") if header.startswith("[") else header.partition(":")[0]
        host = host.lower().rstrip(".")
        own = {"localhost", "127.0.0.1", "::1", self._host.lower()}
        try:
            is_any = ip_address(self._host).is_unspecified
        except ValueError:
            is_any = False
        if not is_any:
            return host in own
        try:
            return ip_address(host) is not None
        except ValueError:
            return host in own | {socket.gethostname().lower(), socket.getfqdn().lower()}
