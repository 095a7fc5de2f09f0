"""FOOF against its definition, and preconditioned mixing against dense matrices of all parameters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ngpd_fl.config import InputError
from ngpd_fl.curvature import KFAC, KFACState
from ngpd_fl.curvature.mixing import preconditioned_mean, preconditioner_bytes
from tests.ngpd_fl.curvature.dense import kfac_matrix, layer_places, make_batch, make_kfac, refreshed, relative_error
from tests.ngpd_fl.curvature.test_rules import LAYERS
from tests.support.zoo import Net

DAMPING = 0.03
SHARES = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def behind(layer: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Return a network with the layer, a normalization and a linear layer."""
    size = layer(torch.zeros(1, *shape)).numel()
    return nn.Sequential(layer, nn.Flatten(), nn.LayerNorm(size), nn.Tanh(), nn.Linear(size, 3))


def embedder() -> nn.Module:
    return Net(
        lambda net, x: net.head(torch.tanh(net.embed(x.long())).mean(1)), embed=nn.Embedding(7, 4), head=nn.Linear(4, 3)
    )


def tied() -> nn.Module:
    net = embedder()
    net.head = nn.Linear(4, 7, bias=False)
    net.head.weight = net.embed.weight
    return net


def token_batch(size: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(7, (size, 5), generator=generator).double(), torch.randint(3, (size,), generator=generator)


def stack(states: Sequence[KFACState]) -> KFACState:
    return tree_map(lambda *leaves: torch.stack(leaves), *states)  # type: ignore[no-any-return]


def assert_mean_is_that_of_dense_matrices(kfac: KFAC, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    states = [refreshed(kfac, batch) for batch in batches]
    eye = torch.eye(kfac.model.num_params, dtype=torch.float64)
    dense = torch.stack([kfac_matrix(kfac, state) + DAMPING * eye for state in states])
    params = torch.randn(3, len(eye), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weighted = torch.einsum("n,nij,nj->i", SHARES, dense, params)
    expected = torch.linalg.solve(torch.einsum("n,nij->ij", SHARES, dense), weighted)
    plain = SHARES @ params
    assert (expected - plain).norm() > 0.02 * plain.norm()
    for stacks in ([stack(states)], [stack(states[:1]), stack(states[1:])]):
        mean = preconditioned_mean(kfac, stacks, params, SHARES)
        torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_mean_is_that_of_dense_matrices(name: str, bias: bool) -> None:
    make, shape = LAYERS[name]
    kfac = make_kfac(behind(make(bias), shape), shape, fisher="foof", damping=DAMPING, rank=0)
    assert_mean_is_that_of_dense_matrices(kfac, [make_batch(kfac, 4, shape, seed) for seed in range(3)])


def test_the_mean_of_tables_is_that_of_dense_matrices() -> None:
    kfac = make_kfac(embedder(), (5,), fisher="foof", damping=DAMPING)
    assert_mean_is_that_of_dense_matrices(kfac, [token_batch(4, seed) for seed in range(3)])


def test_what_a_solve_leaves_out_of_the_factor_the_mean_leaves_out_too() -> None:
    """With 2 of 9 eigenvectors P is that of the truncated factor: a step and the mean of one node cancel."""
    net = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))
    kfac = make_kfac(net, (8,), fisher="foof", damping=DAMPING, rank=2)
    states = [refreshed(kfac, make_batch(kfac, 20, (8,), seed)) for seed in range(3)]
    force = torch.randn(3, kfac.model.num_params, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    steps = torch.stack([kfac.solve(state, part, one, zero)[0] for state, part in zip(states, force, strict=True)])
    mean = preconditioned_mean(kfac, [stack(states)], steps, SHARES)
    # sum s P mean = sum s P P^-1 force: its images under the P sum to those of the forces.
    inverses = []
    for state in states:
        columns = torch.eye(kfac.model.num_params, dtype=torch.float64)
        inverses.append(torch.stack([kfac.solve(state, column, one, zero)[0] for column in columns]))
    dense = torch.linalg.inv(torch.stack(inverses))
    expected = torch.linalg.solve(torch.einsum("n,nij->ij", SHARES, dense), SHARES @ force)
    torch.testing.assert_close(mean, expected, rtol=1e-7, atol=1e-9)
    assert (mean - SHARES @ steps).norm() > 0.02 * mean.norm()


def test_foof_has_second_moments_of_inputs_and_the_identity_elsewhere() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))
    kfac = make_kfac(net, (4,), fisher="foof")
    inputs, targets = make_batch(kfac, 6, (4,))
    matrix = kfac_matrix(kfac, refreshed(kfac, (inputs, targets)))
    for name, given in (("0", torch.cat([inputs, torch.ones(6, 1)], 1)), ("3", net[:3](inputs).detach())):
        for row in layer_places(net, name):  # of each output by itself
            torch.testing.assert_close(matrix[row[:, None], row], given.T @ given / 6)
            matrix[row[:, None], row] = 0
    places = layer_places(net, "2")
    expected = torch.zeros_like(matrix)
    expected[places, places] = 1
    torch.testing.assert_close(matrix, expected)


def test_float32_and_a_damping_far_below_the_rounding_of_the_factor() -> None:
    """The sum of P is positive definite still, and what is common is not put through the solve."""
    kfac = make_kfac(nn.Linear(50, 4), (50,), fisher="foof", damping=1e-6, rank=0)
    batches = [make_batch(kfac, 4, (50,), seed) for seed in range(3)]
    exact = stack([refreshed(kfac, (1000 * inputs, targets)) for inputs, targets in batches])
    states = tree_map(lambda leaf: leaf.float(), exact)
    params = torch.randn(3, 204, generator=torch.Generator().manual_seed(5))
    same = params[:1].expand(3, -1)
    torch.testing.assert_close(preconditioned_mean(kfac, [states], same, SHARES.float()), same[0])
    expected = preconditioned_mean(kfac, [exact], params.double(), SHARES)
    assert relative_error(preconditioned_mean(kfac, [states], params, SHARES.float()), expected) < 0.01


def test_a_node_that_diverged_makes_its_layers_nan() -> None:
    kfac = make_kfac(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (3,), fisher="foof")
    states = [refreshed(kfac, make_batch(kfac, 4, (3,), seed)) for seed in range(3)]
    params = torch.ones(3, kfac.model.num_params, dtype=torch.float64)
    params[1] = torch.nan
    assert preconditioned_mean(kfac, [stack(states)], params, SHARES).isnan().all()


def test_bytes_are_those_of_the_input_factors_spectra() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    kfac = make_kfac(net, (8,), fisher="foof", rank=2)
    # 9 inputs with the homogeneous 1: 2 vectors, 2 values and the rest's; 6 likewise; nothing of the normalization.
    assert preconditioner_bytes(kfac, kfac.model.start()) == 8 * ((9 * 2 + 2 + 1) + (6 * 2 + 2 + 1))
    tables = make_kfac(embedder(), (5,), fisher="foof", rank=0)
    assert preconditioner_bytes(tables, tables.model.start()) == 8 * (7 + (5 * 5 + 5 + 1))


def test_a_tied_table_has_no_input_factor() -> None:
    with pytest.raises(InputError, match="^strategy.fisher: foof has no input factor of layer 'embed'"):
        make_kfac(tied(), (5,), fisher="foof")
