"""The task of a data set: classification (of examples, positions or labels) or regression, with groups and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ngpd_fl.records.metrics import ACCURACY, HAMMING_ACCURACY, RMSE, TOKEN_ACCURACY, Measure

IGNORE_INDEX = -100
"""The target of a position that is padding: it has no loss and no score. As torch's ``ignore_index``."""

BINS = 10
"""Quantile bins of real-valued targets; fewer where many targets are equal."""


class Task(Protocol):
    """A learning task: its labels and measures.

    What a network predicts falls into G groups, the classes or bins of the targets: label counts and results are
    recorded for each. Results are means of ``scores``, of which a prediction has S. An example has one prediction
    (``...`` below is empty), one for each position or one for each label.
    """

    @property
    def measure(self) -> Measure:
        """The measure of the results: accuracy, or the root mean squared error."""
        ...

    @property
    def num_outputs(self) -> int:
        """Return the width of the network's output."""
        ...

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the axes of the output between the examples and the classes: ``(T,)`` or, of most tasks, ``()``."""
        return ()

    @property
    def num_groups(self) -> int:
        """Return G, by default the width of the output."""
        return self.num_outputs

    def groups(self, labels: Tensor) -> Tensor:
        """Return the group of each prediction, int64 ``[M, ...]``, by the split's labels; below 0: it has none."""
        ...

    def counts(self, labels: Tensor) -> NDArray[np.int64]:
        """Return how often each group occurs, ``[G]``, by labels on the CPU: by default in how many predictions."""
        groups = self.groups(labels)
        return np.bincount(groups[groups >= 0].numpy(), minlength=self.num_groups)

    def node_counts(self, labels: Tensor, parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return how often each group occurs among each node's examples, ``[N, G]``; ``parts`` are their indices."""
        return np.stack([self.counts(labels[torch.from_numpy(part)]) for part in parts])

    def strata(self, labels: Tensor) -> Tensor:
        """Return the class of each example that partitions and the validation split go by, int64 ``[M]``.

        By default the group of its one prediction.
        """
        return self.groups(labels)

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the scores of the predictions of B examples, float64 ``[B, ..., S]``."""
        ...

    def value(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the measure ``[...]`` of mean scores ``[..., S]``."""
        ...

    def others(self, scores: NDArray[np.float64], labels: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return further measures ``[...]`` by their key, of mean scores ``[..., S]`` over a split with ``labels``.

        These lie on the CPU.
        """
        ...


@dataclass(frozen=True)
class Classification(Task):
    """Labels are classes, int64 ``[M]``; the groups are these, the one score is whether the largest output is right.

    Attributes:
        num_classes: C.
    """

    num_classes: int
    measure = ACCURACY

    @property
    def num_outputs(self) -> int:
        """Return C."""
        return self.num_classes

    def groups(self, labels: Tensor) -> Tensor:
        """Return the labels."""
        return labels

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 where the class is recognized, else 0; ``[B, 1]``."""
        return (outputs.argmax(-1) == labels).double()[:, None]

    def value(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the accuracy."""
        return scores[..., 0]

    def others(self, scores: NDArray[np.float64], labels: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return nothing."""
        return {}


@dataclass(frozen=True)
class TokenClassification(Task):
    """Labels are a class at each of T positions, int64 ``[M, T]``, ``IGNORE_INDEX`` at padding; outputs ``[B, T, C]``.

    Next-token prediction is of this kind. A token that is no padding has two scores, whether the largest output is
    right and the cross-entropy; its group is its class. Groups are counted by token. All examples are of one stratum.

    Attributes:
        num_classes: C.
        length: T.
    """

    num_classes: int
    length: int
    measure = TOKEN_ACCURACY

    @property
    def num_outputs(self) -> int:
        """Return C."""
        return self.num_classes

    @property
    def positions(self) -> tuple[int, ...]:
        """Return (T,)."""
        return (self.length,)

    def groups(self, labels: Tensor) -> Tensor:
        """Return the labels ``[M, T]``."""
        return labels

    def strata(self, labels: Tensor) -> Tensor:
        """Return zeros: a sequence has no class."""
        return labels.new_zeros(len(labels))

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return whether each token is right, 1 or 0, and its cross-entropy in nats; ``[B, T, 2]``."""
        losses = F.cross_entropy(outputs.double().flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        return torch.stack([(outputs.argmax(-1) == labels).double(), losses], dim=-1)

    def value(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the token accuracy."""
        return scores[..., 0]

    def others(self, scores: NDArray[np.float64], labels: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return the perplexity, exp of the mean cross-entropy; infinite where that overflows."""
        with np.errstate(over="ignore"):
            return {"perplexity": np.exp(scores[..., 1])}


@dataclass(frozen=True)
class MultiLabelClassification(Task):
    """Labels are C answers, 0 or 1, of each example, int64 ``[M, C]``; an output above 0 predicts 1.

    A prediction's group is its place among the C labels. Groups are counted by the ones: how often a label occurs.
    The strata are the distinct rows of labels ("label powerset").

    Attributes:
        num_labels: C.
    """

    num_labels: int
    measure = HAMMING_ACCURACY

    @property
    def num_outputs(self) -> int:
        """Return C."""
        return self.num_labels

    def groups(self, labels: Tensor) -> Tensor:
        """Return each label's place, ``[M, C]``."""
        return torch.arange(self.num_labels, device=labels.device).expand(labels.shape)

    def counts(self, labels: Tensor) -> NDArray[np.int64]:
        """Return how many examples have each label."""
        return labels.sum(0).numpy()

    def strata(self, labels: Tensor) -> Tensor:
        """Return the number of each example's row among the distinct ones, in lexicographic order."""
        strata: Tensor = torch.unique(labels, dim=0, return_inverse=True)[1]
        return strata

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return whether each label is right, and whether all labels of its example are; 1 or 0, ``[B, C, 2]``."""
        right = (outputs > 0) == (labels > 0)
        return torch.stack([right, right.all(1, keepdim=True).expand(right.shape)], dim=-1).double()

    def value(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of labels that are right: 1 - Hamming loss."""
        return scores[..., 0]

    def others(self, scores: NDArray[np.float64], labels: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return the exact match ("subset accuracy"): the share of examples whose labels are all right."""
        return {"exact_match": scores[..., 1]}


@dataclass(frozen=True, eq=False)
class Regression(Task):
    """Labels are T real-valued targets, ``[M, T]``, standardized; the groups are quantile bins of the first target.

    A bin is (edge, next edge]; all but the first and the last have both. Scores are squared errors of the standardized
    targets; measures are in the targets' own unit.

    Attributes:
        mean: of the training targets, float64 ``[T]``.
        std: their standard deviation, float64 ``[T]``; 1 for a target that never changes.
        edges: G - 1 of them, of the standardized first target, float32, ascending.
    """

    mean: Tensor
    std: Tensor
    edges: Tensor
    measure = RMSE

    @classmethod
    def of(cls, targets: Tensor) -> Regression:
        """Return the task of the training targets, float ``[M, T]`` in their own unit."""
        mean, std = column_statistics(targets)
        first = ((targets[:, 0].double() - mean[0]) / std[0]).float()
        shares = np.arange(1, BINS) / BINS
        # Edges are targets themselves, so that no bin between two of them is empty; above the last one may be nothing.
        edges = np.unique(np.quantile(first.numpy(), shares, method="inverted_cdf"))
        return cls(mean, std, torch.from_numpy(edges[edges < first.max().item()]))

    @property
    def num_outputs(self) -> int:
        """Return T."""
        return len(self.mean)

    @property
    def num_groups(self) -> int:
        """Return the number of bins."""
        return len(self.edges) + 1

    def standardized(self, targets: Tensor) -> Tensor:
        """Return targets ``[M, T]`` in their own unit as the network learns them, float64."""
        return (targets.double() - self.mean) / self.std

    def restored(self, outputs: Tensor) -> Tensor:
        """Return outputs of the network ``[B, T]`` in the targets' own unit, float64 on the CPU."""
        return outputs.detach().cpu().double() * self.std + self.mean

    def groups(self, labels: Tensor) -> Tensor:
        """Return the bin of each first target."""
        first = labels[:, 0].float().contiguous()  # as the edges are: the bins are the same in every type
        return torch.searchsorted(self.edges.to(first), first)

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the squared errors ``[B, T]``."""
        return (outputs - labels).double().square()

    def value(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the root mean square error, mean over the targets."""
        return np.asarray((np.sqrt(scores) * self.std.numpy()).mean(-1))

    def others(self, scores: NDArray[np.float64], labels: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return R2, mean over the targets; nan where the split's targets are all the same."""
        variance = labels.double().var(0, correction=0).numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = np.where(variance > 0, 1 - scores / variance, np.nan)
        return {"r2": np.asarray(explained.mean(-1))}


def column_statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column of ``[M, d]``, float64 ``[d]``; 1 for a constant column."""
    values = values.double()
    spread = (values - values[:1]).abs().amax(0)
    # By a power of two, which rounds nothing, so that no square overflows or vanishes.
    scale = torch.exp2(torch.frexp(spread).exponent.double())
    std = (values / scale).std(0, correction=0) * scale
    return values.mean(0), std.masked_fill(spread == 0, 1.0)
