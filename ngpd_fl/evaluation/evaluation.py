"""How good the nodes' models are: each node's own, the averaged one, and how far they agree.

They are evaluated on common images or each on its node's own; then so is the averaged model on each node's, and what
is recorded of it is the mean over nodes, as of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.data import Split, Task
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Average, Evaluation

_IMAGES_AT_ONCE = 1000


def evaluate(
    model: FlatModel,
    params: Tensor,
    evaluated: Split | Sequence[Split],
    counts: NDArray[np.int64],
    task: Task,
    *,
    average: bool = True,
) -> Evaluation:
    """Evaluate models.

    Args:
        model: the network.
        params: the nodes' parameters, ``[n, P]``.
        evaluated: the images, common ones or those of each of these nodes.
        counts: how many training images of each group each of these nodes has, ``[n, G]``.
        task: what is learned.
        average: whether the mean of these parameters is evaluated as well.
    """
    common = isinstance(evaluated, Split)
    splits = [evaluated] if isinstance(evaluated, Split) else list(evaluated)
    found = _judge(model, params, splits * len(params) if common else splits, task)
    of_node = counts * (found.sizes > 0)
    weighted = np.where(found.sizes[:, None] > 0, found.per_group, 0) * of_node[:, None]
    own = weighted.sum(-1) / np.maximum(of_node.sum(1), 1)[:, None]
    return Evaluation(
        measure=task.measure,
        nodes=found.values,
        own=task.value(own),
        groups=_mean(found.groups),
        judges=(found.sizes > 0).sum(0),
        others=found.others,
        average=_average(model, params, splits, task) if average else None,
    )


class _Found(NamedTuple):
    """Of n models, each on its split: mean scores per group ``[n, S, G]``, sizes of groups ``[n, G]``, and measures."""

    per_group: NDArray[np.float64]
    sizes: NDArray[np.int64]
    values: NDArray[np.float64]
    groups: NDArray[np.float64]
    others: dict[str, NDArray[np.float64]]


def _judge(model: FlatModel, params: Iterable[Tensor], splits: Sequence[Split], task: Task) -> _Found:
    distinct = list(dict.fromkeys(splits))
    groups = torch.split(task.groups(torch.cat([split.labels for split in distinct])), [len(each) for each in distinct])
    groups_of = dict(zip(distinct, groups, strict=True))
    # Whatever the number of models, one copy from the device.
    totals = torch.stack(
        [_totals(model, each, split, groups_of[split], task) for each, split in zip(params, splits, strict=True)]
    ).cpu()
    of_all, of_group = totals[:, :-1].numpy(), totals[:, -1].long().numpy()
    with np.errstate(invalid="ignore"):
        others = [
            task.others(total.sum(-1) / sizes.sum(), split.labels_on_host)
            for total, sizes, split in zip(of_all, of_group, splits, strict=True)
        ]
        per_group = of_all / of_group[:, None]
        return _Found(
            per_group=per_group,
            sizes=of_group,
            values=task.value(of_all.sum(-1) / of_group.sum(1)[:, None]),
            groups=task.value(per_group.swapaxes(-1, -2)),
            others={key: np.stack([other[key] for other in others]) for key in others[0]},
        )


def _average(model: FlatModel, params: Tensor, splits: Sequence[Split], task: Task) -> Average:
    """Evaluate the averaged model on every split; the mean over these."""
    mean = params.mean(0)
    found = _judge(model, [mean] * len(splits), splits, task)
    return Average(
        value=float(found.values.mean()),
        groups=_mean(found.groups),
        others={key: float(values.mean()) for key, values in found.others.items()},
        consensus_distance=float((params - mean).square().sum(1).mean().sqrt()),
    )


def _mean(groups: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each group's mean over those that have examples of it; nan where none has."""
    with np.errstate(invalid="ignore"):  # 0 / 0 for a group that nobody has
        return np.asarray(np.nansum(groups, axis=0) / np.count_nonzero(~np.isnan(groups), axis=0))


@torch.no_grad()
def _totals(model: FlatModel, params: Tensor, split: Split, groups: Tensor, task: Task) -> Tensor:
    """Return the sums of the scores of each group's images and, in the last row, their number: float64 ``[S + 1, G]``.

    Args:
        model: the network.
        params: ``[P]``.
        split: the images.
        groups: of the images, int64 ``[M]``.
        task: what is learned.
    """
    total = torch.zeros((), dtype=torch.float64, device=params.device)
    batches = (torch.split(tensor, _IMAGES_AT_ONCE) for tensor in (split.inputs, split.labels, groups))
    for inputs, labels, of in zip(*batches, strict=True):
        scores = task.scores(model(params, inputs), labels)
        scores = torch.cat([scores, torch.ones_like(scores[:, :1])], dim=1)
        sums = scores.new_zeros((task.num_groups, scores.shape[1])).index_add_(0, of, scores)
        total = total + sums.t()
    return total
