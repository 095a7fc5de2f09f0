"""Frames within one process, and the rule that spoils them."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from ngpd_fl.peer.transport import MemoryNetwork, Routes, seeded
from tests.support.transports import Shelf

EDGES = np.array([[0, 1], [0, 2], [1, 2]])
HOSTS = {0: "a", 1: "b", 2: "b"}


def test_routes_are_the_edges_with_an_end_here() -> None:
    a, b = (Routes.of(name, HOSTS, EDGES) for name in "ab")
    assert a == Routes(outgoing={0: "b", 2: "b"}, incoming={1: "b", 3: "b"})
    assert b == Routes(outgoing={1: "a", 3: "a", 4: "b", 5: "b"}, incoming={0: "a", 2: "a", 4: "b", 5: "b"})


def test_frames_arrive_joined_on_their_edge() -> None:
    network = MemoryNetwork()
    a, b = (network.transport(Routes.of(name, HOSTS, EDGES)) for name in "ab")
    at_a, at_b = Shelf(), Shelf()
    a.start(at_a)
    b.start(at_b)
    a.send(2, [b"head", memoryview(b"body")])
    b.send(3, [b"back"])
    b.send(4, [b"inside"])
    assert at_b.wait(2) == [(2, b"headbody"), (4, b"inside")]
    assert at_a.wait(1) == [(3, b"back")]
    assert (b.counts().sent, b.counts().sent_bytes, b.counts().received_bytes) == (2, 10, 14)
    with pytest.raises(ValueError, match="edge 1: begins at no node"):
        a.send(1, [b""])
    a.close()
    b.send(1, [b"late"])
    b.close()
    time.sleep(0.05)
    assert len(at_a.frames) == 1


def test_a_rule_draws_by_seed_edge_and_place() -> None:
    rule, again, other = seeded(1, loss=0.3, duplicate=0.2, delay_s=2.0), seeded(1, loss=0.3, duplicate=0.2), seeded(2)
    backwards = {place: rule(5, place) for place in reversed(range(2000))}
    assert all(backwards[place] == rule(5, place) for place in range(2000))
    copies = Counter(len(each) for each in backwards.values())
    assert copies[0] / 2000 == pytest.approx(0.3, abs=0.03)
    assert copies[2] / 2000 == pytest.approx(0.7 * 0.2, abs=0.03)
    assert np.mean(np.concatenate(list(backwards.values()))) == pytest.approx(2.0, rel=0.1)
    assert [len(again(5, place)) for place in range(2000)] == [len(backwards[place]) for place in range(2000)]
    assert again(5, 0) is not None and other(5, 0) == [0.0]


def test_a_rule_decides_what_arrives_and_when() -> None:
    network = MemoryNetwork(lambda edge, place: {0: (), 1: (0.1, 0.0), 2: (0.05,)}[place])
    a, b = (network.transport(Routes.of(name, HOSTS, EDGES)) for name in "ab")
    shelf = Shelf()
    b.start(shelf)
    for number in range(3):
        a.send(0, [b"%d" % number])
    assert [frame for _, frame in shelf.wait(3)] == [b"1", b"2", b"1"]
    b.close()
