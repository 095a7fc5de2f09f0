"""GroupNorm in place of BatchNorm: on request in a network of the user's own, always in torchvision's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from ngpd_fl import Config, InputError, run
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models import build_model
from ngpd_fl.models.norm import group_norm, replace_batch_norm


@pytest.mark.parametrize("channels, groups", [(1, 1), (3, 1), (16, 8), (24, 12), (64, 32), (40, 20), (96, 32)])
def test_groups_divide_the_channels_and_hold_two_at_least(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_batch_norms_are_replaced_wherever_they_are() -> None:
    net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(48, eps=0.1)), nn.BatchNorm2d(1024, affine=False))
    nn.init.zeros_(net[0][0].weight)
    replace_batch_norm(net)
    first, second = net[0][0], net[1]
    assert isinstance(first, nn.GroupNorm) and isinstance(second, nn.GroupNorm)
    assert (first.num_groups, first.eps, second.num_groups, second.affine) == (3, 0.1, 32, False)
    assert not first.weight.any() and not first.bias.any()


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_kind_is_replaced_with_its_weights(kind: Any) -> None:
    net = nn.Sequential(kind(6), nn.ReLU())
    nn.init.uniform_(net[0].weight)
    net[0].bias.requires_grad_(False)
    kept = net[0].weight
    replace_batch_norm(net)
    assert type(net[0]) is nn.GroupNorm and torch.equal(net[0].weight, kept)
    assert net[0].weight.requires_grad and not net[0].bias.requires_grad


def test_maps_of_one_pixel_do_not_start_with_huge_gradients() -> None:
    """Of groups of two channels, one pixel each, only the order is left: the gradient's norm was 1e3 here."""
    torch.manual_seed(0)
    net = models.shufflenet_v2_x0_5(num_classes=10)
    replace_batch_norm(net)
    loss = nn.functional.cross_entropy(net(torch.randn(8, 3, 32, 32)), torch.arange(8))
    gradient = torch.autograd.grad(loss, list(net.parameters()))
    assert torch.cat([part.flatten() for part in gradient]).norm() < 50


def trained_trunk() -> nn.Sequential:
    """A frozen trunk whose BatchNorm has seen images, with a new head."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    for _ in range(5):
        trunk(3 + 2 * torch.randn(8, 1, 8, 8))
    return nn.Sequential(*trunk.requires_grad_(False), nn.Flatten(), nn.Linear(144, 10))


def test_a_frozen_layer_keeps_its_statistics(caplog: pytest.LogCaptureFixture) -> None:
    net = trained_trunk()
    images, before = torch.randn(5, 1, 8, 8), {name: value.clone() for name, value in net.state_dict().items()}
    expected = net.eval()(images).detach()
    replace_batch_norm(net.train())
    torch.testing.assert_close(net(images).detach(), expected)
    assert not caplog.records and {name: tuple(value.shape) for name, value in net.state_dict().items()} == {
        name: tuple(value.shape) for name, value in before.items()
    }
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("strategy", ["ngpd", pytest.param("dsgd", marks=pytest.mark.slow)])
def test_a_trunk_is_fine_tuned_by_its_own_statistics(strategy: str, tmp_path: Path) -> None:
    net = trained_trunk()
    training = {"rounds": 2, "local_steps": 2}
    result = run(
        Config(strategy=strategy, model={"batch_norm": "group"}, topology={"nodes": 3}, training=training),
        tmp_path / "run",
        model=net,
    )
    saved = load_file(tmp_path / "run" / "models.safetensors")
    statistics = [value for name, value in saved.items() if name.endswith("1.running_mean")]
    assert statistics and all(torch.equal(value, net[1].running_mean) for value in statistics)
    assert result.summary["parameters"] == 1450


def test_a_trained_layer_that_is_not_frozen_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    replace_batch_norm(trained_trunk().requires_grad_(True))
    (record,) = caplog.records
    assert "layer '1' was trained with the statistics of batches" in record.getMessage()


def test_a_layer_in_two_places_stays_one() -> None:
    norm = nn.BatchNorm2d(4)
    net = nn.ModuleDict({"a": nn.Sequential(norm, norm), "b": norm})
    replace_batch_norm(net)
    assert net["a"][0] is net["a"][1] is net["b"] and isinstance(net["b"], nn.GroupNorm)


class NormAct(nn.BatchNorm2d):
    """A BatchNorm with an activation in it, in the way of timm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.act(self.drop(super().forward(inputs)))
        return outputs


class Doubled(nn.BatchNorm2d):
    """A BatchNorm that does more."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def test_a_subclass_keeps_what_follows_and_one_that_does_more_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), NormAct(4))
    replace_batch_norm(net)
    inputs = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(net(inputs), nn.functional.silu(nn.GroupNorm(1, 4)(net[0](inputs))))
    with pytest.raises(InputError, match=r"^model: layer '1.0' \(Doubled\) does more than BatchNorm"):
        replace_batch_norm(nn.Sequential(nn.ReLU(), nn.Sequential(Doubled(4))))


def own(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))


def lazy(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.Linear(144, num_classes))


@pytest.mark.parametrize("strategy", ["dsgd", "ngpd"])
def test_a_network_of_ones_own_trains_where_asked(strategy: str) -> None:
    sections: dict[str, Any] = {"strategy": strategy, "topology": {"nodes": 3}}
    training = {"rounds": 1, "local_steps": 2}
    path = f"{__name__}:own"
    result = run(Config(model={"name": path, "batch_norm": "group"}, training=training, **sections))
    assert result.summary["status"] == "finished"
    for setting in ({}, {"batch_norm": "refuse"}):
        with pytest.raises(InputError, match="'1' is a BatchNorm2d: .* set model.batch_norm = group"):
            run(Config(model={"name": path, **setting}, training=training, **sections))
    with pytest.raises(InputError, match="'1.weight' has no shape"):
        run(Config(model={"name": f"{__name__}:lazy", "batch_norm": "group"}, training=training, **sections))


def test_torchvisions_may_be_refused_too() -> None:
    name = "torchvision:shufflenet_v2_x0_5"
    with pytest.raises(InputError, match="is a BatchNorm2d"):
        build_model(ModelConfig(name=name, batch_norm="refuse"), (3, 32, 32), 10, 0, torch.float32)


def pictures() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Small pictures in color of 10 classes."""
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn((60, 3, 32, 32), generator=generator), torch.arange(60) % 10
    return inputs[:40], labels[:40], inputs[40:], labels[40:]


FAMILIES = [
    "shufflenet_v2_x0_5",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "resnet18",
            "mobilenet_v2",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "efficientnet_b0",
            "densenet121",
        )
    ),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_torchvision_train(name: str) -> None:
    config = Config(
        data={"dataset": f"{__name__}:pictures", "batch_size": 4},
        partition="iid",
        model=f"torchvision:{name}",
        strategy={"name": "dsgd", "lr": 1e-4},
        topology={"name": "path", "nodes": 2},
        training={"rounds": 1, "local_steps": 1},
    )
    result = run(config)
    start = build_model(config.model, (3, 32, 32), 10, 0, torch.float32).start()
    assert result.summary["status"] == "finished" and result.params.isfinite().all()
    assert (result.params != start).any(1).all()
