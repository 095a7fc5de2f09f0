"""torchvision's models by name: what is changed in them, and what is said where that is not enough."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.curvature import KFAC
from ngpd_fl.curvature.layers import OTHER, find_layers
from ngpd_fl.data import vision
from ngpd_fl.models import Categorical, FlatModel, build_model
from ngpd_fl.models.vision_models import vision_model
from strategies.ngpd import NGPDOptions

SHAPE = (3, 32, 32)


def build(name: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> FlatModel:
    return build_model(ModelConfig(name=f"torchvision:{name}"), shape, 10, seed, torch.float32)


def refusal(name: str, shape: tuple[int, ...] = SHAPE) -> str:
    with pytest.raises(InputError) as raised:
        KFAC(build(name, shape), Categorical(), shape, NGPDOptions())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_resnet18_has_its_published_size_and_group_norms() -> None:
    """11,689,512 parameters with 1,000 classes."""
    model = build("resnet18")
    assert model.num_params == 11_689_512 - 990 * 513
    kinds = {type(part) for part in model.module.modules()}
    assert nn.GroupNorm in kinds and nn.BatchNorm2d not in kinds
    assert all(layer.rule is not OTHER for layer in find_layers(model).values())


def test_the_start_depends_on_the_seed_and_on_nothing_else() -> None:
    first = build("squeezenet1_1", seed=3).start()
    torch.rand(5)
    assert torch.equal(build("squeezenet1_1", seed=3).start(), first)
    assert not torch.equal(build("squeezenet1_1", seed=4).start(), first)


@pytest.mark.parametrize("shape", [(1, 32, 32), (4, 32, 32)])
def test_the_first_convolution_takes_the_channels_of_the_images(shape: tuple[int, ...]) -> None:
    model = build("squeezenet1_1", shape)
    assert model(model.start(), torch.randn(2, *shape)).shape == (2, 10)
    KFAC(model, Categorical(), shape, NGPDOptions())


@pytest.mark.parametrize(
    "name", ["squeezenet1_0", pytest.param("convnext_tiny", marks=pytest.mark.slow), "efficientnet_b0"]
)
def test_dropout_goes_by_a_key_and_is_off_in_evaluation(name: str) -> None:
    model = build(name)
    params, inputs, keys = model.start(), torch.randn(2, *SHAPE), torch.arange(4).view(2, 2)
    assert model.is_random
    first, second = (model(params, inputs, key) for key in keys)
    assert torch.equal(model(params, inputs, keys[0]), first) and not torch.equal(first, second)
    plain = model(params, inputs)
    assert torch.equal(model(params, inputs), plain) and not torch.equal(plain, first)


@pytest.mark.filterwarnings("error")
def test_a_model_with_auxiliary_outputs_gives_one() -> None:
    assert vision_model("googlenet", SHAPE, 10).train()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_kfac_has_a_rule_for_every_layer_of_a_mobile_network() -> None:
    model = build("mobilenet_v2")
    layers = KFAC(model, Categorical(), SHAPE, NGPDOptions(other_layers="refuse")).capture.layers
    assert layers["features.1.conv.0.0"].module.groups == 32


@pytest.mark.parametrize(
    "name, words",
    [
        ("resnet19", "model.name: torchvision has no classification model 'resnet19'; did you mean 'resnet"),
        ("ResNet18", "did you mean 'resnet18'?"),
        ("xyz", "python -m pydoc torchvision.models"),
        ("fasterrcnn_resnet50_fpn", "no classification model"),
        ("list_models", "no classification model"),
    ],
)
def test_unknown_names(name: str, words: str) -> None:
    assert words in refusal(name)


def test_images_of_the_wrong_size() -> None:
    assert "fails on inputs of shape (3, 8, 8)" in refusal("alexnet", (3, 8, 8))


def test_a_broken_torchvision_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(vision, "import_module", fail)
    message = refusal("resnet18")
    assert message.startswith("model.name: torchvision cannot be imported (operator torchvision::nms does not exist)")
    assert message.endswith("or use a built-in network such as resnet20")
