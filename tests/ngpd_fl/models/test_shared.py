"""Modules, parameters and buffers that a network holds under several names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import vmap

from ngpd_fl import Config, InputError, RunFolder, run
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.models import build_model
from ngpd_fl.models.saved import load_start

SHAPE = (1, 8, 8)


class Aliased(nn.Module):
    """One layer under two names, used once; with a buffer that two modules share and one that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh())
        self.fc = nn.Linear(6, 10)
        self.classifier = self.fc
        scale = torch.full((6,), 0.5)
        self.body[1].register_buffer("scale", scale)
        self.fc.register_buffer("scale", scale)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("turn", torch.polar(torch.ones(3), torch.tensor([0.1, 0.2, 0.3])))  # as rotary positions
        self.register_buffer("passing", torch.ones(6), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.body(images) * self.fc.scale * self.passing
        turned = torch.view_as_real(torch.view_as_complex(hidden.reshape(-1, 3, 2)) * self.turn)
        outputs: Tensor = self.classifier(turned.flatten(1))
        return outputs


def repeated() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), layer, nn.Tanh(), layer, nn.Linear(6, 10))


class Listed(nn.Module):
    """A layer that is twice in a list."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(6, 6)
        self.layers = nn.ModuleList([nn.Linear(64, 6), layer, layer, nn.Linear(6, 10)])

    def forward(self, images: Tensor) -> Tensor:
        values = images.flatten(1)
        for layer in self.layers:
            values = layer(values).tanh()
        return values


def tied() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 10))
    net[4].weight = net[2].weight
    return net


def tied_alias() -> nn.Module:
    """A layer under two names whose weight is also another's."""
    net = repeated()
    net.append(nn.Linear(10, 6)), net.append(nn.Linear(6, 10))
    net[6].weight = nn.Parameter(net[6].weight.detach())
    net[7].weight = net[5].weight
    net.append(net[6]), net.append(net[7])
    return net


NETS = {"alias": Aliased, "repeated": repeated, "listed": Listed, "tied": tied, "tied alias": tied_alias}


def factory(name: str):  # type: ignore[no-untyped-def]
    return lambda input_shape, num_classes: NETS[name]()


alias, again, twice, same, both = (factory(name) for name in NETS)
FACTORIES = dict(zip(NETS, ("alias", "again", "twice", "same", "both"), strict=True))


def images(*shape: int) -> Tensor:
    return torch.randn((*shape, *SHAPE), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NETS)
def test_outputs_and_gradients_are_the_modules_own_and_the_module_stays_what_it_is(name: str) -> None:
    model = build_model(ModelConfig(name=f"{__name__}:{FACTORIES[name]}"), SHAPE, 10, 0, torch.float32)
    net = model.module
    held = [(key, id(value)) for key, value in net.named_parameters(remove_duplicate=False)]
    params = model.start() + 0.3
    weights = params.clone().requires_grad_()
    outputs = model(weights, images(5))
    (gradient,) = torch.autograd.grad(outputs.square().sum(), weights)
    stacked = vmap(model)(torch.stack([model.start(), params]), images(2, 5))
    assert [(key, id(value)) for key, value in net.named_parameters(remove_duplicate=False)] == held
    net.load_state_dict(model.state_dict(params))
    torch.testing.assert_close(outputs, net(images(5)))
    torch.testing.assert_close(stacked[1], net(images(2, 5)[1]))
    expected = torch.autograd.grad(net(images(5)).square().sum(), list(net.parameters()))
    torch.testing.assert_close(gradient, torch.cat([part.flatten() for part in expected]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_a_run_of_first_order_takes_them_and_its_models_go_into_the_plain_module(name: str, tmp_path: Path) -> None:
    config = Config(
        model={"name": f"{__name__}:{FACTORIES[name]}"},
        strategy="dsgd",
        topology={"nodes": 3},
        training={"rounds": 2, "local_steps": 2},
    )
    result = run(config, tmp_path / "run")
    for number, which in enumerate(["node0", "node1", "node2", "average"]):
        params = result.params[number] if number < 3 else result.params.mean(0)
        plain = NETS[name]()
        plain.load_state_dict(RunFolder.open(tmp_path / "run").parameters(which))  # strict: nothing is missing or over
        torch.testing.assert_close(plain(images(4)), result.model(params, images(4)))
    evaluation = evaluate_saved(RunFolder.open(tmp_path / "run"), trust_code=True).evaluation.record()
    assert evaluation["mean_accuracy"] == result.summary["final"]["mean_accuracy"]
    again = run(Config(**config.model_dump() | {"model": {**config.model.model_dump(), "init": _models(tmp_path)}}))
    assert again.summary["status"] == "finished"


def _models(path: Path) -> Path:
    return path / "run" / "models.safetensors"


@pytest.mark.parametrize("name", NETS)
def test_kfac_takes_what_is_used_twice_and_what_has_two_names(name: str) -> None:
    config = Config(
        model={"name": f"{__name__}:{FACTORIES[name]}"},
        strategy={"name": "ngpd", "other_layers": "refuse"},
        training={"rounds": 1, "local_steps": 2},
    )
    assert run(config).summary["status"] == "finished"


@pytest.mark.parametrize("left_out", ["classifier", "fc"])
def test_a_start_may_have_either_name(tmp_path: Path, left_out: str) -> None:
    saved, net = Aliased(), Aliased()
    named = {key: value.clone() for key, value in saved.state_dict().items() if not key.startswith(left_out)}
    named["steps"] = torch.tensor(7)
    save_file(named, tmp_path / "net.safetensors")
    load_start(net, tmp_path / "net.safetensors")
    assert torch.equal(net.fc.weight, saved.fc.weight) and net.classifier is net.fc and net.steps == 7


def test_names_of_one_tensor_that_disagree_are_refused(tmp_path: Path) -> None:
    named = {key: value.clone() for key, value in Aliased().state_dict().items()}
    named["classifier.weight"] += 1
    save_file(named, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"'fc.weight' and 'classifier.weight' are one tensor .* differ"):
        load_start(Aliased(), tmp_path / "net.safetensors")


def test_a_buffer_of_another_shape_is_refused(tmp_path: Path) -> None:
    named = {key: value.clone() for key, value in Aliased().state_dict().items()} | {"steps": torch.zeros(2)}
    save_file(named, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="'steps' has shape"):
        load_start(Aliased(), tmp_path / "net.safetensors")
