"""A peer that listens at a link-local IPv6 address, which means something only together with its zone."""

from __future__ import annotations

import http.client
import socket
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from ngpd_fl.core.address import Address
from ngpd_fl.peer.transport.interface import Tally
from ngpd_fl.peer.transport.listener import Listener
from tests.support.ports import free_port

_INTERFACES = Path("/proc/net/if_inet6")


def link_local() -> str | None:
    """A link-local address of this machine with its zone."""
    for line in _INTERFACES.read_text().splitlines() if _INTERFACES.exists() else ():
        digits, *_, name = line.split()
        if (address := IPv6Address(bytes.fromhex(digits))).is_link_local:
            return f"{address}%{name}"
    return None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local address")
def test_a_zone_is_kept_from_the_text_to_the_socket() -> None:
    address = Address.of(f"[{link_local()}]:{free_port()}")
    listener = Listener(address, None, {0: "node1"}, 100, lambda edge, frame: None, Tally())
    try:
        assert listener.socket.family == socket.AF_INET6 and listener.socket.getsockname()[3] != 0
        line = http.client.HTTPConnection(address.host, address.port, timeout=20)
        line.request("PUT", "/edge/0", b"x", {"Content-Length": "1"})
        assert line.getresponse().status == http.client.NO_CONTENT
        line.close()
    finally:
        listener.close()
