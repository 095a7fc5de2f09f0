"""The solve with a K-FAC Fisher matrix, for a stack of n nodes: products written straight into the flat step.

A vector's part that belongs to a layer has matrix form V ``[d_out, d_in]``. A Kronecker block is F = A (x) G,
that is F V = G V A, with A = U_A diag(d_A) U_A^T over the layer's inputs and G = U_G diag(d_G) U_G^T over its
outputs. Adding a multiple of I stays diagonal in the basis U_A (x) U_G, so that with h(x) = 1 / ((x + damping) / lr +
shift), and h of a matrix for h of its eigenvalues,

    [ (F + damping I) / lr + shift I ]^-1 V = sum_k h(d_k G) V u_k u_k^T                                          (1)

over the eigenvectors u_k and eigenvalues d_k of A, with no factored damping and no approximation beyond Kronecker.

**Truncation.** With only the r leading eigenvectors of A kept and the value a in place of the other eigenvalues (see
``spectrum``), (1) is

    step = h(a G) V + sum_k [ h(d_k G) - h(a G) ] V u_k u_k^T           k = 1 ... r                               (2)

at 4 d_out d_in (r + r') instead of 4 d_out d_in (d_in + d_out) operations, r' being what is kept of G in the same
way. That is the exact solve with a matrix A' (x) G' near F.

The weight and the bias of a layer, V's last column, lie apart in the flat vector: V is given as these two pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.curvature.spectrum import Spectrum


class Ridge(NamedTuple):
    """The addition to F in the solve, h(x) = 1 / ((x + damping) / lr + shift); ``lr`` and ``shift`` ``[n]``."""

    lr: Tensor
    damping: float
    shift: Tensor

    def invert(self, eigenvalues: Tensor) -> Tensor:
        """Return h of F's eigenvalues, ``[n, j, k]``."""
        return 1 / ((eigenvalues + self.damping) / self.lr[:, None, None] + self.shift[:, None, None])

    def repeat(self, groups: int) -> Ridge:
        """Return that of a stack over nodes and groups."""
        lr, shift = (value[:, None].expand(-1, groups).flatten() for value in (self.lr, self.shift))
        return Ridge(lr, self.damping, shift)

    def quadratic(self, force: Tensor, step: Tensor) -> Tensor:
        """Return step^T F step ``[n]`` of ``step [n, P]``, the solution for ``force [n, P]``, without another product.

        F step is what the equation says: lr (force - shift step) - damping step. Where F adds little, the two products
        below nearly cancel: q is known to rounding (some 1e-7 in float32) of (damping + lr shift) |step|^2.
        """
        return (self.lr * dots(step, force) - (self.damping + self.lr * self.shift) * dots(step, step)).clamp(min=0)


def solve_kronecker(
    inputs: Spectrum, outputs: Spectrum, ridge: Ridge, pieces: Sequence[Tensor], steps: Sequence[Tensor]
) -> None:
    """Write the step (1), or (2) if truncated, into ``steps``.

    Args:
        inputs: the spectrum of A.
        outputs: the spectrum of G.
        ridge: what is added.
        pieces: V by columns, ``[n, d_out, columns]`` each.
        steps: where the step goes, of the same shapes.
    """
    bases = inputs.basis.split_with_sizes([piece.shape[2] for piece in pieces], dim=1)
    columns = _columns(pieces, bases)
    of_inputs, rest = inputs.values[:, None], inputs.rest[:, None, None]
    of_outputs, outputs_rest = outputs.values[:, :, None], outputs.rest[:, None, None]
    step = torch.empty_like(columns)
    _apply(outputs, ridge.invert(of_outputs * of_inputs), ridge.invert(outputs_rest * of_inputs), columns, step)
    if not inputs.truncated:
        for basis, out in zip(bases, steps, strict=True):
            torch.bmm(step, basis.transpose(1, 2), out=out)
        return
    outside = ridge.invert(of_outputs * rest), ridge.invert(outputs_rest * rest)
    step_outside = torch.empty_like(columns)
    _apply(outputs, *outside, columns, step_outside)
    difference = step - step_outside
    for piece, basis, out in zip(pieces, bases, steps, strict=True):
        _apply(outputs, *outside, piece, out)
        out.baddbmm_(difference, basis.transpose(1, 2))


def kronecker_quadratic(inputs: Spectrum, outputs: Spectrum, pieces: Sequence[Tensor]) -> Tensor:
    """Return V^T F V ``[n]`` for V by columns, ``[n, d_out, columns]`` each."""
    bases = inputs.basis.split_with_sizes([piece.shape[2] for piece in pieces], dim=1)
    factor = outputs.values[:, :, None], outputs.rest[:, None, None]

    def energies(vectors: Tensor) -> Tensor:
        """Return v^T G v of each column v, ``[n, k]``."""
        image = torch.empty_like(vectors)
        _apply(outputs, *factor, vectors, image)
        return (vectors * image).sum(1)

    total = ((inputs.values - inputs.rest[:, None]) * energies(_columns(pieces, bases))).sum(1)
    if inputs.truncated:
        total = total + inputs.rest * sum(energies(piece).sum(1) for piece in pieces)
    return total.clamp(min=0)


def solve_tokens(values: Tensor, outputs: Spectrum, ridge: Ridge, matrix: Tensor, step: Tensor) -> None:
    """Write the step (1) of a block with A = diag(``values [n, V]``) into ``step [n, d, V]``; U_A is I."""
    of_outputs, outputs_rest, of_rows = outputs.values[:, :, None], outputs.rest[:, None, None], values[:, None]
    _apply(outputs, ridge.invert(of_outputs * of_rows), ridge.invert(outputs_rest * of_rows), matrix, step)


def tokens_quadratic(values: Tensor, outputs: Spectrum, matrix: Tensor) -> Tensor:
    """Return V^T F V ``[n]`` of a block with A = diag(``values [n, V]``), for ``matrix [n, d, V]``."""
    image = torch.empty_like(matrix)
    _apply(outputs, outputs.values[:, :, None], outputs.rest[:, None, None], matrix, image)
    return (values * (matrix * image).sum(1)).sum(1).clamp(min=0)


def solve_diagonal(values: Tensor, ridge: Ridge, pieces: Sequence[Tensor], steps: Sequence[Tensor]) -> None:
    """Write the step of a block with the diagonal ``values [n, d]`` into ``steps``, ``[n, 1, columns]`` each."""
    inverses = ridge.invert(values[:, None]).split_with_sizes([piece.shape[2] for piece in pieces], dim=2)
    for piece, inverse, out in zip(pieces, inverses, steps, strict=True):
        torch.mul(piece, inverse, out=out)


def diagonal_quadratic(values: Tensor, pieces: Sequence[Tensor]) -> Tensor:
    """Return V^T F V ``[n]`` of a block with the diagonal ``values [n, d]``."""
    return (values * torch.cat(list(pieces), dim=2)[:, 0].square()).sum(1)


def dots(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products ``[n]`` of the rows of two ``[n, P]``; on a CPU without a temporary of that size."""
    if left.device.type == "cpu":
        return torch.stack([torch.dot(one, other) for one, other in zip(left, right, strict=True)])
    return (left * right).sum(1)


def _columns(pieces: Sequence[Tensor], bases: Sequence[Tensor]) -> Tensor:
    """Return V U_A ``[n, d_out, r]``."""
    columns = torch.bmm(pieces[0], bases[0])
    for piece, basis in zip(pieces[1:], bases[1:], strict=True):
        columns.baddbmm_(piece, basis)
    return columns


def _apply(spectrum: Spectrum, kept: Tensor, rest: Tensor, vectors: Tensor, out: Tensor) -> None:
    """Write a function of A' times ``vectors [n, d, k]`` into ``out``, maybe another function for each column.

    ``kept [n, r, k or 1]`` are its values at the eigenvalues, ``rest [n, 1, k or 1]`` at those left out.
    """
    inner = torch.bmm(spectrum.basis.transpose(1, 2), vectors)
    if spectrum.truncated:
        torch.mul(vectors, rest, out=out)
        out.baddbmm_(spectrum.basis, inner.mul_(kept - rest))
    else:
        torch.bmm(spectrum.basis, inner.mul_(kept), out=out)
