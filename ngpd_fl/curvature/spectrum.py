"""Eigenvectors and eigenvalues of a Kronecker factor: all, or the leading ones with the rest at its mean.

With only r eigenvectors U ``[d, r]`` kept and the mean a of the other eigenvalues in their place, the factor A stands
as A' = U diag(values) U^T + a (I - U U^T), which has A's trace. The leading eigenvectors are followed by block power
iteration (Golub and Van Loan, "Matrix computations", section 8.2, "orthogonal iteration"), begun where the last one
ended: the running average of which A is the present value moves little in between. So U is approximate, but A' is
nearby whatever U is: with the residual R = A U - U diag(values),

    |A - A'| <= |R| + max |eigenvalue of A outside the span of U  -  a|                                            (1)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.curvature.eigen import eigh

_ITERATIONS = 2


class Spectrum(NamedTuple):
    """A' of one factor, or of a stack of them: each array then has the stack's axes first.

    Attributes:
        basis: orthonormal U, ``[d, r]``.
        values: eigenvalues, ascending, ``[r]``.
        rest: a, the mean of the other eigenvalues, ``[]``; 0 where there are none.
    """

    basis: Tensor
    values: Tensor
    rest: Tensor

    @classmethod
    def empty(cls, size: int, rank: int, like: Tensor, stack: tuple[int, ...] = ()) -> Spectrum:
        """Return one that stands for nothing yet, of a factor ``[*stack, size, size]``.

        All its eigenvectors are kept where ``rank`` is 0, or more than half of them: fewer would cost as much.
        """
        kept = rank if 0 < 2 * rank <= size else size
        if kept == size:
            start = np.eye(size)
        else:  # where the iteration begins, at every node
            start = np.random.default_rng(0).standard_normal((size, kept))
        basis = torch.as_tensor(start).to(like).repeat(*stack, 1, 1)
        return cls(basis, like.new_zeros(*stack, kept), like.new_zeros(stack))

    @property
    def truncated(self) -> bool:
        """Whether eigenvectors are left out."""
        return self.basis.shape[-1] < self.basis.shape[-2]

    def follow(self, factor: Tensor, on_retry: Callable[[str], None] = lambda how: None) -> Spectrum:
        """Return that of a positive semi-definite ``factor [*stack, d, d]``; see ``eigen.eigh`` for ``on_retry``.

        Rounding may leave eigenvalues slightly below zero. A factor that is not finite, of a node that diverged, gives
        nan: an exception would stop all other nodes.
        """
        finite = factor.isfinite().flatten(-2).all(-1)
        factor = torch.where(finite[..., None, None], factor, 0.0)
        if not self.truncated:
            values, basis = eigh(factor, self.basis, on_retry)
            return Spectrum(basis, _clean(values, finite), self.rest)
        basis = self.basis
        for _ in range(_ITERATIONS):
            basis = torch.linalg.qr(factor @ basis)[0]
        inner = basis.mT @ (factor @ basis)
        finite = finite & inner.isfinite().flatten(-2).all(-1)  # products overflow before the factor does
        here = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device).expand_as(inner)
        values, turn = eigh(torch.where(finite[..., None, None], inner, 0.0), here, on_retry)
        values = _clean(values, finite)
        trace = factor.diagonal(dim1=-2, dim2=-1).sum(-1)
        rest = (trace - values.sum(-1)).clamp(min=0) / (basis.shape[-2] - basis.shape[-1])
        return Spectrum(basis @ turn, values, rest)


def _clean(values: Tensor, finite: Tensor) -> Tensor:
    return torch.where(finite[..., None], values.clamp(min=0), torch.nan)
