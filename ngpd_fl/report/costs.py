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
        needs: what a run that has it does; empty if all runs have it.
    """

    key: str
    field: str
    head: str
    label: str
    text: Callable[[float], str]
    unit: str = ""
    needs: str = ""

    def of(self, metrics: Metrics) -> float | None:
        """Return the cost until an evaluation; None if not known."""
        spent: float | None = getattr(metrics, self.field)
        return spent


ROUNDS = Cost("rounds", "round", "rounds", "rounds", "{:.10g}".format)
BYTES = Cost("bytes", "bytes_sent", "bytes sent", "sent by all nodes", units.size, "B")
SECONDS = Cost("seconds", "train_seconds", "training time", "training time (s)", units.seconds)
VIRTUAL = Cost(
    "virtual", "virtual_seconds", "virtual time", "virtual time (s)", units.seconds, "", "has a virtual clock"
)
ENERGY = Cost("joules", "joules", "energy", "energy of all nodes", units.energy, "J", "knows the energy of its devices")

COSTS = (ROUNDS, BYTES, SECONDS, VIRTUAL, ENERGY)
