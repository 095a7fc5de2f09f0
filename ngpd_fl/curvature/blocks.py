"""The blocks of a K-FAC Fisher matrix, one per layer: running averages, what the solve uses of them, and the solve.

``solve`` and ``quadratic`` are given the used arrays of n nodes, ``[n, ...]``, and vectors in matrix form by columns,
as the layer's rule gives them (``Rule.views``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.curvature.solve import (
    Ridge,
    diagonal_quadratic,
    kronecker_quadratic,
    solve_diagonal,
    solve_kronecker,
    solve_tokens,
    tokens_quadratic,
)
from ngpd_fl.curvature.spectrum import Spectrum

OnRetry = Callable[[str, str], None]
"""``(factor, how)``, of a factor, ``"input"`` or ``"output"``, whose decomposition failed at first; see ``eigen``."""


class Kronecker(NamedTuple):
    """One layer's factors and the spectra that the solve uses; both of the same age after ``decompose``.

    A layer of G > 1 groups has G pairs of factors: each array has G as its first axis.

    Attributes:
        input_factor: running average of A, ``[d_in, d_in]``.
        output_factor: running average of G, ``[d_out, d_out]``.
        inputs: the spectrum of A.
        outputs: the spectrum of G.
    """

    input_factor: Tensor
    output_factor: Tensor
    inputs: Spectrum
    outputs: Spectrum

    @classmethod
    def empty(cls, sizes: tuple[int, ...], rank: int, like: Tensor) -> Kronecker:
        """Return a block that holds nothing yet.

        Args:
            sizes: (d_out, d_in, groups).
            rank: eigenvectors that are kept; 0 for all.
            like: gives dtype and device.
        """
        d_out, d_in, groups = sizes
        stack = (groups,) if groups > 1 else ()
        spectra = Spectrum.empty(d_in, rank, like, stack), Spectrum.empty(d_out, rank, like, stack)
        return cls(like.new_zeros(*stack, d_in, d_in), like.new_zeros(*stack, d_out, d_out), *spectra)

    @property
    def used(self) -> tuple[Tensor, ...]:
        """The arrays that the solve uses: both spectra."""
        return *self.inputs, *self.outputs

    @property
    def averages(self) -> tuple[Tensor, ...]:
        """The running averages."""
        return self.input_factor, self.output_factor

    def with_averages(self, averages: tuple[Tensor, ...]) -> Kronecker:
        """Return the block with other running averages."""
        input_factor, output_factor = averages
        return self._replace(input_factor=input_factor, output_factor=output_factor)

    def without_outputs(self) -> Kronecker:
        """Return the block with the identity in place of G (FOOF)."""
        return self._replace(output_factor=_identity(self.output_factor))

    def decompose(self, on_retry: OnRetry = lambda factor, how: None) -> Kronecker:
        """Let the solve use the present running averages."""
        return self._replace(
            inputs=self.inputs.follow(self.input_factor, partial(on_retry, "input")),
            outputs=self.outputs.follow(self.output_factor, partial(on_retry, "output")),
        )

    def largest(self) -> Tensor:
        """Return the largest eigenvalue that the solve uses, ``[]``."""
        return (self.inputs.values[..., -1] * self.outputs.values[..., -1]).amax()

    @staticmethod
    def widths(sizes: tuple[int, ...]) -> dict[str, int]:
        """Return the widths of the factors that are decomposed."""
        return {"output": sizes[0], "input": sizes[1]}

    @staticmethod
    def solve(used: Iterator[Tensor], ridge: Ridge, pieces: Sequence[Tensor], steps: Sequence[Tensor]) -> None:
        """Write the step into ``steps [n, G, d_out, columns]``, given the force in ``pieces``."""
        inputs, outputs, groups = _spectra(used)
        if pieces[0].dim() == 3:
            solve_kronecker(inputs, outputs, ridge, pieces, steps)
            return
        # groups next to nodes, or columns in another order than in the flat vector: not a stack of matrices in place
        matrices = _matrices(pieces, outputs)
        solved = [torch.empty_like(matrix) for matrix in matrices]
        solve_kronecker(inputs, outputs, ridge.repeat(groups), matrices, solved)
        for step, matrix in zip(steps, solved, strict=True):
            step.copy_(matrix.view(step.shape))

    @staticmethod
    def quadratic(used: Iterator[Tensor], pieces: Sequence[Tensor]) -> Tensor:
        """Return V^T F V ``[n]``."""
        inputs, outputs, groups = _spectra(used)
        return kronecker_quadratic(inputs, outputs, _matrices(pieces, outputs)).view(-1, groups).sum(1)


class TokenKronecker(NamedTuple):
    """The block of a table of V rows: the input factor is diagonal, since an input is the unit vector of a row.

    Attributes:
        frequencies: running average of A's diagonal, how often an example reads each row, ``[V]``.
        output_factor: running average of G, ``[d, d]``.
        values: the frequencies that the solve uses, ``[V]``.
        outputs: the spectrum of G.
    """

    frequencies: Tensor
    output_factor: Tensor
    values: Tensor
    outputs: Spectrum

    @classmethod
    def empty(cls, sizes: tuple[int, ...], rank: int, like: Tensor) -> TokenKronecker:
        """Return a block that holds nothing yet; ``sizes`` (d, V), the rest as for ``Kronecker``."""
        width, rows = sizes
        zeros = like.new_zeros(rows)
        return cls(zeros, like.new_zeros(width, width), zeros, Spectrum.empty(width, rank, like))

    @property
    def used(self) -> tuple[Tensor, ...]:
        """The arrays that the solve uses."""
        return self.values, *self.outputs

    @property
    def averages(self) -> tuple[Tensor, ...]:
        """The running averages."""
        return self.frequencies, self.output_factor

    def with_averages(self, averages: tuple[Tensor, ...]) -> TokenKronecker:
        """Return the block with other running averages."""
        frequencies, output_factor = averages
        return self._replace(frequencies=frequencies, output_factor=output_factor)

    def without_outputs(self) -> TokenKronecker:
        """Return the block with the identity in place of G (FOOF)."""
        return self._replace(output_factor=_identity(self.output_factor))

    def decompose(self, on_retry: OnRetry = lambda factor, how: None) -> TokenKronecker:
        """Let the solve use the present running averages."""
        outputs = self.outputs.follow(self.output_factor, partial(on_retry, "output"))
        return self._replace(values=self.frequencies, outputs=outputs)

    def largest(self) -> Tensor:
        """Return the largest eigenvalue that the solve uses, ``[]``."""
        return self.values.amax() * self.outputs.values[-1]

    @staticmethod
    def widths(sizes: tuple[int, ...]) -> dict[str, int]:
        """Return the width of the factor that is decomposed."""
        return {"output": sizes[0]}

    @staticmethod
    def solve(used: Iterator[Tensor], ridge: Ridge, pieces: Sequence[Tensor], steps: Sequence[Tensor]) -> None:
        """Write the step into ``steps``, one ``[n, d, V]``, given the force in ``pieces``."""
        values = next(used)
        solve_tokens(values, Spectrum(*islice(used, 3)), ridge, pieces[0], steps[0])

    @staticmethod
    def quadratic(used: Iterator[Tensor], pieces: Sequence[Tensor]) -> Tensor:
        """Return V^T F V ``[n]``."""
        values = next(used)
        return tokens_quadratic(values, Spectrum(*islice(used, 3)), pieces[0])


class Diagonal(NamedTuple):
    """The diagonal of a layer's Fisher matrix; both of the same age after ``decompose``.

    Attributes:
        running: running average of the diagonal, ``[d]``.
        values: the one that the solve uses, ``[d]``.
    """

    running: Tensor
    values: Tensor

    @classmethod
    def empty(cls, sizes: tuple[int, ...], rank: int, like: Tensor) -> Diagonal:
        """Return a block that holds nothing yet; ``sizes`` (d,)."""
        return cls(like.new_zeros(sizes), like.new_zeros(sizes))

    @property
    def used(self) -> tuple[Tensor, ...]:
        """The arrays that the solve uses."""
        return (self.values,)

    @property
    def averages(self) -> tuple[Tensor, ...]:
        """The running average."""
        return (self.running,)

    def with_averages(self, averages: tuple[Tensor, ...]) -> Diagonal:
        """Return the block with another running average."""
        return self._replace(running=averages[0])

    def without_outputs(self) -> Diagonal:
        """Return the identity: every element depends on output gradients."""
        return self._replace(running=torch.ones_like(self.running))

    def decompose(self, on_retry: OnRetry = lambda factor, how: None) -> Diagonal:
        """Let the solve use the present running average."""
        return self._replace(values=self.running)

    def largest(self) -> Tensor:
        """Return the largest element that the solve uses, ``[]``."""
        return self.values.amax()

    @staticmethod
    def widths(sizes: tuple[int, ...]) -> dict[str, int]:
        """Return {}: nothing is decomposed."""
        return {}

    @staticmethod
    def solve(used: Iterator[Tensor], ridge: Ridge, pieces: Sequence[Tensor], steps: Sequence[Tensor]) -> None:
        """Write the step into ``steps [n, 1, columns]``, given the force in ``pieces``."""
        solve_diagonal(next(used), ridge, pieces, steps)

    @staticmethod
    def quadratic(used: Iterator[Tensor], pieces: Sequence[Tensor]) -> Tensor:
        """Return V^T F V ``[n]``."""
        return diagonal_quadratic(next(used), pieces)


FisherBlock = Kronecker | TokenKronecker | Diagonal


def _identity(factor: Tensor) -> Tensor:
    """Return the identity in the shape of ``factor [..., d, d]``."""
    return torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)


def _spectra(used: Iterator[Tensor]) -> tuple[Spectrum, Spectrum, int]:
    """Return the spectra of A and G as stacks over nodes and groups, and the number of groups."""
    inputs, outputs = Spectrum(*islice(used, 3)), Spectrum(*islice(used, 3))
    if inputs.basis.dim() == 3:
        return inputs, outputs, 1
    groups = inputs.basis.shape[1]
    inputs, outputs = (Spectrum(*(part.flatten(0, 1) for part in spectrum)) for spectrum in (inputs, outputs))
    return inputs, outputs, groups


def _matrices(pieces: Sequence[Tensor], outputs: Spectrum) -> list[Tensor]:
    """Return pieces as stacks of matrices over nodes and groups, ``[n G, d_out, columns]``."""
    if pieces[0].dim() == 3:
        return list(pieces)
    stack, d_out = outputs.basis.shape[:2]
    return [piece.reshape(stack, d_out, -1) for piece in pieces]
