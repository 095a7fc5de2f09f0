"""Muon: steps along a momentum whose matrices are orthogonalized.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. With G = U S V^T the momentum of a
weight matrix, the step is along its matrix sign msgn(G) = U V^T, all of whose singular values are 1. Five steps of a
Newton-Schulz iteration from X = G / |G|_F come near it,

    X <- a X + b (X X^T) X + c (X X^T)^2 X,    a, b, c = 3.4445, -4.7750, 2.0315                                   (1)

an odd polynomial of the singular values. The coefficients trade exactness for a steep slope at 0: those above 0.002
|G|_F end between 0.68 and 1.21. Here (1) is computed in the dtype of the parameters, where Muon takes bfloat16.

Muon is for the weight matrices of hidden layers, a convolution's as [out, in x kernel]. All other parameters (biases,
norms, embeddings, the output layer) take steps along the momentum itself, with ``other_lr``: SGD with momentum, where
Muon leaves them to AdamW. ``Objective.matrices`` says which are hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from strategies.contract import Matrix
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import GossipOptions

_COEFFICIENTS = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_SMALL = 1e-7
"""Added to the norm, so that a matrix of zeros stays one."""


class MuonOptions(GossipOptions):
    """Parameters of Muon's step."""

    momentum: float = Field(
        0.8, ge=0, lt=1, description="beta, weight of the past in the running average of the local gradient"
    )
    other_lr: float = Field(
        0.05,
        gt=0,
        description="step size of parameters whose momentum is not orthogonalized: all but the weight matrices of "
        "hidden layers",
    )


def matrix_sign(matrix: Tensor) -> Tensor:
    """Return (1) of ``matrix [rows, columns]``, near U V^T."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / (torch.linalg.matrix_norm(x) + _SMALL)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    sign: Tensor = x.mT if is_tall else x
    return sign


def muon_step(vector: Tensor, matrices: Sequence[Matrix], options: MuonOptions) -> Tensor:
    """Return the step ``[P]`` along a momentum ``vector [P]``, before the schedule's factor.

    Args:
        vector: the momentum.
        matrices: the places of the matrices in it, in their order.
        options: the step sizes.
    """
    parts, end = [], 0
    for matrix in matrices:
        parts.append(options.other_lr * vector[end : matrix.start])
        end = matrix.start + matrix.rows * matrix.columns
        sign = matrix_sign(vector[matrix.start : end].reshape(matrix.rows, matrix.columns))
        parts.append(options.lr * sign.reshape(-1))
    return torch.cat([*parts, options.other_lr * vector[end:]])
