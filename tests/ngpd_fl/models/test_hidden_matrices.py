"""Hidden weight matrices among the parameters of networks of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ngpd_fl.config import ModelConfig
from ngpd_fl.models import Categorical, FlatModel, SupervisedObjective
from ngpd_fl.models.build import build_model
from tests.support import zoo


def hidden(model: FlatModel) -> dict[str, tuple[int, int]]:
    """Return names and shapes of the matrices; each is checked to be a parameter's own numbers, in order."""
    matrices = SupervisedObjective(model, Categorical()).matrices
    params, found = model.start(), {}
    names = {segment.start: name for name, segment in model.segments.items()}
    for start, rows, columns in matrices:
        values = params[start : start + rows * columns].view(rows, columns)
        assert torch.equal(values, model.module.get_parameter(names[start]).detach().flatten(1))
        found[names[start]] = (rows, columns)
    starts = [matrix.start for matrix in matrices]
    assert starts == sorted(starts)
    return found


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (zoo.conv1d, {"0.weight": (4, 6), "3.weight": (4, 6)}),
        (zoo.conv3d, {"0.weight": (4, 8), "3.weight": (2, 32)}),
        (zoo.embedding, {}),  # a table and the output layer
        (zoo.recurrent, {"input.weight": (4, 3), "hidden.weight": (4, 4)}),
        (
            zoo.gpt,  # the output layer is the embedding; positions are a table
            {
                f"blocks.{block}.{name}.weight": shape
                for block in (0, 1)
                for name, shape in {"qkv": (12, 4), "project": (4, 4), "up": (8, 4), "down": (4, 8)}.items()
            },
        ),
        (zoo.used_twice, {"1.weight": (4, 24), "2.weight": (4, 4)}),
    ],
)
def test_weights_of_linear_layers_and_convolutions_but_the_output_layer_and_tables(network: Any, expected: Any) -> None:
    assert hidden(FlatModel(network(None, zoo.CLASSES))) == expected


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [("softmax", (1, 8, 8), 0), ("mlp", (1, 8, 8), 1), ("lenet", (1, 28, 28), 3), ("resnet8", (3, 32, 32), 7)],
)
def test_own_networks(name: str, shape: tuple[int, ...], count: int) -> None:
    model = build_model(ModelConfig(name=name), shape, 10, 0, torch.float32)
    found = hidden(model)
    assert len(found) == count
    assert all(model.segments[name].shape[0] != 10 for name in found)


def test_a_weight_that_an_embedding_has_as_well_is_none() -> None:
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 2))
    module[1].weight = module[0].weight
    assert hidden(FlatModel(module)) == {"2.weight": (3, 5)}


def test_frozen_weights_are_none() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    module[0].requires_grad_(False)
    assert hidden(FlatModel(module)) == {"2.weight": (3, 3)}
