"""Truncated factors: the exact solve with a nearby matrix, how near, and the iteration that follows eigenvectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ngpd_fl.curvature.blocks import Kronecker
from ngpd_fl.curvature.solve import Ridge, kronecker_quadratic, solve_kronecker
from ngpd_fl.curvature.spectrum import Spectrum

LR, DAMPING, SHIFT = 0.3, 0.05, 0.2
LIKE = torch.zeros((), dtype=torch.float64)


def factor(size: int, seed: int) -> Tensor:
    """A positive semi-definite matrix whose eigenvalues fall quickly, as those of layer inputs do."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return basis @ torch.diag(torch.logspace(0, -4, size, dtype=torch.float64)) @ basis.t()


def block(rank: int, times: int = 1) -> Kronecker:
    """A block of two factors after so many decompositions."""
    given = Kronecker.empty((4, 9, 1), rank, LIKE).with_averages((factor(9, 0), factor(4, 1)))
    for _ in range(times):
        given = given.decompose()
    return given


def stands_for(spectrum: Spectrum) -> Tensor:
    """A', of which eigenvectors, eigenvalues and the mean of the rest are given."""
    basis = spectrum.basis
    outside = torch.eye(len(basis), dtype=basis.dtype) - basis @ basis.t()
    return basis @ torch.diag(spectrum.values) @ basis.t() + spectrum.rest * outside


def dense(given: Kronecker) -> Tensor:
    """The matrix that the block's solve stands for, on row-major ``[d_out, d_in]``."""
    return torch.kron(stands_for(given.outputs), stands_for(given.inputs))


def stacked(given: Kronecker) -> tuple[Spectrum, Spectrum]:
    """The spectra of a stack of this one node."""
    inputs, outputs = (Spectrum(*(part[None] for part in each)) for each in (given.inputs, given.outputs))
    return inputs, outputs


def solve(given: Kronecker, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The step, and step^T F step."""
    lr, shift = (torch.tensor([value], dtype=torch.float64) for value in (LR, SHIFT))
    ridge, step = Ridge(lr, DAMPING, shift), torch.empty_like(matrix)
    solve_kronecker(*stacked(given), ridge, matrix[None].split([7, 2], dim=2), step[None].split([7, 2], dim=2))
    return step, ridge.quadratic(matrix.flatten()[None], step.flatten()[None])[0]


def ridge(matrix: Tensor) -> Tensor:
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    return (matrix + DAMPING * eye) / LR + SHIFT * eye


FORCE = torch.randn(4, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4, 5, 20])
def test_it_is_the_exact_solve_with_the_truncated_matrix(rank: int) -> None:
    given = block(rank)
    assert given.inputs.basis.shape == (9, rank if rank in (1, 2, 3, 4) else 9)
    assert given.outputs.basis.shape == (4, rank if rank in (1, 2) else 4)
    step, quadratic = solve(given, FORCE)
    expected = torch.linalg.solve(ridge(dense(given)), FORCE.flatten())
    torch.testing.assert_close(step.flatten(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(quadratic, expected @ dense(given) @ expected, rtol=1e-9, atol=1e-12)
    vector = FORCE.flatten()
    torch.testing.assert_close(
        kronecker_quadratic(*stacked(given), [FORCE[None]])[0], vector @ dense(given) @ vector, rtol=1e-9, atol=1e-12
    )


def test_all_eigenvectors_are_the_whole_matrix() -> None:
    torch.testing.assert_close(dense(block(0)), torch.kron(factor(4, 1), factor(9, 0)))


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_truncation_keeps_the_trace_and_its_error_is_bounded(rank: int) -> None:
    """The bound of ``spectrum``, and what it means for the step: it is divided by the ridge's smallest eigenvalue."""
    given, whole = block(rank), factor(9, 0)
    kept = given.inputs
    nearby = stands_for(kept)
    torch.testing.assert_close(nearby.trace(), whole.trace())
    torch.testing.assert_close(kept.basis.t() @ kept.basis, torch.eye(rank, dtype=torch.float64))
    residual = torch.linalg.matrix_norm(whole @ kept.basis - kept.basis * kept.values, ord=2)
    complement = torch.linalg.svd(kept.basis)[0][:, rank:]
    outside = torch.linalg.eigvalsh(complement.t() @ whole @ complement)
    bound = residual + (outside - kept.rest).abs().max()
    assert 0 < torch.linalg.matrix_norm(nearby - whole, ord=2) <= bound * (1 + 1e-9)
    exact = block(0)
    error = (solve(given._replace(outputs=exact.outputs), FORCE)[0] - solve(exact, FORCE)[0]).norm()
    floor = DAMPING / LR + SHIFT
    assert 0 < error <= bound * exact.outputs.values.max() / LR / floor**2 * FORCE.norm()


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_the_iteration_finds_the_leading_eigenvectors(rank: int) -> None:
    """Each step shrinks the tangent of the angle to them by the ratio of neighboring eigenvalues, here 10^-1/2."""
    values, basis = torch.linalg.eigh(factor(9, 0))
    spectrum = Spectrum.empty(9, rank, LIKE)

    def tangent(columns: Tensor) -> Tensor:
        leading = basis[:, -rank:].t() @ columns
        return torch.linalg.matrix_norm(basis[:, :-rank].t() @ columns @ leading.inverse(), ord=2)

    error = tangent(spectrum.basis)
    for _ in range(4):
        spectrum = spectrum.follow(factor(9, 0))
        assert tangent(spectrum.basis) <= 0.1 * error * (1 + 1e-9)
        error = tangent(spectrum.basis)
    for _ in range(15):
        spectrum = spectrum.follow(factor(9, 0))
    torch.testing.assert_close(spectrum.values, values[-rank:])
    torch.testing.assert_close(spectrum.rest, values[:-rank].mean())
    torch.testing.assert_close(spectrum.basis.abs(), basis[:, -rank:].abs())


@pytest.mark.parametrize("given", [torch.zeros(9, 9), torch.diag(torch.tensor([1.0] + 8 * [0.0]))])
def test_factors_of_too_few_examples_have_a_spectrum_as_well(given: Tensor) -> None:
    spectrum = Spectrum.empty(9, 3, LIKE)
    for _ in range(2):
        spectrum = spectrum.follow(given.double())
        torch.testing.assert_close(stands_for(spectrum), given.double())
        torch.testing.assert_close(spectrum.basis.t() @ spectrum.basis, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("size", [1e30, 2e37, 1e38])
def test_a_factor_of_a_diverged_node_raises_nothing(size: float) -> None:
    vectors = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    huge = vectors.t() @ vectors / 200 * size
    assert huge.isfinite().all()  # so far the largest of them, but its products are not
    found = Spectrum.empty(50, 8, huge).follow(huge)
    assert found.values.isfinite().all() == (size < 1e38)


def test_a_quadratic_is_never_negative() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 40, generator=generator))[0]
    outputs = Spectrum(basis[None], torch.zeros(1, 40), torch.ones(1))
    inputs = Spectrum(torch.ones(1, 1, 1), torch.ones(1, 1), torch.zeros(1))
    flat = [kronecker_quadratic(inputs, outputs, [vector[None, :, None]]) for vector in basis.t()]
    assert min(flat) >= 0 and max(flat) < 1e-5
