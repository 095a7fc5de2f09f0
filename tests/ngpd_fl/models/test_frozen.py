"""Frozen parameters: constants that no node changes and nobody sends; fine-tuning of a head or of low-rank adapters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import vmap

from ngpd_fl import Config, InputError, RunFolder, resume, run
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.models import Categorical, FlatModel, SupervisedObjective, build_model
from tests.support.pretend_device import PretendDevice, to_host

NODES, ROUNDS, STEPS = 3, 2, 2


def trunk_and_head(input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 10) -> nn.Module:
    """A frozen trunk with normalization and a new head of 6 inputs."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.Linear(6, num_classes)
    )
    net[:5].requires_grad_(False)
    return net


class LowRank(nn.Module):
    """A frozen linear layer with a trained product of two thin ones beside it, as in LoRA (Hu et al., ICLR 2022)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.normal_(self.up.weight, std=0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.base(inputs) + 2.0 * self.up(self.down(inputs))
        return outputs


class Transformer(nn.Module):
    """A transformer of one block on the rows of an image, without a module that hides its layers."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.embed(images.flatten(1, -2))
        given = self.norm1(hidden)
        scores = self.query(given) @ self.key(given).transpose(-1, -2) / given.shape[-1] ** 0.5
        hidden = hidden + self.mix(scores.softmax(-1) @ self.value(given))
        hidden = hidden + self.fall(self.rise(self.norm2(hidden)).relu())
        outputs: Tensor = self.head(hidden.flatten(1))
        return outputs


def by_hand(input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 10) -> nn.Module:
    """A frozen transformer with low-rank adapters of its attention, 2 * 2 * 8 * 2 parameters."""
    net = Transformer(8, num_classes).requires_grad_(False)
    net.query, net.value = LowRank(net.query, 2), LowRank(net.value, 2)
    return net


def by_peft(input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 10) -> nn.Module:
    """The same by the library, with a trained head."""
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        settings = peft.LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["head"])
        net: nn.Module = peft.get_peft_model(Transformer(8, num_classes), settings)
    return net


TRAINED = {"trunk_and_head": 6 * 10 + 10, "by_hand": 2 * 2 * 8 * 2, "by_peft": 2 * 2 * 8 * 2 + 64 * 10 + 10}
FACTORIES = {"trunk_and_head": trunk_and_head, "by_hand": by_hand, "by_peft": by_peft}
STRATEGY = {
    "dsgd": {"name": "dsgd", "lr": 0.05},
    "ngpd": {"name": "ngpd", "rank": 0},
}


def config(net: str, strategy: str = "dsgd", **sections: Any) -> Config:
    return Config(
        **{
            "model": {"name": f"{__name__}:{net}"},
            "strategy": STRATEGY[strategy],
            "topology": {"name": "ring", "nodes": NODES},
            "training": {"rounds": ROUNDS, "local_steps": STEPS},
            "engine": {"dtype": "float64"},
            **sections,
        }
    )


def frozen_part(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.named_parameters() if not value.requires_grad}


def test_the_vector_holds_what_is_trained_and_the_rest_is_constant() -> None:
    net = trunk_and_head().double()
    model, kept = FlatModel(net), {name: value.clone() for name, value in net.named_parameters()}
    assert list(model.segments) == ["5.weight", "5.bias"] and model.num_params == len(model.start()) == 70
    inputs, params = torch.randn(2, 5, 1, 8, 8, dtype=torch.float64), torch.randn(2, 70, dtype=torch.float64)
    stacked = vmap(model)(params, inputs)
    for node in range(2):
        hidden = net[:5](inputs[node])
        expected = hidden @ params[node, :60].view(10, 6).T + params[node, 60:]
        torch.testing.assert_close(stacked[node], expected)
        torch.testing.assert_close(model(params[node], inputs[node]), expected)
    assert all(torch.equal(value, kept[name]) for name, value in net.named_parameters())
    state = model.state_dict(params[0])
    assert state.keys() == net.state_dict().keys()
    assert torch.equal(state["5.bias"], params[0, 60:]) and torch.equal(state["4.weight"], kept["4.weight"])


def test_the_gradient_is_that_of_the_trained_part() -> None:
    net = trunk_and_head().double()
    objective = SupervisedObjective(FlatModel(net), Categorical(), 0.1)
    batch = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 2, 3, 0])
    loss = nn.functional.cross_entropy(net(batch[0]), batch[1])
    expected = torch.autograd.grad(loss, list(net[5].parameters()))
    _, gradient = objective.gradient(objective.model.start(), batch)
    whole = torch.cat([part.flatten() for part in expected]) + 0.1 * objective.model.start()
    torch.testing.assert_close(gradient, whole)


@pytest.mark.parametrize("strategy", STRATEGY)
@pytest.mark.parametrize("net", FACTORIES)
def test_a_run_trains_and_sends_the_rest_only(net: str, strategy: str, tmp_path: Path) -> None:
    settings = config(net, strategy)
    result = run(settings, tmp_path / "run")
    assert result.summary["parameters"] == TRAINED[net] == result.params.shape[1]
    numbers = TRAINED[net] + (strategy == "ngpd")  # and what the two ends make eta of
    assert result.summary["bytes_sent"] == 2 * NODES * ROUNDS * numbers * 8
    start = build_model(settings.model, (1, 8, 8), 10, 0, torch.float64)
    assert not any(torch.equal(vector, start.start()) for vector in result.params)
    folder = RunFolder.open(tmp_path / "run")
    inputs = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    for number in range(NODES):
        plain = FACTORIES[net]().double()
        plain.load_state_dict(folder.parameters(f"node{number}"))  # strict: nothing is missing or over
        for name, value in frozen_part(start.module).items():
            assert torch.equal(plain.get_parameter(name), value)
        torch.testing.assert_close(plain(inputs), result.model(result.params[number], inputs))
    saved = evaluate_saved(folder, trust_code=True).evaluation.record()
    assert saved["mean_accuracy"] == result.summary["final"]["mean_accuracy"]


@pytest.mark.parametrize("net", ["trunk_and_head", "by_hand"])
def test_a_gpu_and_a_resumed_run_compute_the_same(net: str, tmp_path: Path) -> None:
    settings = config(net, "ngpd")
    expected = run(settings).params
    with PretendDevice():
        found = run(config(net, "ngpd", engine={"dtype": "float64", "device": "cuda"})).params
    torch.testing.assert_close(to_host(found), expected, rtol=1e-9, atol=1e-9)
    run(settings, tmp_path / "run", checkpoint_every=1)
    (tmp_path / "run" / "summary.json").unlink()
    assert torch.equal(resume(tmp_path / "run", trust_code=True).params, expected)


class Changing:
    """A network whose frozen part is another one each time, as from a file that somebody replaces."""

    value = 0.0


def changing(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    net = trunk_and_head()
    nn.init.constant_(net[4].bias, Changing.value)
    return net


def test_a_resumed_run_says_that_its_frozen_part_has_changed(tmp_path: Path) -> None:
    run(config("changing"), tmp_path / "run", checkpoint_every=1)
    (tmp_path / "run" / "summary.json").unlink()
    events: list[str] = []
    resume(tmp_path / "run", on_event=events.append, trust_code=True)
    assert events == []
    (tmp_path / "run" / "summary.json").unlink()
    Changing.value = 1.0
    resume(tmp_path / "run", on_event=events.append, trust_code=True)
    assert len(events) == 1 and "results may differ: constants " in events[0]


def test_a_start_from_a_file_has_the_frozen_part_too(tmp_path: Path) -> None:
    first = run(config("trunk_and_head"), tmp_path / "run")
    path = tmp_path / "run" / "models.safetensors"
    again = build_model(
        ModelConfig(name=f"{__name__}:trunk_and_head", init=path), (1, 8, 8), 10, seed=5, dtype=torch.float64
    )
    torch.testing.assert_close(again.start(), first.params.mean(0))
    for name, value in frozen_part(first.model.module).items():
        assert torch.equal(again.module.get_parameter(name), value)
    short = {name: value.clone() for name, value in trunk_and_head().state_dict().items() if name != "0.bias"}
    save_file(short, tmp_path / "short.safetensors")
    with pytest.raises(InputError, match="has no parameter '0.bias'"):
        build_model(
            ModelConfig(name=f"{__name__}:trunk_and_head", init=tmp_path / "short.safetensors"),
            *((1, 8, 8), 10, 5, torch.float64),
        )


def test_a_saved_model_without_its_frozen_part_is_refused(tmp_path: Path) -> None:
    run(config("trunk_and_head"), tmp_path / "run")
    path = tmp_path / "run" / "models.safetensors"
    models = RunFolder.open(tmp_path / "run").models()
    path.unlink()
    save_file(
        {f"{model}/{key}": value for model, named in models.items() for key, value in named.items() if key != "4.bias"},
        path,
    )
    with pytest.raises(InputError, match="/4.bias is missing"):
        evaluate_saved(RunFolder.open(tmp_path / "run"), trust_code=True)


def half_frozen(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    nn.init.zeros_(net[1].bias).requires_grad_(False)
    return net


def without_bias(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    net = half_frozen(input_shape, num_classes)
    net[1].bias = None
    return net


@pytest.mark.parametrize("strategy", ["dsgd", "ngpd"])
def test_a_frozen_bias_of_zero_is_like_none(strategy: str) -> None:
    found, expected = (run(config(name, strategy)).params for name in ("half_frozen", "without_bias"))
    assert found.shape == (NODES, 640)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
