"""Many nodes at once by ``torch.func.vmap`` against one node after another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from ngpd_fl.config import ModelConfig
from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.blocks import Kronecker
from ngpd_fl.models.lenet import lenet
from ngpd_fl.models.mlp import dense
from strategies import Phase
from tests.ngpd_fl.curvature.dense import BOTH, make_batch, make_kfac

NODES = 3


def conv_net() -> tuple[nn.Module, tuple[int, ...]]:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 2, padding="same", dilation=2, bias=False),
        nn.Flatten(),
        nn.LayerNorm(27),
        nn.Linear(27, 4),
    )
    return net, (2, 5, 6)


class Attention(nn.Module):
    """Tokens, a table of positions, linear layers over time, one of them used twice, and a tied output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(5, 4, padding_idx=0), nn.Parameter(torch.zeros(3, 4))
        self.query, self.key, self.norm = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.RMSNorm(4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embed.weight

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.norm(self.embed(inputs.abs().clamp(max=4).long()) + self.positions)
        for _ in range(2):
            values = (self.query(values) @ self.key(values).mT).softmax(-1) @ values
        return self.head(values.mean(1))


def groups_net() -> tuple[nn.Module, tuple[int, ...]]:
    net = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
        nn.InstanceNorm2d(4, affine=True),
        nn.PReLU(4),
        nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2, bias=False),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
        nn.Flatten(2),
        nn.Conv1d(2, 3, 5, stride=3),
        nn.PReLU(),
        nn.Flatten(),
        nn.LazyLinear(4),
    )
    net(torch.zeros(1, 4, 4, 3))
    return net, (4, 4, 3)


def volume_net() -> tuple[nn.Module, tuple[int, ...]]:
    net = nn.Sequential(nn.Conv3d(2, 4, 2, groups=2), nn.ConvTranspose3d(4, 1, 2), nn.Flatten(), nn.Linear(27, 3))
    return net, (2, 3, 3, 3)


NETS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "tokens": lambda: (Attention(), (3,)),
    "groups": groups_net,
    "volumes": volume_net,
    "mlp": lambda: (dense((1, 3, 3), 4, (6, 5)), (1, 3, 3)),
    "lenet": lambda: (lenet(ModelConfig(channels=(2, 3), hidden=(6,)), (1, 8, 8), 4), (1, 8, 8)),
    "conv": conv_net,
}


@pytest.fixture(autouse=True)
def no_slow_fallback() -> Iterator[None]:
    """vmap warns where an operation has no batching rule and runs in a loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("fisher", ["monte-carlo", "exact"])
@pytest.mark.parametrize("name", NETS)
def test_nodes_at_once_are_nodes_one_by_one(name: str, fisher: str) -> None:
    net, input_shape = NETS[name]()
    kfac = make_kfac(net, input_shape, fisher=fisher, weight_decay=0.1)
    generator = torch.Generator().manual_seed(5)
    params = 0.3 * torch.randn((NODES, kfac.model.num_params), generator=generator, dtype=torch.float64)
    draws = torch.rand((NODES, 6), generator=generator, dtype=torch.float64)
    batches = [make_batch(kfac, 6, input_shape, seed) for seed in range(NODES)]
    batch = tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
    lr, shift = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)

    together = vmap(kfac.init)(params)
    alone = [kfac.init(kfac.model.start()) for _ in range(NODES)]
    for phase in (BOTH, Phase(), Phase(refresh_factors=True), BOTH):
        together, loss, gradient = vmap(kfac.gradient, in_dims=(0, 0, 0, 0, None))(
            together, params, batch, draws, phase
        )
        step, quadratic = vmap(kfac.solve)(together, gradient, lr, shift)
        again = vmap(kfac.quadratic)(together, step)
        for node in range(NODES):
            alone[node], *expected = kfac.gradient(alone[node], params[node], batches[node], draws[node], phase)
            expected += kfac.solve(alone[node], expected[1], lr[node], shift[node])
            given = [value[node] for value in (loss, gradient, step, quadratic)]
            torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(again[node], quadratic[node])
            assert_same_factors(kfac, tree_map(lambda leaf, node=node: leaf[node], together), alone[node])
        params = params - 0.1 * step


@pytest.mark.parametrize("fisher", ["monte-carlo", "exact"])
@pytest.mark.parametrize("name", NETS)
def test_what_a_gpu_batches_is_what_a_cpu_does(name: str, fisher: str) -> None:
    """On a GPU convolutions are batched by vmap; on a CPU nodes come one by one, or the network is taken by hand."""
    net, input_shape = NETS[name]()
    kfac = make_kfac(net, input_shape, fisher=fisher)
    params = kfac.model.start() + 0.1 * torch.randn(NODES, kfac.model.num_params, dtype=torch.float64)
    inputs, targets = (
        torch.stack(each) for each in zip(*(make_batch(kfac, 6, input_shape, i) for i in range(NODES)), strict=True)
    )
    draws, shares = torch.rand(NODES, 6, dtype=torch.float64), torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)

    def refresh(params: Tensor, inputs: Tensor, targets: Tensor, draws: Tensor, share: Tensor) -> Any:
        return kfac.gradient(kfac.init(params), params, (inputs, targets), draws, BOTH, share)

    state, loss, gradient = vmap(refresh)(params, inputs, targets, draws, shares)
    torch.testing.assert_close(vmap(kfac.objective._batched)(params, inputs, targets), (loss, gradient))
    running = [torch.zeros_like(average) for block in state.blocks.values() for average in block.averages]
    given = torch.zeros(NODES, dtype=torch.float64), shares, params, inputs, targets, draws, *running
    batched = vmap(kfac._average)(*given)
    expected = [average for block in state.blocks.values() for average in block.averages]
    torch.testing.assert_close(list(batched), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_each_node_has_its_own_share_of_uniform_labels(name: str) -> None:
    net, input_shape = NETS[name]()
    kfac = make_kfac(net, input_shape, fisher="exact")
    params = kfac.model.start().expand(NODES, -1).contiguous()
    inputs, targets = make_batch(kfac, 6, input_shape)
    draws, shares = torch.rand(6, dtype=torch.float64), (0.0, 0.3, 1.0)

    def refresh(params: Tensor, share: Tensor) -> Any:
        return kfac.gradient(kfac.init(params), params, (inputs, targets), draws, BOTH, share)[0]

    together = vmap(refresh)(params, torch.tensor(shares, dtype=torch.float64))
    for node, share in enumerate(shares):
        given = make_kfac(net, input_shape, fisher="exact", fisher_smoothing=share)
        alone = given.gradient(given.init(params[node]), params[node], (inputs, targets), draws, BOTH)[0]
        assert_same_factors(kfac, tree_map(lambda leaf, node=node: leaf[node], together), alone)


def assert_same_factors(kfac: KFAC, one: object, other: object) -> None:
    """Compare running averages and eigenvalues; eigenvectors are unique only up to their sign."""

    def factors(state: object) -> dict[str, list[Tensor]]:
        return {
            name: [
                *block.averages,
                *([block.inputs.values, block.outputs.values] if isinstance(block, Kronecker) else [block.values]),
            ]
            for name, block in state.blocks.items()  # type: ignore[attr-defined]
        }

    torch.testing.assert_close(factors(one), factors(other), rtol=1e-9, atol=1e-12)


def test_parameters_with_any_strides_do() -> None:
    """Engines may hand over columns of a matrix, or one row expanded over the nodes."""
    net, input_shape = conv_net()
    kfac = make_kfac(net, input_shape)
    batch, draws = make_batch(kfac, 4, input_shape), torch.full((4,), 0.5, dtype=torch.float64)
    start = kfac.model.start()
    columns = torch.stack([start, 2 * start], dim=1)  # [P, 2]

    def step(flat: Tensor) -> Tensor:
        state, _, gradient = kfac.gradient(kfac.init(flat), flat, batch, draws, BOTH)
        return kfac.solve(state, gradient, torch.ones_like(flat[0]), torch.ones_like(flat[0]))[0]

    expected = torch.stack([step(start), step(2 * start)])
    torch.testing.assert_close(vmap(step, in_dims=1)(columns), expected)
    torch.testing.assert_close(step(columns[:, 1]), expected[1])
    torch.testing.assert_close(vmap(step)(start.expand(2, -1)), expected[[0, 0]])


def test_inputs_in_any_memory_format_do() -> None:
    net, input_shape = conv_net()
    kfac = make_kfac(net, input_shape, fisher="empirical")
    inputs, targets = make_batch(kfac, 4, input_shape)
    draws = torch.full((4,), 0.5, dtype=torch.float64)
    formats = (inputs, inputs.to(memory_format=torch.channels_last), inputs.repeat_interleave(2, dim=0)[::2])
    states = [
        kfac.gradient(kfac.init(kfac.model.start()), kfac.model.start(), (each, targets), draws, BOTH)[0]
        for each in formats
    ]
    assert not formats[1].is_contiguous() and not formats[2].is_contiguous()
    for state in states[1:]:
        assert_same_factors(kfac, state, states[0])
