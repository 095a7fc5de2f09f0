"""The blocks of a K-FAC Fisher matrix, one per layer: running averages, and what the solve uses of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from ngpd_fl.curvature.spectrum import Spectrum

OnRetry = Callable[[str, str], None]
"""``(factor, how)``, of a factor, ``"input"`` or ``"output"``, whose decomposition failed at first; see ``eigen``."""


class Kronecker(NamedTuple):
    """One layer's factors and the spectra that the solve uses; both of the same age after ``decompose``.

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
    def empty(cls, d_out: int, d_in: int, rank: int, like: Tensor) -> Kronecker:
        """Return a block that holds nothing yet; ``rank`` r is 0 for all eigenvectors."""
        spectra = Spectrum.empty(d_in, rank, like), Spectrum.empty(d_out, rank, like)
        return cls(like.new_zeros(d_in, d_in), like.new_zeros(d_out, d_out), *spectra)

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

    def decompose(self, on_retry: OnRetry = lambda factor, how: None) -> Kronecker:
        """Let the solve use the present running averages."""
        return self._replace(
            inputs=self.inputs.follow(self.input_factor, partial(on_retry, "input")),
            outputs=self.outputs.follow(self.output_factor, partial(on_retry, "output")),
        )


class Diagonal(NamedTuple):
    """The diagonal of a normalization's Fisher matrix; both of the same age after ``decompose``.

    Attributes:
        running: running average of the diagonal, ``[d]``.
        values: the one that the solve uses, ``[d]``.
    """

    running: Tensor
    values: Tensor

    @classmethod
    def empty(cls, d_in: int, like: Tensor) -> Diagonal:
        """Return a block that holds nothing yet."""
        return cls(like.new_zeros(d_in), like.new_zeros(d_in))

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

    def decompose(self, on_retry: OnRetry = lambda factor, how: None) -> Diagonal:
        """Let the solve use the present running average."""
        return self._replace(values=self.running)


Block = Kronecker | Diagonal
