"""Transports within one process, for tests, with a rule for loss, delay and duplication of frames."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ngpd_fl.peer.transport.interface import Counts, Frame, Receive, Routes, Tally

Rule = Callable[[int, int], Sequence[float]]
"""A function of an edge and the number of its earlier frames. It returns the seconds until each copy arrives; an empty
sequence means that the frame is lost."""


def seeded(seed: int, *, loss: float = 0.0, duplicate: float = 0.0, delay_s: float = 0.0) -> Rule:
    """Return a random rule that depends on the seed, the edge and the frame's number, not on the order of calls.

    Args:
        seed: seed of the draws.
        loss: probability that a frame is lost.
        duplicate: probability that a frame that is not lost arrives twice.
        delay_s: mean delay of each copy in seconds, exponentially distributed.
    """

    def rule(edge: int, place: int) -> Sequence[float]:
        draws = np.random.default_rng([seed, edge, place])
        lost, twice = draws.random(2) < (loss, duplicate)
        return [] if lost else list(draws.exponential(delay_s, 2 if twice else 1))

    return rule


class MemoryNetwork:
    """A network of the transports that it makes. One thread delivers frames in the order of their times."""

    def __init__(self, rule: Rule = lambda edge, place: (0.0,)) -> None:
        """Set the rule. By default every frame arrives once and immediately."""
        self._rule = rule
        self._places: Counter[int] = Counter()
        self._receivers: dict[int, MemoryTransport] = {}
        self._due: list[tuple[float, int, int, bytes]] = []
        self._posted = 0
        self._delivers = False
        self._change = threading.Condition()

    def transport(self, routes: Routes) -> MemoryTransport:
        """Return a new transport; it replaces a closed one with the same edges."""
        return MemoryTransport(self, routes)

    def post(self, edge: int, frame: bytes) -> None:
        """Accept a frame for later delivery."""
        with self._change:
            now = time.monotonic()
            for delay in self._rule(edge, self._places[edge]):
                heapq.heappush(self._due, (now + delay, self._posted, edge, frame))
                self._posted += 1
            self._places[edge] += 1
            self._change.notify()

    def join(self, transport: MemoryTransport) -> None:
        """Start to deliver to a transport."""
        with self._change:
            self._receivers.update(dict.fromkeys(transport.routes.incoming, transport))
            if not self._delivers:
                self._delivers = True
                threading.Thread(target=self._deliver, name="memory network", daemon=True).start()

    def leave(self, transport: MemoryTransport) -> None:
        """Stop delivery to a transport; the thread ends with the last one."""
        with self._change:
            self._receivers = {
                edge: receiver for edge, receiver in self._receivers.items() if receiver is not transport
            }
            self._change.notify()

    def _deliver(self) -> None:
        while True:
            with self._change:
                while self._receivers and (wait := self._wait()) != 0:
                    self._change.wait(wait)
                if not self._receivers:
                    self._delivers = False
                    return
                _, _, edge, frame = heapq.heappop(self._due)
                receiver = self._receivers.get(edge)
            if receiver is not None:
                receiver.deliver(edge, frame)

    def _wait(self) -> float | None:
        """Return the seconds until the next frame is due; None if there is none."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None


class MemoryTransport:
    """One process' end of a ``MemoryNetwork``; see ``Transport``."""

    def __init__(self, network: MemoryNetwork, routes: Routes) -> None:
        """Set the network and the edges."""
        self.routes = routes
        self._network = network
        self._receive: Receive | None = None
        self._receiving = threading.RLock()
        self._tally = Tally()

    def start(self, receive: Receive, queue_length: int = 1, largest: int | None = None) -> None:
        """Start to receive."""
        self._receive = receive
        self._network.join(self)

    def send(self, edge: int, frame: Frame) -> None:
        """Send a frame. None waits here, so none is ever replaced."""
        if edge not in self.routes.outgoing:
            raise ValueError(f"edge {edge}: begins at no node of this process")
        joined = b"".join(frame)
        self._tally.add(sent=1, sent_bytes=len(joined))
        self._network.post(edge, joined)

    def deliver(self, edge: int, frame: bytes) -> None:
        """Pass on a frame that has arrived."""
        with self._receiving:
            if self._receive is not None:
                self._tally.add(received=1, received_bytes=len(frame))
                self._receive(edge, memoryview(frame))

    def counts(self) -> Counts:
        """Return the counters so far."""
        return self._tally.counts

    def problems(self) -> dict[str, str]:
        """Return nothing: every neighbor is reached."""
        return {}

    def close(self) -> None:
        """Leave the network."""
        self._network.leave(self)
        with self._receiving:
            self._receive = None
