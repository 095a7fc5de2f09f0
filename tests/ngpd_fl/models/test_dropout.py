"""Dropout by keyed draws: each function drops as torch's does, by masks that every engine draws alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from ngpd_fl import Config, InputError, RunFolder, run
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.models import Categorical, FlatModel, SupervisedObjective, build_model
from ngpd_fl.models.checks import can_batch, check_model
from ngpd_fl.models.dropout import KeyedDropout
from ngpd_fl.training import compose
from strategies import Phase
from tests.ngpd_fl.core.test_philox import reference_words
from tests.support.flower import FakeRun
from tests.support.peers import Crowd
from tests.support.pretend_device import PretendDevice, to_host

KEY = torch.tensor([7, 2**32 - 5])
P = 0.3


def keyed(function: Any, *inputs: Tensor, key: Tensor = KEY) -> Tensor:
    with KeyedDropout(key):
        outputs: Tensor = function(*inputs)
    return outputs


def mask(shape: tuple[int, ...], stream: int = 0, p: float = P, key: Tensor = KEY) -> Tensor:
    """Return the mask of kept elements, by another implementation of the generator."""
    drawn = reference_words(tuple(key.tolist()), stream, torch.Size(shape).numel())
    return torch.tensor([word >= p * 2**32 for word in drawn]).view(shape)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape", "masked"),
    [
        (nn.Dropout, (4, 3, 5), (4, 3, 5)),
        (nn.Dropout1d, (4, 3, 5), (4, 3, 1)),
        (nn.Dropout1d, (3, 5), (3, 1)),
        (nn.Dropout2d, (4, 3, 5, 2), (4, 3, 1, 1)),
        (nn.Dropout3d, (4, 3, 5, 2, 2), (4, 3, 1, 1, 1)),
        (nn.Dropout3d, (3, 5, 2, 2), (3, 1, 1, 1)),
    ],
)
def test_values_and_channels_are_dropped_and_the_others_scaled(
    layer: Any, shape: tuple[int, ...], masked: tuple[int, ...], inplace: bool
) -> None:
    inputs = torch.randn(shape) + 5
    given = inputs.clone()
    outputs = keyed(layer(P, inplace=inplace), given)
    torch.testing.assert_close(outputs, inputs * mask(masked) / (1 - P))
    assert torch.equal(given, outputs if inplace else inputs)
    assert torch.equal(keyed(layer(P).eval(), inputs), inputs)
    assert not keyed(layer(1.0), inputs).any() and torch.equal(keyed(layer(0.0), inputs), inputs)


@pytest.mark.parametrize(("layer", "masked"), [(nn.AlphaDropout, (40, 50, 3)), (nn.FeatureAlphaDropout, (40, 50, 1))])
def test_alpha_dropout_keeps_mean_and_variance(layer: Any, masked: tuple[int, ...]) -> None:
    inputs = torch.randn((40, 50, 3), generator=torch.Generator().manual_seed(0))
    outputs = keyed(layer(P), inputs)
    kept = mask(masked).expand(inputs.shape)
    torch.manual_seed(0)
    of_torch = nn.AlphaDropout(P)(torch.zeros(1000))  # of zeros: one value where kept, one where dropped
    dropped, stays = of_torch.min(), of_torch.max()
    torch.testing.assert_close(outputs[~kept], dropped.expand((~kept).sum()))
    torch.testing.assert_close(outputs[kept], inputs[kept] * (outputs[kept] - stays).div(inputs[kept]).median() + stays)
    assert abs(outputs.mean()) < 0.05 and abs(outputs.std() - 1) < 0.05


@pytest.mark.parametrize("settings", ["plain", "causal", "boolean", "to add", "groups"])
def test_attention_drops_weights(settings: str) -> None:
    torch.manual_seed(0)
    heads = 2 if settings == "groups" else 4
    query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, heads, 6, 3), torch.eye(6).expand(2, heads, 6, 6)
    more: dict[str, Any] = {
        "plain": {"scale": 0.7},
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": (torch.rand(5, 6) > 0.5) | (torch.arange(6) == 0)},
        "to add": {"attn_mask": torch.randn(5, 6)},
        "groups": {"enable_gqa": True},
    }[settings]
    weights = F.scaled_dot_product_attention(query, key, value, **more)
    found = keyed(lambda: F.scaled_dot_product_attention(query, key, value, dropout_p=P, **more))
    torch.testing.assert_close(found, weights * mask((2, 4, 5, 6)) / (1 - P))
    with KeyedDropout(KEY) as draws:
        torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value, **more), weights)
    assert draws.draws == 0


def test_stochastic_depth_drops_examples() -> None:
    inputs = torch.randn(20, 3, 2, 2)
    torch.testing.assert_close(
        keyed(StochasticDepth(P, "row"), inputs), inputs * mask((20,), p=1 - (1 - P)).view(20, 1, 1, 1) / (1 - P)
    )


def test_masks_follow_one_another_and_have_no_other_state() -> None:
    inputs = torch.ones(3, 4)
    net = nn.Sequential(nn.Dropout(P), nn.Dropout(P))
    before = torch.get_rng_state()
    expected = mask((3, 4)) * mask((3, 4), stream=1) / (1 - P) ** 2
    torch.testing.assert_close(keyed(net, inputs), expected)
    assert torch.equal(keyed(net, inputs), keyed(net, inputs))
    assert not torch.equal(keyed(net, inputs), keyed(net, inputs, key=KEY + 1))
    assert torch.equal(torch.get_rng_state(), before)


class Dropping(nn.Module):
    """A network that drops in many ways."""

    def __init__(self, recurrent: bool, classes: int = 10) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(8, 6), nn.Linear(6, classes)
        self.block = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True)
        self.lstm = nn.LSTM(6, 6, 2, batch_first=True, dropout=0.3) if recurrent else None
        self.drop, self.depth = nn.AlphaDropout(0.1), StochasticDepth(0.3, "row")

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.drop(self.embed(images.flatten(1, -2)))
        hidden = hidden + self.depth(self.block(hidden))
        if self.lstm is not None:
            hidden = self.lstm(hidden)[0]
        outputs: Tensor = self.head(F.dropout(hidden.mean(1), 0.2, self.training))
        return outputs


def dropping(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Dropping(False, num_classes)


def recurrent(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Dropping(True, num_classes)


def perceptron(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Dropout(P), nn.Linear(12, num_classes))


def config(net: str = "dropping", strategy: str = "dsgd", **sections: Any) -> Config:
    options: dict[str, Any] = (
        {"name": "dsgd", "lr": 0.05, "momentum": 0.0} if strategy == "dsgd" else {"name": strategy}
    )
    usual: dict[str, Any] = {
        "model": {"name": f"{__name__}:{net}"},
        "strategy": options,
        "topology": {"nodes": 4},
        "data": {"batch_size": 8},
        "training": {"rounds": 2, "local_steps": 3},
        "engine": {"dtype": "float64"},
    }
    return Config(**usual | {name: usual.get(name, {}) | section for name, section in sections.items()})


CASES = [
    ("dropping", "dsgd"),
    ("perceptron", "ngpd"),
    pytest.param("dropping", "ngpd", marks=pytest.mark.slow),
    pytest.param("recurrent", "dsgd", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("net", "strategy"), CASES)
def test_every_engine_drops_alike(net: str, strategy: str, tmp_path: Path) -> None:
    expected = run(config(net, strategy))
    for other in (
        {"engine": {"chunk_size": 1}},
        {"engine": {"workers": 2, "chunk_size": 1}},
        {"devices": {"seconds_per_step": 0.1}},
        {"training": {"mode": "neighbor-synchronous"}},
    ):
        found = run(config(net, strategy, **other)).params
        torch.testing.assert_close(found, expected.params, rtol=1e-9, atol=1e-9)
    with PretendDevice():
        found = run(config(net, strategy, engine={"device": "cuda"})).params
    torch.testing.assert_close(to_host(found), expected.params, rtol=1e-9, atol=1e-9)
    found = FakeRun(config(net, strategy), nodes_per_client=2).go().params(expected.model)
    torch.testing.assert_close(found, expected.params, rtol=1e-9, atol=1e-9)
    Crowd(config(net, strategy), tmp_path, [[0], [1, 2], [3]]).run()
    for number, nodes in enumerate([[0], [1, 2], [3]]):
        for node, saved in RunFolder(tmp_path / f"peer{number}").models().items():
            if node.startswith("node"):
                vector = expected.model.params_of(saved)
                torch.testing.assert_close(vector, expected.params[int(node[4:])], rtol=1e-9, atol=1e-9)
                assert int(node[4:]) in nodes
    other = config(net, strategy).model_copy(update={"seed": 1})
    assert not torch.allclose(run(other).params, expected.params)


def test_a_step_drops_by_seed_node_and_step() -> None:
    """Two steps of SGD on a path of two nodes, written out; masks from another implementation of the generator."""
    settings = config("perceptron", topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 2})
    job = compose(settings)
    params = job.model.start().repeat(2, 1)
    for step in range(2):
        (inputs, labels, keys), _ = job.minibatches(torch.arange(2), [step, step], Phase())
        for node in range(2):
            key = generator(settings.seed, Purpose.DROPOUT, node, step).integers(2**32, size=2)
            assert keys[node].tolist() == key.tolist()
            leaf = params[node].clone().requires_grad_()
            named = job.model.unflatten(leaf)
            hidden = F.linear(inputs[node].flatten(1), named["1.weight"], named["1.bias"]).relu()
            hidden = hidden * mask((8, 12), key=torch.tensor(key)) / (1 - P)
            loss = F.cross_entropy(F.linear(hidden, named["4.weight"], named["4.bias"]), labels[node])
            params[node] -= 0.05 * torch.autograd.grad(loss, leaf)[0]
    torch.testing.assert_close(run(settings).params, params.mean(0).expand(2, -1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("baseline", ["fedavg", "all-reduce", "single-node"])
def test_baselines_drop_too(baseline: str) -> None:
    settings = config("perceptron", training={"baseline": baseline})
    assert run(settings).summary["status"] == "finished"
    with PretendDevice():
        found = run(config("perceptron", training={"baseline": baseline}, engine={"device": "cuda"})).params
    torch.testing.assert_close(to_host(found), run(settings).params, rtol=1e-9, atol=1e-9)


def test_a_trace_does_not_freeze_a_mask() -> None:
    model = build_model(config().model, (1, 8, 8), 10, 0, torch.float64)
    objective = SupervisedObjective(model, Categorical())
    inputs, labels = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.arange(6)
    assert objective.is_traceable is False  # the test's own module
    plain = FlatModel(nn.Sequential(nn.Flatten(), nn.Dropout(P), nn.Linear(64, 10)).double(), is_random=True)
    traced, params = SupervisedObjective(plain, Categorical()), plain.start()
    assert traced.is_traceable
    for number in range(6):
        key = torch.tensor([number, 1])
        _, gradient = traced.gradient(params, (inputs, labels, key))
        kept = inputs.flatten(1) * mask((6, 64), key=key) / (1 - P)
        leaf = params.clone().requires_grad_()
        loss = F.cross_entropy(F.linear(kept, leaf[:640].view(10, 64), leaf[640:]), labels)
        torch.testing.assert_close(gradient, torch.autograd.grad(loss, leaf)[0])


@pytest.mark.parametrize("net", ["dropping", "recurrent", "perceptron"])
def test_evaluation_drops_nothing(net: str, tmp_path: Path) -> None:
    result = run(config(net), tmp_path / "run")
    inputs = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    outputs = result.model(result.params[0], inputs)
    assert result.model.is_random and torch.equal(outputs, result.model(result.params[0], inputs))
    plain = {"dropping": dropping, "recurrent": recurrent, "perceptron": perceptron}[net]((1, 8, 8), 10).double().eval()
    plain.load_state_dict(RunFolder.open(tmp_path / "run").parameters("node0"))
    torch.testing.assert_close(outputs, plain(inputs))
    saved = evaluate_saved(RunFolder.open(tmp_path / "run"), trust_code=True).evaluation.record()
    assert saved["mean_accuracy"] == result.summary["final"]["mean_accuracy"]


def test_gradients_on_few_examples_drop_the_same_of_these() -> None:
    """K-FAC's factors may be of the first examples of a batch, with the masks that these had in the gradient."""
    inputs = torch.ones(8, 1, 8, 8)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(P))
    assert torch.equal(keyed(net, inputs)[:3], keyed(net, inputs[:3]))


class Careless(nn.Module):
    """Drops by a tensor that it changes, without taking what the call returns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = images.flatten(1)
        if self.training:
            noise = torch.zeros(len(hidden), 1, dtype=hidden.dtype)
            noise.bernoulli_(0.5)
            hidden = hidden * noise
        outputs: Tensor = self.layer(hidden)
        return outputs


class Always(nn.Module):
    """Drops in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(F.dropout(images.flatten(1), 0.5))
        return outputs


@pytest.mark.parametrize(
    ("net", "words"),
    [(Careless, "drops something else at several nodes"), (Always, "draws random numbers that cannot be keyed")],
)
def test_what_cannot_be_keyed_is_refused_in_one_line(net: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        examples, module = torch.randn(3, 1, 8, 8), net()
        can_batch(FlatModel(module, check_model(module, examples, 3)), examples)
    assert "\n" not in str(raised.value)
