"""The links between nodes: which edges are active in a round, which messages arrive, what their headers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.core.message_loss import traffic
from ngpd_fl.engines.blocks import Block
from strategies import Headers, RoundView
from topologies import Topology

_WIDTH = 63
_BITMAP = (1 << _WIDTH) - 1


class Round(NamedTuple):
    """One round of the network; arrays over directed edges have 2 E + 1 entries, the last for "no edge".

    They lie on the host, where messages are asked after one by one.

    Attributes:
        number: the round, from 0.
        sent: directed edges on which a message is sent, bool ``[2 E + 1]``.
        delivered: directed edges whose message arrives, bool ``[2 E + 1]``.
        weight: what the edge's receiver gives to its sender's value, float ``[2 E + 1]``.
        weight_own: W_ii, float ``[N]``.
    """

    number: int
    sent: Tensor
    delivered: Tensor
    weight: Tensor
    weight_own: Tensor


class EdgeHeader(NamedTuple):
    """What a message says about its edge, apart from its content.

    Attributes:
        sequence: messages that its sender had sent over the edge before.
        newest: sequence number of the newest message that its sender has applied of those that came the other way,
            -1 where there is none.
        bitmap: bit k says that the one numbered ``newest - k`` was applied.
        round: its sender's round.
    """

    sequence: int
    newest: int
    bitmap: int
    round: int


class _Placed(NamedTuple):
    """What the nodes on a device need to know of a round; arrays over directed edges, but for ``weight_own [N]``."""

    sent: Tensor
    delivered: Tensor
    weight: Tensor
    weight_own: Tensor
    applied: Tensor
    age: Tensor
    reset: Tensor


class EdgeState:
    """The state of every link: how many messages were sent over it, and which of them the receiving end has applied.

    Where both ends are computed in this process all of it is known. Of a link that leads elsewhere, what the other end
    has applied is known from the newest message that came from there (``told``).
    """

    def __init__(
        self, topology: Topology, message_loss: float, seed: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Start with nothing sent.

        Args:
            topology: the graph and its schedule.
            message_loss: probability that a message is lost.
            seed: keys the draws of lost messages.
            dtype: type of the mixing weights.
            device: where the nodes are; what they see of a round is copied there once.
        """
        self._topology = topology
        self._message_loss = message_loss
        self._seed = seed
        self._dtype = dtype
        self._device = device
        directed = 2 * len(topology.edges) + 1
        self._sequence = torch.zeros(directed, dtype=torch.int64)
        self._newest = torch.full((directed,), -1, dtype=torch.int64)
        self._bitmap = torch.zeros(directed, dtype=torch.int64)
        self._is_reset = torch.zeros(directed, dtype=torch.bool)
        self._age = torch.zeros(directed, dtype=torch.int64)
        self._last_placed: tuple[Round, _Placed] | None = None

    def open(self, number: int) -> Round:
        """Return round ``number``: what is active and what arrives, functions of (seed, round) alone."""
        sent, delivered = traffic(self._topology, self._message_loss, self._seed, number)
        weights = self._topology.weights(number)
        # weights.edge[e] = (W_ij, W_ji): i receives on directed edge 2 e + 1, j on 2 e.
        weight = np.append(weights.edge[:, ::-1].reshape(-1), 0.0)
        return Round(
            number,
            self._tensor(np.append(sent, False)),
            self._tensor(np.append(delivered, False)),
            self._tensor(weight),
            self._tensor(weights.own),
        )

    def view(self, round: Round, block: Block) -> RoundView:
        """Return what the block's nodes know of the round, every field with a leading axis n."""
        placed = self._placed(round)
        return RoundView(
            round=torch.full_like(block.nodes, round.number),
            sends=placed.sent[block.out_edge],
            receives=placed.sent[block.in_edge],
            weight_own=placed.weight_own[block.nodes],
            weight_in=placed.weight[block.in_edge],
            weight_out=placed.weight[block.out_edge],
        )

    def headers(self, round: Round, block: Block) -> Headers:
        """Return the headers of the messages that the block's nodes get; call before ``close``."""
        placed = self._placed(round)
        return Headers(
            received=placed.delivered[block.in_edge],
            applied=placed.applied[block.out_edge],
            age=placed.age[block.in_edge],
            reset=placed.reset[block.in_edge],
        )

    def slip(self, round: Round, edge: int) -> EdgeHeader:
        """Return what a round's message over a directed edge says; call before ``close``."""
        reverse = edge ^ 1
        return EdgeHeader(
            int(self._sequence[edge]), int(self._newest[reverse]), int(self._bitmap[reverse]), round.number
        )

    def told(self, round: Round, slips: Mapping[int, EdgeHeader]) -> Round:
        """Take in what messages from elsewhere say; return the round, in which they have come. Call before ``headers``.

        A message of another round weighs what it weighs in that one. Where a node gets one, the weights of all its
        messages might exceed one in sum: of h messages it is h / (h + 1) at most, to which they are scaled down.
        """
        self._last_placed = None
        delivered = round.delivered.clone()
        for edge, slip in slips.items():
            reverse = edge ^ 1
            self._sequence[edge] = slip.sequence
            self._newest[reverse], self._bitmap[reverse] = slip.newest, slip.bitmap
            self._age[edge] = max(0, round.number - slip.round)
            delivered[edge] = True
        round = round._replace(delivered=delivered)
        others = {edge: slip.round for edge, slip in slips.items() if slip.round != round.number}
        return round if self._topology.period == 1 else round._replace(weight=self._weights_of_rounds(round, others))

    def sent(self, edge: int) -> int:
        """Return how many messages were sent over a directed edge."""
        return int(self._sequence[edge])

    def reset(self, edges: Sequence[int], *, own: bool) -> None:
        """Note that one end of these directed edges, which lead here, has gone back to an earlier state.

        What the other end has applied of the messages to it is not known, nor, unless it is this end that went back
        (``own``), what of its new messages was applied here: none. The next message over the edge says so to the node.
        """
        self._last_placed = None
        for edge in edges:
            reverse = edge ^ 1
            self._is_reset[edge] = True
            self._newest[reverse], self._bitmap[reverse] = -1, 0
            if own:
                self._sequence[reverse] = 0
            else:
                self._newest[edge], self._bitmap[edge] = -1, 0

    def close(self, round: Round) -> None:
        """Note what was sent and what was applied."""
        ahead = (self._sequence - self._newest).clamp(max=_WIDTH)
        shifted = torch.where(ahead < _WIDTH, self._bitmap << ahead.clamp(max=_WIDTH - 1), 0)
        self._bitmap = torch.where(round.delivered, (shifted & _BITMAP) | 1, self._bitmap)
        self._newest = torch.where(round.delivered, self._sequence, self._newest)
        self._is_reset &= ~round.delivered
        self._sequence = self._sequence + round.sent
        self._last_placed = None

    def state(self) -> dict[str, Tensor]:
        """Return everything that changes over a run, to be stored; ``load`` takes it back."""
        return {
            "sequence": self._sequence,
            "newest": self._newest,
            "bitmap": self._bitmap,
            "is_reset": self._is_reset,
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned."""
        self._sequence, self._newest, self._bitmap, self._is_reset = (
            state[name].clone() for name in ("sequence", "newest", "bitmap", "is_reset")
        )
        self._last_placed = None

    def _placed(self, round: Round) -> _Placed:
        """Return what the nodes see of a round, on their device."""
        if self._last_placed is None or self._last_placed[0] is not round:
            later = self._sequence - 1 - self._newest  # messages sent after the newest that was applied
            applied = torch.where(later < _WIDTH, (self._bitmap << later.clamp(max=_WIDTH - 1)) & _BITMAP, 0)
            seen = (*round[1:], applied, self._age, self._is_reset)
            self._last_placed = round, _Placed(*(array.to(self._device) for array in seen))
        return self._last_placed[1]

    def _weights_of_rounds(self, round: Round, others: Mapping[int, int]) -> Tensor:
        """Return the weights ``[2 E + 1]``, with those of messages of other rounds (by directed edge) as in these."""
        weight = round.weight.clone()
        receivers = self._topology.edges[:, ::-1].reshape(-1)
        for edge, number in others.items():
            weight[edge] = float(self._topology.weights(number).edge[edge // 2, 1 - edge % 2])
        for node in {int(receivers[edge]) for edge in others}:
            edges = [edge for edge in np.flatnonzero(receivers == node).tolist() if round.delivered[edge]]
            most, total = len(edges) / (len(edges) + 1), float(weight[edges].sum())
            if total > most:
                weight[edges] *= most / total
        return weight

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self._dtype if array.dtype.kind == "f" else None)
