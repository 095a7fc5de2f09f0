"""The state of the edges between synchronous nodes: what was sent, what arrived, what was applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.core.directed_edges import EdgeHeader, receivers, reverse
from ngpd_fl.core.message_loss import traffic
from ngpd_fl.engines.acknowledgements import Acknowledgements, applied_before
from ngpd_fl.engines.blocks import Block
from ngpd_fl.engines.round_graphs import RoundGraphs
from strategies import Headers, RoundView
from topologies import Topology


class Round(NamedTuple):
    """One round of the network; arrays over directed edges have 2 E + 1 entries, the last for "no edge".

    They lie on the host, where messages are looked up one by one.

    Attributes:
        number: the round, from 0.
        sent: directed edges on which a message is sent, bool ``[2 E + 1]``.
        delivered: directed edges whose message arrives, bool ``[2 E + 1]``.
        weight: what the edge's receiver gives to its sender's value, float64 ``[2 E + 1]``.
        weight_own: W_ii, float64 ``[N]``.
    """

    number: int
    sent: NDArray[np.bool_]
    delivered: NDArray[np.bool_]
    weight: NDArray[np.float64]
    weight_own: NDArray[np.float64]


class _Placed(NamedTuple):
    """A round as nodes on a device need it; tensors over directed edges, but for ``weight_own [N]``."""

    sent: Tensor
    delivered: Tensor
    weight: Tensor
    weight_own: Tensor
    applied: Tensor
    age: Tensor
    reset: Tensor


class EdgeState:
    """The messages over every directed edge: how many were sent, and which of them the receiver has applied.

    Where both ends are computed in this process all of it is known. Of an edge to another process, what the other end
    has applied is known from the newest message that came from there (``receive``).
    """

    def __init__(self, topology: Topology, message_loss: float, seed: int, like: Tensor) -> None:
        """Start with nothing sent.

        Args:
            topology: the graph and its schedule.
            message_loss: probability that a message is lost.
            seed: keys the draws of lost messages.
            like: a tensor with the dtype of the mixing weights.
        """
        self._topology = topology
        self._graphs = RoundGraphs(topology)
        self._message_loss = message_loss
        self._seed = seed
        self._like = like
        self._acknowledgements = Acknowledgements(len(topology.edges))
        self._receivers = receivers(topology.edges)
        directed = len(self._receivers) + 1
        self._is_reset = np.zeros(directed, dtype=bool)
        self._age = np.zeros(directed, dtype=np.int64)
        self._last_placed: tuple[Round, dict[torch.device, _Placed]] | None = None

    def open(self, number: int) -> Round:
        """Return round ``number``: what is active and what arrives, functions of (seed, round) alone."""
        graph = self._graphs(number)
        delivered = traffic(self._topology, self._message_loss, self._seed, number).delivered
        return Round(number, graph.sent, np.append(delivered, False), graph.weight, graph.weight_own)

    def view(self, round: Round, block: Block) -> RoundView:
        """Return what the block's nodes know of the round, every field with a leading axis n."""
        placed = self._placed(round, block.nodes.device)
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
        placed = self._placed(round, block.nodes.device)
        return Headers(
            received=placed.delivered[block.in_edge],
            applied=placed.applied[block.out_edge],
            age=placed.age[block.in_edge],
            reset=placed.reset[block.in_edge],
        )

    def edge_header(self, round: Round, edge: int) -> EdgeHeader:
        """Return the header of a round's message over a directed edge; call before ``close``."""
        return self._acknowledgements.header(edge, round.number)

    def is_possible(self, number: int, edge: int, header: EdgeHeader) -> bool:
        """Return whether a message of round ``number`` over a directed edge can have this header."""
        acknowledgements = self._acknowledgements
        is_new = header.sequence > acknowledgements.newest[edge]
        return (
            is_new
            and header.is_consistent()
            and header.round == number
            and header.newest < acknowledgements.sent[reverse(edge)]
        )

    def receive(self, round: Round, headers: Mapping[int, EdgeHeader]) -> Round:
        """Record headers of other processes' messages; return the round in which they came. Call before ``headers``.

        The weights of messages of other rounds are those of ``RoundGraphs.weights_of``.
        """
        self._last_placed = None
        acknowledgements, delivered = self._acknowledgements, round.delivered.copy()
        for edge, header in headers.items():
            back = reverse(edge)
            acknowledgements.sent[edge] = header.sequence
            acknowledgements.newest[back], acknowledgements.bitmap[back] = header.newest, header.bitmap
            self._age[edge] = max(0, round.number - header.round)
            delivered[edge] = True
        round = round._replace(delivered=delivered)
        others = {edge: header.round for edge, header in headers.items() if header.round != round.number}
        return round if self._graphs.is_static else round._replace(weight=self._weights(round, others))

    def sent(self, edge: int) -> int:
        """Return how many messages were sent over a directed edge."""
        return int(self._acknowledgements.sent[edge])

    def reset(self, edges: Sequence[int], *, own: bool) -> None:
        """Note that one end of these directed edges, which lead here, has gone back to an earlier state.

        What the other end has applied of the messages to it is not known, nor, unless it is this end that went back
        (``own``), what of its new messages was applied here: none. The next message over the edge reports it there.
        """
        self._last_placed = None
        acknowledgements = self._acknowledgements
        for edge in edges:
            back = reverse(edge)
            self._is_reset[edge] = True
            acknowledgements.newest[back], acknowledgements.bitmap[back] = -1, 0
            if own:
                acknowledgements.sent[back] = 0
            else:
                acknowledgements.newest[edge], acknowledgements.bitmap[edge] = -1, 0

    def close(self, round: Round) -> None:
        """Note what was sent and what was applied."""
        acknowledgements, delivered = self._acknowledgements, np.flatnonzero(round.delivered)
        acknowledgements.apply(delivered, acknowledgements.sent[delivered])
        acknowledgements.sent += round.sent
        self._is_reset &= ~round.delivered
        self._last_placed = None

    def state(self) -> dict[str, Tensor]:
        """Return everything that changes over a run, to be stored; ``load`` restores it."""
        acknowledgements = self._acknowledgements
        arrays = {
            "sequence": acknowledgements.sent,
            "newest": acknowledgements.newest,
            "bitmap": acknowledgements.bitmap,
            "is_reset": self._is_reset,
        }
        return {name: torch.tensor(array) for name, array in arrays.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned."""
        acknowledgements = self._acknowledgements
        acknowledgements.sent, acknowledgements.newest, acknowledgements.bitmap, self._is_reset = (
            state[name].numpy().copy() for name in ("sequence", "newest", "bitmap", "is_reset")
        )
        self._last_placed = None

    def _placed(self, round: Round, device: torch.device) -> _Placed:
        """Return what the nodes on a device see of a round; it is copied there once."""
        if self._last_placed is None or self._last_placed[0] is not round:
            self._last_placed = round, {}
        placed = self._last_placed[1]
        if device not in placed:
            acknowledgements = self._acknowledgements
            applied = applied_before(acknowledgements.sent, acknowledgements.newest, acknowledgements.bitmap)
            arrays = (*round[1:], applied, self._age, self._is_reset)
            placed[device] = _Placed(*(self._on_device(array, device) for array in arrays))
        return placed[device]

    def _weights(self, round: Round, others: Mapping[int, int]) -> NDArray[np.float64]:
        """Return the weights ``[2 E + 1]``, where messages over the directed edges ``others`` are of other rounds."""
        weight = round.weight.copy()
        for node in {int(self._receivers[edge]) for edge in others}:
            edges = [edge for edge in np.flatnonzero(self._receivers == node).tolist() if round.delivered[edge]]
            weight[edges] = self._graphs.weights_of(edges, [others.get(edge, round.number) for edge in edges])
        return weight

    def _on_device(self, array: NDArray[Any], device: torch.device) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.to(device, self._like.dtype if tensor.is_floating_point() else None)
