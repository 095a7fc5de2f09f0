"""Options that all families of topologies share. Their ``build`` makes the topology."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self, get_args

import networkx as nx
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from topologies.base import BaseTopologyOptions
from topologies.schedules import AnySchedule, StaticSchedule
from topologies.topology import Topology
from topologies.weights import WeightsName

_EDGES = 5_000_000
"""Edges of a graph at most, as for the number of nodes; networkx needs some hundred bytes for each."""


class TopologyOptions(BaseTopologyOptions):
    """Base of every family's options: the one place where its parameters are documented and checked."""

    weights: WeightsName = Field(
        "metropolis",
        description="mixing weights W_ij: metropolis 1/(1 + max(d_i, d_j)), max-degree 1/(1 + max_k d_k), or "
        "uniform 1/(1 + d_i)",
    )
    schedule: AnySchedule = Field(
        StaticSchedule(),
        description="which edges are active in a round: static (all), matching (a random one, at most one edge a node) "
        "or failing (each is down with probability schedule.probability)",
    )

    other_weights: ClassVar[tuple[WeightsName, ...]] = ("own", "push-sum")
    """The rules that are not for this family."""

    @field_validator("weights", mode="before")
    @classmethod
    def _known(cls, weights: Any) -> Any:
        allowed = [name for name in get_args(WeightsName) if name not in cls.other_weights]
        if weights not in allowed:
            *others, last = map(repr, allowed)
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticKnownError("literal_error", {"expected": expected})
        return weights

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        edges = self.nodes * min(self.mean_degree, self.nodes - 1) / 2
        if edges > _EDGES:
            raise ValueError(f"nodes: would have about {edges:,.0f} edges; allowed: {_EDGES:,} (got {self.nodes})")
        return self

    @property
    def mean_degree(self) -> float:
        """Mean number of neighbors of a node. The default, 2, is for families with few neighbors for all options."""
        return 2

    @property
    def caution(self) -> str:
        """Warning about these options, in one line; empty for most."""
        return ""

    @property
    def has_labels(self) -> bool:
        """Whether the nodes are called something else than their numbers."""
        return False

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, from node 0 on: their labels where they have some, else their numbers."""
        return tuple(str(node) for node in range(self.nodes))

    @abstractmethod
    def graph(self, seed: int) -> nx.Graph:
        """Return the connected (union) graph, nodes 0..nodes-1; the seed matters to random families only."""

    def build(self, seed: int) -> Topology:
        """Return the topology; its graph and its schedule are keyed by the seed."""
        return Topology([self.graph(seed)], self.schedule, self.weights, seed)


class LabeledOptions(TopologyOptions):
    """Base of the graphs that are given, whose nodes may have labels of their own."""

    labels: tuple[str, ...] | None = Field(
        None,
        description="what the nodes are called, from node 0 on, in records and pictures, and where something is given "
        "for a node; unset: their numbers",
    )

    @model_validator(mode="after")
    def _one_label_each(self) -> Self:
        labels = self.labels
        if labels is None:
            return self
        if len(labels) != self.nodes:
            raise ValueError(f"labels: must be as many as nodes, {self.nodes} (got {len(labels)})")
        for label in labels:
            if not label.isprintable() or not label.strip():
                raise ValueError(f"labels: must be printable texts (got {label!r})")
        if twice := next((label for place, label in enumerate(labels) if label in labels[:place]), None):
            raise ValueError(f"labels: must be different (got {twice!r} twice)")
        return self

    @property
    def has_labels(self) -> bool:
        """Whether the nodes are called something else than their numbers."""
        return self.labels is not None

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, from node 0 on."""
        return super().node_names if self.labels is None else self.labels
