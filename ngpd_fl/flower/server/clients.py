"""The server's view of the clients: their identities, pending messages, and problems."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.events import ClientEvent, WaitingEvent, emit
from ngpd_fl.flower.server.flower_errors import dead_process, shortened_reason

_POLL = 0.02
"""Seconds between two polls for answers."""

_SETTLED = 3.0
"""Seconds after which no further client is expected if all are made at once."""

_REMIND = 15.0
"""Seconds between two lines that report the wait for clients."""

_RESENT_FOR = 5.0
"""Seconds for which messages are sent again while no process answers: Ray may fail to reach a busy one for a moment."""

_ALIKE = ("dataset.toml", "partition", "groups", "inputs", "parameters", "measure", "evaluated-on", "common-examples")
"""Keys of the first query's answer that must be equal for all clients."""


class Unfit(ValueError):
    """The clients are not those that the run needs; the message is one line, meant for the user."""


class Interrupted(RuntimeError):
    """The run is to end before its time."""


class _PendingMessage(NamedTuple):
    """A pending message: its client, its round, and its exchange of messages."""

    client: int
    round: int
    exchange: int


class Clients:
    """All clients of a run, by their numbers 0, 1, ...

    Attributes:
        identities: the answer of each client to the first query.
        events: the problems so far.
    """

    def __init__(self, grid: Grid, code: str, end_requested: threading.Event) -> None:
        """Prepare for clients that are not known yet.

        Args:
            grid: Flower's grid.
            code: the fingerprint of the server's code.
            end_requested: set when the run must end at once.
        """
        self._grid = grid
        self._end_requested = end_requested
        self._code = code
        self._node_id: dict[int, int] = {}
        self._open: dict[str, _PendingMessage] = {}
        self._exchanges = 0
        self._dead: set[str] = set()
        self._last_problem: dict[int, str] = {}
        self.identities: dict[int, Mapping[str, Any]] = {}
        self.events: list[ClientEvent] = []

    def meet(self, count: int, timeout: float, *, simulated: bool = False) -> None:
        """Wait until ``count`` clients are connected, and query their identities.

        Args:
            count: the required number of clients.
            timeout: seconds to wait for them, and for their answers.
            simulated: whether they are all made at once, so that no further one comes later.

        Raises:
            Unfit: they do not come, answer with an error, run other code, or are not clients 0 to ``count - 1``.
        """
        node_ids = self._gather(count, timeout, simulated)
        self._node_id = dict(enumerate(node_ids))  # in any order, until their own numbers are known
        answers = self.ask(MessageType.QUERY, {client: RecordDict() for client in self._node_id}, -1, timeout)
        failed = [event for event in self.events if event.client not in answers]
        node_id_of: dict[int, int] = {}
        for place, answer in answers.items():
            values = wire.config_of(answer)
            client = values["client"]
            if values["code"] != self._code:
                raise Unfit(
                    f"client {client} runs other code ({values['code']}) than the server ({self._code}): start it from "
                    "the same version, and start the SuperLink outside other checkouts"
                )
            if client in node_id_of:
                raise Unfit(f"partition-id: two clients say that they are number {client}")
            node_id_of[client], self.identities[client] = self._node_id[place], values
        if failed:
            raise Unfit(f"a client cannot take part: {failed[0].what}")
        if missing := sorted(set(range(count)) - node_id_of.keys()):
            raise Unfit(f"partition-id: nobody is client {missing[0]}; allowed: 0 to {count - 1}, each once")
        self._node_id = node_id_of
        self._compare()

    def _gather(self, count: int, timeout: float, simulated: bool) -> list[int]:
        """Wait until ``count`` clients are connected, reporting their number meanwhile; return Flower's ids of them."""
        began = changed = reported = time.monotonic()
        there = -1
        while len(node_ids := list(self._grid.get_node_ids())) < count:
            now = time.monotonic()
            is_news, there = len(node_ids) != there, len(node_ids)
            changed = now if is_news else changed
            if now > began + timeout or (simulated and there and now > changed + _SETTLED):
                remedy = f'run with --federation-config "num-supernodes={count}"' if simulated else "connect the others"
                raise Unfit(
                    f"{there} of {count} clients are there: {remedy}, or give each more nodes (nodes-per-client)"
                )
            if not simulated and (is_news or now > reported + _REMIND):
                reported = now
                emit(WaitingEvent(connected=there, expected=count))
            self.wait(0.1)
        return node_ids

    def label_counts(self) -> NDArray[np.int64]:
        """Return each node's number of training examples per group, ``[N, G]``, as the clients report it."""
        identities = [self.identities[client] for client in sorted(self.identities)]
        return np.concatenate([np.reshape(values["label-counts"], (-1, values["groups"])) for values in identities])

    def _compare(self) -> None:
        """Raise ``Unfit`` if two clients differ in a property that all must share."""
        first = min(self.identities)
        for client, values in sorted(self.identities.items()):
            for key in _ALIKE:
                if values[key] != self.identities[first][key]:
                    raise Unfit(
                        f"clients {first} and {client} do not have data that fit: they differ in {key} "
                        f"({_shown(self.identities[first][key])} and {_shown(values[key])})"
                    )

    def ask(self, kind: str, contents: Mapping[int, RecordDict], round: int, timeout: float) -> dict[int, RecordDict]:
        """Send each client its message and return the answers that come in time, by client.

        A client that has not answered an earlier message is busy and left out. Ray does not replace a process that
        dies, and goes on giving it messages, which fail at once: these are sent again, for some time also if none gets
        through.
        """
        self._note_late(self._pull())
        busy = {pending.client for pending in self._open.values()}
        for client in sorted(busy & contents.keys()):
            self.note(round, client, "is still busy with an earlier message: left out until it answers")
        waiting = {client: content for client, content in contents.items() if client not in busy}
        answers: dict[int, RecordDict] = {}
        answered = time.monotonic()
        while waiting:
            new_answers, unsent = self._exchange(kind, waiting, round, timeout)
            answers |= new_answers
            now = time.monotonic()
            if new_answers:
                answered = now
            elif unsent and now > answered + _RESENT_FOR:
                for client in unsent:
                    self.note(round, client, "was given to a process that is dead")
                break
            waiting = {client: waiting[client] for client in unsent}
        return answers

    def _exchange(
        self, kind: str, contents: Mapping[int, RecordDict], round: int, timeout: float
    ) -> tuple[dict[int, RecordDict], list[int]]:
        """Send messages and wait; return the answers, and the clients whose message went to one known to be dead."""
        self._exchanges += 1
        for client, content in contents.items():
            message = Message(content, self._node_id[client], kind, group_id=str(round))
            for message_id in self._grid.push_messages([message]):
                self._open[message_id] = _PendingMessage(client, round, self._exchanges)
        deadline = time.monotonic() + timeout
        answers: dict[int, RecordDict] = {}
        unsent = []
        while self._awaited():
            is_late = time.monotonic() > deadline  # checked first: answers that are there by now count
            for pending, reply in self._pull():
                if pending.exchange != self._exchanges:
                    self._note_late([(pending, reply)])
                elif reply.has_error():
                    reason = reply.error.reason or f"error {reply.error.code}"
                    dead = dead_process(reason)
                    if dead in self._dead:
                        unsent.append(pending.client)
                    elif dead:
                        self._dead.add(dead)
                        self.note(round, pending.client, "died with its process; Flower's simulation starts no other")
                    else:
                        self.note(round, pending.client, shortened_reason(reason))
                else:
                    self._last_problem.pop(pending.client, None)
                    answers[pending.client] = reply.content
            if is_late:
                for pending in self._awaited():
                    self.note(round, pending.client, "did not answer in time")
                break
            self.wait(_POLL)
        return answers, unsent

    def _awaited(self) -> list[_PendingMessage]:
        """Return the pending messages of the present exchange."""
        return [pending for pending in self._open.values() if pending.exchange == self._exchanges]

    def wait(self, seconds: float) -> None:
        """Wait; raise ``Interrupted`` if the run must end at once."""
        if self._end_requested.wait(seconds):
            raise Interrupted("Flower was asked to end")

    def _pull(self) -> list[tuple[_PendingMessage, Message]]:
        """Return new answers, each with its pending message; a second answer to the same message is ignored."""
        replies = self._grid.pull_messages(list(self._open)) if self._open else []
        answers = []
        for reply in replies:
            pending = self._open.pop(reply.metadata.reply_to_message_id, None)
            if pending is not None:
                answers.append((pending, reply))
        return answers

    def _note_late(self, replies: Iterable[tuple[_PendingMessage, Message]]) -> None:
        for pending, reply in replies:
            what = "failed late" if reply.has_error() else "answered late; not used"
            self.note(pending.round, pending.client, what)

    def note(self, round: int, client: int, what: str) -> None:
        """Record and report a problem; once, until the client has answered again."""
        if self._last_problem.get(client) == what:
            return
        self._last_problem[client] = what
        self.events.append(ClientEvent(round=round, client=client, what=what))
        emit(self.events[-1])


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
