"""Inbox: messages of the neighbors that have not been read yet, at most the two newest of each edge."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from ngpd_fl.peer.frame import Codec, Frame, InvalidFrame, Kind
from ngpd_fl.peer.incarnation import is_credible

_KEPT = 2
"""Messages kept per edge. If nodes wait for each other, a neighbor is at most one round ahead."""

_LOOK = 0.2
"""Seconds after which a waiting thread checks whether it is to stop."""

_DOUBLINGS = 20
"""Timeouts after which the pause grows no further."""


class Inbox:
    """Takes frames from the transport's threads and passes messages to the thread of the nodes.

    Attributes:
        refused: numbers of refused frames, by reason.
        replaced: messages that were replaced by newer ones before they were read.
        late: messages of rounds that were already over.
        seen: directed edge -> incarnation and number of its newest message.
        outdated: directed edge -> latest incarnation of a sender whose frames of an earlier one were refused.
        named: directed edge -> latest incarnation of the receiver that its sender has named.
        gone: directed edges whose sender is not waited for, because it announced that it leaves or a wait timed out.
            Its next frame ends this. After repeated timeouts, frames count only after a pause, which doubles.
    """

    def __init__(
        self, codec: Codec, edges: Collection[int], rounds: int, seen: Mapping[int, tuple[int, int]] | None = None
    ) -> None:
        """Start empty.

        Args:
            codec: reads frames.
            edges: the directed edges that lead to this process.
            rounds: rounds of the run.
            seen: the newest messages of earlier incarnations. Defaults to none.
        """
        self.refused: Counter[str] = Counter()
        self.replaced = self.late = 0
        self.seen = dict(seen or {})
        self.outdated: dict[int, int] = {}
        self.named: dict[int, int] = {}
        self.gone: set[int] = set()
        self._timeouts: Counter[int] = Counter()  # since the last message in time
        self._closed_until: dict[int, float] = {}  # until then frames do not end a sender's being gone
        self._codec = codec
        self._rounds = rounds
        self._messages: dict[int, deque[Frame]] = {edge: deque() for edge in edges}
        self._heard_edges: set[int] = set()
        self._change = threading.Condition()

    def receive(self, edge: int, data: memoryview) -> None:
        """Accept a frame that came over a directed edge, or refuse and count it."""
        try:
            if edge not in self._messages:
                raise InvalidFrame("edge")
            frame = self._codec.read(edge, data)
            with self._change:
                self._take(edge, frame)
                self._change.notify_all()
        except InvalidFrame as refusal:
            with self._change:
                self.refused[str(refusal)] += 1

    def heard_edges(self) -> set[int]:
        """Return the directed edges over which any frame has come in this incarnation."""
        with self._change:
            return set(self._heard_edges)

    def give_up(self, edges: Iterable[int], seconds: float) -> None:
        """Stop waiting for the senders of these directed edges; ``seconds`` were lost by waiting for them."""
        with self._change:
            self._give_up(edges, seconds)

    def trust(self, edges: Iterable[int]) -> None:
        """Wait for the senders of these directed edges again: their messages came in time."""
        with self._change:
            for edge in edges:
                self.gone.discard(edge)
                self._timeouts.pop(edge, None)
                self._closed_until.pop(edge, None)

    def take_outdated(self) -> dict[int, int]:
        """Return ``outdated`` and clear it."""
        with self._change:
            outdated, self.outdated = self.outdated, {}
            return outdated

    def wait(self, edges: Iterable[int], round: int, until: float, is_over: Callable[[], bool]) -> list[int]:
        """Wait until every edge has a message of the round or a later one, or its sender is gone.

        Args:
            edges: directed edges.
            round: the round.
            until: the latest end, by ``time.monotonic()``. Senders that have not sent until then are gone afterwards.
            is_over: whether to stop waiting; checked regularly.

        Returns:
            The edges whose wait timed out.
        """

        def missing() -> list[int]:
            return [edge for edge in edges if edge not in self.gone and self._newest(edge) < round]

        with self._change:
            began = time.monotonic()
            while (remaining := until - time.monotonic()) > 0 and missing() and not is_over():
                self._change.wait(min(remaining, _LOOK))
            given_up = missing() if not is_over() else []
            self._give_up(given_up, time.monotonic() - began)
            return given_up

    def wait_for_change(self, seconds: float) -> None:
        """Wait until a frame comes, at most for ``seconds``."""
        with self._change:
            self._change.wait(seconds)

    def newest_rounds(self) -> dict[int, int]:
        """Return the latest round of the messages of each directed edge; -1 without a message."""
        with self._change:
            return {edge: self._newest(edge) for edge in self._messages}

    def take_round(self, round: int) -> dict[int, Frame]:
        """Remove and return the messages of a round by directed edge. Earlier messages are dropped, later ones stay."""
        with self._change:
            frames = {}
            for edge, messages in self._messages.items():
                while messages and messages[0].head.header.round <= round:
                    message = messages.popleft()
                    if message.head.header.round == round:
                        frames[edge] = message
                    else:
                        self.late += 1
            return frames

    def take_newest(self) -> dict[int, Frame]:
        """Remove and return the newest message of each directed edge; older messages are dropped."""
        with self._change:
            frames = {edge: messages[-1] for edge, messages in self._messages.items() if messages}
            self.replaced += sum(len(messages) for messages in self._messages.values()) - len(frames)
            for messages in self._messages.values():
                messages.clear()
            return frames

    def _give_up(self, edges: Iterable[int], seconds: float) -> None:
        now = time.monotonic()
        for edge in edges:
            self.gone.add(edge)
            self._closed_until[edge] = now + seconds * ((1 << min(self._timeouts[edge], _DOUBLINGS)) - 1)
            self._timeouts[edge] += 1

    def _newest(self, edge: int) -> int:
        return max((message.head.header.round for message in self._messages[edge]), default=-1)

    def _take(self, edge: int, frame: Frame) -> None:
        head = frame.head
        incarnation, sequence = self.seen.get(edge, (0, -1))
        if head.header.round >= self._rounds or not is_credible(head.incarnation, incarnation):
            raise InvalidFrame("header")
        if head.incarnation < incarnation:
            self.outdated[edge] = incarnation
            raise InvalidFrame("replayed")
        if head.kind is Kind.MESSAGE and (head.incarnation, head.header.sequence) <= (incarnation, sequence):
            raise InvalidFrame("replayed")
        if not head.header.is_consistent():
            raise InvalidFrame("header")
        self._heard_edges.add(edge)
        self.named[edge] = max(head.receiver_incarnation, self.named.get(edge, 0))
        if head.kind is Kind.BYE:
            self.gone.add(edge)
            return
        if time.monotonic() >= self._closed_until.get(edge, 0.0):
            self.gone.discard(edge)
        if head.kind is Kind.MESSAGE:
            self.seen[edge] = head.incarnation, head.header.sequence
            messages = self._messages[edge]
            if head.incarnation > incarnation:  # messages of an earlier incarnation are void
                messages.clear()
            messages.append(frame)
            if len(messages) > _KEPT:
                messages.popleft()
                self.replaced += 1
