"""Minibatches and random draws for local steps: the data set once in memory, and keyed draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.data import BatchSampler, Moves, Split, draw_moves, move
from strategies import Phase

Drawn = Callable[[int, slice], tuple[Any, Tensor]]
"""``(k, rows) -> batches and draws`` of some of a round's nodes in its local step k."""


class Minibatches(Protocol):
    """Batches and random numbers of local steps."""

    def __call__(self, nodes: Tensor, steps: Sequence[int], phase: Phase) -> tuple[Any, Tensor]:
        """Return the batches and the curvature's draws of ``nodes [n]`` in their local steps ``steps``, n of them.

        ``nodes`` lies on the CPU. Every leaf has a leading axis n.
        """
        ...


@runtime_checkable
class RoundMinibatches(Minibatches, Protocol):
    """Minibatches drawn for a whole round: a GPU waits for each copy from the host, however small."""

    def draw(self, nodes: Sequence[int], firsts: Sequence[int], phases: Sequence[Phase]) -> Drawn:
        """Draw for n nodes, each in ``len(phases)`` local steps from its one of ``firsts`` on."""
        ...

    def on(self, device: torch.device) -> RoundMinibatches:
        """Return the same minibatches for nodes on another device."""
        ...


def draw(minibatches: Minibatches, nodes: Sequence[int], firsts: Sequence[int], phases: Sequence[Phase]) -> Drawn:
    """Return what ``RoundMinibatches.draw`` does, of any minibatches."""
    if isinstance(minibatches, RoundMinibatches):
        return minibatches.draw(nodes, firsts, phases)

    def of_step(step: int, rows: slice) -> tuple[Any, Tensor]:
        return minibatches(torch.tensor(nodes[rows]), [first + step for first in firsts[rows]], phases[step])

    return of_step


class DataMinibatches:
    """Minibatches of a partitioned data set, drawn for whole rounds.

    Attributes:
        split: the training examples, as the nodes see them.
    """

    def __init__(
        self,
        split: Split,
        parts: Sequence[NDArray[np.int64]],
        batch_size: int,
        seed: int,
        *,
        crop: int = 0,
        flip: bool = False,
        draw_shape: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        dropout: bool = False,
    ) -> None:
        """Draw from the training examples.

        Args:
            split: the training examples, in the engine's dtype and on its device.
            parts: each node's indices.
            batch_size: as in ``DataConfig``.
            seed: keys the draws.
            crop: as in ``DataConfig``.
            flip: as in ``DataConfig``.
            draw_shape: of the uniform numbers of one example, as its likelihood needs them.
            dtype: their type. Defaults to that of the inputs.
            dropout: whether the network drops values, so that batches have a key for it.
        """
        self.split = split
        self._parts = parts
        self._sampler = BatchSampler(parts, batch_size, seed)
        self._batch_size = batch_size
        self._seed = seed
        self._crop, self._flip = crop, flip
        self._draw_shape = draw_shape
        self._dtype = dtype or split.inputs.dtype
        self._dropout = dropout

    def __call__(self, nodes: Tensor, steps: Sequence[int], phase: Phase) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return ``((inputs [n, B, C, H, W], labels [n, B]), uniform [n, B, *draw_shape])``.

        The uniform numbers draw Monte-Carlo targets; they are zeros in steps that refresh no factors. Of a network with
        dropout, its keys, int64 ``[n, 2]``, follow the labels.
        """
        return self.draw(nodes.tolist(), steps, [phase])(0, slice(None))

    def draw(self, nodes: Sequence[int], firsts: Sequence[int], phases: Sequence[Phase]) -> Drawn:
        """Draw all that a round's steps need on the host, and copy it to the device at once."""
        inputs, count = self.split.inputs, len(phases)
        indices = self._placed(self._sampler.batches(nodes, firsts, count))
        uniform = self._uniform(nodes, firsts, phases)
        moves = self._moves(nodes, firsts, count) if self._crop or self._flip else None
        keys = [self._keys(nodes, firsts, count)] if self._dropout else []

        def of_step(step: int, rows: slice) -> tuple[tuple[Tensor, ...], Tensor]:
            chosen = indices[step, rows]
            images = inputs.index_select(0, chosen.flatten()).view(*chosen.shape, *inputs.shape[1:])
            if moves is not None:
                images = move(images, Moves(*(values[step, rows] for values in moves)))
            return (images, self.split.labels[chosen], *(key[step, rows] for key in keys)), uniform[step][rows]

        return of_step

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of training examples of each node, ``[N]``."""
        return np.array([len(part) for part in self._parts])

    def on(self, device: torch.device) -> DataMinibatches:
        """Return the same minibatches for nodes on another device, with the images there."""
        moved = copy(self)
        moved.split = self.split.on(device)
        return moved

    def of_one_node(self) -> DataMinibatches:
        """Return the minibatches of one node that has all nodes' images, as they see them."""
        merged = copy(self)
        merged._sampler = BatchSampler([np.concatenate(self._parts)], self._batch_size, self._seed)
        return merged

    def _uniform(self, nodes: Sequence[int], firsts: Sequence[int], phases: Sequence[Phase]) -> list[Tensor]:
        """Return each step's uniform numbers ``[n, B, *draw_shape]``."""
        shape = (len(nodes), self._batch_size, *self._draw_shape)
        refreshing = [step for step, phase in enumerate(phases) if phase.refresh_factors]
        drawn = np.empty((len(refreshing), *shape))
        for of_step, step in zip(drawn, refreshing, strict=True):
            for row, node, first in zip(of_step, nodes, firsts, strict=True):
                generator(self._seed, Purpose.LABELS, node, first + step).random(out=row)
        zeros = self.split.inputs.new_zeros(shape, dtype=self._dtype)
        of_refreshing = dict(zip(refreshing, self._placed(drawn, zeros.dtype), strict=True)) if refreshing else {}
        return [of_refreshing.get(step, zeros) for step in range(len(phases))]

    def _moves(self, nodes: Sequence[int], firsts: Sequence[int], count: int) -> Moves:
        """Return each step's random shifts and flips of each node, ``[count, n, B]``."""
        steps = [first + step for step in range(count) for first in firsts]
        device = self.split.inputs.device
        moves = draw_moves(
            self._seed, [*nodes] * count, steps, self._batch_size, crop=self._crop, flip=self._flip, device=device
        )
        return Moves(*(values.view(count, len(nodes), -1) for values in moves))

    def _keys(self, nodes: Sequence[int], firsts: Sequence[int], count: int) -> Tensor:
        """Return each step's keys of each node's dropout, two words of 32 bits, int64 ``[count, n, 2]``."""
        keys = [
            generator(self._seed, Purpose.DROPOUT, node, first + step).integers(2**32, size=2)
            for step in range(count)
            for node, first in zip(nodes, firsts, strict=True)
        ]
        return self._placed(np.stack(keys).reshape(count, len(nodes), 2))

    def _placed(self, array: NDArray[Any], dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self.split.inputs.device)
