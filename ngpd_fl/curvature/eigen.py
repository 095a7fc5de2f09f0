"""Eigendecompositions of symmetric matrices that do not end a run.

LAPACK's and cuSOLVER's divide-and-conquer may fail to converge, or return nan, on a wide or badly scaled matrix in
float32. Such a matrix, and no other of its stack, is then decomposed in float64; failing that, with a little added to
its diagonal, which takes equal eigenvalues apart; failing that, the last basis U is kept, with diag(U^T A U) for
eigenvalues.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ngpd_fl.core.batching import call_stacked

logger = logging.getLogger(__name__)

FLOAT64, JITTERED, KEPT = "float64", "jittered", "kept"
"""The ways in which a matrix that failed at first was decomposed."""

_WORDS = {
    FLOAT64: "it was done in float64",
    JITTERED: "it was done in float64, with a little added to the diagonal",
    KEPT: "the last basis was kept",
}

_JITTER = 1e-9
"""Most that is added to the diagonal, as a share of its mean: far below float32's rounding."""


class Retries:
    """Decompositions of a network's factors that failed at first: the first of a kind is reported, all are counted."""

    def __init__(self) -> None:
        """Start with none."""
        self._counts: dict[str, dict[str, int]] = {}
        self._reported: set[tuple[str, str]] = set()

    def add(self, layer: str, factor: str, how: str, *, width: int) -> None:
        """Count one.

        Args:
            layer: its name.
            factor: ``"input"`` or ``"output"``.
            how: the way in which it was decomposed instead.
            width: the factor's.
        """
        key = f"{layer} {factor}"
        counts = self._counts.setdefault(key, {"width": width})
        counts[how] = counts.get(how, 0) + 1
        if (key, how) not in self._reported:
            self._reported.add((key, how))
            logger.warning(
                "layer %r: the eigendecomposition of its %s factor, %d wide, failed; %s; a strategy.rank below %d "
                "spares it",
                *(layer, factor, width, _WORDS[how], width),
            )

    def take(self) -> dict[str, dict[str, int]]:
        """Return the counts since the last call: layer and factor -> how it was done -> times, beside its ``width``."""
        counts, self._counts = self._counts, {}
        return counts


def eigh(matrix: Tensor, basis: Tensor, on_retry: Callable[[str], None]) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues ``[d]``, ascending, and the eigenvectors ``[d, d]`` of a finite symmetric matrix.

    Args:
        matrix: ``[d, d]``, or a stack of them; results have the stack's axes first.
        basis: the orthonormal one that is kept where all else fails, of the same shape.
        on_retry: called with ``FLOAT64``, ``JITTERED`` or ``KEPT`` for each matrix that failed at first.
    """
    values, vectors = call_stacked(partial(_of_stack, on_retry), matrix, basis, traced=False)
    return values, vectors


def _of_stack(on_retry: Callable[[str], None], matrices: Tensor, bases: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose ``matrices [n, ..., d, d]``; one by one where any of them fails."""
    if matrices.dim() > 3:
        all_values, all_vectors = _of_stack(on_retry, matrices.flatten(0, -3), bases.flatten(0, -3))
        return all_values.view(matrices.shape[:-1]), all_vectors.view(matrices.shape)
    decomposition = _attempt(matrices)
    if decomposition is not None:
        return decomposition
    if len(matrices) > 1:
        pairs = [_of_stack(on_retry, matrix[None], basis[None]) for matrix, basis in zip(matrices, bases, strict=True)]
        values, vectors = zip(*pairs, strict=True)
        return torch.cat(values), torch.cat(vectors)
    wide = matrices.double()
    diagonal = wide.diagonal(dim1=1, dim2=2)
    ramp = torch.linspace(0, _JITTER, diagonal.shape[1], dtype=wide.dtype, device=wide.device) * diagonal.mean()
    for how, again in ((FLOAT64, wide), (JITTERED, wide + torch.diag(ramp))):
        if (decomposition := _attempt(again)) is not None:
            on_retry(how)
            return decomposition[0].to(matrices), decomposition[1].to(matrices)
    on_retry(KEPT)
    kept, order = (bases.transpose(1, 2) @ matrices @ bases).diagonal(dim1=1, dim2=2).sort()
    return kept, bases[:, :, order[0]]


def _attempt(matrices: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return torch's decomposition, or None where it failed; on a GPU, to look for nan would be to wait for it."""
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    if values.device.type == "cpu" and not values.isfinite().all():
        return None
    return values, vectors
