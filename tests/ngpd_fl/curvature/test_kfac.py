"""The solve, the running averages, and the gradient that K-FAC gives beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from ngpd_fl.curvature import KFAC, KFACState
from ngpd_fl.models import Categorical, Gaussian, SupervisedObjective
from strategies import Phase
from tests.ngpd_fl.curvature.dense import BOTH, kfac_matrix, make_batch, make_kfac, refreshed
from tests.support.float64 import scalar

SHAPE = (2, 5, 4)
FACTORS = Phase(refresh_factors=True)
BASIS = Phase(refresh_basis=True)


class BiasFirst(nn.Linear):
    """A linear layer whose bias comes before its weight in the flat vector."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(d_in, d_out)
        weight = self.weight
        del self.weight
        self.weight = weight


def make(likelihood: Any = None, **options: Any) -> KFAC:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2, stride=2),
        nn.GroupNorm(3, 3),
        nn.Tanh(),
        nn.Conv2d(3, 2, 2, padding=1, bias=False),
        nn.Flatten(),
        nn.LayerNorm(18, bias=False),
        BiasFirst(18, 5),
        nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )
    return make_kfac(net, SHAPE, likelihood, **options)


def normal(size: int, seed: int = 3) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def solve(kfac: KFAC, state: KFACState) -> Tensor:
    return kfac.solve(state, normal(kfac.model.num_params), scalar(0.1), scalar(0.2))[0]


@pytest.mark.parametrize("lr, damping, shift", [(0.05, 0.03, 0.1), (1.0, 0.5, 0.0), (0.3, 0.0, 2.0), (1e-3, 1e-4, 7.0)])
@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_solve_is_that_of_the_dense_block_diagonal_matrix(fisher: str, lr: float, damping: float, shift: float) -> None:
    kfac = make(fisher=fisher, damping=damping)
    state = refreshed(kfac, make_batch(kfac, 6, SHAPE))
    dense, force = kfac_matrix(kfac, state), normal(kfac.model.num_params)
    eye = torch.eye(len(force), dtype=torch.float64)
    expected = torch.linalg.solve((dense + damping * eye) / lr + shift * eye, force)
    step, quadratic = kfac.solve(state, force, scalar(lr), scalar(shift))
    torch.testing.assert_close(step, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(quadratic, expected @ dense @ expected, rtol=1e-8, atol=0)


def test_quadratic_is_that_of_the_dense_matrix() -> None:
    kfac = make(fisher="exact")
    state = refreshed(kfac, make_batch(kfac, 6, SHAPE))
    vector = normal(kfac.model.num_params)
    torch.testing.assert_close(kfac.quadratic(state, vector), vector @ kfac_matrix(kfac, state) @ vector)


def test_solve_is_that_of_the_dense_fisher_matrix_where_kfac_is_exact() -> None:
    """From the batch to the step, with no Kronecker product in the oracle."""
    kfac = make_kfac(nn.Linear(4, 3), (4,), Gaussian(), fisher="exact", damping=0.2)
    inputs, targets = make_batch(kfac, 8, (4,))
    with_one = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
    residual = kfac.model(kfac.model.start(), inputs) - targets
    covariance = with_one.T @ with_one / 8
    for state in (refreshed(kfac, (inputs, targets)),):
        gradient = kfac.gradient(state, kfac.model.start(), (inputs, targets), normal(8), Phase())[2]
        step, _ = kfac.solve(state, gradient, scalar(0.5), scalar(0.3))
        eye = torch.eye(5, dtype=torch.float64)
        rows = (residual.T @ with_one / 8) @ torch.linalg.inv((covariance + 0.2 * eye) / 0.5 + 0.3 * eye)
        torch.testing.assert_close(step, torch.cat([rows[:, :4].flatten(), rows[:, 4]]))


def test_running_averages_start_at_the_first_factor_and_then_follow_the_decay() -> None:
    decay = 0.7
    kfac, fresh = make(fisher="exact", factor_decay=decay), make(fisher="exact", factor_decay=0.0)
    state = kfac.init(kfac.model.start())
    assert state.updates == 0
    expected: dict[str, list[Tensor]] = {}
    for step in range(4):
        batch = make_batch(kfac, 5, SHAPE, seed=step)
        state = kfac.gradient(state, kfac.model.start(), batch, normal(5), FACTORS)[0]
        for name, block in refreshed(fresh, batch).blocks.items():
            new = [block.running] if hasattr(block, "running") else [block.input_factor, block.output_factor]
            old = expected.get(name)
            expected[name] = (
                new if old is None else [decay * a + (1 - decay) * b for a, b in zip(old, new, strict=True)]
            )
            given = list(state.blocks[name][: len(new)])
            torch.testing.assert_close(given, expected[name], rtol=1e-13, atol=1e-15)
        assert state.updates == step + 1


def test_without_a_new_basis_new_factors_leave_the_solve_as_it_is() -> None:
    kfac = make()
    first = refreshed(kfac, make_batch(kfac, 5, SHAPE))
    second = kfac.gradient(first, kfac.model.start(), make_batch(kfac, 5, SHAPE, seed=1), normal(5), FACTORS)[0]
    assert (kfac_matrix(kfac, second) - kfac_matrix(kfac, first)).norm() > 1e-3
    assert torch.equal(solve(kfac, second), solve(kfac, first))
    third, loss, gradient = kfac.gradient(
        second, kfac.model.start(), make_batch(kfac, 5, SHAPE, seed=2), normal(5), BASIS
    )
    torch.testing.assert_close(kfac_matrix(kfac, third), kfac_matrix(kfac, second), rtol=0, atol=0)
    assert third.updates == second.updates
    dense, force = kfac_matrix(kfac, third), normal(kfac.model.num_params)
    eye = torch.eye(len(force), dtype=torch.float64)
    expected = torch.linalg.solve((dense + kfac.options.delta * eye) / 0.1 + 0.2 * eye, force)
    torch.testing.assert_close(solve(kfac, third), expected)


@pytest.mark.parametrize("phase", [Phase(), FACTORS, BASIS, BOTH])
@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=["categorical", "gaussian"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_gradient_is_that_of_the_plain_module(phase: Phase, likelihood: Any, weight_decay: float) -> None:
    kfac = make(likelihood, fisher="exact", weight_decay=weight_decay)
    inputs, targets = batch = make_batch(kfac, 5, SHAPE)
    params = kfac.model.start() + 0.1 * normal(kfac.model.num_params)
    before = refreshed(kfac, batch)
    state, loss, gradient = kfac.gradient(before, params, batch, torch.full((5,), 0.5), phase)

    module = kfac.model.module
    module.load_state_dict(kfac.model.unflatten(params))
    outputs = module(inputs)
    if isinstance(likelihood, Gaussian):
        expected_loss = ((outputs - targets) ** 2).sum() / 10
    else:
        expected_loss = nn.CrossEntropyLoss()(outputs, targets)
    penalty = sum(((weight_decay / 2) * parameter.square().sum() for parameter in module.parameters()), scalar(0.0))
    expected = torch.autograd.grad(expected_loss + penalty, list(module.parameters()))
    torch.testing.assert_close(loss, expected_loss.detach())
    torch.testing.assert_close(gradient, torch.cat([part.flatten() for part in expected]), rtol=1e-10, atol=1e-13)

    objective = SupervisedObjective(kfac.model, likelihood, weight_decay)
    torch.testing.assert_close((loss, gradient), objective.gradient(params, batch), rtol=1e-12, atol=1e-14)
    if phase == Phase():
        assert state.blocks is before.blocks and state.updates is before.updates


def test_weight_decay_stays_out_of_the_curvature() -> None:
    plain, decayed = make(), make(weight_decay=5.0)
    batch = make_batch(plain, 5, SHAPE)
    assert torch.equal(kfac_matrix(plain, refreshed(plain, batch)), kfac_matrix(decayed, refreshed(decayed, batch)))


def test_the_curvature_is_taken_at_the_given_parameters() -> None:
    kfac = make()
    params = kfac.model.start() + normal(kfac.model.num_params)
    batch = make_batch(kfac, 5, SHAPE)
    state = kfac.gradient(kfac.init(params), params, batch, torch.full((5,), 0.5), BOTH)[0]
    kfac.model.module.load_state_dict(kfac.model.unflatten(params))
    assert torch.equal(kfac_matrix(kfac, state), kfac_matrix(kfac, refreshed(kfac, batch)))


def test_states_and_parameters_are_not_changed_in_place() -> None:
    kfac = make()
    batch = make_batch(kfac, 5, SHAPE)
    state, params, force = refreshed(kfac, batch), kfac.model.start(), normal(kfac.model.num_params)
    kept = tree_map(torch.clone, (state, params, batch, force))
    kfac.gradient(state, params, batch, normal(5), BOTH)
    kfac.solve(state, force, scalar(0.1), scalar(0.2))
    for one, other in zip(*map(tree_leaves, ((state, params, batch, force), kept)), strict=True):
        assert torch.equal(one, other)


def test_eigenvalues_that_rounding_leaves_below_zero_count_as_zero() -> None:
    kfac = make_kfac(nn.Linear(2, 2, bias=False), (2,))
    batch = make_batch(kfac, 3, (2,))
    state = refreshed(kfac, batch)
    rounded = torch.diag(torch.tensor([2.0, -1e-9], dtype=torch.float64))
    blocks = {"": state.blocks[""]._replace(input_factor=rounded, output_factor=3 * rounded)}
    state = kfac.gradient(state._replace(blocks=blocks), kfac.model.start(), batch, normal(3), BASIS)[0]
    assert state.blocks[""].inputs.values.tolist() == [0, 2] and state.blocks[""].outputs.values.tolist() == [0, 6]


def test_everything_stays_in_float32() -> None:
    kfac = make()
    inputs, targets = make_batch(kfac, 4, SHAPE)
    kfac.model.module.float()
    start = kfac.model.start()
    state = kfac.init(kfac.model.start())
    for _ in range(2):
        state, loss, gradient = kfac.gradient(state, start, (inputs.float(), targets), torch.full((4,), 0.5), BOTH)
    solved = kfac.solve(state, gradient, torch.tensor(0.1), torch.tensor(0.2))
    assert all(leaf.dtype == torch.float32 for leaf in tree_leaves((state, loss, gradient, solved)))


def test_a_node_that_diverged_leaves_the_others_alone() -> None:
    kfac = make()
    batch = make_batch(kfac, 5, SHAPE)
    params = kfac.model.start().repeat(2, 1)
    params[1] = torch.nan
    states = vmap(lambda flat: kfac.gradient(kfac.init(flat), flat, batch, torch.full((5,), 0.5), BOTH)[0])(params)
    steps, _ = vmap(kfac.solve)(states, params, torch.full((2,), 0.1), torch.full((2,), 0.2))
    expected, _ = kfac.solve(refreshed(kfac, batch), params[0], scalar(0.1), scalar(0.2))
    torch.testing.assert_close(steps[0], expected)
    assert steps[1].isnan().all()


def test_factors_of_a_part_of_the_batch() -> None:
    part, whole = make(fisher="empirical", factor_batch=4), make(fisher="empirical")
    inputs, targets = make_batch(part, 10, SHAPE)
    expected = kfac_matrix(whole, refreshed(whole, (inputs[:4], targets[:4])))
    torch.testing.assert_close(kfac_matrix(part, refreshed(part, (inputs, targets))), expected, rtol=1e-12, atol=1e-14)


def test_gradient_and_factors_of_a_batch_come_from_one_forward_pass() -> None:
    passes = []
    for options in ({}, {"factor_batch": 3}):
        kfac = make(**options)
        batch = make_batch(kfac, 5, SHAPE)
        handle = kfac.model.own_module(torch.device("cpu")).register_forward_hook(lambda *_: passes.append(options))  # noqa: B023
        refreshed(kfac, batch)
        handle.remove()
    assert passes == [{}, {"factor_batch": 3}, {"factor_batch": 3}]
