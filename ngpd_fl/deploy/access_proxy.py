"""A SuperLink that accepts control requests from its own machine only.

Usage: ``python -m ngpd_fl.deploy.access_proxy HOST OPTIONS``. ``HOST`` is the address to listen at. The options are
Flower's; its own processes find it at the address of Flower's ``--host 127.0.0.1``.

Flower serves everything on one port. It asks for a key only in requests of SuperNodes, after it has read the whole
request. Anyone who reaches the port could submit a run (code that every node executes), register a key, or fill the
memory. So other machines reach only what SuperNodes need, and only SuperNodes may send large requests.
"""

from __future__ import annotations

import asyncio
import datetime
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from ngpd_fl.deploy.listener import Connections, Listener, is_this_machine, raise_limit

OPEN = "/v1/fleet/"
"""Path of the requests of SuperNodes, which carry keys. Other paths are for runs, registrations, and own processes."""

LARGEST, LARGEST_UNKNOWN = 32 * 2**20, 16 * 2**10
"""Largest body of a request, in bytes: from a node (Flower sends arrays in pieces of 5 MiB), and from a sender without
a key that the SuperLink knows, such as a node that must learn that it is unknown (its request has 200 bytes)."""

LARGEST_OF_NODE, LARGEST_OF_ALL = 2 * LARGEST, 16 * LARGEST
"""Largest sum of the bodies that are read at a time, in bytes: of one node's requests, and of all. Others wait."""

_LOOK = 0.05
"""Seconds between two checks whether a request that waits may pass."""

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AccessProxy:
    """ASGI middleware that limits the size of requests, and answers only this machine outside the SuperNodes' path."""

    def __init__(
        self,
        app: Callable[[_Scope, _Receive, _Send], Awaitable[None]],
        connections: Connections | None = None,
        shows_key: Callable[[_Scope], bool] | None = None,
    ) -> None:
        """Guard an application.

        Args:
            app: the application behind the proxy.
            connections: notified of each connection that has shown a key. Defaults to new ones.
            shows_key: whether a request shows a known key. Defaults to ``shows_key_of_node``.
        """
        self._app = app
        self._connections = connections or Connections()
        self._shows_key = shows_key or shows_key_of_node
        self._read_now: Counter[bytes] = Counter()  # bytes of bodies, by the sender's key

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Pass a request on or refuse it. The body of a refused request is never read."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":  # Flower has none
            await send({"type": "websocket.close", "code": 1008, "reason": "there are no WebSockets here"})
        elif (refusal := await self._refusal(scope)) is None:
            async with self._room(scope):
                await self._app(scope, receive, send)
        else:
            status, words = refusal
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": f"{words}\n".encode()})

    @asynccontextmanager
    async def _room(self, scope: _Scope) -> AsyncIterator[None]:
        """Wait until the body of a node's request may be read, and count it while the context is open."""
        headers = dict(scope.get("headers", ()))
        key, size = _key(headers), int(headers.get(b"content-length", b"0")) if scope["path"].startswith(OPEN) else 0
        read_now = self._read_now
        while size and (read_now[key] + size > LARGEST_OF_NODE or read_now.total() + size > LARGEST_OF_ALL):
            await asyncio.sleep(_LOOK)
        read_now[key] += size
        try:
            yield
        finally:
            read_now[key] -= size
            if not read_now[key]:
                del read_now[key]

    async def _refusal(self, scope: _Scope) -> tuple[int, str] | None:
        """Return the status and text of a refusal; None if the request may pass."""
        client = scope.get("client")
        if not scope["path"].startswith(OPEN):
            is_own = client is not None and is_this_machine(client[0])
            return None if is_own else (403, "only from the SuperLink's own machine")
        headers = dict(scope.get("headers", ()))
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit():
            return 411, "the length of a request must be said"
        size = int(length[:20])
        if size > LARGEST:
            return 413, f"a request has at most {LARGEST} bytes"
        from starlette.concurrency import run_in_threadpool

        if await run_in_threadpool(self._shows_key, scope):
            if client is not None:
                self._connections.trust((client[0], client[1]))
        elif size > LARGEST_UNKNOWN:
            return 401, "the SuperLink does not know this key"
        return None


def _key(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the key that a request shows, in its one binary form; empty if there is none."""
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

    try:
        return b64decode(headers.get(FLEET_HTTP_PUBLIC_KEY_HEADER.encode(), b""), validate=True)
    except ValueError:
        return b""


def shows_key_of_node(scope: _Scope) -> bool:
    """Return whether a registered node has signed the head of a request, within the time that Flower allows.

    Flower checks the signature again with the body: whether the signer is the node named in the body.
    """
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER], validate=True)
        timestamp = headers[TIMESTAMP_HEADER]
        age = (now() - datetime.datetime.fromisoformat(timestamp)).total_seconds()
        if not -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
            return False
        if scope["app"].state.linkstate_factory.state().get_node_id_by_public_key(key) is None:
            return False
        return verify_signature(bytes_to_public_key(key), timestamp.encode("ascii"), signature)
    except (KeyError, ValueError, TypeError):  # a header is missing or malformed
        return False


def main(host: str) -> None:
    """Run Flower's SuperLink behind the proxy, listening at ``host``."""
    import uvicorn
    from flwr.superlink import extensions
    from flwr.superlink.cli import flower_superlink
    from starlette.middleware import Middleware

    connections = Connections(nodes=raise_limit())
    ours = (Middleware(AccessProxy, connections=connections), *extensions.get_middleware())
    extensions.get_middleware = lambda: ours  # Flower's own place for middleware, outermost first

    def serve(app: Any, port: int, **settings: Any) -> None:
        """Replace ``uvicorn.run``, which accepts no socket."""
        server = uvicorn.Server(uvicorn.Config(app, port=port, loop="asyncio", **settings))  # uvloop skips accept()
        try:
            server.run(sockets=list(Listener.at(host, port, connections)))
        except OSError as error:
            sys.exit(f"ngpd-fl: {error}")

    uvicorn.run = serve  # type: ignore[assignment]  # Flower calls it with names
    flower_superlink()


if __name__ == "__main__":
    main(sys.argv.pop(1))
