"""Costs of runs until an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ngpd_fl.records import Metrics
from ngpd_fl.report import units


class Cost(NamedTuple):
    """A kind of cost.

    Attributes:
        key: its name in the page's data.
        head: head of its column.
        label: label of its axis.
        unit: unit of its ticks, after a prefix such as k or M; empty for a plain number.
        of: returns the cost until an evaluation; None if not known.
        text: formats an amount.
        missing: the reason why runs may not have it.
    """

    key: str
    head: str
    label: str
    unit: str
    of: Callable[[Metrics], float | None]
    text: Callable[[float], str]
    missing: str


COSTS = (
    Cost("rounds", "rounds", "rounds", "", lambda metrics: metrics.round, lambda n: f"{n:.10g}", ""),
    Cost("bytes", "sent", "sent by all nodes", "B", lambda metrics: metrics.bytes_sent, units.size, ""),
    Cost(
        key="seconds",
        head="training time",
        label="training time (s)",
        unit="",
        of=lambda metrics: metrics.train_seconds,
        text=units.seconds,
        missing="",
    ),
    Cost(
        key="virtual",
        head="virtual time",
        label="virtual time (s)",
        unit="",
        of=lambda metrics: metrics.virtual_seconds,
        text=units.seconds,
        missing="not all runs here have a virtual clock",
    ),
    Cost(
        key="joules",
        head="energy",
        label="energy of all nodes",
        unit="J",
        of=lambda metrics: metrics.joules,
        text=units.energy,
        missing="not all runs here know the energy of all their devices",
    ),
)
