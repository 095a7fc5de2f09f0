"""Links for ``benchmarks.transport``: the package's transport, others with the same two functions, and sockets."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ngpd_fl.engines import EdgeHeader
from ngpd_fl.peer.frame import HEADER_BYTES, Codec, Head, Kind
from ngpd_fl.peer.transport import Credentials, HttpTransport, Insecure, Peers, Routes
from ngpd_fl.peer.transport.sender import Outbox
from strategies.parts.gossip import ParamsMessage

NAMES = ("node0", "node1")

_SMALL, _SHAPE = 64, 6
"""Most bytes of an answer, and bytes of a vector's shape in a frame."""

Receive = Callable[[Any], None]


class Place(NamedTuple):
    """Keys and ports of the two ends.

    Attributes:
        keys: folder with a folder of keys for each end; None for no TLS.
        ports: the ports on which the ends listen.
    """

    keys: Path | None
    ports: tuple[int, int]

    def credentials(self, end: int) -> Credentials | None:
        """Return the credentials of an end."""
        return None if self.keys is None else Credentials.open(self.keys / NAMES[end])


class Http:
    """The package's own."""

    def __init__(self, place: Place, end: int) -> None:
        entries = [{"nodes": (i,), "address": f"127.0.0.1:{port}"} for i, port in enumerate(place.ports)]
        ours, theirs = (dict.fromkeys(range(each, 8, 2), NAMES[1 - end]) for each in (end, 1 - end))
        identity = place.credentials(end) or Insecure(NAMES[end])
        self._transport = HttpTransport(identity, Peers.model_validate({"peers": entries}), Routes(ours, theirs))
        self._edges = itertools.cycle(ours)  # none of the frames under way replaces another

    def start(self, receive: Receive) -> None:
        self._transport.start(lambda edge, frame: receive(frame))

    def send(self, frame: bytes) -> None:
        self._transport.send(next(self._edges), [frame])


class Framed(Http):
    """The package's own, with what a peer writes into a frame and checks when it comes; answers go as they are."""

    def start(self, receive: Receive) -> None:
        def read(edge: int, frame: memoryview) -> None:
            if len(frame) < _SMALL:
                receive(frame)
            else:
                size = len(frame) - HEADER_BYTES - _SHAPE
                receive(self._codec(size).read(edge, frame).fields["params"].numpy().data.cast("B"))

        self._transport.start(read)

    def send(self, frame: bytes) -> None:
        edge = next(self._edges)
        if len(frame) < _SMALL:
            self._transport.send(edge, [frame])
            return
        fields = {"params": torch.from_numpy(np.frombuffer(frame, np.float32).copy())}
        head = Head(Kind.MESSAGE, edge, EdgeHeader(0, -1, 0, 0))
        self._transport.send(edge, self._codec(len(frame)).write(head, fields))

    def _codec(self, size: int) -> Codec:
        return Codec(b"0123456789abcdef", ParamsMessage(torch.zeros(1).expand(size // 4)))


class Queued(ABC):
    """Gives a link that waits the thread and the outbox that the package's own has, until a frame got through."""

    def __init__(self) -> None:
        self._outbox, self._edges = Outbox(), itertools.count()  # an edge for each frame: none is replaced
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, frame: bytes) -> None:
        self._outbox.put(next(self._edges), [frame])

    def _run(self) -> None:
        while (item := self._outbox.take()) is not None:
            while not self.put(item[1][0]):
                time.sleep(0.05)

    @abstractmethod
    def put(self, frame: Any) -> bool: ...


class Grpc(Queued):
    """A unary call for each frame; the name is that of the caller's certificate."""

    def __init__(self, place: Place, end: int) -> None:
        super().__init__()
        import grpc

        self._grpc, own = grpc, place.credentials(end)
        there, here = (f"127.0.0.1:{place.ports[each]}" for each in (1 - end, end))
        options: list[tuple[str, int | str]] = [("grpc.max_receive_message_length", -1)]
        options += [("grpc.max_send_message_length", -1)]
        options += [("grpc.ssl_target_name_override", NAMES[1 - end]), ("grpc.max_reconnect_backoff_ms", 200)]
        options += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]
        self._server = grpc.server(ThreadPoolExecutor(2), options=options)
        self._other = NAMES[1 - end].encode() if own else None
        if own is None:
            self._server.add_insecure_port(here)
            self._channel = grpc.insecure_channel(there, options)
        else:
            authority, certificate, key = (path.read_bytes() for path in own[1:])
            self._server.add_secure_port(here, grpc.ssl_server_credentials([(key, certificate)], authority, True))
            self._channel = grpc.secure_channel(
                there, grpc.ssl_channel_credentials(authority, key, certificate), options
            )
        self._call = self._channel.unary_unary("/peer/take")

    def start(self, receive: Receive) -> None:
        def take(frame: bytes, context: Any) -> bytes:
            if self._other is not None and context.auth_context()["x509_common_name"] != [self._other]:
                context.abort(self._grpc.StatusCode.PERMISSION_DENIED, "not the edge's sender")
            receive(frame)
            return b""

        handler = self._grpc.unary_unary_rpc_method_handler(take)
        self._server.add_generic_rpc_handlers((self._grpc.method_handlers_generic_handler("peer", {"take": handler}),))
        self._server.start()

    def put(self, frame: Any) -> bool:
        try:
            self._call(frame, wait_for_ready=True)
        except self._grpc.RpcError:
            return False
        return True


class Zenoh(Queued):
    """A session with explicit endpoints and access control by the certificate's name; frames are put with BLOCK."""

    def __init__(self, place: Place, end: int) -> None:
        super().__init__()
        own, other, scheme = place.credentials(end), NAMES[1 - end], "tls" if place.keys else "tcp"
        here, there = (f"{scheme}/127.0.0.1:{place.ports[each]}" for each in (end, 1 - end))
        retry = {"period_init_ms": 100, "period_max_ms": 200, "period_increase_factor": 1.2}
        link: dict[str, Any] = {"protocols": [scheme], "rx": {"buffer_size": 4 << 20}}
        self._config: dict[str, Any] = {
            "mode": "peer",
            "listen": {"endpoints": [here]},
            "connect": {"endpoints": [there], "timeout_ms": -1, "exit_on_failure": False, "retry": retry},
            "scouting": {"delay": 0, "multicast": {"enabled": False}, "gossip": {"enabled": False}},
            "open": {"return_conditions": {"connect_scouted": False, "declares": False}},
            "transport": {"shared_memory": {"enabled": False}, "link": link},
        }
        if own is not None:
            pair = {"certificate": str(own.certificate), "private_key": str(own.key)}
            files = {f"{side}_{what}": path for side in ("listen", "connect") for what, path in pair.items()}
            link["tls"] = {"root_ca_certificate": str(own.authority), "enable_mtls": True, **files}
            link["tls"]["verify_name_on_connect"] = False  # access control looks at the certificate's name
            rules = [
                {
                    "id": f"{flow} {message}",
                    "permission": "allow",
                    "flows": [flow],
                    "messages": [message],
                    "key_exprs": [key],
                }
                for flow, message, key in (
                    ("ingress", "put", f"edge/{1 - end}"),
                    ("egress", "declare_subscriber", f"edge/{1 - end}"),
                    ("egress", "put", f"edge/{end}"),
                    ("ingress", "declare_subscriber", f"edge/{end}"),
                )
            ]
            self._config["access_control"] = {
                "enabled": True,
                "default_permission": "deny",
                "rules": rules,
                "subjects": [{"id": other, "cert_common_names": [other]}],
                "policies": [{"rules": [rule["id"] for rule in rules], "subjects": [other]}],
            }
        self._end = end

    def start(self, receive: Receive) -> None:
        import zenoh

        self._session = zenoh.open(zenoh.Config.from_json5(json.dumps(self._config)))
        taker = zenoh.handlers.Callback(lambda sample: receive(sample.payload.to_bytes()), indirect=False)
        self._subscriber = self._session.declare_subscriber(f"edge/{1 - self._end}", taker)
        block = zenoh.CongestionControl.BLOCK
        self._publisher = self._session.declare_publisher(f"edge/{self._end}", congestion_control=block, express=True)

    def put(self, frame: Any) -> bool:
        while not self._publisher.matching_status.matching:
            time.sleep(0.005)
        self._publisher.put(frame)
        return True


class Raw:
    """Sockets with nothing around them, which send while the caller waits: the limit."""

    def __init__(self, place: Place, end: int) -> None:
        self._place, self._end = place, end
        self._out: socket.socket | None = None

    def start(self, receive: Receive) -> None:
        listening = socket.create_server(("127.0.0.1", self._place.ports[self._end]))
        threading.Thread(target=self._read, args=(listening, receive), daemon=True).start()

    def _read(self, listening: socket.socket, receive: Receive) -> None:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if own := self._place.credentials(self._end):
            connection = own.server_context().wrap_socket(connection, server_side=True)
        room = memoryview(bytearray(101_000_000))
        while fill(connection, room[:8]):
            frame = room[: int.from_bytes(room[:8], "big")]
            fill(connection, frame)
            receive(frame)

    def send(self, frame: bytes) -> None:
        out = self._out = self._out or self._connect()
        out.sendall(len(frame).to_bytes(8, "big"))
        out.sendall(frame)

    def _connect(self) -> socket.socket:
        while True:
            with suppress(ConnectionRefusedError):
                out = socket.create_connection(("127.0.0.1", self._place.ports[1 - self._end]))
                out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                own = self._place.credentials(self._end)
                return own.client_context().wrap_socket(out, server_hostname=NAMES[1 - self._end]) if own else out
            time.sleep(0.02)


def fill(connection: socket.socket, room: memoryview) -> bool:
    """Read until ``room`` is full; False: it ended."""
    while room:
        if not (size := connection.recv_into(room)):
            return False
        room = room[size:]
    return True


LINKS: dict[str, Callable[[Place, int], Any]] = {
    "limit": Raw,
    "http": Http,
    "frames": Framed,
    "grpc": Grpc,
    "zenoh": Zenoh,
}
