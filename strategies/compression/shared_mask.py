"""Edge consensus that sends some entries of each message: those that a key picks, the same at both ends.

C-ECL: Takezawa, Niwa, Yamada, "Communication compression for decentralized learning with operator splitting methods",
IEEE TSIPN 9, 2023, arXiv:2205.03779. With a mask o that both ends know, the exchange of ``edge_consensus`` becomes

    z_i|j <- z_i|j + theta mask_ij o (y_j|i - z_i|j)                                                             (1)

A mask is linear: that of the difference is the difference of what i has and what came, so that no copies have to be
kept, and a lost message does no harm. An entry that was not sent is as if the edge were not active in this round,
for this entry; the force goes on over all edges. Hence (1) has the exact fixed point of the whole exchange.

The entries are picked by the sender's round, which is sent with the message, and by the edge. In one round both
directions of an edge carry the same ones, so that the two ends move together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from strategies.compression.codecs import make_key
from strategies.compression.options import RandomK, Values
from strategies.compression.wrapper import Wrapped
from strategies.contract import Headers, RoundView, State, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.edge_consensus import EdgeMessage


class MaskedMessage(NamedTuple):
    """Entries of y_i|j for every neighbor, ``[D, k]``, and what picked them, int32 ``[]``."""

    dual_values: Tensor
    key: Tensor


@dataclass(frozen=True)
class SharedMask(Wrapped):
    """An algorithm of edge consensus whose options ask for random-k; see ``Strategy``."""

    def outgoing(self, state: State, view: View, round_view: RoundView) -> MaskedMessage:
        """Return the entries of this round."""
        message: EdgeMessage = self.strategy.outgoing(state, view, round_view)
        values = self._codec.encode(message.dual, _keys(round_view.round, view)).values
        return MaskedMessage(values, round_view.round.to(torch.int32))

    def incoming(
        self,
        state: State,
        view: View,
        round_view: RoundView,
        inbox: MaskedMessage,
        outbox: MaskedMessage,
        headers: Headers,
    ) -> State:
        """Apply the entries that arrived, with nan in place of all others."""
        size = self.strategy.estimate(state).shape[-1]
        theirs, own = (
            EdgeMessage(self._codec.decode(Values(message.dual_values), _keys(message.key, view), size, math.nan))
            for message in (inbox, outbox)
        )
        return self.strategy.incoming(state, view, round_view, theirs, own, headers)

    @property
    def _codec(self) -> RandomK:
        codec = self.options.compress
        assert isinstance(codec, RandomK)
        return codec


def _keys(round: Tensor, view: View) -> Tensor:
    """Return the key of each slot's edge, int64 ``[D]``, in a ``round``, ``[]`` or of each slot ``[D]``."""
    low, high = torch.minimum(view.node, view.neighbor), torch.maximum(view.node, view.neighbor)
    return make_key(round, low * view.num_nodes + high)
