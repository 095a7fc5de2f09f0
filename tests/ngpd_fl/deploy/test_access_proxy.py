"""What other machines may ask of the SuperLink, and how much they may say."""

from __future__ import annotations

import asyncio
import datetime
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.superlink import extensions
from flwr.superlink.main import create_app
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ngpd_fl.deploy.access_proxy import LARGEST, LARGEST_OF_ALL, LARGEST_OF_NODE, LARGEST_UNKNOWN, AccessProxy
from ngpd_fl.deploy.authority import new_key

ACTIVATE = "/v1/fleet/activate-node"


def ask(
    path: str, client: tuple[str, int] | None, headers: dict[str, str] | None = None, *, known: bool = False
) -> int:
    """Send the head of a request through the proxy and return the status; the application behind says 200."""
    sent: list[dict[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "path": path, "client": client, "headers": pairs}
    asyncio.run(AccessProxy(behind, shows_key=lambda _: known)(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("path", "address", "status"),
    [
        (ACTIVATE, "192.168.1.20", 200),
        (ACTIVATE, "127.0.0.1", 200),
        ("/v1/control/start-run", "127.0.0.1", 200),
        ("/v1/control/start-run", "::1", 200),
        ("/v1/control/start-run", "::ffff:127.0.0.1", 200),
        ("/v1/control/start-run", "192.168.1.20", 403),
        ("/v1/control/start-run", "no address", 403),
        ("/v1/control/register-node", "::ffff:192.168.1.20", 403),
        ("/v1/control/register-node", "fe80::1%eth0", 403),
        ("/v1/runtime/acquire-task", "10.0.0.1", 403),
        ("/v1/fleetx", "10.0.0.1", 403),
        ("/docs", "10.0.0.1", 403),
    ],
)
def test_other_machines_reach_what_supernodes_need(path: str, address: str, status: int) -> None:
    assert ask(path, (address, 5000)) == status


def test_nobody_in_particular_is_another_machine() -> None:
    assert ask("/v1/control/start-run", None) == 403


@pytest.mark.parametrize(
    ("headers", "known", "status"),
    [
        ({"content-length": str(LARGEST_UNKNOWN)}, False, 200),
        ({"content-length": str(LARGEST_UNKNOWN + 1)}, False, 401),
        ({"content-length": str(LARGEST)}, True, 200),
        ({"content-length": str(LARGEST + 1)}, True, 413),
        ({"content-length": "9" * 5000}, False, 413),
        ({"content-length": "-1"}, True, 411),
        ({"transfer-encoding": "chunked"}, True, 411),
        ({"transfer-encoding": "chunked", "content-length": "1"}, False, 411),
    ],
)
def test_only_nodes_may_say_much_and_nobody_too_much(headers: dict[str, str], known: bool, status: int) -> None:
    for path in (ACTIVATE, "/v1/fleet/push-object", "/v1/fleet/nothing"):
        assert ask(path, ("192.168.1.20", 5000), headers, known=known) == status


def test_bodies_are_bounded_in_their_sum_for_a_node_and_for_all() -> None:
    """Eight requests of each of twenty nodes: more wait than are read at a time, and all are answered in the end."""
    now_read: Counter[str] = Counter()
    most: Counter[str] = Counter()
    done: list[str] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        node = dict(scope["headers"])[b"flwr-public-key"].decode()
        for name in (node, "all"):
            now_read[name] += LARGEST
            most[name] = max(most[name], now_read[name])
        await asyncio.sleep(0.001)
        for name in (node, "all"):
            now_read[name] -= LARGEST
        done.append(node)

    async def ask_all() -> None:
        proxy = AccessProxy(behind, shows_key=lambda _: True)
        nodes = [b64encode(bytes([number] * 9)) for number in range(20)]
        scopes = [
            {
                "type": "http",
                "path": "/v1/fleet/push-object",
                "client": ("192.168.1.20", 5000 + number),
                "headers": [(b"content-length", str(LARGEST).encode()), (b"flwr-public-key", nodes[number % 20])],
            }
            for number in range(160)
        ]
        await asyncio.gather(*(proxy(scope, None, None) for scope in scopes))
        assert not proxy._read_now

    asyncio.run(ask_all())
    assert len(done) == 160 and most.pop("all") == LARGEST_OF_ALL and max(most.values()) == LARGEST_OF_NODE


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """Flower's own application behind the proxy."""
    monkeypatch.setattr(extensions, "get_middleware", lambda: (Middleware(AccessProxy),))
    return create_app()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A machine elsewhere."""
    with TestClient(app) as found:
        yield found


def signed(key: ec.EllipticCurvePrivateKey, age: float = 0.0, *, by: ec.EllipticCurvePrivateKey | None = None) -> Any:
    said = (now() - datetime.timedelta(seconds=age)).isoformat()
    return {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-signature": b64encode(sign_message(by or key, said.encode())).decode(),
        "flwr-timestamp": said,
    }


def test_keys_are_looked_at_before_the_body(app: FastAPI, client: TestClient) -> None:
    key, other = new_key(), new_key()
    public = public_key_to_bytes(key.public_key())
    app.state.linkstate_factory.state().create_node("owner", "owner", public, 30)
    body = b"\0" * (LARGEST_UNKNOWN + 1)

    def status(headers: Any) -> int:
        return client.post("/v1/fleet/push-object", content=body, headers=headers).status_code

    refused = client.post("/v1/fleet/push-object", content=body, headers=signed(other))
    assert (refused.status_code, refused.text) == (401, "the SuperLink does not know this key\n")
    assert [status(each) for each in ({}, signed(key, by=other), signed(key, age=3600.0))] == [401] * 3
    assert status(signed(key) | {"flwr-public-key": "%%"}) == 401
    known = client.post("/v1/fleet/push-object", content=body, headers=signed(key))
    assert "does not know this key" not in known.text, "Flower itself answers"


def test_flower_itself_tells_a_node_that_it_is_unknown(client: TestClient) -> None:
    key = new_key()
    request = ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30.0)
    answer = client.post(ACTIVATE, content=request.SerializeToString(), headers=signed(key))
    assert "Failed to activate SuperNode" in answer.text


@pytest.mark.parametrize("path", ["/v1/fleet/x", "/v1/control/x", "/"])
def test_a_websocket_is_refused(path: str, client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(path):
        pass
    assert caught.value.code == 1008
