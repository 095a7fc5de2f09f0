"""Parsing of addresses: ``HOST:PORT``, where the host is a DNS name or an IP address."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Self

_LABEL = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
_FOREIGN = re.compile(r"[^a-zA-Z0-9.-]")
_ZONE = re.compile(r"[a-zA-Z0-9._-]+")


class Address(NamedTuple):
    """Address at which a server listens.

    Attributes:
        host: a DNS name or an IP address; an IPv6 link-local one may have its zone, ``fe80::1%eth0``.
        port: of TCP.
    """

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``host:port``, an IPv6 address in brackets; raise ``ValueError`` with what is wrong."""
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        is_bracketed = bare != host
        is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
        if not host or not is_port or (":" in bare) != is_bracketed:
            raise ValueError(f"should be HOST:PORT, such as 192.168.1.10:7447 or [fd00::2]:7447 (got {text!r})")
        try:
            check_host(bare)
        except ValueError as error:
            raise ValueError(f"should be HOST:PORT, and {error}") from error
        return cls(bare, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine's own, and reached by none other."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def zone(self) -> str:
        """The zone of a link-local IPv6 address, which each machine names itself; empty: none."""
        return self.host.partition("%")[2]

    def __str__(self) -> str:
        """Return ``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_host(host: str) -> None:
    """Raise ``ValueError`` with what is wrong where a host is neither a DNS name nor an IP address."""
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        zone = address.scope_id if isinstance(address, IPv6Address) else None
        if zone is not None and not (address.is_link_local and _ZONE.fullmatch(zone)):
            raise ValueError(f"host {host!r}: only a link-local address has a zone, such as fe80::1%eth0")
        return
    if ":" in host:
        raise ValueError(f"host {host!r} is no IPv6 address")
    if foreign := _FOREIGN.search(host):
        raise ValueError(f"host {host!r} has {foreign[0]!r}; allowed are letters, digits, - and .")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(
            f"host {host!r}: between dots are 1 to 63 letters, digits and -, which neither begins nor ends with -"
        )
    if labels[-1].isdigit():
        raise ValueError(f"host {host!r} is no IP address, and the last part of a name is no number")
