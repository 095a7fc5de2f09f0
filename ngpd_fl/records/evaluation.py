"""Results of an evaluation, in the form in which they are recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.records.metrics import Measure


class Average(NamedTuple):
    """Results that need all nodes' parameters in one place.

    Attributes:
        value: the measure of the mean of all parameters; mean over nodes if each has its own examples to evaluate on.
        groups: the same per group, ``[G]``; nan for a group without examples.
        others: further measures of the averaged model by key.
        consensus_distance: root mean square over nodes of |w_i - mean w|.
    """

    value: float
    groups: NDArray[np.float64]
    others: dict[str, float]
    consensus_distance: float


class Evaluation(NamedTuple):
    """Values of the task's measure. A group (a class, or a bin of targets) without examples has the value nan.

    Models are evaluated on common examples or, if data lie at their nodes, each on its node's own examples.

    Attributes:
        measure: accuracy, or the error.
        nodes: value of each evaluated node's own model ("local accuracy"), ``[n]``.
        own: the same, with groups weighted by their frequency among the node's training examples, ``[n]``.
        groups: value per group, mean over the nodes whose model was evaluated on examples of it, ``[G]``.
        nodes_per_group: number of these nodes, per group, ``[G]``.
        others: further measures by key, of each node's own model, ``[n]``.
        average: results of the averaged model; None if the parameters never meet in one place.
    """

    measure: Measure
    nodes: NDArray[np.float64]
    own: NDArray[np.float64]
    groups: NDArray[np.float64]
    nodes_per_group: NDArray[np.int64]
    others: dict[str, NDArray[np.float64]]
    average: Average | None

    def part(self) -> dict[str, list[float]]:
        """Return all but the average as lists, for ``joined``."""
        others = {f"other-{key}": values.tolist() for key, values in self.others.items()}
        of_groups = {
            "groups": self.groups.tolist(),
            "nodes-per-group": self.nodes_per_group.astype(np.float64).tolist(),
        }
        return {"value": self.nodes.tolist(), "own": self.own.tolist(), **of_groups, **others}

    @classmethod
    def joined(cls, measure: Measure, parts: Sequence[Mapping[str, Sequence[float]]]) -> Evaluation:
        """Return one evaluation from the parts of several hosts, each as ``part`` returns it."""

        def of_nodes(name: str) -> NDArray[np.float64]:
            return np.concatenate([np.asarray(part[name], dtype=np.float64) for part in parts])

        nodes_per_group = np.array([part["nodes-per-group"] for part in parts])
        groups = np.where(nodes_per_group > 0, [part["groups"] for part in parts], 0) * nodes_per_group
        with np.errstate(invalid="ignore"):
            of_groups = groups.sum(0) / nodes_per_group.sum(0)
        others = [name for name in parts[0] if name.startswith("other-")]
        return cls(
            measure=measure,
            nodes=of_nodes("value"),
            own=of_nodes("own"),
            groups=np.asarray(of_groups),
            nodes_per_group=nodes_per_group.sum(0).astype(np.int64),
            others={name.removeprefix("other-"): of_nodes(name) for name in others},
            average=None,
        )

    def record(self, places: Sequence[int] | None = None, num_nodes: int | None = None) -> dict[str, Any]:
        """Return the fields of ``Metrics`` that this evaluation determines.

        Args:
            places: the evaluated nodes' indices in the graph. Defaults to all nodes, in order.
            num_nodes: N; the values of nodes that were not evaluated are nan. Defaults to the number of evaluated ones.
        """
        key, group, average = self.measure.key, self.measure.group, self.average

        def spread(values: NDArray[np.float64]) -> list[float]:
            known = dict(zip(range(len(values)) if places is None else places, values.tolist(), strict=True))
            return [known.get(node, math.nan) for node in range(num_nodes or len(values))]

        values = {
            f"mean_{key}": float(self.nodes.mean()),
            f"min_{key}": float(self.nodes.min()),
            f"max_{key}": float(self.nodes.max()),
            f"mean_own_{key}": float(self.own.mean()),
            f"averaged_model_{key}": average and average.value,
            "consensus_distance": average and average.consensus_distance,
            key: spread(self.nodes),
            f"own_{key}": spread(self.own),
            f"{group}_{key}": self.groups.tolist(),
            f"averaged_model_{group}_{key}": average and average.groups.tolist(),
        }
        for other, of_nodes in self.others.items():
            values |= {
                f"mean_{other}": float(of_nodes.mean()),
                f"averaged_model_{other}": average and average.others[other],
                other: spread(of_nodes),
            }
        return values
