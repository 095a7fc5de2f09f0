"""What waits for a neighbor."""

from __future__ import annotations

import threading
import time

from ngpd_fl.peer.transport.sender import Outbox


def test_of_each_edge_the_newest_in_the_order_in_which_edges_came() -> None:
    outbox = Outbox()
    assert [outbox.put(edge, [frame]) for edge, frame in ((2, b"a"), (0, b"b"), (2, b"c"), (4, b"d"))] == [
        False,
        False,
        True,
        False,
    ]
    assert [outbox.take() for _ in range(3)] == [(2, [b"c"]), (0, [b"b"]), (4, [b"d"])]


def test_what_comes_back_gives_way_to_what_is_newer() -> None:
    outbox = Outbox()
    for edge in (0, 2):
        outbox.put(edge, [b"old"])
    taken = [outbox.take(), outbox.take()]
    outbox.put(2, [b"new"])
    assert [outbox.put_back(*each) for each in taken if each] == [True, False]
    assert [outbox.take(), outbox.take()] == [(2, [b"new"]), (0, [b"old"])]


def test_finish_waits_until_the_last_frame_has_left() -> None:
    outbox, left = Outbox(), []

    def send() -> None:
        while (item := outbox.take()) is not None:
            time.sleep(0.1)
            left.append(item)

    thread = threading.Thread(target=send)
    thread.start()
    outbox.put(0, [b"a"])
    outbox.put(2, [b"b"])
    outbox.finish(60)
    assert len(left) == 2
    outbox.close()
    thread.join(60)
    assert not thread.is_alive()
    assert not outbox.put(0, [b"late"])
    assert outbox.take() is None


def test_waiting_ends_in_time() -> None:
    outbox = Outbox()
    outbox.put(0, [b"nobody takes it"])
    began = time.monotonic()
    outbox.finish(0.1)
    outbox.pause(0.1)
    assert time.monotonic() - began > 0.15
    outbox.close()
    outbox.pause(60)
    outbox.finish(60)
    assert time.monotonic() - began < 50
