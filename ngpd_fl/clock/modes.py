"""Timelines of the three values of ``training.mode``: they differ in when a node stops waiting and reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ngpd_fl.clock.conditions import Conditions, Costs
from ngpd_fl.clock.events import Event, Notice, TimedMessage
from ngpd_fl.clock.timeline import Activity, Timeline
from ngpd_fl.core.directed_edges import reverse
from topologies import Topology


class Synchronous(Timeline):
    """A barrier for all nodes: each reads once all have sent and no message is in flight.

    A round takes as long as its slowest node and its slowest message. No node waits for one that has left. A node that
    returns takes part from the next round on.
    """

    def _after_sending(self, node: int) -> None:
        self._read_if_all_sent()

    def _after_delivery(self, edge: int, message: TimedMessage) -> None:
        self._read_if_all_sent()

    def _after_leaving(self, node: int) -> None:
        self._read_if_all_sent()

    def _after_return(self, node: int) -> None:
        if self._counts[Activity.WORKING] == self._counts[Activity.WAITING] == 0:
            self._begin(node, self.round)

    def _after_reading(self, node: int, newest: int) -> Iterator[Event]:
        if self._counts[Activity.WAITING]:
            return
        self.round += 1
        self.is_over = self.round == self._rounds
        for other, activity in enumerate(self._doing):
            if activity == Activity.IDLE and not self.is_over:
                self._begin(other, self.round)
        yield from ()

    def _read_if_all_sent(self) -> None:
        if self._counts[Activity.WORKING] == 0 and not self._flying:
            for node, activity in enumerate(self._doing):
                if activity == Activity.WAITING:
                    self._schedule_read(node)


class NeighborSynchronous(Timeline):
    """A node waits for its neighbors: it reads once their messages of its round have arrived or are known to be lost.

    It does not wait for a neighbor that is away, nor longer than ``timeout``: then it reads without the missing
    messages. A node whose neighbors went on without it reads their newest messages and skips the rounds that it missed.
    If no node is away and the timeout suffices, every node reads the same messages as in synchronous mode.
    """

    keeps_all: ClassVar[bool] = True

    def __init__(
        self,
        topology: Topology,
        rounds: int,
        costs: Costs,
        conditions: Conditions,
        timeout: float | None = None,
    ) -> None:
        """Start every node that is present at time 0; see ``Timeline``.

        ``timeout`` is the longest wait in seconds. Defaults to no limit.
        """
        self._timeout = timeout
        self._heard = [-1] * (2 * len(topology.edges))  # the newest round whose message has come or is known to be lost
        self._progress = 0
        super().__init__(topology, rounds, costs, conditions)

    def _after_sending(self, node: int) -> None:
        if self._timeout is not None:
            self._schedule_timeout(node, self._timeout)
        self._read_if_complete(node)

    def _after_delivery(self, edge: int, message: TimedMessage) -> None:
        self._heard[edge] = max(self._heard[edge], message.round)
        self._read_if_complete(self._receiver[edge])

    def _after_leaving(self, node: int) -> None:
        for edge in self._out[node]:
            self._read_if_complete(self._receiver[edge])
        self._update_is_over()

    def _after_return(self, node: int) -> None:
        neighbors = [self._receiver[edge] for edge in self._out[node]]
        around = [self._own_round[other] for other in neighbors if self._doing[other] != Activity.AWAY]
        self._begin_next(node, max([self._worked[node] + 1, *around]))

    def _after_reading(self, node: int, newest: int) -> Iterator[Event]:
        own = self._own_round[node]
        following = max(own, newest) + 1
        if following > own + 1:
            yield Notice(self.now, node, "skips", following)
        self._begin_next(node, following)

    def _time_out(self, node: int) -> None:
        self._schedule_read(node)

    def _choose(self, edge: int, round: int) -> TimedMessage | None:
        """Return the message of the round, or the newest before it; the newest of all if the sender timed out.

        Without a timeout, a sender is at most one message ahead. A message that it wrote after reading this
        node's message of the round is left for later, since headers report earlier messages only.
        """
        messages = self._arrived[edge]
        usable = [message for message in messages if message.round <= round]
        if len(messages) - len(usable) > 1:
            back = reverse(edge)
            sends = back in self._edges_of(self._receiver[edge], round)
            usable = [message for message in messages if message.answers < self._sent[back] - sends]
        return usable[-1] if usable else None

    def _begin_next(self, node: int, round: int) -> None:
        """Begin a node's next round, if any is left."""
        round = min(round, self._rounds)
        self._progress += round - self._own_round[node]
        self.round = self._progress // len(self._doing)
        self._own_round[node] = round
        if round < self._rounds:
            self._begin(node, round)
        else:
            self._update_is_over()

    def _update_is_over(self) -> None:
        """Set ``is_over`` if every node has done all rounds or is away for good."""
        self.is_over = all(
            round == self._rounds or (activity == Activity.AWAY and is_final)
            for round, activity, is_final in zip(self._own_round, self._doing, self._is_final, strict=True)
        )

    def _read_if_complete(self, node: int) -> None:
        """Let a node read if it waits for no more messages."""
        if self._doing[node] == Activity.WAITING:
            round = self._own_round[node]
            edges = [reverse(edge) for edge in self._edges_of(node, round)]
            if all(self._heard[edge] >= round or not self._may_arrive(edge) for edge in edges):
                self._schedule_read(node)

    def _may_arrive(self, edge: int) -> bool:
        """Return whether a message may still arrive over an edge: its sender is in a round, or one is in flight."""
        if self._doing[self._receiver[reverse(edge)]] in (Activity.WORKING, Activity.WAITING):
            return True
        return any((edge, sequence) in self._flying for sequence in range(self._taken[edge] + 1, self._sent[edge]))

    _CHANGES = (*Timeline._CHANGES, "_heard", "_progress")


class Asynchronous(Timeline):
    """No node waits: right after sending, each reads the newest message that has arrived from each neighbor.

    A round of the network is N rounds of its nodes in total: fast nodes do more of them.
    """

    def _after_sending(self, node: int) -> None:
        self._schedule_read(node)

    def _after_delivery(self, edge: int, message: TimedMessage) -> None:
        pass

    def _after_leaving(self, node: int) -> None:
        pass

    def _after_return(self, node: int) -> None:
        self._begin(node, self._worked[node] + 1)

    def _after_reading(self, node: int, newest: int) -> Iterator[Event]:
        self.round = sum(self._reads) // len(self._reads)
        self.is_over = self.round == self._rounds
        self._begin(node, self._own_round[node] + 1)
        yield from ()


MODES: dict[str, type[Timeline]] = {
    "synchronous": Synchronous,
    "neighbor-synchronous": NeighborSynchronous,
    "asynchronous": Asynchronous,
}
"""The timelines by the value of ``training.mode``."""


def make_timeline(
    mode: str, topology: Topology, rounds: int, costs: Costs, conditions: Conditions, timeout: float | None = None
) -> Timeline:
    """Return the timeline of a mode; ``timeout`` is for ``neighbor-synchronous`` alone."""
    settings: dict[str, Any] = {"timeout": timeout} if mode == "neighbor-synchronous" else {}
    return MODES[mode](topology, rounds, costs, conditions, **settings)
