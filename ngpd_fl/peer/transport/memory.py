"""Frames between transports of one process, for tests, with a rule for what is lost, delayed and doubled."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ngpd_fl.peer.transport.interface import Counts, Frame, Receive, Routes, Tally

Rule = Callable[[int, int], Sequence[float]]
"""Takes an edge and how many frames it has had before; returns the seconds until each copy arrives.
The sequence is empty for a lost frame."""


def seeded(seed: int, *, loss: float = 0.0, duplicate: float = 0.0, delay_s: float = 0.0) -> Rule:
    """Return a rule whose draws depend on the seed, the edge and the frame's place in it, not on the order of calls.

    Args:
        seed: of the draws.
        loss: probability that a frame is lost.
        duplicate: probability that a frame that is not lost comes twice.
        delay_s: mean delay of each copy in seconds, exponentially distributed.
    """

    def rule(edge: int, place: int) -> Sequence[float]:
        draws = np.random.default_rng([seed, edge, place])
        lost, twice = draws.random(2) < (loss, duplicate)
        return [] if lost else list(draws.exponential(delay_s, 2 if twice else 1))

    return rule


class MemoryNetwork:
    """Joins the transports that it makes. One thread delivers, in the order in which frames are due."""

    def __init__(self, rule: Rule = lambda edge, place: (0.0,)) -> None:
        """Set the rule; without one every frame arrives once, at once."""
        self._rule = rule
        self._places: Counter[int] = Counter()
        self._receivers: dict[int, MemoryTransport] = {}
        self._due: list[tuple[float, int, int, bytes]] = []
        self._posted = 0
        self._delivers = False
        self._change = threading.Condition()

    def transport(self, routes: Routes) -> MemoryTransport:
        """Return a new end of the network; it replaces one with the same edges that was closed."""
        return MemoryTransport(self, routes)

    def post(self, edge: int, frame: bytes) -> None:
        """Put a frame on its way."""
        with self._change:
            now = time.monotonic()
            for delay in self._rule(edge, self._places[edge]):
                heapq.heappush(self._due, (now + delay, self._posted, edge, frame))
                self._posted += 1
            self._places[edge] += 1
            self._change.notify()

    def join(self, transport: MemoryTransport) -> None:
        """Deliver to a transport from now on."""
        with self._change:
            self._receivers.update(dict.fromkeys(transport.routes.incoming, transport))
            if not self._delivers:
                self._delivers = True
                threading.Thread(target=self._deliver, name="memory network", daemon=True).start()

    def leave(self, transport: MemoryTransport) -> None:
        """Deliver nothing more to a transport; the thread ends with the last."""
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
        """Return seconds until the next frame is due; None: there is none."""
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
        """Begin to receive."""
        self._receive = receive
        self._network.join(self)

    def send(self, edge: int, frame: Frame) -> None:
        """Put a frame on its way; none waits here, so none is ever replaced."""
        if edge not in self.routes.outgoing:
            raise ValueError(f"edge {edge}: begins at no node of this process")
        joined = b"".join(frame)
        self._tally.add(sent=1, sent_bytes=len(joined))
        self._network.post(edge, joined)

    def deliver(self, edge: int, frame: bytes) -> None:
        """Hand over a frame that has arrived."""
        with self._receiving:
            if self._receive is not None:
                self._tally.add(received=1, received_bytes=len(frame))
                self._receive(edge, memoryview(frame))

    def counts(self) -> Counts:
        """Return what was done so far."""
        return self._tally.counts

    def problems(self) -> dict[str, str]:
        """Return no reasons: every neighbor is reached."""
        return {}

    def close(self) -> None:
        """Leave the network."""
        self._network.leave(self)
        with self._receiving:
            self._receive = None
