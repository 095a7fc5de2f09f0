"""Usage of a run by the virtual clock, and the fate of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ngpd_fl.clock.conditions import Costs
from ngpd_fl.clock.events import Drop, Event, Notice, Read, Work


class Usage:
    """Totals over the events so far.

    Attributes:
        seconds: the time of the last event.
        computing: seconds that each node has computed, local steps that it left unfinished included.
        waiting: seconds that each node has waited for messages.
        sending: seconds for which each node's up-link was occupied.
        away: seconds that each node was away before it last returned.
        rounds: rounds that each node has done.
        messages: number of messages that each node has sent.
        taken: number of messages that were read.
        dropped: number of messages, and of copies, that were not read, by the reason.
        ages: number of messages read, by their age in rounds of their receiver.
    """

    def __init__(self, num_nodes: int, costs: Costs, mode: str = "synchronous") -> None:
        """Start with nothing used.

        Args:
            num_nodes: N.
            costs: the costs of computing and sending.
            mode: as in ``training.mode``, for the record.
        """
        self._costs = costs
        self._mode = mode
        self.seconds = 0.0
        self.computing = [0.0] * num_nodes
        self.waiting = [0.0] * num_nodes
        self.sending = [0.0] * num_nodes
        self.away = [0.0] * num_nodes
        self.rounds = [0] * num_nodes
        self.messages = [0] * num_nodes
        self.taken = 0
        self.dropped: Counter[str] = Counter()
        self.ages: Counter[int] = Counter()
        self._worked = [0.0] * num_nodes
        self._left: dict[int, float] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Add the events to the totals."""
        for event in events:
            self.seconds = event.time
            if isinstance(event, Work):
                self.computing[event.node] += event.time - event.began
                self.sending[event.node] += self._costs.uplink(event.node, len(event.sends))
                self.messages[event.node] += len(event.sends)
                self._worked[event.node] = event.time
            elif isinstance(event, Read):
                self.waiting[event.node] += event.time - self._worked[event.node]
                self.rounds[event.node] += 1
                self.taken += len(event.taken)
                self.ages.update(taken.age for taken in event.taken)
            elif isinstance(event, Drop):
                self.dropped[event.why] += 1
            elif isinstance(event, Notice) and event.what == "leaves":
                self._left[event.node] = event.time
                if event.began is not None:
                    self.computing[event.node] += event.time - event.began
            elif isinstance(event, Notice) and event.what == "returns":
                self.away[event.node] += event.time - self._left.pop(event.node, 0.0)

    def away_so_far(self) -> list[float]:
        """Return the seconds that each node was away, including the present absence of nodes that are away."""
        return [away + self.seconds - self._left.get(node, self.seconds) for node, away in enumerate(self.away)]

    @property
    def on_their_way(self) -> int:
        """Number of messages in flight: sent, but neither read nor dropped."""
        return sum(self.messages) - self.taken - sum(self.dropped.values()) + self.dropped["duplicate"]

    def record(self, message_bytes: Mapping[str, int], refused: int) -> dict[str, Any]:
        """Return the totals as they are recorded.

        Lists are by node. ``joules`` is null where a node's power is not known. ``staleness`` counts the messages that
        were read, by their age in rounds of their receiver; ``messages_dropped`` the others, by the reason. Of those
        read, ``messages_refused`` were refused by their receivers and the rest applied.

        Args:
            message_bytes: payload of one message, by field.
            refused: messages that their receivers have refused.
        """
        nodes, away, sent = range(len(self.rounds)), self.away_so_far(), sum(self.messages)
        joules = [
            self._costs.joules(node, self.seconds - away[node], self.computing[node], self.sending[node])
            for node in nodes
        ]
        known = [value for value in joules if value is not None]
        return {
            "mode": self._mode,
            "virtual_seconds": self.seconds,
            "joules": sum(known) if len(known) == len(joules) else None,
            "node_device": [self._costs.device(node) for node in nodes],
            "node_rounds": self.rounds,
            "node_compute_seconds": self.computing,
            "node_wait_seconds": self.waiting,
            "node_send_seconds": self.sending,
            "node_away_seconds": away,
            "node_joules": joules,
            "node_bytes_sent": [number * sum(message_bytes.values()) for number in self.messages],
            "bytes_by_field": {name: size * sent for name, size in message_bytes.items()},
            "messages_sent": sent,
            "messages_taken": self.taken - refused,
            "messages_refused": refused,
            "messages_on_their_way": self.on_their_way,
            "messages_dropped": dict(self.dropped),
            "staleness": {str(age): count for age, count in sorted(self.ages.items())},
        }

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values; ``load`` restores it."""
        values = {name: value for name, value in vars(self).items() if name not in ("_costs", "_mode")}
        return values | {name: [list(item) for item in values[name].items()] for name in self._TABLES}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        for name, value in state.items():
            setattr(self, name, type(getattr(self, name))(dict(value)) if name in self._TABLES else value)

    _TABLES = ("dropped", "ages", "_left")
