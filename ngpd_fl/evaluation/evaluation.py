"""How good the nodes' models are: each node's own on the common images, the averaged one, and how far they agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.data import Split
from ngpd_fl.models import FlatModel

_IMAGES_AT_ONCE = 1000


class NodesEvaluation(NamedTuple):
    """How good some nodes' own models are. Accuracies in [0, 1]; a class without images counts as nan.

    Attributes:
        accuracy: of each node's own model on the common images ("local accuracy"), ``[n]``.
        own_accuracy: the same, classes weighted by how often they occur among the node's training images, ``[n]``.
        class_accuracy: per class, mean over these nodes, ``[C]``.
    """

    accuracy: NDArray[np.float64]
    own_accuracy: NDArray[np.float64]
    class_accuracy: NDArray[np.float64]


class AverageEvaluation(NamedTuple):
    """What takes all nodes' parameters in one place.

    Attributes:
        averaged_model_accuracy: of the mean of all parameters.
        averaged_model_class_accuracy: of the mean of all parameters, per class, ``[C]``; nan without images.
        consensus_distance: root mean square over nodes of |w_i - mean w|.
    """

    averaged_model_accuracy: float
    averaged_model_class_accuracy: NDArray[np.float64]
    consensus_distance: float


def evaluate_nodes(model: FlatModel, params: Tensor, split: Split, label_counts: NDArray[np.int64]) -> NodesEvaluation:
    """Judge each of ``params [n, P]`` on a split, given these nodes' training label counts ``[n, C]``."""
    num_classes = label_counts.shape[1]
    hits = np.stack([_hits_per_class(model, each, split, num_classes) for each in params])
    sizes = _sizes(split, num_classes)
    per_class = _shares(hits, sizes)
    of_node = label_counts * (sizes > 0)
    own = (np.nan_to_num(per_class) * of_node).sum(1) / np.maximum(of_node.sum(1), 1)
    return NodesEvaluation(hits.sum(1) / sizes.sum(), own, per_class.mean(0))


def evaluate_average(model: FlatModel, params: Tensor, split: Split, num_classes: int) -> AverageEvaluation:
    """Judge the mean of all nodes' ``params [N, P]`` on a split, and how far they are from it."""
    average = params.mean(0)
    hits, sizes = _hits_per_class(model, average, split, num_classes), _sizes(split, num_classes)
    return AverageEvaluation(
        float(hits.sum() / sizes.sum()),
        _shares(hits, sizes),
        float((params - average).square().sum(1).mean().sqrt()),
    )


def _sizes(split: Split, num_classes: int) -> NDArray[np.int64]:
    """Return the images per class, ``[C]``."""
    return np.bincount(split.labels.cpu().numpy(), minlength=num_classes)


def _shares(hits: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return hits per class as shares; nan for a class without images."""
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / sizes)


@torch.no_grad()
def _hits_per_class(model: FlatModel, params: Tensor, split: Split, num_classes: int) -> NDArray[np.int64]:
    """Return how many images of each class are recognised, ``[C]``."""
    hits = torch.zeros(num_classes, dtype=torch.int64, device=params.device)
    batches = (torch.split(tensor, _IMAGES_AT_ONCE) for tensor in (split.inputs, split.labels))
    for inputs, labels in zip(*batches, strict=True):
        right = labels[model(params, inputs).argmax(-1) == labels]
        hits += torch.bincount(right, minlength=num_classes)
    return np.asarray(hits.cpu().numpy())
