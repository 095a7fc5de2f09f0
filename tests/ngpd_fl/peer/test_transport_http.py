"""Frames between processes over mutual TLS: who is refused, what comes back after a failure, what a slow side costs."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import re
import signal
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from ngpd_fl.config import InputError
from ngpd_fl.deploy.authority import Authority
from ngpd_fl.peer.transport import Credentials, HttpTransport, Insecure, Peers, Routes
from tests.support.ports import free_ports
from tests.support.transports import Shelf, member, until

EDGES = np.array([[0, 1], [0, 2], [1, 3]])
"""A path 2 - 0 - 1 - 3: edge 1 goes from 1 to 0, edge 3 from 2 to 0; 3 is no neighbor of 0."""

FORBIDDEN, TOO_LARGE = 403, 413


class Place:
    """Four peers on this machine, with their keys, of which each test starts those that it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.new()
        self.ports = free_ports(4)
        entries = tuple({"nodes": (node,), "address": f"127.0.0.1:{port}"} for node, port in enumerate(self.ports))
        self.peers = Peers.model_validate({"peers": entries})
        for node in range(4):
            member(folder / f"node{node}", self.authority, f"node{node}")

    def credentials(self, node: int) -> Credentials:
        return Credentials.open(self.folder / f"node{node}")

    def forged(self, authority: Authority, days: float = 1.0) -> Credentials:
        """Those of one who calls itself node1."""
        folder = member(self.folder / f"forged{len(list(self.folder.iterdir()))}", authority, "node1", days)
        return Credentials("node1", self.folder / "node0" / "ca.crt", folder / "node1.crt", folder / "node1.key")

    def transport(self, node: int, identity: Credentials | Insecure | None = None, **options: int) -> HttpTransport:
        routes = Routes.of(f"node{node}", self.peers.hosts, EDGES)
        return HttpTransport(identity or self.credentials(node), self.peers, routes, **options)

    @contextmanager
    def running(self, *nodes: int) -> Iterator[tuple[list[HttpTransport], list[Shelf]]]:
        with ExitStack() as stack:
            transports, shelves = [self.transport(node) for node in nodes], [Shelf() for _ in nodes]
            for transport, shelf in zip(transports, shelves, strict=True):
                transport.start(shelf)
                stack.callback(transport.close)
            yield transports, shelves


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def honest_exchange(transports: list[HttpTransport], shelves: list[Shelf]) -> Iterator[None]:
    """Nodes 0 and 1 go on exchanging meanwhile, and none of their frames is missing afterwards."""
    over, rounds = threading.Event(), 0

    def exchange() -> None:
        nonlocal rounds
        while not over.is_set():
            for transport, edge in zip(transports, (0, 1), strict=True):
                transport.send(edge, [b"%d" % rounds])
            rounds += 1
            for shelf in shelves:
                shelf.wait(rounds)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert rounds > 0
    for shelf, edge in zip(shelves, (1, 0), strict=True):
        assert shelf.frames == [(edge, b"%d" % number) for number in range(rounds)]
    assert all(transport.counts().retried == 0 for transport in transports)


class Attacker:
    """A client that says what it likes."""

    def __init__(self, port: int, context: ssl.SSLContext | None, server: str = "node0") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.connect()
        self.connection.auto_open = 0
        if context is not None:
            self.connection.sock = context.wrap_socket(self.connection.sock, server_hostname=server)

    def put(self, path: str, body: bytes = b"forged", **headers: str) -> int | None:
        """The answer's status; none: there is no answer but the end of the connection."""
        try:
            self.connection.request("PUT", path, body, headers)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None


def without_certificate(place: Place) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(place.folder / "node0" / "ca.crt"))


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(lambda place: None, id="no TLS"),
        pytest.param(without_certificate, id="no certificate"),
        pytest.param(lambda place: place.forged(Authority.new()).client_context(), id="another authority"),
        pytest.param(lambda place: place.forged(place.authority, days=-1.0).client_context(), id="expired"),
        pytest.param(lambda place: place.credentials(3).client_context(), id="no neighbor"),
    ],
)
def test_a_stranger_is_refused(place: Place, stranger: Callable[[Place], ssl.SSLContext | None]) -> None:
    with place.running(0, 1) as (transports, shelves), honest_exchange(transports, shelves):
        assert Attacker(place.ports[0], stranger(place)).put("/edge/1") is None
        until(lambda: transports[0].counts().refused == 1)


def test_a_neighbor_sends_on_its_own_edges_only(place: Place) -> None:
    with place.running(0, 1) as (transports, shelves), honest_exchange(transports, shelves):
        for path in (
            "/edge/1",
            "/edge/0",
            "/edge/2",
            "/edge/99",
            "/edge/-1",
            "/edge/3/../1",
            "/",
            "/edge/" + "9" * 5000,
        ):
            attacker = Attacker(place.ports[0], place.credentials(2).client_context())
            assert attacker.put(path) == FORBIDDEN
            assert attacker.put("/edge/3") is None, "the connection is over"
        assert transports[0].counts().refused == 8
    with place.running(0) as (_, (shelf,)):
        assert Attacker(place.ports[0], place.credentials(2).client_context()).put("/edge/3") == 204
        assert shelf.wait(1) == [(3, b"forged")]


def test_what_is_no_frame_is_refused(place: Place) -> None:
    context = place.credentials(1).client_context()
    transport, shelf = place.transport(0, largest_frame=100), Shelf()
    transport.start(shelf)
    try:
        assert Attacker(place.ports[0], context).put("/edge/1", bytes(101)) == TOO_LARGE
        for size in ("-1", "x", "1" * 30, "1" * 5000):
            assert Attacker(place.ports[0], context).put("/edge/1", **{"Content-Length": size}) == TOO_LARGE
        for request in (
            b"GET /edge/1 HTTP/1.1\r\n\r\n",
            b"PUT\r\n\r\n",
            b"PUT /edge/1 HTTP/9.9\r\n\r\n",
            b"\xff\x00" * 70000,
        ):
            attacker = Attacker(place.ports[0], context)
            with suppress(OSError):  # what comes before the end differs: an answer, nothing, or a reset
                attacker.connection.sock.sendall(request)
                while attacker.connection.sock.recv(1000):
                    pass
        half = Attacker(place.ports[0], context)
        half.connection.sock.sendall(b"PUT /edge/1 HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        half.connection.close()
        assert Attacker(place.ports[0], context).put("/edge/1", bytes(100)) == 204
        assert shelf.wait(1) == [(1, bytes(100))]
        assert transport.counts().refused == 9
        with pytest.raises(ValueError, match="edge 0: 101 bytes are more than 100"):
            transport.send(0, [bytes(50), bytes(51)])
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("who", "problem"),
    [
        (lambda place: place.credentials(3), "Hostname mismatch"),
        (
            lambda place: place.forged(Authority.new()),
            "unable to get local issuer|self-signed|certificate verify failed",
        ),
        (lambda place: place.forged(place.authority, days=-1.0), "certificate has expired"),
        (lambda place: Insecure("node1"), "SSL"),
    ],
)
def test_frames_go_to_no_one_else(place: Place, who: Callable[[Place], Credentials | Insecure], problem: str) -> None:
    """Another listens where a neighbor should; that gets its frame as soon as it is back."""
    identity = who(place)
    taker, taken = HttpTransport(identity, place.peers, Routes({}, {0: "node0"})), Shelf()
    if identity.name == "node3":  # a member at the address of another
        taker._listens_at = place.peers["node1"].listens_at
    taker.start(taken)
    with place.running(0) as ((sender,), _):
        sender.send(0, [b"secret"])
        # Read while the other listens: an attempt after it has closed has another reason.
        until(lambda: re.search(problem, sender.problems().get("node1", "")) is not None)
        until(lambda: sender.counts().retried > 1)
        taker.close()
        assert taken.frames == []
        with place.running(1) as (_, (shelf,)):
            assert shelf.wait(1) == [(0, b"secret")]
            until(lambda: sender.problems() == {})


def test_frames_of_all_sizes_arrive_in_order(place: Place) -> None:
    bodies = [np.random.default_rng(size).bytes(size) for size in (0, 1, 100, 50_000, (1 << 18) + 1, 5_000_000)]
    with place.running(0, 1, 2) as (transports, shelves):
        for number, body in enumerate(bodies):
            transports[0].send(0, [body[:7], memoryview(body)[7:]])
            transports[1].send(1, [memoryview(np.frombuffer(body, np.uint8))])
            transports[2].send(3, [body])
            shelves[0].wait(2 * number + 2)
            shelves[1].wait(number + 1)
        assert shelves[1].frames == [(0, body) for body in bodies]
        for edge in (1, 3):
            assert [body for each, body in shelves[0].frames if each == edge] == bodies
        until(lambda: transports[0].counts().sent == len(bodies))
        assert transports[0].counts().sent_bytes == transports[1].counts().received_bytes == sum(map(len, bodies))
        with pytest.raises(ValueError, match="edge 1: begins at no node"):
            transports[0].send(1, [b""])


def test_a_slow_receiver_gets_the_newest_and_costs_the_sender_two_frames(place: Place) -> None:
    free, shelf, seen = threading.Event(), Shelf(), []

    def slow(edge: int, frame: memoryview) -> None:
        seen.append(frame[0])
        free.wait(20)
        shelf(edge, frame)

    receiver = place.transport(1)
    receiver.start(slow)
    with place.running(0) as ((sender,), _):
        made: list[weakref.ref[np.ndarray]] = []
        for number in range(100):
            frame = np.full(1_000_000, number, np.uint8)
            made.append(weakref.ref(frame))
            sender.send(0, [frame.data])
            del frame
            if number == 0:
                until(lambda: seen)
            assert sum(each() is not None for each in made) <= 2
        assert sender.counts().replaced == 98
        free.set()
        assert [(edge, frame[0], len(frame)) for edge, frame in shelf.wait(2)] == [
            (0, 0, 1_000_000),
            (0, 99, 1_000_000),
        ]
    receiver.close()


def test_a_newer_connection_takes_the_place_of_a_neighbors_older_one(place: Place) -> None:
    with place.running(0) as (_, (shelf,)):
        older = Attacker(place.ports[0], place.credentials(1).client_context())
        assert older.put("/edge/1") == 204
        newer = Attacker(place.ports[0], place.credentials(1).client_context())
        assert newer.put("/edge/1") == 204
        assert older.put("/edge/1") is None
        assert newer.put("/edge/1") == 204
        assert len(shelf.frames) == 3


def test_a_connection_that_says_nothing_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.transport.listener._HANDSHAKE", 0.2)
    with place.running(0), socket.create_connection(("127.0.0.1", place.ports[0]), timeout=60) as silent:
        assert silent.recv(1) == b""


def test_connections_that_say_nothing_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.transport.listener._HANDSHAKE", 600.0)
    monkeypatch.setattr("ngpd_fl.peer.transport.server._SHARE", 1)  # however few files there may be
    with place.running(0, 1) as (transports, shelves), honest_exchange(transports, shelves), ExitStack() as stack:
        shelves[0].wait(1)
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", place.ports[0]))) for _ in range(200)]
        until(lambda: transports[0].counts().refused >= 200 - 64)
        until(lambda: sum("process_request" in thread.name for thread in threading.enumerate()) <= 64 + 2)
        assert len(silent) == 200


def test_close_lets_what_waits_leave_and_takes_nothing_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.running(0) as (_, (shelf,)):
        sender = place.transport(1)
        sender.start(Shelf())
        sender.send(1, [bytes(5_000_000)])
        with monkeypatch.context() as patch:
            patch.setattr("ngpd_fl.peer.transport.http._TIMEOUT", 60.0)
            sender.close()
        assert [len(frame) for _, frame in shelf.frames] == [5_000_000]
    before = threading.active_count()
    sender, shelf = place.transport(1), Shelf()
    sender.start(shelf)
    attacker = Attacker(place.ports[1], place.credentials(0).client_context(), "node1")
    assert attacker.put("/edge/0") == 204
    sender.send(1, [b"nobody is there"])
    began = time.monotonic()
    sender.close()
    assert time.monotonic() - began < 30
    assert attacker.put("/edge/0") is None and len(shelf.frames) == 1
    until(lambda: threading.active_count() <= before)


def test_an_address_that_is_taken(place: Place) -> None:
    with place.running(0):
        second = place.transport(0)
        with pytest.raises(
            InputError, match=f"127.0.0.1:{place.ports[0]}: cannot listen there .Address already in use"
        ):
            second.start(Shelf())
        second.close()


def test_without_tls_on_loopback(place: Place) -> None:
    transports = [place.transport(node, Insecure(f"node{node}")) for node in (0, 1)]
    shelf = Shelf()
    for transport in transports:
        transport.start(shelf)
    try:
        transports[1].send(1, [b"plain"])
        assert shelf.wait(1) == [(1, b"plain")]
        assert Attacker(place.ports[0], None).put("/edge/0") == FORBIDDEN
    finally:
        for transport in transports:
            transport.close()


def test_an_edge_inside_the_process_needs_no_network(place: Place) -> None:
    transport, shelf = HttpTransport(place.credentials(0), place.peers, Routes({8: "node0"}, {8: "node0"})), Shelf()
    transport.start(shelf)
    transport.send(8, [b"to ", b"myself"])
    assert shelf.frames == [(8, b"to myself")]
    transport.close()


def _node1(place: Place, pipe: Connection) -> None:
    """Be node 1 in a process of its own: greet node 0, and tell what comes and when."""
    transport = place.transport(1)
    transport.start(lambda edge, frame: pipe.send((time.monotonic(), bytes(frame))))
    pipe.send((time.monotonic(), b"up"))
    transport.send(1, [b"%d" % os.getpid()])
    time.sleep(60)


def test_a_neighbor_that_was_killed_is_taken_back_within_a_second(place: Place) -> None:
    fork = multiprocessing.get_context("fork")
    with place.running(0) as ((sender,), (shelf,)):
        delays: list[float] = []
        for start in range(4):
            ours, theirs = fork.Pipe()
            child = fork.Process(target=_node1, args=(place, theirs), daemon=True)
            child.start()
            try:
                up, _ = ours.recv()
                if start == 0:
                    sender.send(0, [b"first"])
                came, frame = ours.recv()
                assert frame == (b"while away" if start else b"first")
                delays.append(came - up)
                assert shelf.wait(start + 1)[start] == (1, b"%d" % child.pid)
            finally:
                os.kill(child.pid or 0, signal.SIGKILL)
                child.join()
            sender.send(0, [b"replaced"])
            sender.send(0, [b"while away"])
            until(lambda: "refused" in sender.problems().get("node1", ""))
        assert min(delays[1:]) < 1, "on a busy machine at least once"


def test_an_engine_bounds_frames_by_its_messages(place: Place) -> None:
    transport, shelf = place.transport(0), Shelf()
    transport.start(shelf, largest=100)
    try:
        attacker = Attacker(place.ports[0], place.credentials(1).client_context())
        assert attacker.put("/edge/1", **{"Content-Length": "101"}) == TOO_LARGE
        assert Attacker(place.ports[0], place.credentials(1).client_context()).put("/edge/1", bytes(100)) == 204
        with pytest.raises(ValueError, match="edge 0: 101 bytes are more than 100"):
            transport.send(0, [bytes(101)])
    finally:
        transport.close()


@pytest.mark.parametrize("pause", [0.1, 60.0])
def test_a_transfer_without_progress_is_cut(place: Place, pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether nothing comes any more or a byte now and then; a connection that is quiet between frames stays."""
    monkeypatch.setattr("ngpd_fl.peer.transport.listener.PIECE_SECONDS", 0.5)
    with place.running(0) as (_, (shelf,)):
        attacker = Attacker(place.ports[0], place.credentials(1).client_context())
        assert attacker.put("/edge/1") == 204
        time.sleep(1)
        assert attacker.put("/edge/1") == 204
        sock = attacker.connection.sock
        sock.settimeout(min(pause, 20))
        sock.sendall(b"PUT /edge/1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        began, ended = time.monotonic(), False
        while not ended and time.monotonic() < began + 20:
            try:
                sock.sendall(b"x")
                ended = sock.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                ended = True
        assert ended and time.monotonic() < began + 15
        assert len(shelf.frames) == 2


def test_a_slow_frame_of_many_pieces_arrives(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece has the time: all together take longer, on a clock that is set by hand."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("ngpd_fl.peer.transport.listener.time", clock)
    monkeypatch.setattr("ngpd_fl.peer.transport.listener.PIECE_BYTES", 10)
    with place.running(0) as (_, (shelf,)):
        attacker = Attacker(place.ports[0], place.credentials(1).client_context())
        attacker.connection.sock.sendall(b"PUT /edge/1 HTTP/1.1\r\nContent-Length: 50\r\n\r\n")
        for _ in range(5):
            time.sleep(0.1)  # the piece before was read
            clock.now += 50.0
            attacker.connection.sock.sendall(bytes(10))
        assert shelf.wait(1) == [(1, bytes(50))]


def test_a_neighbor_that_does_not_answer_is_called_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.transport.sender.PIECE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", place.ports[1])), ExitStack() as stack:
        sender = place.transport(0, Insecure("node0"))
        sender.start(Shelf())
        stack.callback(sender.close)
        sender.send(0, [b"frame"])
        until(lambda: sender.counts().retried >= 2)


def test_what_answers_a_frame_is_not_kept(place: Place) -> None:
    """A neighbor that answers with a body of any size: nothing of it is read."""
    with socket.create_server(("127.0.0.1", place.ports[1])) as server, ExitStack() as stack:
        sender = place.transport(0, Insecure("node0"))
        sender.start(Shelf())
        stack.callback(sender.close)
        sender.send(0, [b"frame"])
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 \x1b[2J\r\nContent-Length: 1000000000\r\n\r\n")
            with suppress(OSError):
                while connection.recv(1000):
                    pass
        until(lambda: sender.counts().retried >= 1)
        until(lambda: sender.problems().get("node1", "").startswith("refused: 200"))
        assert sender.problems()["node1"] == "refused: 200"


def test_strangers_keep_no_neighbor_out(place: Place) -> None:
    """While hundreds of connections say nothing, a neighbor's new ones are taken."""
    with place.running(0) as ((receiver,), (shelf,)), ExitStack() as stack:
        for number in range(150):
            stack.enter_context(socket.create_connection(("127.0.0.1", place.ports[0])))
            if number % 50 == 49:
                attacker = Attacker(place.ports[0], place.credentials(1).client_context())
                assert attacker.put("/edge/1") == 204
        assert len(shelf.frames) == 3
        until(lambda: receiver.counts().refused >= 150 - 64)
