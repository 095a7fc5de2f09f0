"""Compressed messages with error feedback: what is sent is the difference to what the neighbors know already.

CHOCO-Gossip: Koloskova, Stich, Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed
communication", ICML 2019. Of each value x_i that node i sends there is a public copy x^_i, the same at i and at all
its neighbors. Once a round, with Q a contraction (``codecs``),

    send q_i = Q(x_i - x^_i),   x^_i <- x^_i + q_i at both ends                                                  (1)
    x_i <- x_i + gamma sum_j W_ij (x^_j - x^_i)                                                                  (2)

The algorithm inside knows nothing of it: it receives x_i + gamma (x^_j - x^_i) as the message of neighbor j, which
turns its own averaging, w_i + sum_j W_ij (received_j - w_i), into (2). What Q leaves out is sent later: at rest
every copy is exact, and the algorithm rests where it would with W' = I + gamma (W - I).

**Edge consensus** has a y_i|j, and so a copy, for every neighbor. It goes on with the copies, the same at both ends,
in place of the exact messages; relaxation (theta) replaces gamma. The idea is that of LEAD (Liu, Li, Wang, Tang,
Yan, "Linear convergent decentralized optimization with compression", ICLR 2021), whose proof does not cover this
method: with theta <= 1/2 it came to rest at the exact minimizer in every trial; with theta = 1, which damps nothing, 2
and 4 bits did not. So theta > 1/2 is refused.

The copies start at the messages of the nodes' common start, which all of them know (in edge consensus
y_j|i = -y_i|j). They stay the same at both ends only if every message arrives, once.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from strategies.compression.codecs import make_key
from strategies.compression.options import Compression
from strategies.compression.wrapper import Wrapped
from strategies.contract import Headers, Message, Phase, RoundView, State, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions


class ErrorFeedbackState(NamedTuple):
    """The algorithm's state, and public copies of messages: of the own one, and of the neighbors', ``[D, ...]``."""

    inner: State
    own: Message
    heard: Message


@dataclass(frozen=True)
class ErrorFeedback(Wrapped):
    """An algorithm whose options ask for a compression, its differences sent; see ``Strategy``."""

    def init(self, params: Tensor, view: View) -> ErrorFeedbackState:
        """Start as the algorithm does, with copies of every node's current message."""
        inner = self.strategy.init(params, view)
        own = self.strategy.outgoing(inner, view, _idle(view))
        heard = {
            name: -value if name in self.options.spec.per_edge else value.repeat(len(view.exists), 1)
            for name, value in own._asdict().items()
        }
        return ErrorFeedbackState(inner, own, type(own)(**heard))

    def local_step(
        self, state: ErrorFeedbackState, view: View, step: Step, phase: Phase
    ) -> tuple[ErrorFeedbackState, StepInfo]:
        """Do the algorithm's step."""
        inner, info = self.strategy.local_step(state.inner, view, step, phase)
        return state._replace(inner=inner), info

    def outgoing(self, state: ErrorFeedbackState, view: View, round_view: RoundView) -> Message:
        """Return Q(x - x^) of each field."""
        exact = self.strategy.outgoing(state.inner, view, round_view)
        key = make_key(round_view.round, view.node)
        parts: dict[str, Tensor] = {}
        for name, value in exact._asdict().items():
            difference = self._codec.encode(value - getattr(state.own, name), key)
            parts |= {f"{name}_{part}": tensor for part, tensor in difference._asdict().items()}
        if self._codec.has_key:
            parts["key"] = round_view.round.to(torch.int32)
        return message_type(*parts)(**parts)

    def incoming(
        self,
        state: ErrorFeedbackState,
        view: View,
        round_view: RoundView,
        inbox: Message,
        outbox: Message,
        headers: Headers,
    ) -> ErrorFeedbackState:
        """Bring the copies up to date; then let the algorithm average with what they make of its neighbors."""
        exact = self.strategy.outgoing(state.inner, view, round_view)
        own, heard, received, sent = {}, {}, {}, {}
        for name, value in exact._asdict().items():
            size = value.shape[-1]
            before, theirs = getattr(state.own, name), getattr(state.heard, name)
            own[name] = before + self._decoded(name, outbox, view.node, size)
            news = theirs + self._decoded(name, inbox, view.neighbor, size)
            heard[name] = torch.where(headers.received[:, None], news, theirs)
            if name in self.options.spec.per_edge:
                received[name], sent[name] = heard[name], own[name]
            else:
                received[name], sent[name] = value + self._gossip_step * (heard[name] - own[name]), value
        make = type(exact)
        inner = self.strategy.incoming(state.inner, view, round_view, make(**received), make(**sent), headers)
        return ErrorFeedbackState(inner, make(**own), make(**heard))

    def estimate(self, state: ErrorFeedbackState) -> Tensor:
        """Return the algorithm's parameters."""
        return self.strategy.estimate(state.inner)

    @property
    def _codec(self) -> Compression:
        assert self.options.compress is not None
        return self.options.compress

    @property
    def _gossip_step(self) -> float:
        assert isinstance(self.options, CompressibleGossipOptions)
        return self.options.gossip_step or self._codec.gossip_step

    def _decoded(self, name: str, message: Message, sender: Tensor, size: int) -> Tensor:
        """Return what a message says of a field, from a ``sender []`` or, in an inbox, from each, ``[D]``."""
        parts = (getattr(message, f"{name}_{part}") for part in self._codec.parts._fields)
        key = make_key(message.key, sender) if self._codec.has_key else sender
        return self._codec.decode(self._codec.parts(*parts), key, size)


@lru_cache(None)
def message_type(*fields: str) -> type[Any]:
    """Return the named tuple with these fields, always the same one."""
    return namedtuple("Compressed", fields)


def _idle(view: View) -> RoundView:
    """Return a round in which nobody sends."""
    none, nothing = torch.zeros_like(view.exists), torch.zeros_like(view.sign)
    return RoundView(torch.zeros_like(view.node), none, none, torch.ones_like(nothing.sum()), nothing, nothing)
