"""Costs of a run until an evaluation: rounds, bytes, seconds, energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ngpd_fl.records import Metrics
from ngpd_fl.report import units


class Cost(NamedTuple):
    """A kind of cost.

    Attributes:
        key: its name in the page's data.
        field: its field of ``Metrics``.
        head: head of its column, also its name in titles.
        label: label of its axis.
        text: formats an amount.
        unit: unit of its ticks, after a prefix such as k or M; empty for a plain number.
        missing: the reason why runs may not have it.
    """

    key: str
    field: str
    head: str
    label: str
    text: Callable[[float], str]
    unit: str = ""
    missing: str = ""

    def of(self, metrics: Metrics) -> float | None:
        """Return the cost until an evaluation; None if not known."""
        spent: float | None = getattr(metrics, self.field)
        return spent


_NO_CLOCK = "not all runs here have a virtual clock"
_NO_POWER = "not all runs here know the energy of all their devices"

ROUNDS = Cost("rounds", "round", "rounds", "rounds", "{:.10g}".format)
BYTES = Cost("bytes", "bytes_sent", "bytes sent", "sent by all nodes", units.size, "B")
SECONDS = Cost("seconds", "train_seconds", "training time", "training time (s)", units.seconds)
VIRTUAL = Cost("virtual", "virtual_seconds", "virtual time", "virtual time (s)", units.seconds, "", _NO_CLOCK)
ENERGY = Cost("joules", "joules", "energy", "energy of all nodes", units.energy, "J", _NO_POWER)

COSTS = (ROUNDS, BYTES, SECONDS, VIRTUAL, ENERGY)
