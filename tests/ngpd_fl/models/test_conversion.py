"""Attention and recurrent networks made of linear layers compute what torch's own do, from the same parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import pack_padded_sequence

from ngpd_fl import Config, InputError, RunFolder, resume, run
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.models.checks import check_model
from ngpd_fl.models.conversion import convert
from ngpd_fl.models.conversion.attention import Attention
from ngpd_fl.models.conversion.recurrent import Recurrent
from tests.support.pretend_device import PretendDevice, to_host

B, T, WIDTH = 5, 4, 6


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def converted(module: nn.Module) -> nn.Module:
    """A converted copy, in a module around it."""
    net = nn.ModuleList([deepcopy(module)])
    convert(net)
    return net[0]


def flat(results: Any) -> list[Tensor]:
    if isinstance(results, Tensor):
        return [results]
    return [tensor for part in results if part is not None for tensor in flat(part)]


def randomized(module: nn.Module) -> nn.Module:
    """The module in float64, with no parameter at zero."""
    torch.manual_seed(0)
    module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def gradients(module: nn.Module, results: Any, inputs: list[Tensor]) -> list[Tensor]:
    """The gradient of some function of all results, by inputs and by parameters in the order of the state dict."""
    outputs = flat(results)
    state = {name: value for name, value in module.state_dict(keep_vars=True).items() if value.requires_grad}
    loss = sum((output * normal(*output.shape)).sum() for output in outputs)
    parameters = list(module.parameters())
    found = torch.autograd.grad(loss, [*inputs, *parameters], allow_unused=True, materialize_grads=True)
    by_id = dict(zip(map(id, parameters), found[len(inputs) :], strict=True))
    clone = deepcopy(module)
    with torch.no_grad():
        for parameter, own in zip(clone.parameters(), parameters, strict=True):
            parameter.copy_(by_id[id(own)])
    of_state = clone.state_dict()
    return [*found[: len(inputs)], *(of_state[name] for name in sorted(state))]


def assert_equal(module: nn.Module, call: Callable[[nn.Module, list[Tensor]], Any], *inputs: Tensor) -> nn.Module:
    """A module and its converted copy have the same results and gradients, and the same state dict."""
    ours = converted(module)
    theirs = {name: value.shape for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == theirs
    results = []
    for net in (module, ours):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        returned = call(net, leaves)
        results.append([*flat(returned), *gradients(net, returned, leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-10)
    return ours


def observe(net: nn.Module) -> nn.Module:
    """Have a hook on each linear layer, as K-FAC has."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda layer, given, output: output + 0)
    return net


RECURRENT = [
    (kind, settings)
    for kind in (nn.RNN, nn.LSTM, nn.GRU)
    for layers, bidirectional, batch_first, bias, projected in product([1, 2], *[[False, True]] * 4)
    if kind is nn.LSTM or not projected
    for settings in [
        {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
        | ({"proj_size": 2} if projected else {})
    ]
]
RECURRENT.append((nn.RNN, {"nonlinearity": "relu"}))


@pytest.mark.parametrize("observed", [False, True], ids=["torch's kernel", "unrolled"])
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "one"])
@pytest.mark.parametrize("started", [False, True], ids=["from zero", "from a state"])
def test_recurrent_networks_are_equal_in_every_setting(observed: bool, batched: bool, started: bool) -> None:
    for kind, settings in RECURRENT:
        module = randomized(kind(3, 4, **settings))
        cells = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
        states = [normal(cells, B, settings.get("proj_size", 4)), normal(cells, B, 4)][: 2 if kind is nn.LSTM else 1]
        inputs = normal(B, T, 3) if settings.get("batch_first") else normal(T, B, 3)
        if not batched:
            inputs, states = normal(T, 3), [state[:, 0] for state in states]

        def call(net: nn.Module, given: list[Tensor]) -> Any:
            if observed and isinstance(net, Recurrent):
                net = observe(net)
            return net(given[0], *([tuple(given[1:]) if len(given) == 3 else given[1]] if len(given) > 1 else []))

        assert isinstance(assert_equal(module, call, inputs, *(states if started else [])), Recurrent)


@pytest.mark.parametrize("batched", [True, False], ids=["batch", "one"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_are_equal(kind: Any, nonlinearity: str, bias: bool, batched: bool) -> None:
    module = randomized(kind(3, 4, bias=bias, **({"nonlinearity": nonlinearity} if kind is nn.RNNCell else {})))
    shape = (B,) if batched else ()
    states = [normal(*shape, 4), normal(*shape, 4) + 1][: 2 if kind is nn.LSTMCell else 1]

    def call(net: nn.Module, given: list[Tensor]) -> Any:
        if len(given) == 1:
            return net(given[0])
        return net(given[0], tuple(given[1:]) if kind is nn.LSTMCell else given[1])

    assert_equal(module, call, normal(*shape, 3))
    assert_equal(module, call, normal(*shape, 3), *states)


def test_a_state_of_the_wrong_shape_and_a_packed_sequence_are_refused() -> None:
    net = converted(nn.LSTM(3, 4).double())
    for states in ((normal(1, 1, 4), normal(1, B, 4)), (normal(1, 4), normal(1, 4)), (normal(1, B, 4),)):
        with pytest.raises(ValueError, match=r"hidden state has shapes .* expected \[\(1, 5, 4\), \(1, 5, 4\)\]"):
            net(normal(T, B, 3), states)
    with pytest.raises(TypeError, match="packed sequences are not supported"):
        net(pack_padded_sequence(normal(T, B, 3), [T] * B))


ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True},
    "widths": {"kdim": 4, "vdim": 8},
    "widths, no bias": {"kdim": 4, "vdim": 8, "bias": False, "batch_first": True},
    "a key more": {"add_bias_kv": True},
    "a zero more": {"add_zero_attn": True},
    "both": {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
}
S = 3
CAUSAL = nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
PADDING = torch.arange(S)[None] >= torch.tensor([3, 2, 1, 3, 2])[:, None]
ANYWHERE = normal(T, S) > 0.8
ANYWHERE[:, 0] = False
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "boolean": {"attn_mask": ANYWHERE},
    "to add": {"attn_mask": normal(T, S)},
    "of each head": {"attn_mask": normal(B * 2, T, S)},
    "padding": {"key_padding_mask": PADDING},
    "padding to add": {"key_padding_mask": torch.zeros(B, S).double().masked_fill(PADDING, -torch.inf)},
    "padding and boolean": {"attn_mask": ANYWHERE, "key_padding_mask": PADDING},
}
MASKS["padding and boolean"]["attn_mask"] = ANYWHERE & (torch.arange(S) > 0)


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("settings", ATTENTION)
def test_attention_is_equal_in_every_setting(settings: str, mask: str) -> None:
    options = ATTENTION[settings]
    module = randomized(nn.MultiheadAttention(WIDTH, 2, **options))
    query = normal(B, T, WIDTH)
    key, value = normal(B, S, options.get("kdim", WIDTH)), 1 + normal(B, S, options.get("vdim", WIDTH))
    inputs = [query, key, value]
    if not options.get("batch_first"):
        inputs = [tensor.transpose(0, 1).contiguous() for tensor in inputs]
    for more in ({}, {"need_weights": False}, {"average_attn_weights": False}):
        ours = assert_equal(module, lambda net, given, more=more: net(*given, **MASKS[mask], **more), *inputs)
        assert isinstance(ours, Attention)
    if "of each head" not in mask and "padding" not in mask:
        alone = [tensor.select(0 if options.get("batch_first") else 1, 0) for tensor in inputs]
        assert_equal(module, lambda net, given: net(*given, **MASKS[mask]), *alone)


@pytest.mark.parametrize("need_weights", [True, False])
def test_self_attention_with_a_causal_mask(need_weights: bool) -> None:
    module = randomized(nn.MultiheadAttention(WIDTH, 3, batch_first=True))

    def call(net: nn.Module, given: list[Tensor]) -> Any:
        return net(*given * 3, attn_mask=CAUSAL, is_causal=True, need_weights=need_weights)

    assert_equal(module, call, normal(B, T, WIDTH))
    with pytest.raises(ValueError, match="is_causal"):
        converted(module)(*[normal(B, T, WIDTH)] * 3, is_causal=True)


def test_a_query_whose_every_key_is_masked_attends_to_nothing() -> None:
    module = randomized(nn.MultiheadAttention(WIDTH, 2, batch_first=True))
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1] = True

    def call(net: nn.Module, given: list[Tensor]) -> Any:
        return net(*given * 3, key_padding_mask=padding, need_weights=False)

    ours = assert_equal(module, call, normal(B, T, WIDTH))
    torch.testing.assert_close(call(ours, [normal(B, T, WIDTH)])[0][1, 0], module.out_proj.bias)


def layer(kind: Any, **settings: Any) -> nn.Module:
    return randomized(kind(WIDTH, 2, 8, 0.0, batch_first=True, **settings))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor|The PyTorch API of nested")
@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"bias": False, "activation": "gelu"}])
def test_transformers_are_equal_in_training_and_in_evaluation(settings: dict[str, Any]) -> None:
    encoder = nn.TransformerEncoder(layer(nn.TransformerEncoderLayer, **settings), 2)
    decoder = nn.TransformerDecoder(layer(nn.TransformerDecoderLayer, **settings), 2)
    lengths = torch.arange(T)[None] >= torch.tensor([4, 3, 2, 4, 1])[:, None]
    nets = [
        (encoder, lambda net, given: net(given[0], mask=CAUSAL, is_causal=True)),
        (encoder, lambda net, given: net(given[0], src_key_padding_mask=lengths)[~lengths]),
        (decoder, lambda net, given: net(given[0], given[0] + 1, tgt_mask=CAUSAL, memory_key_padding_mask=lengths)),
    ]
    for module, call in nets:
        ours = assert_equal(module, call, normal(B, T, WIDTH))
        assert sum(isinstance(part, Attention) for part in ours.modules()) == (2 if module is encoder else 4)
        with torch.no_grad():
            expected, found = call(module.eval(), [normal(B, T, WIDTH)]), call(ours.eval(), [normal(B, T, WIDTH)])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        module.train()


def test_weights_go_to_the_plain_module_and_back() -> None:
    for module in (nn.LSTM(3, 4, 2, bidirectional=True), nn.MultiheadAttention(6, 2), nn.GRUCell(3, 4)):
        ours, other = converted(module), randomized(deepcopy(module)).float()
        assert ours.load_state_dict(other.state_dict()).missing_keys == []
        module.load_state_dict(ours.state_dict())
        for name, value in other.state_dict().items():
            assert torch.equal(module.state_dict()[name], value)


def test_many_nodes_at_once() -> None:
    for module in (nn.LSTM(3, 4, 2), nn.GRU(3, 4), nn.MultiheadAttention(3, 3)):
        ours = converted(module.double())
        inputs = [normal(2, T, B, 3)] * (3 if isinstance(ours, Attention) else 1)
        stacked = {name: torch.stack([value, 0.5 * value]).detach() for name, value in ours.named_parameters()}

        def outputs(named: dict[str, Tensor], *given: Tensor, net: nn.Module = ours) -> Tensor:
            return functional_call(net, named, given)[0]

        found = vmap(outputs)(stacked, *inputs)
        for node in range(2):
            named = {name: value[node] for name, value in stacked.items()}
            torch.testing.assert_close(found[node], outputs(named, *(given[node] for given in inputs)))


def test_what_may_do_more_stays_as_it_is() -> None:
    class Own(nn.LSTM):
        pass

    hooked, tied = nn.GRU(3, 4), nn.ModuleList([nn.RNN(3, 4), nn.RNN(3, 4)])
    hooked.register_forward_hook(lambda module, given, output: None)
    tied[1].weight_hh_l0 = tied[0].weight_hh_l0
    net = nn.ModuleDict({"own": Own(3, 4), "hooked": hooked, "tied": tied})
    before = list(net.modules())
    convert(net)
    assert all(one is other for one, other in zip(net.modules(), before, strict=True))


def test_one_module_in_two_places_stays_one() -> None:
    cell = nn.LSTM(3, 4)
    net = nn.ModuleDict({"a": cell, "b": nn.ModuleList([cell])})
    convert(net)
    assert net["a"] is net["b"][0] and isinstance(net["a"], Recurrent)


class Rows(nn.Module):
    """A network on the rows of an image, one after another."""

    def __init__(self, kind: str, classes: int = 10) -> None:
        super().__init__()
        self.kind, self.embed, self.head = kind, nn.Linear(8, WIDTH), nn.Linear(WIDTH, classes)
        if kind == "lstm":
            self.body: nn.Module = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 8, 0.0, batch_first=True), 1)
        self.body.requires_grad_(kind != "frozen")

    def forward(self, images: Tensor) -> Tensor:
        rows = self.embed(images.flatten(1, -2))
        hidden = self.body(rows)
        outputs: Tensor = self.head(hidden[0][:, -1] if self.kind == "lstm" else hidden.mean(1))
        return outputs


def lstm(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Rows("lstm", num_classes)


def transformer(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Rows("transformer", num_classes)


def frozen(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Rows("frozen", num_classes)


def config(net: str, device: str = "cpu", init: Path | None = None, strategy: str = "dsgd") -> Config:
    return Config(
        model={"name": f"{__name__}:{net}", "init": init},
        strategy={"name": "dsgd", "lr": 0.05} if strategy == "dsgd" else strategy,
        topology={"nodes": 3},
        training={"rounds": 2, "local_steps": 2},
        engine={"dtype": "float64", "device": device},
    )


CASES = [("lstm", "dsgd"), ("lstm", "ngpd"), ("transformer", "dsgd"), ("transformer", "ngpd"), ("frozen", "ngpd")]


@pytest.mark.parametrize(("net", "strategy"), CASES)
def test_a_run_and_its_models(net: str, strategy: str, tmp_path: Path) -> None:
    result = run(config(net, strategy=strategy), tmp_path / "run", checkpoint_every=1)
    folder = RunFolder.open(tmp_path / "run")
    inputs = normal(4, 1, 8, 8)
    plain = Rows(net).double()
    for number in range(3):
        plain.load_state_dict(folder.parameters(f"node{number}"))  # strict: nothing is missing or over
        torch.testing.assert_close(plain(inputs), result.model(result.params[number], inputs))
    saved = evaluate_saved(folder, trust_code=True).evaluation.record()
    assert saved["mean_accuracy"] == result.summary["final"]["mean_accuracy"]
    start = build_model(
        config(net, init=tmp_path / "run" / "models.safetensors").model, (1, 8, 8), 10, 3, torch.float64
    )
    torch.testing.assert_close(start.start(), result.params.mean(0))
    save_file({name: value.contiguous() for name, value in plain.state_dict().items()}, tmp_path / "plain.safetensors")
    again = build_model(config(net, init=tmp_path / "plain.safetensors").model, (1, 8, 8), 10, 3, torch.float64)
    assert torch.equal(again.start(), result.params[2])
    (tmp_path / "run" / "summary.json").unlink()
    assert torch.equal(resume(tmp_path / "run", trust_code=True).params, result.params)


@pytest.mark.parametrize(("net", "strategy"), CASES)
def test_a_gpu_computes_the_same(net: str, strategy: str) -> None:
    with PretendDevice():
        found = run(config(net, "cuda", strategy=strategy)).params
    torch.testing.assert_close(to_host(found), run(config(net, strategy=strategy)).params, rtol=1e-9, atol=1e-9)


def test_the_start_is_that_of_the_plain_module() -> None:
    model = build_model(ModelConfig(name=f"{__name__}:transformer"), (1, 8, 8), 10, 0, torch.float32)
    assert isinstance(model.module.body.layers[0].self_attn, Attention)
    plain = Rows("transformer")
    plain.load_state_dict(model.state_dict(model.start()))
    torch.testing.assert_close(plain(normal(2, 1, 8, 8).float()), model(model.start(), normal(2, 1, 8, 8).float()))
    assert torch.equal(model.params_of(plain.state_dict()), model.start())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: state.pop("body.weight_hh_l1"), "has no parameter 'body.weight_hh_l1'"),
        (
            lambda state: state.update({"body.weight_hh_l1": torch.zeros(24, 5)}),
            "'body.weight_hh_l1' has shape (24, 5)",
        ),
        (lambda state: state.update({"body.cells.0.ih.bias": torch.zeros(24)}), "a parameter 'body.cells.0.ih.bias'"),
    ],
)
def test_a_start_that_does_not_fit_is_told_in_the_users_names(damage: Any, words: str, tmp_path: Path) -> None:
    state = Rows("lstm").state_dict()
    damage(state)
    save_file(state, tmp_path / "start.safetensors")
    with pytest.raises(InputError) as raised:
        build_model(config("lstm", init=tmp_path / "start.safetensors").model, (1, 8, 8), 10, 0, torch.float64)
    assert words in str(raised.value)


def test_a_network_that_packs_is_refused_in_one_line() -> None:
    class Packing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.LSTM(8, 3, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            packed = pack_padded_sequence(images.flatten(1, -2), [8] * len(images), batch_first=True)
            return self.body(packed)[1][0][0]

    net = Packing()
    convert(net)
    with pytest.raises(
        InputError, match=r"^model: it fails .*: packed sequences are not supported; give a padded tensor"
    ):
        check_model(net, torch.randn(3, 1, 8, 8), 3)
    assert isinstance(net.body, Recurrent) and FlatModel(net).num_params == 4 * 3 * (8 + 3 + 2)
