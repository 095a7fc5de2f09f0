"""The task of a data set: to tell classes apart, or to predict real values. It decides what is measured and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.records.metrics import ACCURACY, RMSE, Measure

BINS = 10
"""Quantile bins of real-valued targets; fewer where many targets are equal."""


class Task(Protocol):
    """A learning task: its labels and measures.

    Examples fall into G groups, the classes or bins of the targets: partitions use them, and results are recorded for
    each. Results are means of an example's ``scores``, of which there are S.
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
    def num_groups(self) -> int:
        """Return G."""
        ...

    def groups(self, labels: Tensor) -> Tensor:
        """Return each example's group, int64 ``[M]``, by the split's labels."""
        ...

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how good or bad each of B outputs is, float64 ``[B, S]``."""
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
class Classification:
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

    @property
    def num_groups(self) -> int:
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


@dataclass(frozen=True, eq=False)
class Regression:
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
