"""How many connections of other machines there are, with real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from ngpd_fl.deploy.listener import Connections, Listener
from tests.support.deployment import own_address
from tests.support.ports import free_port

elsewhere = pytest.mark.skipif(own_address() == "127.0.0.1", reason="this machine has no address but loopback")


@asynccontextmanager
async def serving(connections: Connections) -> AsyncIterator[int]:
    """A server at this machine's outward address; yields its port."""
    port = free_port()
    servers = [
        await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=listener)
        for listener in Listener.at(own_address(), port, connections)
    ]
    try:
        yield port
    finally:
        for server in servers:
            server.close()


class Line:
    """A connection that says nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, host: str, port: int) -> Line:
        line = cls(*await asyncio.open_connection(host, port))
        await asyncio.sleep(0.05)  # the other side has seen it
        return line

    @property
    def where(self) -> tuple[str, int]:
        host, port = self.writer.get_extra_info("sockname")[:2]
        return host, port

    async def has_ended(self, seconds: float = 0.1) -> bool:
        with suppress(TimeoutError):
            return await asyncio.wait_for(self.reader.read(1), seconds) == b""
        return False


@elsewhere
def test_whoever_is_silent_makes_room_and_is_ended_in_time() -> None:
    async def check() -> None:
        async with serving(Connections(strangers=3, nodes=2, timeout=600.0)) as port:
            lines = [await Line.to(own_address(), port) for _ in range(5)]
            assert [await line.has_ended() for line in lines[2:]] == [False, False, False]
            assert [await line.has_ended(60.0) for line in lines[:2]] == [True, True]
        connections = Connections(strangers=3, nodes=2, timeout=3.0)
        async with serving(connections) as port:
            node = await Line.to(own_address(), port)
            connections.trust(node.where)
            own, stranger = await Line.to("127.0.0.1", port), await Line.to(own_address(), port)
            assert await stranger.has_ended(60.0), "no key in time"
            assert not await node.has_ended(), "a node may be silent"
            assert not await own.has_ended(), "so may this machine"

    asyncio.run(check())


@elsewhere
def test_nodes_are_bounded_as_well() -> None:
    async def check() -> None:
        connections = Connections(nodes=2)
        async with serving(connections) as port:
            lines = []
            for _ in range(3):
                lines.append(await Line.to(own_address(), port))
                connections.trust(lines[-1].where)
            assert await lines[0].has_ended(60.0)
            assert [await line.has_ended() for line in lines[1:]] == [False, False]

    asyncio.run(check())


class Ends:
    """Two ends of a connection, of which one is said to be at some address."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.there.setblocking(False)

    def has_ended(self) -> bool:
        try:
            return self.there.recv(1) == b""
        except BlockingIOError:
            return False


def test_a_flood_displaces_itself_and_nobody_else() -> None:
    async def check() -> None:
        connections = Connections(strangers=4)
        first, flood = Ends(), [Ends() for _ in range(6)]
        connections.enter(first.here, ("10.0.0.1", 1))
        for number, each in enumerate(flood):
            connections.enter(each.here, ("10.0.0.2", number))
        assert not first.has_ended()
        assert [each.has_ended() for each in flood] == [True] * 3 + [False] * 3
        for each in (first, *flood):
            each.here.close()
            each.there.close()

    asyncio.run(check())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1", "::1", own_address()])
def test_this_machine_finds_it_on_loopback_wherever_it_listens(host: str) -> None:
    port = free_port()
    try:
        listeners = Listener.at(host, port, Connections())
    except OSError as error:
        assert ":" in host, error  # a machine without IPv6
        pytest.skip("no IPv6 here")
    for listener in listeners:
        listener.listen()
    socket.create_connection(("127.0.0.1", port), 5).close()
    for listener in listeners:
        listener.close()


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1, port {port}: Address already in use"):
            Listener.at("127.0.0.1", port, Connections())
