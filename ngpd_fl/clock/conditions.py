"""Costs and conditions of a network: durations, the fate of messages, the presence of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.core.message_loss import traffic
from topologies import Topology


class Costs(Protocol):
    """Costs of computing and sending in seconds and joules. Pure functions: equal calls return equal results."""

    def device(self, node: int) -> str:
        """Return the name of a node's device."""
        ...

    def joules(self, node: int, elapsed: float, computing: float, sending: float) -> float | None:
        """Return the energy that a node has taken; None where its power is not known.

        Args:
            node: the node.
            elapsed: seconds that it was on.
            computing: seconds of these that it computed.
            sending: seconds for which its up-link was occupied.
        """
        ...

    def compute(self, node: int, round: int) -> float:
        """Return the duration of a node's local steps of a round; more than 0."""
        ...

    def transfer(self, edge: int, sequence: int, parallel: int) -> float:
        """Return the seconds for which a message is in flight.

        Args:
            edge: the directed edge.
            sequence: number of messages sent over it before.
            parallel: number of messages that its sender sends at once, this one included.
        """
        ...

    def uplink(self, node: int, parallel: int) -> float:
        """Return the seconds for which a number of messages, sent at once, occupy the up-link; later messages wait."""
        ...


class Presence(NamedTuple):
    """Presence of a node from ``time`` on."""

    time: float
    present: bool


class Conditions(Protocol):
    """The fate of messages, and the presence of nodes. Pure functions: equal calls return equal results."""

    def presences(self, node: int) -> Iterator[Presence]:
        """Yield the changes of a node's presence in the order of time, possibly without end.

        A node is present from the start, unless it leaves at time 0.
        """
        ...

    def slowdown(self, node: int, time: float) -> float:
        """Return the factor on the duration of local steps that begin at ``time``."""
        ...

    def fate(self, edge: int, round: int, sequence: int, time: float) -> Sequence[float]:
        """Return the delay in seconds beyond the transfer of each copy of a message; without one it is lost.

        Args:
            edge: the directed edge that it is sent over.
            round: its sender's round.
            sequence: number of messages sent over the edge before.
            time: when it is sent.
        """
        ...


class Loss:
    """Conditions under which all nodes stay, and messages are lost by the draws that all engines share."""

    def __init__(self, topology: Topology, message_loss: float = 0.0, seed: int = 0) -> None:
        """Lose messages on the edges of a graph.

        Args:
            topology: the graph and its schedule.
            message_loss: probability that a message is lost.
            seed: keys the draws.
        """

        @lru_cache(maxsize=256)
        def delivered(round: int) -> NDArray[np.bool_]:
            return traffic(topology, message_loss, seed, round).delivered

        self._delivered = delivered

    def presences(self, node: int) -> Iterator[Presence]:
        """Return no changes: every node stays."""
        return iter(())

    def slowdown(self, node: int, time: float) -> float:
        """Return 1: no node is slowed down."""
        return 1.0

    def fate(self, edge: int, round: int, sequence: int, time: float) -> Sequence[float]:
        """Return one copy without delay, or none if the message is lost."""
        return (0.0,) if self._delivered(round)[edge] else ()
