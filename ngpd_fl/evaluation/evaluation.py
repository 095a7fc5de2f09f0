"""Evaluation of the nodes' models and of the averaged model, and the distance between the nodes.

All models are evaluated on common examples, or each on its own node's examples. In the second case the averaged model
is evaluated on the examples of every node, and the mean over nodes is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.core.workers import Workers
from ngpd_fl.data import Split, Task
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Average, Evaluation

_BATCH_SIZE = 1000

_AT_ONCE = 1 << 22
"""Parameters whose distances are computed at once."""


def evaluate(
    model: FlatModel,
    params: Tensor,
    evaluated: Split | Sequence[Split],
    counts: NDArray[np.int64],
    task: Task,
    *,
    average: bool = True,
    workers: Workers | None = None,
    compute_devices: Sequence[torch.device] = (),
) -> Evaluation:
    """Evaluate models.

    Args:
        model: the network.
        params: the nodes' parameters, ``[n, P]``.
        evaluated: the common examples, or the examples of each of the n nodes.
        counts: the nodes' training examples per group, ``[n, G]``.
        task: the task, with its measures and groups.
        average: whether to evaluate the mean of the parameters as well.
        workers: evaluate models side by side. Defaults to one after another.
        compute_devices: each evaluates a part of the models. Defaults to that of the parameters.
    """
    resources = _Resources(workers or Workers(), compute_devices or [params.device])
    common = isinstance(evaluated, Split)
    splits = [evaluated] if isinstance(evaluated, Split) else list(evaluated)
    if common and torch.equal(params, params[:1].expand_as(params)):  # as at the start: one model stands for all
        scores = _scores(model, params[:1], splits, task, resources).repeated(len(params))
    else:
        scores = _scores(model, params, splits * len(params) if common else splits, task, resources)
    weights = counts * (scores.sizes > 0)
    weighted = np.where(scores.sizes[:, None] > 0, scores.per_group, 0) * weights[:, None]
    own = weighted.sum(-1) / np.maximum(weights.sum(1), 1)[:, None]
    return Evaluation(
        measure=task.measure,
        nodes=scores.values,
        own=task.value(own),
        groups=_mean(scores.groups),
        nodes_per_group=(scores.sizes > 0).sum(0),
        others=scores.others,
        average=_average(model, params, splits, task, resources) if average else None,
    )


class _Resources(NamedTuple):
    """Workers and devices that evaluate models."""

    workers: Workers
    devices: Sequence[torch.device]


class _Scores(NamedTuple):
    """Scores of n models, each on its own split.

    Attributes:
        per_group: mean scores, ``[n, S, G]``; nan for a group without examples.
        sizes: examples per group, ``[n, G]``.
        values: the task's measure, ``[n]``.
        groups: the same per group, ``[n, G]``.
        others: further measures by key, ``[n]``.
    """

    per_group: NDArray[np.float64]
    sizes: NDArray[np.int64]
    values: NDArray[np.float64]
    groups: NDArray[np.float64]
    others: dict[str, NDArray[np.float64]]

    def repeated(self, number: int) -> _Scores:
        """Return the scores of so many models like the only one that these are of."""
        return _Scores(
            per_group=self.per_group.repeat(number, 0),
            sizes=self.sizes.repeat(number, 0),
            values=self.values.repeat(number, 0),
            groups=self.groups.repeat(number, 0),
            others={key: values.repeat(number) for key, values in self.others.items()},
        )


def _scores(
    model: FlatModel, params: Iterable[Tensor], splits: Sequence[Split], task: Task, resources: _Resources
) -> _Scores:
    """Score model i on split i. Each device takes an equal part of the models, one after another."""
    distinct = list(dict.fromkeys(splits))
    groups = torch.split(task.groups(torch.cat([split.labels for split in distinct])), list(map(len, distinct)))
    groups_of = dict(zip(distinct, groups, strict=True))

    devices = [resources.devices[index * len(resources.devices) // len(splits)] for index in range(len(splits))]

    there = {pair: (pair[0].on(pair[1]), groups_of[pair[0]].to(pair[1])) for pair in zip(splits, devices, strict=True)}

    def totals_of(vector: Tensor, split: Split, device: torch.device) -> Tensor:
        totals = _totals(model, vector.to(device), *there[split, device], task)
        return totals.to(resources.devices[0])

    totals = torch.stack(resources.workers.map(totals_of, params, splits, devices)).cpu()  # one copy for all models
    sums, group_sizes = totals[:, :-1].numpy(), totals[:, -1].long().numpy()
    with np.errstate(invalid="ignore"):
        others = [
            task.others(total.sum(-1) / sizes.sum(), split.labels_on_host)
            for total, sizes, split in zip(sums, group_sizes, splits, strict=True)
        ]
        per_group = sums / group_sizes[:, None]
        return _Scores(
            per_group=per_group,
            sizes=group_sizes,
            values=task.value(sums.sum(-1) / group_sizes.sum(1)[:, None]),
            groups=task.value(per_group.swapaxes(-1, -2)),
            others={key: np.stack([other[key] for other in others]) for key in others[0]},
        )


def _average(model: FlatModel, params: Tensor, splits: Sequence[Split], task: Task, resources: _Resources) -> Average:
    """Evaluate the averaged model on every split, and return the mean over the splits."""
    mean = params.mean(0)
    scores = _scores(model, [mean] * len(splits), splits, task, resources)
    return Average(
        value=float(scores.values.mean()),
        groups=_mean(scores.groups),
        others={key: float(values.mean()) for key, values in scores.others.items()},
        consensus_distance=float(_squared_distances(params, mean).mean().sqrt()),
    )


def _squared_distances(params: Tensor, mean: Tensor) -> Tensor:
    """Return |w_i - mean|^2, ``[n]``, of some nodes ``[n, P]`` at once: all would take twice the memory of them."""
    some = torch.split(params, max(1, _AT_ONCE // mean.numel()))
    return torch.cat([(rows - mean).square().sum(1) for rows in some])


def _mean(groups: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each group's mean over the models evaluated on examples of it, ``[G]``; nan where there is none."""
    with np.errstate(invalid="ignore"):  # 0 / 0 for a group without examples
        return np.asarray(np.nansum(groups, axis=0) / np.count_nonzero(~np.isnan(groups), axis=0))


@torch.no_grad()
def _totals(model: FlatModel, params: Tensor, split: Split, groups: Tensor, task: Task) -> Tensor:
    """Return the sum of scores per group and, in the last row, the number of predictions: float64 ``[S + 1, G]``.

    Args:
        model: the network.
        params: its parameters, ``[P]``.
        split: the M examples.
        groups: the predictions' groups, int64 ``[M, ...]``; below 0 for one that does not count.
        task: the task.
    """
    total = torch.zeros((), dtype=torch.float64, device=params.device)
    batches = (torch.split(tensor, _BATCH_SIZE) for tensor in (split.inputs, split.labels, groups))
    for inputs, labels, indices in zip(*batches, strict=True):
        scores = task.scores(model(params, inputs), labels)
        scores = torch.cat([scores, torch.ones_like(scores[..., :1])], dim=-1).flatten(0, -2)
        indices = indices.flatten()
        scores = torch.where(indices[:, None] >= 0, scores, 0.0)
        sums = scores.new_zeros((task.num_groups, scores.shape[1])).index_add_(0, indices.clamp(min=0), scores)
        total = total + sums.t()
    return total
