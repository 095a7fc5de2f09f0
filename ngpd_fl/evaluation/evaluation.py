"""How good the nodes' models are: each node's own on the common images, the averaged one, and how far they agree."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.data import Split, Task
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Average, Evaluation

_IMAGES_AT_ONCE = 1000


def evaluate(
    model: FlatModel, params: Tensor, split: Split, counts: NDArray[np.int64], task: Task, *, average: bool = True
) -> Evaluation:
    """Judge models on a split.

    Args:
        model: the network.
        params: the nodes' parameters, ``[n, P]``.
        split: the images.
        counts: how many training images of each group each of these nodes has, ``[n, G]``.
        task: what is learned.
        average: whether the mean of these parameters is judged as well.
    """
    judged = torch.cat([params, params.mean(0, keepdim=True)]) if average else params
    groups = task.groups(split.labels)
    totals = np.stack([_totals(model, each, split, groups, task) for each in judged])  # [n (+ 1), S, G]
    sizes = np.bincount(groups.cpu().numpy(), minlength=task.num_groups)
    nodes = len(params)
    with np.errstate(invalid="ignore"):
        per_group = totals / sizes
        overall = totals.sum(-1) / sizes.sum()
        of_node = counts * (sizes > 0)
        weighted = np.where(sizes > 0, per_group[:nodes], 0) * of_node[:, None]
        own = weighted.sum(-1) / np.maximum(of_node.sum(1), 1)[:, None]
        values, by_group = task.value(overall), task.value(per_group.swapaxes(-1, -2))
        others = task.others(overall, split.labels)
        return Evaluation(
            measure=task.measure,
            nodes=values[:nodes],
            own=task.value(own),
            groups=by_group[:nodes].mean(0),
            others={key: found[:nodes] for key, found in others.items()},
            average=Average(
                value=float(values[-1]),
                groups=by_group[-1],
                others={key: float(found[-1]) for key, found in others.items()},
                consensus_distance=float((params - judged[-1]).square().sum(1).mean().sqrt()),
            )
            if average
            else None,
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
