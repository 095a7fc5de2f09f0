"""The naive engine by the clock: event after event, one node at a time; against it the event-driven engine is held.

It shares no code with ``ngpd_fl.engines`` but the settings. Messages lie in a dictionary, and what a sender had taken
in when it wrote is kept with each message as a set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.clock import Read, Work
from ngpd_fl.engines import EngineSettings
from strategies import Headers, Phase, RoundView
from tests.support.naive import NaiveNetwork

Key = tuple[int, int]
"""(directed edge, messages sent over it before)."""


def is_real(value: Tensor) -> bool:
    """Whether these are real numbers: others say which these are, and are neither corrupted nor refused."""
    return value.is_floating_point()


class Posted(NamedTuple):
    """A message: its content, what its sender had taken in from its receiver, and the sender's parameters."""

    content: dict[str, Tensor]
    known: frozenset[int]
    params: Tensor


class NaiveEvents(NaiveNetwork):
    """Runs one algorithm by a timeline; made as ``NaiveNetwork`` is, with ``events``."""

    def __init__(self, settings: EngineSettings, events: Any, tampering: Any = None) -> None:
        super().__init__(settings)
        self.events = events
        self.faults = tampering  # a FaultsConfig, or None
        self.refused = 0
        self.last_step = settings.rounds * self.local_steps - 1
        edges = self.topology.edges.tolist()
        self.pair = {2 * e + side: pair for e, (i, j) in enumerate(edges) for side, pair in enumerate([(i, j), (j, i)])}
        self.number = {pair: edge for edge, pair in self.pair.items()}
        self.mail: dict[Key, Posted] = {}
        self.sent: dict[int, list[int]] = {edge: [] for edge in self.pair}
        self.taken: dict[int, list[int]] = {edge: [] for edge in self.pair}
        self.outbox: dict[int, Any] = {}
        self.ended: dict[int, Tensor] = {}
        self.news: dict[int, Posted] = {}

    def lr_scale(self, step: int) -> float:
        return super().lr_scale(min(step, self.last_step))

    def run_round(self) -> None:
        for event in self.events.advance():
            if isinstance(event, Work):
                self.work(event)
            elif isinstance(event, Read):
                self.read(event)
                self.ended[event.node] = self.strategy.estimate(self.states[event.node])

    def params(self) -> Tensor:
        """Every node's parameters when it ended its last round, ``[N, P]``."""
        return torch.stack([self.ended.get(node, self.start) for node in self.nodes])

    def work(self, event: Work) -> None:
        """One node's local steps, and what it sends."""
        node = event.node
        first = event.round * self.local_steps
        for step in range(first, first + self.local_steps):
            self.local_step(node, step, Phase(True, True) if event.renew and step == first else None)
        view = self.view_of(node, event.round, {})
        self.outbox[node] = self.strategy.outgoing(self.states[node], self.views[node], view)
        corrupt, byzantine = self.tampering_of(node, event.time)
        if byzantine is not None and corrupt is None:
            self.outbox[node] = self.tampered(self.outbox[node], byzantine, node, event.round)
        assert [key[0] for key in event.sends] == sorted(self.number[pair] for pair in self.pairs(node, event.round))
        for edge, sequence in event.sends:
            assert sequence == len(self.sent[edge])
            self.sent[edge].append(sequence)
            content = self.addressed(self.outbox[node], self.neighbors[node].index(self.pair[edge][1]))
            if corrupt is not None:
                wrong = 1e30 if corrupt.kind == "huge" else float("nan")
                content = {
                    name: torch.full_like(value, wrong) if is_real(value) else value for name, value in content.items()
                }
            known = frozenset(self.taken[edge ^ 1])
            self.mail[edge, sequence] = Posted(content, known, self.strategy.estimate(self.states[node]))

    def read(self, event: Read) -> None:
        """One node takes in its news."""
        node = event.node
        self.news = {self.pair[taken.edge][0]: self.mail[taken.edge, taken.sequence] for taken in event.taken}
        rounds = {self.pair[taken.edge][0]: taken.round for taken in event.taken}
        ages = {self.pair[taken.edge][0]: taken.age for taken in event.taken}
        if self.faults is not None and (self.faults.corrupt or self.faults.byzantine):
            self.news = {other: posted for other, posted in self.news.items() if self.accepts(node, other, posted)}
        arrived = {other: posted.content for other, posted in self.news.items()}
        sends = self.pairs(node, event.round)
        bitmaps = []
        for other in self.neighbors[node]:
            before = [s for s in self.sent[self.number[node, other]]]
            if (node, other) in sends:
                before.pop()
            known = self.news[other].known if other in self.news else frozenset()
            assert known <= set(before)
            bitmaps.append(sum(1 << k for k, s in enumerate(reversed(before)) if s in known and k < 63))
        headers = Headers(
            received=torch.tensor([other in arrived for other in self.neighbors[node]]),
            applied=torch.tensor(bitmaps, dtype=torch.int64),
            age=torch.tensor([ages[other] if other in arrived else 0 for other in self.neighbors[node]]),
            reset=torch.zeros(len(self.neighbors[node]), dtype=torch.bool),
        )
        view = self.view_of(node, event.round, rounds)
        self.states[node] = self.incoming(node, view, arrived, self.outbox[node], headers)
        for each in event.taken:
            assert each.sequence > max(self.taken[each.edge], default=-1)
            if self.pair[each.edge][0] in arrived:
                self.taken[each.edge].append(each.sequence)
        self.refused += len(event.taken) - len(arrived)

    def tampering_of(self, node: int, time: float) -> tuple[Any, Any]:
        """The faults of what a node sends at a time: corrupt or byzantine, where there is one."""
        if self.faults is None:
            return None, None
        found = [
            next((each for each in faults if each.node == node and each.at_s <= time < (each.until_s or 1e300)), None)
            for faults in (self.faults.corrupt, self.faults.byzantine)
        ]
        return found[0], found[1]

    def tampered(self, message: Any, fault: Any, node: int, round: int) -> Any:
        """What a Byzantine node sends in the place of its message."""
        chance = np.random.Generator(np.random.Philox(key=[0, 0], counter=[0, round, node, 15]))
        for name, value in message._asdict().items():
            if not is_real(value):
                continue
            if fault.kind == "sign-flip":
                value = -fault.scale * value
            else:  # one draw for all neighbors
                value = value + fault.scale * torch.tensor(chance.standard_normal(value.shape[-1:]))
            message = message._replace(**{name: value})
        return message

    def accepts(self, node: int, other: int, posted: Posted) -> bool:
        """Whether a message is made of numbers, and not much longer than the one that was sent the other way."""
        own = self.addressed(self.outbox[node], self.neighbors[node].index(other))
        return all(
            bool(value.isfinite().all())
            and (not value.dim() or float(value.norm()) <= self.faults.refuse_above * float(own[name].norm()))
            for name, value in posted.content.items()
            if is_real(value)
        )

    def pairs(self, node: int, round: int) -> set[tuple[int, int]]:
        """The pairs on which a node sends in a round."""
        self.round = round
        return {pair for pair in self.sends() if pair[0] == node}

    def view_of(self, node: int, round: int, rounds: dict[int, int]) -> RoundView:
        """What a node knows of the graph of its round; messages of other rounds weigh what they weigh there."""
        self.round = round
        view = self.round_view(node, self.sends())
        if all(each == round for each in rounds.values()) or self.topology.is_static:
            return view
        weights = {
            other: float(self.topology.weights(each).matrix().toarray()[node, other]) for other, each in rounds.items()
        }
        total, most = sum(weights.values()), len(weights) / (len(weights) + 1)
        scale = min(1.0, most / total)
        return view._replace(
            weight_in=self.start.new_tensor([scale * weights.get(other, 0.0) for other in self.neighbors[node]])
        )

    def sent_params(self, node: int, other: int) -> Tensor:
        """The parameters of ``other`` when it sent what ``node`` takes in now."""
        return self.news[other].params
