"""Embeddings, layers used several times, tied weights, and parameters that no rule covers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.blocks import Diagonal, TokenKronecker
from ngpd_fl.models import Categorical, FlatModel, Gaussian
from strategies import Phase
from strategies.parts.natural_gradient import NaturalGradientOptions
from tests.ngpd_fl.curvature.dense import (
    BOTH,
    dense_fisher,
    kfac_matrix,
    make_batch,
    make_kfac,
    midpoints,
    parameter_places,
    refreshed,
    relative_error,
)
from tests.ngpd_fl.curvature.test_rules import assert_solves


class Net(nn.Module):
    """A network made of named parts and a forward pass."""

    def __init__(self, run: Callable[[Net, Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, inputs: Tensor) -> Tensor:
        return self.run(self, inputs)


def tokens_of(kfac: KFAC, size: int, shape: tuple[int, ...], vocabulary: int) -> tuple[Tensor, Tensor]:
    """Return random tokens, as numbers in float64, and labels."""
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randint(vocabulary, (size, *shape), generator=generator).double()
    width = kfac.model(kfac.model.start(), tokens).shape[-1]
    return tokens, torch.randint(width, (size,), generator=generator)


def embedder(**settings: int) -> nn.Module:
    return Net(
        lambda net, x: net.head(torch.tanh(net.embed(x.long())).mean(1)),
        embed=nn.Embedding(7, 4, **settings),
        head=nn.Linear(4, 3),
    )


def one_hot() -> nn.Module:
    """The same network, whose embedding is a linear layer on unit vectors."""
    return Net(
        lambda net, x: net.head(torch.tanh(net.embed(nn.functional.one_hot(x.long(), 7).double())).mean(1)),
        embed=nn.Linear(7, 4, bias=False),
        head=nn.Linear(4, 3),
    )


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_an_embedding_is_a_linear_layer_on_unit_vectors(fisher: str, rank: int) -> None:
    table = make_kfac(embedder(), (5,), fisher=fisher, rank=rank)
    linear = make_kfac(one_hot(), (5,), fisher=fisher, rank=0)
    net = linear.model.module
    with torch.no_grad():
        net.embed.weight.copy_(table.model.module.embed.weight.T)
        net.head.load_state_dict(table.model.module.head.state_dict())
    batch = tokens_of(table, 6, (5,), 6)  # one row is never read
    states = [refreshed(kfac, batch) for kfac in (table, linear)]
    block = states[0].blocks["embed"]
    assert isinstance(block, TokenKronecker) and block.frequencies[6] == 0 < block.frequencies[:6].max()
    inputs = states[1].blocks["embed"].input_factor
    torch.testing.assert_close(torch.diag(block.frequencies), inputs, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(block.output_factor, states[1].blocks["embed"].output_factor, rtol=1e-12, atol=1e-14)
    if rank == 0:
        assert_solves(table, batch)


def test_padding_counts_in_neither_factor() -> None:
    """Where padding is, the gradient does not reach the table: the factors are those of the other positions."""
    kfac = make_kfac(embedder(padding_idx=2), (5,), fisher="empirical")
    net = kfac.model.module
    tokens, labels = torch.tensor([[1.0, 0, 1, 2, 2]]).double(), torch.tensor([1])
    block = refreshed(kfac, (tokens, labels)).blocks["embed"]
    assert block.frequencies.tolist() == [1, 2, 0, 0, 0, 0, 0]
    embedded = net.embed(tokens.long()).detach().requires_grad_()
    loss = nn.functional.cross_entropy(net.head(torch.tanh(embedded).mean(1)), labels)
    kept = torch.autograd.grad(loss, embedded)[0][0, :3]
    torch.testing.assert_close(block.output_factor, kept.T @ kept / 3, rtol=1e-12, atol=1e-15)
    assert_solves(kfac, (tokens, labels))


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_one_token_of_one_example_is_exact(fisher: str) -> None:
    kfac = make_kfac(embedder(padding_idx=0), (1,), fisher=fisher)
    batch = torch.tensor([[3.0]]).double(), torch.tensor([1])
    places = parameter_places(kfac.model.module)["embed.weight"].flatten()
    given, expected = kfac_matrix(kfac, refreshed(kfac, batch)), dense_fisher(kfac, batch)
    torch.testing.assert_close(given[places][:, places], expected[places][:, places], rtol=1e-10, atol=1e-14)


def test_no_array_of_an_embedding_is_larger_than_its_table() -> None:
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, func: object, types: object, args: tuple = (), kwargs: dict | None = None
        ) -> object:
            nonlocal largest
            result = func(*args, **(kwargs or {}))  # type: ignore[operator]
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    net = Net(lambda net, x: net.embed(x.long()).mean(1), embed=nn.Embedding(3000, 2))
    kfac = make_kfac(net, (5,), fisher="empirical")
    batch = tokens_of(kfac, 6, (5,), 3000)
    with Sizes():
        state = refreshed(kfac, batch)
        kfac.solve(state, kfac.model.start(), torch.tensor(0.1).double(), torch.tensor(0.2).double())
        kfac.quadratic(state, kfac.model.start())
    assert largest == 6000


def cell(step_by_step: bool) -> nn.Module:
    """A linear layer over time, or called once for each time."""

    def run(net: Net, x: Tensor) -> Tensor:
        if step_by_step:
            hidden = torch.stack([net.layer(x[:, time]) for time in range(x.shape[1])], 1)
        else:
            hidden = net.layer(x)
        return net.head(torch.tanh(hidden).mean(1))

    return Net(run, layer=nn.Linear(3, 4), head=nn.Linear(4, 3))


@pytest.mark.parametrize("approx", ["expand", "reduce"])
@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_several_uses_are_several_positions(fisher: str, approx: str) -> None:
    matrices = []
    for step_by_step in (False, True):
        kfac = make_kfac(cell(step_by_step), (5, 3), fisher=fisher, kfac_approx=approx, other_layers="refuse")
        matrices.append(kfac_matrix(kfac, refreshed(kfac, make_batch(kfac, 4, (5, 3)))))
    torch.testing.assert_close(*matrices, rtol=1e-10, atol=1e-13)


def test_a_normalization_used_twice_has_the_diagonal_of_the_dense_matrix() -> None:
    net = Net(
        lambda net, x: net.head(net.norm(torch.tanh(net.norm(net.first(x))))),
        first=nn.Linear(3, 4), norm=nn.LayerNorm(4), head=nn.Linear(4, 3),
    )  # fmt: skip
    kfac = make_kfac(net, (3,), fisher="exact")
    batch = make_batch(kfac, 5, (3,))
    places = parameter_places(net)
    diagonal = dense_fisher(kfac, batch).diagonal()
    expected = torch.cat([diagonal[places["norm.weight"]], diagonal[places["norm.bias"]]])
    torch.testing.assert_close(refreshed(kfac, batch).blocks["norm"].values, expected, rtol=1e-10, atol=1e-13)


def tied_linear(shared: bool) -> nn.Module:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    if shared:
        second = first
    else:
        second.weight = first.weight
    return Net(lambda net, x: net.second(torch.tanh(net.first(x))), first=first, second=second)


def test_tied_weights_are_one_layer_used_twice() -> None:
    matrices = []
    for shared in (False, True):
        kfac = make_kfac(tied_linear(shared), (3,), fisher="exact", other_layers="refuse")
        assert list(kfac.capture.layers) == ["first"]
        matrices.append(kfac_matrix(kfac, refreshed(kfac, make_batch(kfac, 4, (3,)))))
    torch.testing.assert_close(*matrices, rtol=1e-12, atol=1e-14)


def test_tied_weights_with_biases_of_their_own() -> None:
    net = Net(lambda net, x: net.second(torch.tanh(net.first(x))), first=nn.Linear(3, 3), second=nn.Linear(3, 3))
    net.second.weight = net.first.weight
    kfac = make_kfac(net, (3,), Gaussian(), fisher="exact", other_layers="refuse")
    assert list(kfac.capture.layers) == ["first", "first.bias", "second.bias"]
    batch = make_batch(kfac, 4, (3,))
    state = refreshed(kfac, batch)
    assert torch.equal(state.blocks["second.bias"].input_factor, torch.ones(1, 1).double())
    torch.testing.assert_close(state.blocks["second.bias"].output_factor, torch.eye(3).double())
    places = parameter_places(net)["first.bias"]
    expected = dense_fisher(kfac, batch)[places][:, places]
    torch.testing.assert_close(kfac_matrix(kfac, state)[places][:, places], expected, rtol=1e-10, atol=1e-13)
    assert_solves(kfac, batch)


def language_model() -> Net:
    net = Net(
        lambda net, x: net.head(torch.tanh(net.body(net.embed(x.long()).mean(1)))),
        embed=nn.Embedding(6, 4), body=nn.Linear(4, 4), head=nn.Linear(4, 6),
    )  # fmt: skip
    net.head.weight = net.embed.weight
    return net


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_an_embedding_tied_to_the_output_layer_keeps_the_trace_of_both_uses(fisher: str) -> None:
    kfac = make_kfac(language_model(), (5,), fisher=fisher, other_layers="refuse")
    assert list(kfac.capture.layers) == ["embed", "body", "head.bias"]
    batch = tokens_of(kfac, 6, (5,), 6)
    apart = make_kfac(language_model(), (5,), fisher=fisher)
    apart.model.module.head.weight = nn.Parameter(apart.model.module.embed.weight.detach().clone())
    apart = KFAC(type(apart.model)(apart.model.module), Categorical(), (5,), apart.options)
    state, both = refreshed(kfac, batch), refreshed(apart, batch)
    block, table, head = state.blocks["embed"], both.blocks["embed"], both.blocks["head"]
    columns = head.input_factor[:-1, :-1]
    traces = [table.frequencies.sum() * table.output_factor.trace(), head.output_factor.trace() * columns.trace()]
    torch.testing.assert_close(block.frequencies.sum() * block.output_factor.trace(), sum(traces))
    rows = [traces[0] * table.frequencies / table.frequencies.sum(),
            traces[1] * head.output_factor.diagonal() / head.output_factor.trace()]  # fmt: skip
    torch.testing.assert_close(block.frequencies, sum(rows))
    width = [traces[0] * table.output_factor / table.output_factor.trace(), traces[1] * columns / columns.trace()]
    torch.testing.assert_close(block.output_factor, sum(width) / sum(traces))
    assert_solves(kfac, batch)


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_a_tied_embedding_whose_labels_are_certain_has_no_curvature(fisher: str) -> None:
    kfac = make_kfac(language_model(), (5,), fisher=fisher)
    with torch.no_grad():
        kfac.model.module.head.bias[2] = 1e4  # every other label has the probability 0
    tokens, labels = tokens_of(kfac, 6, (5,), 6)
    block = refreshed(kfac, (tokens, torch.full_like(labels, 2))).blocks["embed"]
    assert all(torch.equal(average, torch.zeros_like(average)) for average in block.averages)


class Positions(nn.Module):
    """A table of positions and a scale, as bare parameters, around layers that have rules."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2, 3))
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.scale * torch.tanh(self.first(inputs + self.table)).mean(1))


def others(kfac: KFAC, batch: tuple[Tensor, Tensor], draws: Tensor) -> Tensor:
    """The estimates of all parameters without a rule, after one refresh."""
    state = kfac.gradient(kfac.init(kfac.model.start()), kfac.model.start(), batch, draws, BOTH)[0]
    return torch.cat([state.blocks[name].values for name in ("table", "scale")])


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
@pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=["categorical", "gaussian"])
def test_other_parameters_have_the_diagonal_on_average_over_signs(likelihood: Categorical, fisher: str) -> None:
    kfac = make_kfac(Positions(), (2, 3), likelihood, fisher=fisher)
    batch = make_batch(kfac, 3, (2, 3))
    width = (3,) if isinstance(likelihood, Gaussian) else ()
    signs = [torch.tensor(each).double() for each in itertools.product([0.25, 0.75], repeat=3)]
    draws = [sign.view(3, *[1] * len(width)).expand(3, *width) for sign in signs]
    samples = [others(kfac, batch, each) for each in draws]
    diagonal, places = dense_fisher(kfac, batch).diagonal(), parameter_places(kfac.model.module)
    expected = torch.cat([diagonal[places["table"]].flatten(), diagonal[places["scale"]].flatten()])
    torch.testing.assert_close(torch.stack(samples).mean(0), expected, rtol=1e-10, atol=1e-14)
    assert relative_error(samples[0], expected) > 0.01


def test_other_parameters_have_the_diagonal_on_average_over_sampled_labels() -> None:
    kfac, exact = (make_kfac(Positions(), (2, 3), fisher=kind) for kind in ("monte-carlo", "exact"))
    batch = make_batch(kfac, 2, (2, 3))
    probabilities = kfac.model.module(batch[0]).softmax(-1).detach()
    mean = torch.zeros(7, dtype=torch.float64)
    for labels in itertools.product(range(3), repeat=2):
        draws = torch.stack([midpoints(row)[label] for row, label in zip(probabilities, labels, strict=True)])
        weight = probabilities[0, labels[0]] * probabilities[1, labels[1]]
        mean += weight * others(kfac, batch, draws)
    diagonal, places = dense_fisher(exact, batch).diagonal(), parameter_places(kfac.model.module)
    expected = torch.cat([diagonal[places["table"]].flatten(), diagonal[places["scale"]].flatten()])
    torch.testing.assert_close(mean, expected, rtol=1e-10, atol=1e-14)


def test_other_parameters_are_named_once_and_may_be_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kfac = make_kfac(Positions(), (2, 3))
        assert_solves(kfac, make_batch(kfac, 3, (2, 3)))
    (record,) = caplog.records
    assert all(word in record.getMessage() for word in ("'table'", "'scale'", "Positions", "diagonal"))
    assert all(isinstance(kfac.init(kfac.model.start()).blocks[name], Diagonal) for name in ("table", "scale"))
    with pytest.raises(InputError, match="'table'.*Positions"):
        make_kfac(Positions(), (2, 3), other_layers="refuse")


def test_of_a_layer_that_is_not_used_the_fisher_matrix_is_0(caplog: pytest.LogCaptureFixture) -> None:
    net = Net(lambda net, x: net.used(x), idle=nn.Linear(3, 2), used=nn.Linear(3, 2), spare=nn.Parameter(torch.ones(2)))
    kfac = make_kfac(net, (3,), weight_decay=0.5, other_layers="refuse")
    assert not caplog.records
    batch, params = make_batch(kfac, 4, (3,)), kfac.model.start()
    state, _, gradient = kfac.gradient(kfac.init(params), params, batch, torch.rand(4).double(), BOTH)
    step, _ = kfac.solve(state, gradient, torch.tensor(0.1).double(), torch.tensor(0.2).double())
    for name, place in parameter_places(net).items():
        if not name.startswith("used"):  # weight decay alone
            torch.testing.assert_close(step[place], 0.5 * params[place] / (kfac.options.delta / 0.1 + 0.2))


@pytest.mark.parametrize("fisher", ["empirical", "exact"])
def test_of_a_layer_that_is_frozen_in_part_the_rest_has_its_block(fisher: str) -> None:
    """One example, one position: the bias's and the weight's blocks are those of the dense Fisher matrix."""
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3))
    frozen = ("0.weight", "1.bias", "3.bias")
    for name in frozen:
        net.get_parameter(name).requires_grad_(False)
    kfac = make_kfac(net, (3,), fisher=fisher, other_layers="refuse")
    assert [len(layer.segments) for layer in kfac.capture.layers.values()] == [1, 1, 1]
    batch = make_batch(kfac, 1, (3,))
    whole, places = dense_fisher(kfac, batch), parameter_places(net)
    given = kfac_matrix(kfac, refreshed(kfac, batch))
    for name, segment in kfac.model.segments.items():
        place = places[name].flatten()
        expected = whole[place][:, place]
        block = given[segment.start : segment.stop, segment.start : segment.stop]
        if name == "1.weight":
            expected = torch.diag(expected.diagonal())
        torch.testing.assert_close(block, expected, rtol=1e-10, atol=1e-14)
    assert_solves(kfac, batch)


AXES: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "batch first": lambda net, x: net.head(torch.tanh(net.norm(net.layer(x))).mean(1)),
    "time first": lambda net, x: net.head(torch.tanh(net.norm(net.layer(x.transpose(0, 1)))).mean(0)),
    "flattened": lambda net, x: net.head(torch.tanh(net.norm(net.layer(x.flatten(0, 1)))).view(len(x), -1, 4).mean(1)),
}


@pytest.mark.parametrize("approx", ["expand", "reduce"])
@pytest.mark.parametrize("name", ["time first", "flattened"])
def test_the_batch_may_lie_in_any_axis(name: str, approx: str) -> None:
    matrices = []
    for run in (AXES["batch first"], AXES[name]):
        net = Net(run, layer=nn.Linear(3, 4), norm=nn.LayerNorm(4), head=nn.Linear(4, 3))
        kfac = make_kfac(net, (2, 3), fisher="exact", kfac_approx=approx, other_layers="refuse")
        matrices.append(kfac_matrix(kfac, refreshed(kfac, make_batch(kfac, 5, (2, 3)))))
    torch.testing.assert_close(*matrices, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("fisher", ["monte-carlo", "empirical", "exact"])
def test_everything_else_stays_in_float32(fisher: str) -> None:
    kfac = make_kfac(Positions(), (2, 3), fisher=fisher)
    kfac.model.module.float()
    inputs, targets = make_batch(make_kfac(Positions(), (2, 3)), 4, (2, 3))
    state, *_ = kfac.gradient(
        kfac.init(kfac.model.start()),
        kfac.model.start(),
        (inputs.float(), targets),
        torch.rand(4),
        Phase(refresh_factors=True),
    )
    assert all(average.dtype == torch.float32 for block in state.blocks.values() for average in block.averages)


def where_positive(net: Net, inputs: Tensor) -> Tensor:
    """Add to the outputs of all examples that of a layer which sees those with a positive first number only."""
    chosen, outputs = inputs[:, 0] > 0, net.every(inputs)
    return outputs.index_add(0, chosen.nonzero()[:, 0], net.some(inputs[chosen])) if chosen.any() else outputs


@pytest.mark.parametrize("signs", [(-1, -1, -1), (1, -1, 1)])
def test_a_layer_that_sees_some_examples_learns_also_if_it_saw_none_when_tried(signs: tuple[int, ...]) -> None:
    net = Net(where_positive, every=nn.Linear(3, 2), some=nn.Linear(3, 2)).double()
    examples = torch.tensor(signs)[:, None] * torch.ones(3, 3, dtype=torch.float64)
    kfac = KFAC(FlatModel(net), Categorical(), (3,), NaturalGradientOptions(name="test"), 0.0, examples)
    assert kfac.capture.others == ["some.weight", "some.bias"]
    batch, params, one = make_batch(kfac, 8, (3,)), kfac.model.start(), torch.ones((), dtype=torch.float64)
    state, _, gradient = kfac.gradient(kfac.init(params), params, batch, torch.rand(8).double(), BOTH)
    step, _ = kfac.solve(state, gradient, one, one)
    for place in (parameter_places(net)[name] for name in kfac.capture.others):
        assert gradient[place].abs().min() > 0 and (step[place].sign() == gradient[place].sign()).all()


@pytest.mark.parametrize("numbers", [(-1.0, 1.0, 2.0), (-1.0, -1.0, -2.0)])
def test_a_layer_that_saw_all_examples_only_when_tried_is_an_error(numbers: tuple[float, ...]) -> None:
    net = Net(where_positive, every=nn.Linear(3, 2), some=nn.Linear(3, 2)).double()
    kfac = KFAC(FlatModel(net), Categorical(), (3,), NaturalGradientOptions(name="test"), 0.0, torch.ones(3, 3))
    params, inputs = kfac.model.start(), torch.tensor(numbers, dtype=torch.float64)[:, None].expand(3, 3)
    with pytest.raises(InputError, match="^model: layer 'some' (returns shape|is called 0 times).*; allowed: [^\n]*$"):
        kfac.gradient(kfac.init(params), params, (inputs, torch.zeros(3).long()), torch.rand(3).double(), BOTH)
