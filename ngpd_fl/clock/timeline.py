"""The virtual clock: computing, sending and reading of nodes over time, as a sequence of events.

No parameters are computed here. Times follow from the costs and the conditions alone: equal ones give equal events.
Events at the same time have a fixed order: presence, finish and send, delivery, timeout, read; then by node or edge.
So identical devices without delays behave in every mode like a synchronous network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, ClassVar

from ngpd_fl.clock.conditions import Conditions, Costs
from ngpd_fl.clock.events import Drop, Event, Notice, Read, Taken, TimedMessage, Work
from ngpd_fl.core.directed_edges import receivers, reverse
from topologies import Topology


class _Kind(IntEnum):
    """Kinds of due events, in their order at the same time."""

    ABSENT = 0
    PRESENCE = 1
    FINISH = 2
    DELIVER = 3
    TIMEOUT = 4
    READ = 5


class Activity(StrEnum):
    """The activity of a node."""

    AWAY = "away"
    IDLE = "idle"
    WORKING = "working"
    WAITING = "waiting"


class Timeline(ABC):
    """Events of a network over time. Subclasses, one per mode, decide when a node reads.

    A node runs the local steps of its round, sends, waits as the mode demands, reads, and begins the next round.

    Attributes:
        keeps_all: whether an unread message is kept when a newer one arrives over the same edge.
        now: the time of the last event, in seconds.
        round: rounds that the network has done: N reads each, or as its mode defines.
        is_over: whether nothing will happen any more.
    """

    keeps_all: ClassVar[bool] = False

    def __init__(self, topology: Topology, rounds: int, costs: Costs, conditions: Conditions) -> None:
        """Start every node that is present at time 0.

        Args:
            topology: the graph and its schedule; a node in its own round r uses the graph of round r.
            rounds: rounds to do.
            costs: durations of computing and sending.
            conditions: the fate of messages, the presence of nodes.
        """
        self._rounds = rounds
        self._costs = costs
        self._conditions = conditions
        nodes, directed = topology.num_nodes, 2 * len(topology.edges)
        self._receiver: list[int] = receivers(topology.edges).tolist()
        self._out: list[list[int]] = [[] for _ in range(nodes)]
        for edge in range(directed):
            self._out[self._receiver[reverse(edge)]].append(edge)
        self._active_in = lru_cache(maxsize=64)(lambda round: topology.active(round).tolist())
        self.now = 0.0
        self.round = 0
        self.is_over = False
        self._due: list[tuple[float, int, int, int, int]] = []
        self._doing = [Activity.IDLE] * nodes
        self._turn = [0] * nodes  # counts a node's beginnings and departures: what was due before is void
        self._own_round = [0] * nodes
        self._worked = [-1] * nodes
        self._began = [0.0] * nodes
        self._free = [0.0] * nodes  # when a node's up-link is
        self._reads = [0] * nodes
        self._sent = [0] * directed
        self._taken = [-1] * directed
        self._flying: dict[tuple[int, int], TimedMessage] = {}
        self._arrived: dict[int, list[TimedMessage]] = {edge: [] for edge in range(directed)}
        self._is_final = [False] * nodes  # whether a node will neither come nor go again
        self._changes = [0] * nodes  # how often a node has come or gone
        self._presences = [conditions.presences(node) for node in range(nodes)]
        for node in range(nodes):
            while self._next_change(node, at_start=True):
                pass
            if self._doing[node] == Activity.AWAY:
                self._schedule(0.0, _Kind.ABSENT, node)
        self._counts = Counter(self._doing)
        for node, activity in enumerate(self._doing):
            if activity == Activity.IDLE:
                self._begin(node, 0)

    def advance(self) -> Iterator[Event]:
        """Yield the events up to the end of the network's next round, or of the run."""
        goal = self.round + 1
        while self._due and self.round < goal and not self.is_over:
            self.now, kind, first, second, third = heappop(self._due)
            if kind == _Kind.FINISH:
                yield from self._finish(first, second)
            elif kind == _Kind.DELIVER:
                yield from self._deliver(first, second, third)
            elif kind == _Kind.READ:
                yield from self._read(first, second)
            elif kind == _Kind.ABSENT:
                yield Notice(self.now, first, "leaves", 0)
            elif kind == _Kind.PRESENCE:
                yield from self._change(first, bool(second))
            elif self._turn[first] == second:
                self._time_out(first)
        self.is_over = self.is_over or not self._due

    # Hooks for the modes, which decide when a node reads.

    @abstractmethod
    def _after_sending(self, node: int) -> None:
        """Act when a node has finished its local steps and sent."""

    @abstractmethod
    def _after_delivery(self, edge: int, message: TimedMessage) -> None:
        """Act when a message arrives over an edge, or when it would have and is known to be lost."""

    @abstractmethod
    def _after_leaving(self, node: int) -> None:
        """Act when a node leaves."""

    @abstractmethod
    def _after_return(self, node: int) -> None:
        """Act when a node returns."""

    @abstractmethod
    def _after_reading(self, node: int, newest: int) -> Iterator[Event]:
        """Act when a node has read; its newest message is of round ``newest`` (-1: it read none)."""

    def _time_out(self, node: int) -> None:
        """End the wait of a node."""
        raise AssertionError("only a neighbor-synchronous node has a timeout")

    def _choose(self, edge: int, round: int) -> TimedMessage | None:
        """Return the message to read of those that arrived over an edge, at the end of ``round``: the newest."""
        messages = self._arrived[edge]
        return messages[-1] if messages else None

    # Actions for the modes.

    def _begin(self, node: int, round: int) -> None:
        """Begin a round of a node."""
        self._own_round[node] = round
        self._turn[node] += 1
        self._set_activity(node, Activity.WORKING)
        self._began[node] = self.now
        seconds = self._costs.compute(node, round) * self._conditions.slowdown(node, self.now)
        self._schedule(self.now + seconds, _Kind.FINISH, node, self._turn[node])

    def _set_activity(self, node: int, activity: Activity) -> None:
        self._counts[self._doing[node]] -= 1
        self._counts[activity] += 1
        self._doing[node] = activity

    def _schedule(self, time: float, kind: int, first: int, second: int = 0, third: int = 0) -> None:
        heappush(self._due, (time, int(kind), first, second, third))

    def _schedule_read(self, node: int) -> None:
        """Let a node that waits read at this time, after all else that happens now."""
        self._schedule(self.now, _Kind.READ, node, self._turn[node])

    def _schedule_timeout(self, node: int, seconds: float) -> None:
        self._schedule(self.now + seconds, _Kind.TIMEOUT, node, self._turn[node])

    # Events.

    def _finish(self, node: int, turn: int) -> Iterator[Event]:
        if self._turn[node] != turn:
            return
        round = self._own_round[node]
        edges = self._edges_of(node, round)
        renew, self._worked[node] = round > self._worked[node] + 1, round
        sends = tuple((edge, self._sent[edge]) for edge in edges)
        yield Work(self.now, node, round, self._began[node], renew, sends)
        self._set_activity(node, Activity.WAITING)
        leaves = max(self.now, self._free[node])  # where the up-link is still at the last round's messages
        self._free[node] = leaves + self._costs.uplink(node, len(edges))
        for edge, sequence in sends:
            self._sent[edge] += 1
            message = TimedMessage(sequence, round, self._reads[self._receiver[edge]], self._taken[reverse(edge)])
            self._flying[edge, sequence] = message
            arrives = leaves + self._costs.transfer(edge, sequence, len(edges))
            delays = self._conditions.fate(edge, round, sequence, self.now)
            if not delays:
                self._schedule(arrives, _Kind.DELIVER, edge, sequence, 1)
            for delay in delays:
                self._schedule(arrives + delay, _Kind.DELIVER, edge, sequence)
        self._after_sending(node)

    def _deliver(self, edge: int, sequence: int, is_lost: int) -> Iterator[Event]:
        message = self._flying.pop((edge, sequence), None)
        if message is None:
            yield Drop(self.now, edge, sequence, "duplicate")
            return
        if is_lost:
            yield Drop(self.now, edge, sequence, "lost")
        elif self._doing[self._receiver[edge]] == Activity.AWAY:
            yield Drop(self.now, edge, sequence, "absent")
        elif sequence <= self._taken[edge]:
            yield Drop(self.now, edge, sequence, "outdated")
        else:
            messages = self._arrived[edge] = sorted([*self._arrived[edge], message])
            while len(messages) > 1 and not self.keeps_all:
                yield Drop(self.now, edge, messages.pop(0).sequence, "outdated")
        self._after_delivery(edge, message)

    def _read(self, node: int, turn: int) -> Iterator[Event]:
        if self._turn[node] != turn or self._doing[node] != Activity.WAITING:
            return
        self._set_activity(node, Activity.IDLE)
        round, taken = self._own_round[node], []
        for edge in sorted(reverse(edge) for edge in self._out[node]):
            message = self._choose(edge, round)
            if message is None:
                continue
            self._taken[edge] = message.sequence
            taken.append(Taken(edge, message.sequence, message.round, self._reads[node] - message.reads))
            outdated = [old for old in self._arrived[edge] if old.sequence < message.sequence]
            self._arrived[edge] = [new for new in self._arrived[edge] if new.sequence > message.sequence]
            for old in outdated:
                yield Drop(self.now, edge, old.sequence, "outdated")
        self._reads[node] += 1
        yield Read(self.now, node, round, tuple(taken))
        yield from self._after_reading(node, max((message.round for message in taken), default=-1))

    def _next_change(self, node: int, at_start: bool = False) -> bool:
        """Let a node come or go when it next does; return whether that was done at once, at the start."""
        presence = next(self._presences[node], None)
        self._is_final[node] = presence is None
        if presence is None:
            return False
        self._changes[node] += 1
        if at_start and presence.time <= 0:
            self._doing[node] = Activity.IDLE if presence.present else Activity.AWAY
            return True
        self._schedule(presence.time, _Kind.PRESENCE, node, int(presence.present))
        return False

    def _change(self, node: int, present: bool) -> Iterator[Event]:
        self._next_change(node)
        if (self._doing[node] != Activity.AWAY) == present:
            return
        began = self._began[node] if self._doing[node] == Activity.WORKING else None
        if self._doing[node] == Activity.WAITING:  # what it has sent must enter its state: headers will count it
            self._reads[node] += 1
            yield Read(self.now, node, self._own_round[node], ())
        self._set_activity(node, Activity.IDLE if present else Activity.AWAY)
        yield Notice(self.now, node, "returns" if present else "leaves", self._own_round[node], began)
        if present:
            self._after_return(node)
            return
        self._turn[node] += 1
        for edge in (reverse(out) for out in self._out[node]):
            for message in self._arrived[edge]:
                yield Drop(self.now, edge, message.sequence, "absent")
            self._arrived[edge] = []
        self._after_leaving(node)

    def _edges_of(self, node: int, round: int) -> tuple[int, ...]:
        """Return the directed edges on which a node sends in a round."""
        active = self._active_in(round)
        return tuple(edge for edge in self._out[node] if active[edge // 2])

    # Checkpoints.

    def state(self) -> dict[str, Any]:
        """Return all that changes over time, as JSON values; ``load`` restores it."""
        values = {name: getattr(self, name) for name in self._CHANGES}
        flying = [[edge, *message] for (edge, _), message in sorted(self._flying.items())]
        arrived = [[edge, *message] for edge, messages in self._arrived.items() for message in messages]
        return values | {"_flying": flying, "_arrived": arrived}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        for name in self._CHANGES:
            setattr(self, name, state[name])
        self._doing = [Activity(value) for value in state["_doing"]]
        self._counts = Counter(self._doing)
        self._presences = [self._conditions.presences(node) for node in range(len(self._doing))]
        for presences, number in zip(self._presences, self._changes, strict=True):
            for _ in range(number):
                next(presences)
        self._due = [(time, kind, first, second, third) for time, kind, first, second, third in state["_due"]]
        self._flying = {(edge, message[0]): TimedMessage(*message) for edge, *message in state["_flying"]}
        self._arrived = {edge: [] for edge in range(len(self._receiver))}
        for edge, *message in state["_arrived"]:
            self._arrived[edge].append(TimedMessage(*message))

    _CHANGES: tuple[str, ...] = (
        *("now", "round", "is_over", "_due", "_doing", "_turn", "_own_round", "_worked", "_began"),
        *("_free", "_reads", "_sent", "_taken", "_is_final", "_changes"),
    )
