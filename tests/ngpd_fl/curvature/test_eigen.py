"""Eigendecompositions that torch fails at: what is done then, and who hears of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from ngpd_fl import Config, InputError, resume, run
from ngpd_fl.cli.app import main
from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.eigen import FLOAT64, JITTERED, KEPT, eigh
from ngpd_fl.curvature.spectrum import Spectrum
from ngpd_fl.models import Categorical, FlatModel
from ngpd_fl.records import RunFolder, RunRecorder
from ngpd_fl.training.callbacks import ProgressReport
from strategies import NGPDOptions

SIZE = 200


def units(size: int, spread: float, seed: int = 0) -> Tensor:
    """Return factors on inputs over many orders of magnitude, ``[size]``."""
    return torch.exp(spread * torch.randn(size, generator=torch.Generator().manual_seed(seed))).clamp(1e-18, 1e18)


def factors(size: int, spread: float) -> Iterator[Tensor]:
    """Factors of a few such inputs each."""
    for seed in range(20):
        inputs = torch.randn(32, size, generator=torch.Generator().manual_seed(seed)) * units(size, spread, seed)
        yield inputs.t() @ inputs / 32


def is_failure(matrix: Tensor) -> bool:
    try:
        return not torch.linalg.eigh(matrix)[0].isfinite().all()
    except torch.linalg.LinAlgError:
        return True


@pytest.fixture(scope="module")
def failing() -> list[Tensor]:
    """Matrices at which float32 fails on this machine; not always, for it goes by where they lie in memory."""
    found = [matrix for matrix in factors(SIZE, 15.0) if is_failure(matrix)]
    assert len(found) > 3
    return found


def test_what_fails_in_float32_is_done_in_float64(failing: list[Tensor]) -> None:
    """The oracle is numpy's decomposition in float64."""
    retries: list[str] = []
    for matrix in failing:
        _check(matrix, *eigh(matrix, torch.eye(SIZE), retries.append))
    assert set(retries) == {FLOAT64}


def _check(failing: Tensor, values: Tensor, basis: Tensor) -> None:
    assert values.dtype == basis.dtype == torch.float32
    expected = np.linalg.eigvalsh(failing.double().numpy())
    np.testing.assert_allclose(values.double().numpy(), expected, atol=1e-5 * expected[-1], rtol=1e-5)
    torch.testing.assert_close(basis.t() @ basis, torch.eye(SIZE), atol=1e-5, rtol=0)
    rebuilt = basis.double() @ torch.diag(values.double()) @ basis.double().t()
    assert (rebuilt - failing).norm() < 1e-5 * failing.double().norm()


def test_of_a_stack_only_the_matrices_that_fail_are_done_again(failing: list[Tensor]) -> None:
    other = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    stack, retries = torch.stack([other @ other.t(), *failing, other + other.t()]), []
    bases = torch.eye(SIZE).expand(len(stack), SIZE, SIZE)
    values, basis = vmap(lambda matrix, start: eigh(matrix, start, retries.append))(stack, bases)
    assert 0 < len(retries) <= len(failing) and set(retries) == {FLOAT64}
    for found in zip(stack, values, basis, strict=True):
        _check(*found)


def failing_at_first(monkeypatch: pytest.MonkeyPatch, failures: int, *, by_nan: bool = False) -> None:
    """Let torch's solver fail so many times, as no matrix does for sure on every machine."""
    real, left = torch.linalg.eigh, [failures]

    def solver(matrices: Tensor) -> tuple[Tensor, Tensor]:
        left[0] -= 1
        if left[0] >= 0 and by_nan:
            return matrices[..., 0] * torch.nan, matrices * torch.nan
        if left[0] >= 0:
            raise torch.linalg.LinAlgError("failed to converge")
        values, vectors = real(matrices)
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", solver)


@pytest.mark.parametrize("by_nan", [False, True])
def test_then_a_little_is_added_to_the_diagonal(by_nan: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = next(factors(40, 1.0))
    expected = torch.linalg.eigvalsh(matrix.double())
    failing_at_first(monkeypatch, failures=2, by_nan=by_nan)
    retries: list[str] = []
    values, basis = eigh(matrix, torch.eye(40), retries.append)
    assert retries == [JITTERED]
    torch.testing.assert_close(values.double(), expected, rtol=1e-5, atol=1e-6 * float(expected[-1]))
    rebuilt = basis @ torch.diag(values) @ basis.t()
    assert (rebuilt - matrix).norm() < 1e-5 * matrix.norm()


def test_at_last_the_basis_is_kept_with_the_present_values_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are those that are best in this basis: what is left of the matrix has no diagonal there."""
    before, now = (matrix for matrix, _ in zip(factors(40, 1.0), range(2), strict=False))
    basis = torch.linalg.eigh(before)[1]
    failing_at_first(monkeypatch, failures=3)
    retries: list[str] = []
    values, kept = eigh(now, basis, retries.append)
    assert retries == [KEPT]
    assert (values.diff() >= 0).all()
    torch.testing.assert_close(kept.t() @ kept, torch.eye(40), atol=1e-5, rtol=0)
    outside = kept.t() @ (now - kept @ torch.diag(values) @ kept.t()) @ kept
    assert outside.diagonal().abs().max() < 1e-5 * now.norm()


@pytest.mark.parametrize("rank", [0, 8])
def test_a_first_decomposition_that_fails_leaves_a_basis_to_solve_in(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = next(factors(40, 1.0))
    failing_at_first(monkeypatch, failures=3)
    found = Spectrum.empty(40, rank, matrix).follow(matrix)
    size = rank or 40
    torch.testing.assert_close(found.basis.t() @ found.basis, torch.eye(size), atol=1e-5, rtol=0)
    assert (found.values >= 0).all() and found.values.isfinite().all()
    torch.testing.assert_close(found.values.sum() + (40 - size) * found.rest, matrix.trace())


class BadlyScaled(nn.Module):
    """Has a layer whose inputs are in units that differ by many orders of magnitude, and whose output counts little."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.other = nn.Linear(SIZE, 10), nn.Linear(64, 10)
        self.units = nn.Buffer(units(SIZE, 15.0))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)
        outputs: Tensor = self.other(pixels) + 1e-20 * self.linear(pixels.repeat(1, 4)[:, :SIZE] * self.units)
        return outputs


def badly_scaled(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return BadlyScaled()


def test_a_run_goes_on_records_it_and_says_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        model={"name": f"{__name__}:badly_scaled"},
        training={"rounds": 3, "local_steps": 4},
        strategy={"name": "ngpd", "basis_every": 1000, "rank": 0},
    )

    def stop(progress: object) -> None:
        if progress.round == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with caplog.at_level(logging.WARNING, logger="ngpd_fl"):
        result = run(config, tmp_path / "whole")
    assert result.summary["rounds"] == 3 and result.summary["status"] == "finished"
    counts = json.loads((tmp_path / "whole" / "summary.json").read_text())["decomposition_retries"]
    assert counts.keys() == {"linear input"} and counts["linear input"]["width"] == SIZE + 1
    assert 0 < counts["linear input"]["float64"] <= 8
    retries = [record.getMessage() for record in caplog.records if "float64" in record.getMessage()]
    assert len(retries) == 1 and "'linear'" in retries[0] and "strategy.rank" in retries[0] and "\n" not in retries[0]
    assert main(["show", str(tmp_path / "whole")]) == 0
    assert f"linear input factor, {SIZE + 1} wide, failed at first" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "cut", [ProgressReport(stop)], checkpoint_every=1)
    before = RunFolder.open(tmp_path / "cut").summary()["decomposition_retries"]  # all are in round 1
    assert before and resume(tmp_path / "cut", trust_code=True).summary["decomposition_retries"] == before


@pytest.mark.parametrize("odd", [[], {"x": 3}, {"x": {"float64": 1}}, {"x": {"width": 3, "kept": "1"}}])
def test_records_of_others_are_looked_at_before_they_are_counted(odd: object) -> None:
    with pytest.raises(InputError, match="^decomposition_retries: damaged"):
        RunRecorder(Config(), 3, []).add_retries(odd)


def test_a_very_wide_factor_is_warned_of_unless_it_is_truncated(caplog: pytest.LogCaptureFixture) -> None:
    model = FlatModel(nn.Sequential(nn.Flatten(), nn.Linear(4608, 2), nn.ReLU(), nn.Linear(2, 2)))
    with caplog.at_level(logging.WARNING, logger="ngpd_fl"):
        KFAC(model, Categorical(), (4608,), NGPDOptions())
        assert not caplog.records
        KFAC(model, Categorical(), (4608,), NGPDOptions(rank=0))
    (warning,) = (record.getMessage() for record in caplog.records)
    assert "layer '1'" in warning and "4609" in warning and "strategy.rank" in warning


def photos() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images as those of CIFAR-10, of which many pixels are black."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-100, 256, (96, 3, 32, 32), generator=generator).clamp(min=0).to(torch.uint8)
    labels = torch.arange(96) % 10
    return images[:64], labels[:64], images[64:], labels[64:]


@pytest.mark.slow
def test_a_resnet_18_takes_a_round_with_all_eigenvectors(caplog: pytest.LogCaptureFixture) -> None:
    """Its widest factors have 4,608 rows, of which float32 does not always find the eigenvectors."""
    config = Config(
        data={"dataset": f"{__name__}:photos"},
        partition="iid",
        model={"name": "torchvision:resnet18"},
        topology={"name": "path", "nodes": 2},
        strategy={"name": "ngpd", "rank": 0},
        training={"rounds": 1, "local_steps": 1},
    )
    with caplog.at_level(logging.WARNING, logger="ngpd_fl"):
        result = run(config)
    assert result.summary["status"] == "finished" and result.params.isfinite().all()
    warned = caplog.records[0].getMessage()  # before the run
    assert "4608 wide" in warned and "'layer4.0.conv2'" in warned and "strategy.rank" in warned
