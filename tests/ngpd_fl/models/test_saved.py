"""A start from a file, and every way in which the file may not be the network's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.models.saved import load_start

SHAPE = (1, 8, 8)


def build(seed: int = 0, dtype: torch.dtype = torch.float64, init: Path | None = None) -> FlatModel:
    return build_model(ModelConfig(name="mlp", hidden=(5,), init=init), SHAPE, 10, seed, dtype)


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: tensor.detach().clone() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_start_is_the_saved_one(tmp_path: Path, dtype: torch.dtype) -> None:
    other = build(seed=7)
    path = saved(tmp_path / "net.safetensors", other.module.state_dict())
    assert torch.equal(build(seed=0, dtype=dtype, init=path).start(), other.start().to(dtype))


def test_a_runs_averaged_model_is_taken(tmp_path: Path) -> None:
    models = {name: build(seed=seed) for seed, name in enumerate(["average", "node0", "node1"], start=1)}
    tensors = {f"{name}/{key}": value for name, net in models.items() for key, value in net.module.state_dict().items()}
    path = saved(tmp_path / "models.safetensors", tensors)
    assert torch.equal(build(init=path).start(), models["average"].start())


def test_buffers_are_taken_where_they_are_saved_and_not_missed_where_not(tmp_path: Path) -> None:
    def net(value: float) -> nn.Module:
        module = nn.Linear(2, 2)
        module.register_buffer("scale", torch.tensor(value))
        return module

    whole, target = net(3.0), net(1.0)
    load_start(target, saved(tmp_path / "parameters", dict(whole.named_parameters())))
    assert torch.equal(target.weight, whole.weight) and target.scale == 1
    load_start(target, saved(tmp_path / "whole", whole.state_dict()))
    assert target.scale == 3


def test_tied_parameters_may_come_under_both_names(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    wanted = {name: torch.full_like(tensor, 2.0) for name, tensor in net.state_dict().items()}
    load_start(net, saved(tmp_path / "tied", wanted))
    assert (net[0].weight == 2).all() and net[1].weight is net[0].weight


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda named: named.pop("1.bias"), "has no parameter '1.bias', which the network has"),
        (lambda named: named.update(extra=torch.ones(1)), "has a parameter 'extra', which the network has not"),
        (
            lambda named: named.update({"3.weight": torch.ones(10, 6)}),
            "parameter '3.weight' has shape (10, 6); the network's has (10, 5)",
        ),
        (lambda named: named["1.bias"].fill_(torch.nan), "parameter '1.bias' holds values that are nan or infinite"),
    ],
)
def test_tensors_that_are_not_the_networks(tmp_path: Path, change: object, words: str) -> None:
    named = {name: tensor.clone() for name, tensor in build().module.state_dict().items()}
    change(named)  # type: ignore[operator]
    path = saved(tmp_path / "net.safetensors", named)
    with pytest.raises(InputError) as raised:
        build(init=path)
    message = str(raised.value)
    assert message.startswith(f"model.init: {path}") and words in message and "\n" not in message


def test_a_value_that_is_infinite_in_the_networks_type_is_refused(tmp_path: Path) -> None:
    large = torch.full((2, 2), 1e300, dtype=torch.float64)
    path = saved(tmp_path / "net.safetensors", {"weight": large, "bias": torch.zeros(2)})
    load_start(nn.Linear(2, 2).double(), path)
    with pytest.raises(InputError, match="parameter 'weight' holds values that are nan or infinite"):
        load_start(nn.Linear(2, 2), path)


def test_files_that_are_none(tmp_path: Path) -> None:
    pickled = tmp_path / "net.pt"
    torch.save(build().module.state_dict(), pickled)
    with pytest.raises(InputError, match="cannot be read as a .safetensors file"):
        build(init=pickled)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no models.safetensors|cannot be read .No such file"):
            build(init=path)
