"""Costs and conditions that are written down, and networks that run by the virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ngpd_fl.clock import Loss, Presence, make_timeline
from ngpd_fl.engines import EngineSettings, EventEngine


@dataclass(frozen=True)
class Table:
    """Costs by node and by directed edge.

    Attributes:
        seconds: of a node's round; one that is not named takes 1.
        on_the_way: of a message over an edge; one that is not named takes ``default``.
        sending: for which a node's messages of a round occupy its up-link.
    """

    seconds: Mapping[int, float] = field(default_factory=dict)
    on_the_way: Mapping[int, float] = field(default_factory=dict)
    default: float = 0.0
    sending: float = 0.0

    def device(self, node: int) -> str:
        return "table"

    def joules(self, node: int, elapsed: float, computing: float, sending: float) -> float | None:
        return None

    def compute(self, node: int, round: int) -> float:
        return self.seconds.get(node, 1.0)

    def transfer(self, edge: int, sequence: int, parallel: int) -> float:
        return self.on_the_way.get(edge, self.default)

    def uplink(self, node: int, parallel: int) -> float:
        return self.sending if parallel else 0.0


@dataclass(frozen=True)
class Script:
    """Conditions that are written down.

    Attributes:
        comings: (time, node, whether it is there from then on).
        fates: (edge, sequence) -> the delay of each copy; a message that is not named arrives once.
        slow: node -> factor.
    """

    comings: Sequence[tuple[float, int, bool]] = ()
    fates: Mapping[tuple[int, int], Sequence[float]] = field(default_factory=dict)
    slow: Mapping[int, float] = field(default_factory=dict)

    def presences(self, node: int) -> Iterator[Presence]:
        return (Presence(time, present) for time, each, present in sorted(self.comings) if each == node)

    def slowdown(self, node: int, time: float) -> float:
        return self.slow.get(node, 1.0)

    def fate(self, edge: int, round: int, sequence: int, time: float) -> Sequence[float]:
        return self.fates.get((edge, sequence), (0.0,))


def by_the_clock(
    mode: str,
    costs: Any = None,
    conditions: Any = None,
    rounds: int = 100,
    timeout: float | None = None,
    engine: Any = EventEngine,
) -> Callable[[EngineSettings], Any]:
    """Return what makes an ``EventEngine``, or another, from settings."""

    def make(settings: EngineSettings) -> Any:
        topology = settings.topology
        weather = conditions or Loss(topology, settings.message_loss, settings.seed)
        events = make_timeline(mode, topology, rounds, costs or Table(), weather, timeout)
        return engine(replace(settings, rounds=rounds), events)

    return make
