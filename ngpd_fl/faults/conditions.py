"""Faults as conditions of the virtual clock: pure functions of the seed, the edge or node, and the number or time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from math import inf

from ngpd_fl.clock import Conditions, Presence
from ngpd_fl.config import Cut, FaultsConfig, InputError
from ngpd_fl.core.randomness import Purpose, generator
from topologies import Topology


class FaultyConditions:
    """``Conditions`` that add the configured faults to other conditions."""

    def __init__(self, base: Conditions, config: FaultsConfig, topology: Topology, seed: int) -> None:
        """Add faults.

        Args:
            base: the conditions without faults.
            config: the faults.
            topology: the graph.
            seed: keys all draws.
        """
        self._base = base
        self._config = config
        self._seed = seed
        self._bursts: list[list[bool]] = [[] for _ in range(2 * len(topology.edges))]
        edges = topology.edges.tolist()
        self._cuts = [(cut, {edge for edge, pair in enumerate(edges) if _is_cut(cut, *pair)}) for cut in config.cut]

    def presences(self, node: int) -> Iterator[Presence]:
        """Yield the changes of a node's presence: it is away while the schedule or the base conditions say so."""
        scheduled = sorted((leave.at_s, leave.until_s or inf) for leave in self._config.leave if leave.node == node)
        for begin, end in _union(merge(_periods(self._base.presences(node)), scheduled)):
            yield Presence(begin, False)
            if end < inf:
                yield Presence(end, True)

    def slowdown(self, node: int, time: float) -> float:
        """Return the product of all factors that apply at ``time``."""
        factor = self._base.slowdown(node, time)
        for slow in self._config.slow:
            if slow.node == node and slow.covers(time):
                factor *= slow.factor
        return factor

    def fate(self, edge: int, round: int, sequence: int, time: float) -> Sequence[float]:
        """Lose a message on a cut edge or in a burst; else delay it, and let a copy follow, as drawn."""
        config, delays = self._config, tuple(self._base.fate(edge, round, sequence, time))
        cut = any(edge // 2 in edges and cut.covers(time) for cut, edges in self._cuts)
        if cut or not delays or (config.burst_begin and self._in_burst(edge, sequence)):
            return ()
        if config.delay_s is None:
            return delays
        _, delayed, doubled, delay, wait = self._draws(edge, sequence)
        if delayed < config.delay_probability:
            delays = tuple(seconds + config.delay_s * delay for seconds in delays)
        if doubled < config.duplicate_probability:
            delays = (*delays, max(delays) + config.delay_s * wait)
        return delays

    def _in_burst(self, edge: int, sequence: int) -> bool:
        """Return whether a message is in a burst (the Gilbert-Elliott chain, which starts outside a burst)."""
        states = self._bursts[edge]
        while len(states) <= sequence:
            inside = bool(states) and states[-1]
            draw = self._draws(edge, len(states))[0]
            states.append(draw >= self._config.burst_end if inside else draw < self._config.burst_begin)
        return states[sequence]

    def _draws(self, edge: int, sequence: int) -> tuple[float, ...]:
        """Return three uniform and two exponential numbers, used or not: so each key changes its own effect only."""
        chance = generator(self._seed, Purpose.MESSAGE_FAULT, edge, sequence)
        return (*chance.random(3).tolist(), *chance.standard_exponential(2).tolist())


def _is_cut(cut: Cut, low: int, high: int) -> bool:
    """Return whether a cut includes the edge between two nodes."""
    if cut.edges:
        return (low, high) in cut.edges or (high, low) in cut.edges
    group = {node: number for number, nodes in enumerate(cut.groups) for node in nodes}
    return group.get(low) != group.get(high)


def _periods(presences: Iterator[Presence]) -> Iterator[tuple[float, float]]:
    """Yield the absences (begin, end) of a node; the end is ``inf`` if it does not return."""
    for leaving in presences:
        returning = next(presences, None)
        yield leaving.time, inf if returning is None else returning.time


def _union(periods: Iterator[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Merge intervals, sorted by their begin, that overlap or touch."""
    first, last = -inf, -inf
    for begin, end in periods:
        if begin > last:
            if last > -inf:
                yield first, last
            first = begin
        last = max(last, end)
        if last == inf:
            break
    if last > -inf:
        yield first, last


def check_faults(config: FaultsConfig, topology: Topology) -> None:
    """Raise ``InputError`` with one line if a schedule names a node or an edge that does not exist."""
    for key, nodes in config.nodes().items():
        if nodes and max(nodes) >= topology.num_nodes:
            last = topology.num_nodes - 1
            raise InputError(f"faults.{key}: there is no node {max(nodes)}; allowed: 0 to {last}")
    edges = {frozenset(pair) for pair in topology.edges.tolist()}
    for number, cut in enumerate(config.cut):
        for pair in cut.edges:
            if frozenset(pair) not in edges:
                raise InputError(f"faults.cut.{number}.edges: there is no edge between {pair[0]} and {pair[1]}")
