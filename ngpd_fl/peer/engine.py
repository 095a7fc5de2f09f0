"""The peer engine: computes the nodes of one process, which exchange messages with other processes directly.

In a round the nodes run their local steps, send a frame over every active edge, and read the messages that have come.
``training.mode`` decides who waits for whom:

    synchronous, neighbor-synchronous
                         a node waits for its neighbors' messages of the round, up to a timeout. Then the message counts
                         as lost, and its sender is not waited for until its next frame (``Inbox.gone``). A node whose
                         neighbors went on without it skips rounds and joins them in their round, if their claims about
                         it are accepted (``Claims``).
    asynchronous         a node never waits: it reads the newest message of each neighbor.

**Incarnations.** A process that was killed resumes from a checkpoint, which is older than what its neighbors have seen.
So every start of a process is a new incarnation with a number of its own (``incarnation.py``), and frames name the
incarnation to which their acknowledgements refer. Acknowledgements of an earlier incarnation are ignored, and the
algorithm learns that the edge was reset (``NodeGroup.reset``). A neighbor that knows a later incarnation refuses the
frames of this process and reports it. This process then takes a higher number on its edges to that neighbor.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from ngpd_fl.core.directed_edges import reverse
from ngpd_fl.engines import EdgeHeader, NodeGroup, OutgoingMessages, RoundInfo, example_payload
from ngpd_fl.peer.claims import Claims
from ngpd_fl.peer.frame import Codec, Frame, Head, Kind
from ngpd_fl.peer.inbox import Inbox
from ngpd_fl.peer.incarnation import is_credible
from ngpd_fl.peer.timeouts import TIMEOUTS, NodeTimeouts
from ngpd_fl.peer.transport import Counts, Transport
from ngpd_fl.training import Job
from strategies import message_dtype

_GREETING = 0.5
"""Seconds between two HELLO frames, until every neighbor has sent one."""

_LOOKAHEAD = 1000
"""Largest number of rounds that are searched for a message for which a neighbor that is ahead should have waited."""

_SILENCE = 10.0
"""Seconds after which the wait for neighbors at the start is reported."""


class PeerEngine:
    """Runs the nodes of one process, round by round.

    Attributes:
        round: rounds done or skipped.
        nodes: the nodes, as ``NodeGroup.nodes`` orders them.
        starts: number of starts of the process so far.
        incarnation: number of this incarnation in frames.
        inbox: the messages of the neighbors.
        lost: messages that did not come in time.
        skipped: rounds that were skipped to join the neighbors.
        ages: numbers of messages that were read, by their age in rounds.
        on_event: called with a line for every irregularity.
        waited: seconds spent waiting for messages.
    """

    def __init__(
        self,
        job: Job,
        nodes: Sequence[int],
        transport: Transport,
        run: bytes,
        *,
        timeouts: NodeTimeouts = TIMEOUTS,
        is_over: Callable[[], bool] = lambda: False,
        on_event: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Put the nodes at the common start.

        Args:
            job: the run's parts.
            nodes: the nodes of this process.
            transport: carries frames; ``start`` starts it, ``close`` closes it.
            run: 16 bytes that identify the run.
            timeouts: timeouts of the waits for neighbors.
            is_over: returns whether the run is to end early; checked while waiting.
            on_event: called with a line for every irregularity.
        """
        self.round = 0
        self.starts = self.incarnation = 1
        self.lost = self.skipped = 0
        self.ages: Counter[int] = Counter()
        self.waited = 0.0
        self._group = NodeGroup(job.engine_settings, nodes)
        self.nodes: list[int] = self._group.nodes.tolist()
        self._waits_for_all = job.config.training.mode != "asynchronous"
        self._rounds = job.config.training.rounds
        self._steps = job.config.training.local_steps * len(self.nodes)
        self._transport = transport
        message = example_payload(job.strategy, job.model.start())
        self._codec = Codec(run, message, message_dtype(job.config.strategy))
        self._per_edge = job.strategy.options.needs.per_edge
        self._timeouts = timeouts
        self._is_over = is_over
        self.on_event = on_event
        # By directed edge to this process: the incarnation of its sender whose messages were read; a number above
        # ``incarnation`` that its sender made necessary; and the incarnation of which its sender was notified.
        self._known: dict[int, int] = {}
        self._raised: dict[int, int] = {}
        self._outdated: dict[int, int] = {}
        self._doubted: set[str] = set()  # neighbors with a rejected claim, until they are met
        self._claims = Claims(timeouts.round)
        self.inbox = Inbox(self._codec, self._group.incoming, self._rounds)

    def start(self) -> None:
        """Open the transport and wait for the neighbors; after the first round, only for the timeout of a round."""
        queue_length = 2 if self._waits_for_all else 1
        self._transport.start(self.inbox.receive, queue_length=queue_length, largest=self._codec.message_bytes)
        self._claims.start(self.round)
        everyone = set(self._group.incoming)
        timeout = self._timeouts.start if self.round == 0 else self._timeouts.round
        began, is_reported = time.monotonic(), False
        until = began + timeout
        while (missing := everyone - self.inbox.heard_edges()) and time.monotonic() < until and not self._is_over():
            self._settle_incarnations()
            self._send_all(Kind.HELLO)
            self.inbox.wait_for_change(_GREETING)
            silent = everyone - self.inbox.heard_edges()
            if silent and not is_reported and time.monotonic() - began > _SILENCE:
                is_reported = True
                self.on_event(self._awaited(silent, timeout))
        if missing and not self._is_over():
            self._note_gone(sorted(missing), "has not been heard", timeout)
        self.inbox.give_up(missing, 0.0)
        self._send_all(Kind.HELLO)

    def run_round(self) -> RoundInfo:
        """Run K local steps at every node, send, read what has come, and return the result of the round."""
        self._settle_incarnations()
        self._claims.begin_round()
        if self._waits_for_all:
            self._join_the_neighbors()
        number = self.round
        work = self._group.work(number)
        # Read before sending: these messages were written before their senders could apply what is sent below.
        newest = {} if self._waits_for_all else self.inbox.take_newest()
        messages = self._group.write(number)
        for edge, header in messages.headers.items():
            self._transport.send(edge, self._frame(edge, header, messages))
        sent = self._take(number, self._wait(number) if self._waits_for_all else newest)
        self.round = number + 1
        return RoundInfo(work.loss.mean(), work.shrink.mean(), self._steps, sent)

    def close(self) -> None:
        """Close the transport; if rounds are left, tell the neighbors not to wait for messages."""
        if self.round < self._rounds:
            self._send_all(Kind.BYE)
        self._transport.close()

    def usage(self) -> dict[str, Any]:
        """Return nothing: there is no virtual clock."""
        return {}

    def counts(self) -> Counts:
        """Return the counters of the transport."""
        return self._transport.counts()

    def params(self) -> Tensor:
        """Return the nodes' parameters as evaluation sees them, ``[n, P]``."""
        return self._group.params()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the whole state: tensors by name, and the rest as JSON values."""
        seen = [[edge, *newest] for edge, newest in sorted(self.inbox.seen.items())]
        return self._group.state(), {
            "round": self.round,
            "skipped": self.skipped,
            "known": sorted(self._known.items()),
            "seen": seen,
            "claims": self._claims.state(),
        }

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned; raise ``ValueError`` if it belongs to another network."""
        self._group.load(tensors)
        self.round, self.skipped = values["round"], values["skipped"]
        self._claims.load(values["claims"])
        self._known = {edge: incarnation for edge, incarnation in values["known"]}
        seen = {edge: (incarnation, sequence) for edge, incarnation, sequence in values["seen"]}
        self.inbox = Inbox(self._codec, self._group.incoming, self._rounds, seen)

    def begin_incarnation(self, starts: int, incarnation: int | None = None) -> None:
        """Begin a later incarnation than the first. Call it after ``load``, if there is a state to load.

        Args:
            starts: number of starts of the process so far.
            incarnation: number of this incarnation in frames. Defaults to ``starts``.
        """
        self.starts = starts
        self.incarnation = starts if incarnation is None else incarnation
        self._group.reset()

    def _join_the_neighbors(self) -> None:
        """Skip to the round of the neighbors that went on without these nodes, if there are any."""
        claims: dict[str, int] = {}
        for edge, round in self.inbox.newest_rounds().items():
            if round > self.round and self._went_on(edge, round):
                name = self._name(edge)
                claims[name] = max(round, claims.get(name, 0))
        ahead = self._claims.accepted(claims, self.round)
        for name, round in claims.items():
            if round > max(ahead, self.round) and name not in self._doubted:
                self._doubted.add(name)
                self.on_event(f"round {self.round}: {name} says that it is in round {round}, which is not believed yet")
        if ahead > self.round:
            self.on_event(f"round {self.round}: the neighbors are in round {ahead}; joins them there")
            self.skipped += ahead - self.round
            self.round = ahead
            self._group.has_forgotten = True  # the skipped rounds may have been those that estimate the curvature

    def _went_on(self, edge: int, round: int) -> bool:
        """Return whether the sender of an edge, now in ``round``, went on without a message of this process."""
        rounds = range(self.round, min(round, self.round + _LOOKAHEAD))
        return any(edge in self._group.awaits(number) for number in rounds)

    def _name(self, edge: int) -> str:
        """Return the name of the process that hosts an edge's sender."""
        return self._transport.routes.incoming[edge]

    def _number(self, edge: int) -> int:
        """Return the number of this incarnation for the sender of an edge."""
        return self._raised.get(edge, self.incarnation)

    def _settle_incarnations(self) -> None:
        """Notify refused senders, and take a higher number on edges where this process was refused."""
        for edge, incarnation in self.inbox.take_outdated().items():
            self._send(Kind.HELLO, reverse(edge))
            if self._outdated.get(edge) != incarnation:
                self._outdated[edge] = incarnation
                self.on_event(
                    f"node {self._group.incoming[edge]} is refused: a later start of it is known (were its records lost"
                    " and its clock set back?); it is told"
                )
        for edge, named in list(self.inbox.named.items()):
            if (
                0 < named < self._number(edge) and edge not in self._known
            ):  # an earlier incarnation whose records are lost
                self._group.reset([edge])
            if named > self._number(edge) and is_credible(named + 1, self._number(edge)):
                self._raised[edge] = named + 1
                self._group.reset([edge])
                self.on_event(
                    f"node {self._group.incoming[edge]} knows a later start of this process (were its records lost and"
                    " its clock set back?); takes a higher number there"
                )

    def _wait(self, number: int) -> dict[int, Frame]:
        """Wait for the messages of a round, and return those that came."""
        began = time.monotonic()
        awaited = self._group.awaits(number)
        missing = self.inbox.wait(awaited, number, began + self._timeouts.round, self._is_over)
        self.waited += time.monotonic() - began
        frames = self.inbox.take_round(number)
        if missing:
            self._claims.timed_out()
        self._note_gone(missing, f"did not send its message of round {number}", self._timeouts.round)
        self.lost += len(set(awaited) - frames.keys())
        return frames

    def _take(self, number: int, frames: Mapping[int, Frame]) -> int:
        """Read messages; return the payload in bytes that was sent in the round."""
        frames = self._possible(frames)
        if self._waits_for_all:  # all frames are of this round
            met = {self._name(edge) for edge in frames}
            self._claims.meet(met, number)
            self._doubted -= met
        frames = {edge: frame for edge, frame in frames.items() if self._group.arrives(frame.head.header.round, edge)}
        reset = [edge for edge, frame in frames.items() if self._is_reset(edge, frame.head)]
        self._known |= {edge: frame.head.incarnation for edge, frame in frames.items()}
        self._group.reset(reset)
        headers, payload = {}, dict[str, dict[int, Tensor]]()
        for edge, (head, fields) in frames.items():
            header = head.header
            headers[edge] = (
                header if head.receiver_incarnation == self._number(edge) else header._replace(newest=-1, bitmap=0)
            )
            self.ages[max(0, number - header.round)] += 1
            for name, value in fields.items():
                source = edge if name in self._per_edge else self._group.incoming[edge]
                payload.setdefault(name, {})[source] = value
        return self._group.read(number, OutgoingMessages(payload, headers))

    def _possible(self, frames: Mapping[int, Frame]) -> dict[int, Frame]:
        """Return the messages whose acknowledgements are possible; refuse the others and give up their senders."""
        possible = {}
        for edge, frame in frames.items():
            head = frame.head
            if head.receiver_incarnation == self._number(edge) and head.header.newest >= self._group.sent(
                reverse(edge)
            ):
                self.inbox.refused["header"] += 1
                self.inbox.give_up([edge], self._timeouts.round)
            else:
                possible[edge] = frame
        self.inbox.trust(possible)
        return possible

    def _is_reset(self, edge: int, head: Head) -> bool:
        """Return whether one end of an edge has resumed from an earlier state."""
        if edge in self._known:
            return head.incarnation != self._known[edge]
        return head.receiver_incarnation not in (0, self._number(edge))

    def _frame(self, edge: int, header: EdgeHeader, messages: OutgoingMessages) -> list[bytes | memoryview]:
        fields = {
            name: values[edge if name in self._per_edge else self._group.outgoing[edge]]
            for name, values in messages.payload.items()
        }
        incarnation, receiver_incarnation = self._number(reverse(edge)), self._known.get(reverse(edge), 0)
        return self._codec.write(Head(Kind.MESSAGE, edge, header, incarnation, receiver_incarnation), fields)

    def _send_all(self, kind: Kind) -> None:
        for edge in self._group.outgoing:
            self._send(kind, edge)

    def _send(self, kind: Kind, edge: int) -> None:
        """Send a frame without a message."""
        incarnation, (receiver_incarnation, _) = (
            self._number(reverse(edge)),
            self.inbox.seen.get(reverse(edge), (0, -1)),
        )
        header = EdgeHeader(0, -1, 0, min(self.round, self._rounds - 1))
        head = Head(kind, edge, header, incarnation, receiver_incarnation)
        self._transport.send(edge, self._codec.write(head))

    def _awaited(self, edges: Collection[int], timeout: float) -> str:
        """Return a line with the neighbors that are awaited at the start, and why some were not reached."""
        nodes = ", ".join(str(node) for node in sorted({self._group.incoming[edge] for edge in edges}))
        reasons = "".join(f"; {name}: {problem}" for name, problem in sorted(self._transport.problems().items()))
        return f"waits for its neighbors (nodes {nodes}), at most {timeout:g} s{reasons}"

    def _note_gone(self, edges: Sequence[int], what: str, seconds: float) -> None:
        for edge in edges:
            self.on_event(f"node {self._group.incoming[edge]} {what} (waited {seconds:g} s); goes on without it")
