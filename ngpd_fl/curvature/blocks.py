"""The blocks of a K-FAC Fisher matrix, one per layer: running averages, their spectra, and the solve with them.

A vector's part that belongs to a layer has matrix form V ``[d_out, d_in]``. A Kronecker block is F = A (x) G,
that is F V = G V A, with A = U_A diag(d_A) U_A^T over the layer's inputs and G = U_G diag(d_G) U_G^T over its
outputs. Adding a multiple of I stays diagonal in the basis U_A (x) U_G, so that with h(x) = 1 / ((x + damping) / lr +
shift), and h of a matrix for h of its eigenvalues,

    [ (F + damping I) / lr + shift I ]^-1 V = sum_k h(d_k G) V u_k u_k^T                                          (1)

over the eigenvectors u_k and eigenvalues d_k of A, with no factored damping and no approximation beyond Kronecker.

**Truncation.** With only the r leading eigenvectors of A kept, U ``[d_in, r]``, and the value a in place of the other
eigenvalues (see ``spectrum``), (1) is

    step = h(a G) V + sum_k [ h(d_k G) - h(a G) ] V u_k u_k^T           k = 1 ... r                               (2)

at d_out d_in (2 d_out + 4 r) instead of 4 d_out d_in^2 operations; G may be truncated in the same way. That is the
exact solve with a matrix A' (x) G' near F.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ngpd_fl.curvature.spectrum import Spectrum


class Ridge(NamedTuple):
    """What is added to F in the solve, h(x) = 1 / ((x + damping) / lr + shift)."""

    lr: Tensor
    damping: float
    shift: Tensor

    def invert(self, eigenvalues: Tensor) -> Tensor:
        """Return h of F's eigenvalues."""
        return 1 / ((eigenvalues + self.damping) / self.lr + self.shift)

    def quadratic(self, force: Tensor, step: Tensor) -> Tensor:
        """Return step^T F step ``[]`` of ``step [P]``, the solution for ``force [P]``, without another product.

        F step is what the equation says: lr (force - shift step) - damping step.
        """
        return (self.lr * (step @ force) - (self.damping + self.lr * self.shift) * (step @ step)).clamp(min=0)


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
    def averages(self) -> tuple[Tensor, ...]:
        """The running averages."""
        return self.input_factor, self.output_factor

    def with_averages(self, averages: tuple[Tensor, ...]) -> Kronecker:
        """Return the block with other running averages."""
        input_factor, output_factor = averages
        return self._replace(input_factor=input_factor, output_factor=output_factor)

    def decompose(self) -> Kronecker:
        """Let the solve use the present running averages."""
        return self._replace(
            inputs=self.inputs.follow(self.input_factor), outputs=self.outputs.follow(self.output_factor)
        )

    def solve(self, matrix: Tensor, ridge: Ridge) -> Tensor:
        """Return the step (1), or (2) if truncated, ``[d_out, d_in]``."""
        inputs, outputs = self.inputs, self.outputs
        columns = matrix @ inputs.basis
        kept = ridge.invert(outputs.values[:, None] * inputs.values)
        step = outputs.apply(kept, ridge.invert(outputs.rest * inputs.values), columns)
        if not inputs.truncated:
            return step @ inputs.basis.t()
        outside = outputs.matrix(ridge.invert(outputs.values * inputs.rest), ridge.invert(outputs.rest * inputs.rest))
        return outside @ matrix + (step - outside @ columns) @ inputs.basis.t()

    def quadratic(self, matrix: Tensor) -> Tensor:
        """Return V^T F V ``[]`` for V in matrix form."""
        inputs, outputs = self.inputs, self.outputs
        factor = outputs.matrix(outputs.values, outputs.rest)
        columns = matrix @ inputs.basis
        total = ((inputs.values - inputs.rest) * (columns * (factor @ columns)).sum(0)).sum()
        return total + inputs.rest * (matrix * (factor @ matrix)).sum() if inputs.truncated else total


class Diagonal(NamedTuple):
    """The diagonal of a normalisation's Fisher matrix; both of the same age after ``decompose``.

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
    def averages(self) -> tuple[Tensor, ...]:
        """The running average."""
        return (self.running,)

    def with_averages(self, averages: tuple[Tensor, ...]) -> Diagonal:
        """Return the block with another running average."""
        return self._replace(running=averages[0])

    def decompose(self) -> Diagonal:
        """Let the solve use the present running average."""
        return self._replace(values=self.running)

    def solve(self, matrix: Tensor, ridge: Ridge) -> Tensor:
        """Return the step, ``[1, d]``."""
        return ridge.invert(self.values) * matrix

    def quadratic(self, matrix: Tensor) -> Tensor:
        """Return V^T F V ``[]``."""
        return (self.values * matrix.square()).sum()


Block = Kronecker | Diagonal
