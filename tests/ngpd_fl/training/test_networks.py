"""Every kind of network with K-FAC and without: one node at a time, many at once, and on a pretended GPU alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ngpd_fl import Config, InputError, run
from ngpd_fl.training import compose
from tests.support import zoo
from tests.support.pretend_device import PretendDevice, to_host

NETWORKS = {**zoo.NETWORKS, **zoo.TORCHVISION}
OTHERS = {
    "gpt": ["positions"],
    "vit": ["token", "positions"],
    "scaled": [
        "scale", "body.bias", "body.parametrizations.weight.original0", "body.parametrizations.weight.original1"
    ],
    "bag": ["bag.weight"],
}  # fmt: skip
"""The parameters that no rule covers."""

UNUSED = {"unused": ["spare", "idle.weight", "idle.bias"]}
"""Those that do not enter the outputs; they are not refused."""


def config(network: str, strategy: str, other_layers: str = "diagonal", **engine: Any) -> Config:
    options: dict[str, Any] = {"name": strategy}
    if strategy != "dsgd":
        options |= {"factor_every": 1, "basis_every": 2, "rank": 4, "other_layers": other_layers}
    return Config(
        model={"name": f"{zoo.__name__}:{network}"},
        data={"dataset": f"{zoo.__name__}:{NETWORKS[network]}", "batch_size": 4},
        strategy=options,
        topology={"name": "path", "nodes": 3},
        training={"rounds": 2, "local_steps": 2},
        engine={"dtype": "float64", "workers": 1, **engine},
        evaluation={"every": 2},
    )


def params(network: str, strategy: str, **engine: Any) -> Tensor:
    return to_host(run(config(network, strategy, **engine)).params)


@pytest.mark.parametrize("network", zoo.NETWORKS)
def test_rules_cover_all_but_a_few_parameters(network: str, caplog: pytest.LogCaptureFixture) -> None:
    curvature = compose(config(network, "ngpd")).objective
    assert curvature.capture.others == (OTHERS | UNUSED).get(network, [])
    settings = config(network, "ngpd", other_layers="refuse")
    if network not in OTHERS:
        compose(settings)
        return
    with pytest.raises(InputError) as raised:
        compose(settings)
    words = (repr(OTHERS[network][0]), "strategy.other_layers", "dsgd")
    assert all(word in str(raised.value) for word in words) and "\n" not in str(raised.value)


def assert_alike(network: str, strategy: str) -> None:
    alone = params(network, strategy, chunk_size=1)
    assert alone.isfinite().all()
    torch.testing.assert_close(params(network, strategy), alone, rtol=1e-8, atol=1e-9)
    with PretendDevice():
        there = params(network, strategy, device="cuda")
    torch.testing.assert_close(there, alone, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("network", zoo.NETWORKS)
def test_ngpd_trains_it_alike_in_every_engine(network: str) -> None:
    assert_alike(network, "ngpd")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["kfac-gossip", "dsgd"])
@pytest.mark.parametrize("network", zoo.NETWORKS)
def test_so_do_others(network: str, strategy: str) -> None:
    assert_alike(network, strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ngpd", "kfac-gossip", "dsgd"])
@pytest.mark.parametrize("network", zoo.TORCHVISION)
def test_torchvisions_families(network: str, strategy: str) -> None:
    assert_alike(network, strategy)
