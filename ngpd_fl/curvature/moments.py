"""Second moments of vectors, and sums, that a minibatch adds to the running averages. Pure functions.

Conventions of Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML
2015 (linear layers), and Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for convolution
layers", ICML 2016: with a the vector that a layer multiplies at one position (a patch for a convolution, a homogeneous
1 appended where there is a bias) and g the gradient of a *single example's* loss with respect to the layer's output,

    A = sum over positions, mean over the batch, of a a^T          [d_in, d_in]
    G = mean over batch and positions of g g^T                     [d_out, d_out]

and the layer's Fisher matrix is A (x) G. A linear layer on ``[B, d_in]`` has one position.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor


class SecondMoment(NamedTuple):
    """``weight`` times the sum of v v^T over the rows v of all ``pieces``, ``[M, d]``, or ``[G, M, d]`` of G groups."""

    pieces: Iterable[Tensor]
    weight: float | Tensor

    def average(self, running: Tensor, decay: float, share: float | Tensor) -> Tensor:
        """Return decay * running + share * moment, ``[d, d]`` or ``[G, d, d]``."""
        scale = share * self.weight
        for vectors in self.pieces:
            if isinstance(scale, Tensor):
                if running.dim() == 2:
                    running = torch.addmm(running, vectors.mT, scale * vectors, beta=decay)
                else:
                    running = decay * running + vectors.mT @ (scale * vectors)
            elif running.dim() == 2:
                running = torch.addmm(running, vectors.mT, vectors, beta=decay, alpha=scale)
            else:
                running = torch.baddbmm(running, vectors.mT, vectors, beta=decay, alpha=scale)
            decay = 1.0
        return running


class Sum(NamedTuple):
    """``weight`` times the sum of all ``pieces``, ``[d]`` each."""

    pieces: Iterable[Tensor]
    weight: float | Tensor

    def average(self, running: Tensor, decay: float, share: float | Tensor) -> Tensor:
        """Return decay * running + share * moment, ``[d]``."""
        scale = share * self.weight
        for piece in self.pieces:
            running = decay * running + scale * piece
            decay = 1.0
        return running


Moment = SecondMoment | Sum


def total(parts: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more tensors of the same shape."""
    return reduce(torch.add, parts)
