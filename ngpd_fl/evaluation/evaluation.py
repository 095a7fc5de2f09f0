"""How good the nodes' models are: each node's own on the common images, the averaged one, and how far they agree."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.data import Split, Task
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Measure

_IMAGES_AT_ONCE = 1000


class Evaluation(NamedTuple):
    """What the task's measure says; a group (a class, or a bin of targets) without images counts as nan.

    Attributes:
        measure: accuracy, or the error.
        nodes: of each node's own model on the common images ("local accuracy"), ``[N]``.
        own: the same, groups weighted by how often they occur among the node's training images, ``[N]``.
        groups: per group, mean over the nodes, ``[G]``.
        averaged_model: of the mean of all parameters.
        averaged_model_groups: of the mean of all parameters, per group, ``[G]``.
        others: further measures by key, of each node's own model and last of the averaged one, ``[N + 1]``.
        consensus_distance: root mean square over nodes of |w_i - mean w|.
    """

    measure: Measure
    nodes: NDArray[np.float64]
    own: NDArray[np.float64]
    groups: NDArray[np.float64]
    averaged_model: float
    averaged_model_groups: NDArray[np.float64]
    others: dict[str, NDArray[np.float64]]
    consensus_distance: float

    def record(self) -> dict[str, Any]:
        """Return what ``Metrics`` holds of it."""
        key, group = self.measure.key, self.measure.group
        values = {
            f"mean_{key}": float(self.nodes.mean()),
            f"min_{key}": float(self.nodes.min()),
            f"max_{key}": float(self.nodes.max()),
            f"mean_own_{key}": float(self.own.mean()),
            f"averaged_model_{key}": self.averaged_model,
            "consensus_distance": self.consensus_distance,
            key: self.nodes.tolist(),
            f"own_{key}": self.own.tolist(),
            f"{group}_{key}": self.groups.tolist(),
            f"averaged_model_{group}_{key}": self.averaged_model_groups.tolist(),
        }
        for other, found in self.others.items():
            values |= {
                f"mean_{other}": float(found[:-1].mean()),
                f"averaged_model_{other}": float(found[-1]),
                other: found[:-1].tolist(),
            }
        return values


def evaluate(model: FlatModel, params: Tensor, split: Split, counts: NDArray[np.int64], task: Task) -> Evaluation:
    """Judge ``params [N, P]`` on a split, given how many training images of each group each node has, ``[N, G]``."""
    average = params.mean(0)
    groups = task.groups(split.labels)
    totals = np.stack([_totals(model, each, split, groups, task) for each in (*params, average)])  # [N + 1, S, G]
    sizes = np.bincount(groups.cpu().numpy(), minlength=task.num_groups)
    with np.errstate(invalid="ignore"):
        per_group = totals / sizes
        overall = totals.sum(-1) / sizes.sum()
        of_node = counts * (sizes > 0)
        weighted = np.where(sizes > 0, per_group[:-1], 0) * of_node[:, None]
        own = weighted.sum(-1) / np.maximum(of_node.sum(1), 1)[:, None]
        nodes, by_group = task.value(overall), task.value(per_group.swapaxes(-1, -2))
        return Evaluation(
            measure=task.measure,
            nodes=nodes[:-1],
            own=task.value(own),
            groups=by_group[:-1].mean(0),
            averaged_model=float(nodes[-1]),
            averaged_model_groups=by_group[-1],
            others=task.others(overall, split.labels),
            consensus_distance=float((params - average).square().sum(1).mean().sqrt()),
        )


@torch.no_grad()
def _totals(model: FlatModel, params: Tensor, split: Split, groups: Tensor, task: Task) -> NDArray[np.float64]:
    """Return the sums of the scores of each group's images, ``[S, G]``."""
    total = torch.zeros((), dtype=torch.float64, device=params.device)
    batches = (torch.split(tensor, _IMAGES_AT_ONCE) for tensor in (split.inputs, split.labels, groups))
    for inputs, labels, of in zip(*batches, strict=True):
        scores = task.scores(model(params, inputs), labels)
        sums = scores.new_zeros((task.num_groups, scores.shape[1])).index_add_(0, of, scores)
        total = total + sums.t()
    return np.ascontiguousarray(total.cpu().numpy())
