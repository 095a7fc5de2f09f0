"""A data set: examples of any shape with labels, in three splits, stored once; nodes hold indices into ``train``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.data.fields import Fields
from ngpd_fl.data.task import Task


@dataclass(frozen=True, eq=False)
class Split:
    """Examples with their labels.

    Attributes:
        inputs: the examples, ``[M, C, H, W]`` (a user's own data: ``[M, ...]``); normalized in a ``Dataset``, float32
            if they were bytes, else in the run's type; uint8 or floating-point as a reader returns them. Token ids are
            int64 everywhere.
        labels: the classes, int64 ``[M]``, each in ``0 .. C - 1``, or one at each position, ``[M, T]``; the answers of
            multi-label classification, int64 ``[M, C]``; in regression the targets, ``[M, T]``: in a ``Dataset``
            standardized and in the run's type, as a reader returns them float64 in their own unit.
    """

    inputs: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where an example has no label or a label no example."""
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"{len(self.inputs)} examples but {len(self.labels)} labels")

    def __len__(self) -> int:
        """Return M, the number of examples."""
        return len(self.labels)

    @cached_property
    def labels_on_host(self) -> Tensor:
        """The labels on the CPU, copied there once."""
        return self.labels.cpu()

    def on(self, device: torch.device) -> Split:
        """Return the examples on a device: this split if they are there, otherwise a copy that is made once."""
        if device == self.inputs.device:
            return self
        if device not in self._copies:
            self._copies[device] = self.placed(self.inputs.dtype, device)
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[torch.device, Split]:
        return {}

    def placed(self, dtype: torch.dtype, device: torch.device) -> Split:
        """Return the examples on a device, with floating-point numbers in a type; only what differs is copied."""
        return Split(*(t.to(device, dtype if t.is_floating_point() else None) for t in (self.inputs, self.labels)))


@dataclass(frozen=True, eq=False)
class Dataset:
    """The data of a run. The three splits share no example.

    Attributes:
        name: as in ``data.dataset``.
        train: the examples that the nodes learn from, each a part of it.
        validation: the examples that settings are chosen on; empty where ``data.validation_fraction`` is 0.
        test: the examples that results are reported on.
        task: the learning task; it knows the number of classes or targets.
        train_index: the index in ``train`` of each example of the data set as it lies, int64; -1 in another split.
            None: the training examples lie as they are.
        owners: the number of each training example's owner (a writer, a role, a device), int64 ``[M]``. None: nobody
            owns any.
        fields: the several inputs that lie packed in ``inputs``, ``[M, K]``; None for a single one.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    task: Task
    train_index: Tensor | None = None
    owners: Tensor | None = None
    fields: Fields | None = None

    @property
    def example_inputs(self) -> Tensor:
        """Three inputs to try a network on, ``[3, ...]``; of token ids, one with the largest in all splits.

        So for each of several inputs that are whole numbers, up to three.
        """
        inputs = self.train.inputs
        examples = [inputs[0], inputs[len(inputs) // 2], inputs[-1]]
        for place, columns in zip((1, 2, 0), self._columns_of_ids(), strict=False):
            splits = [split.inputs for split in (self.train, self.validation, self.test) if len(split)]
            largest = max(splits, key=lambda rows: rows.flatten(1)[:, columns].max().item())
            examples[place] = largest[int(largest.flatten(1)[:, columns].amax(1).argmax())]
        return torch.stack(examples)

    def _columns_of_ids(self) -> Iterator[slice]:
        """Yield where whole numbers lie in the rows of inputs ``[M, K]``, input by input."""
        if self.fields is None:
            yield from [slice(None)] if self.train.inputs.dtype == torch.int64 else []
            return
        start = 0
        for field in self.fields.fields:
            if field.dtype == torch.int64:
                yield slice(start, start + field.size)
            start += field.size

    def split(self, name: Literal["test", "validation"]) -> Split:
        """Return the examples that models are evaluated on."""
        return self.test if name == "test" else self.validation


@dataclass(frozen=True, eq=False)
class Partition:
    """A data set and the part of it that each of N nodes has.

    Attributes:
        dataset: the data set; where each node has its own, that of the nodes of this process, one after the other.
        parts: per node, the sorted indices of its training examples, int64 ``[M_i]``; none of a node elsewhere.
        evaluated: data that models are evaluated on: a split for all of them or, by index, one for each node of this
            process.
        origin: fingerprint of what every process must know alike of data that lie at their nodes, else empty.
    """

    dataset: Dataset
    parts: Sequence[NDArray[np.int64]]
    evaluated: Split | Mapping[int, Split]
    origin: str = ""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return how many training examples (tokens, labels) of each group each node holds, ``[N, G]``."""
        return self.dataset.task.node_counts(self.dataset.train.labels, self.parts)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that depend on the training examples of every node."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(len(part).to_bytes(8, "little") + part.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class RawDataset:
    """The result of a reader: the data set as it lies on disk, and how its pixels become a network's inputs.

    An input is ``(pixel / white - mean) / std``. Pixels stay bytes until the splits are made, which spares a copy of
    the floats.

    Attributes:
        train: training and validation examples.
        test: test examples.
        task: the task; None where the labels are real-valued targets, whose scale the training examples decide.
        white: the largest value that a pixel can have; 1 where values are not bytes.
        mean: of ``pixel / white`` in each channel, float64 ``[C]``; 0 leaves the values as they are.
        std: likewise the standard deviation, float64 ``[C]``; 1 leaves the values as they are.
        train_index: as in ``Dataset``; None where no test examples lie among the training examples.
        owners: as in ``Dataset``, of the examples in ``train``.
        fields: as in ``Dataset``.
    """

    train: Split
    test: Split
    task: Task | None
    white: int
    mean: Tensor
    std: Tensor
    train_index: Tensor | None = None
    owners: Tensor | None = None
    fields: Fields | None = None

    def train_index_of(self, kept: Tensor) -> Tensor:
        """Return ``train_index`` where only the training examples ``kept``, int64 ``[K]``, stay in ``train``."""
        new = torch.full((len(self.train),), -1)
        new[kept] = torch.arange(len(kept))
        return new if self.train_index is None else new[self.train_index].where(self.train_index >= 0, -1)


def fingerprint(dataset: Dataset) -> str:
    """Return 16 hexadecimal digits that depend on every example of all three splits, their labels and their order.

    Only the sum of an input's bits enters, in a tenth of the time.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        inputs = split.inputs.contiguous().numpy()
        rows = inputs.reshape(len(split), math.prod(inputs.shape[1:]))  # -1 would not do where there are none
        bits = rows.view({4: np.uint32, 8: np.uint64}[inputs.itemsize])
        digest.update(repr((inputs.shape, split.labels.shape)).encode())
        digest.update(bits.sum(1, dtype=np.uint64).tobytes() + split.labels.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
