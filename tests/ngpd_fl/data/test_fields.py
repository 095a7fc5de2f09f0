"""Several inputs of an example: packed and taken apart without loss, in every engine, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.config import InputError
from ngpd_fl.data import export_nodes
from ngpd_fl.data.arrays import packed
from ngpd_fl.data.fields import Fields
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.records import RunFolder
from ngpd_fl.training import compose
from tests.support import sequences
from tests.support.pretend_device import PretendDevice, to_host

HERE = sequences.__name__


def config(dataset: str, network: str, strategy: Any = "dsgd", **sections: Any) -> Config:
    usual: dict[str, Any] = {
        "strategy": strategy,
        "data": {"dataset": f"{HERE}:{dataset}", "batch_size": 8},
        "model": f"{HERE}:{network}",
        "partition": "iid",
        "topology": {"nodes": 3},
        "training": {"rounds": 2, "local_steps": 2},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**{**usual, **sections})


BOTH = [("with_mask", "masked"), ("with_numbers", "mixed")]


@pytest.mark.parametrize("name", ["with_mask", "with_numbers"])
def test_rows_hold_every_input(name: str) -> None:
    given = getattr(sequences, name)()[0]
    fields = Fields.of(given)
    rows = fields.pack(given)
    assert rows.ndim == 2 and rows.dtype == (torch.int64 if name == "with_mask" else torch.float64)
    args, kwargs = fields.arguments(rows)
    found, expected = (kwargs, given) if kwargs else (dict(enumerate(args)), dict(enumerate(given)))
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert torch.equal(found[key].double(), tensor.double()) and found[key].shape == tensor.shape


@pytest.mark.parametrize(("data", "model"), BOTH)
@pytest.mark.parametrize("strategy", ["dsgd", "ngpd"])
def test_a_pretended_gpu_takes_the_same_steps(data: str, model: str, strategy: str) -> None:
    settings = config(data, model, strategy)
    on_gpu = settings.model_copy(update={"engine": settings.engine.model_copy(update={"device": "cuda"})})
    with PretendDevice():
        found = run(on_gpu)
    expected = run(settings)
    torch.testing.assert_close(to_host(found.params), expected.params, rtol=1e-9, atol=1e-9)
    assert not torch.equal(expected.params[0], compose(settings).model.start())


@pytest.mark.parametrize(("data", "model"), BOTH)
def test_networks_learn_and_are_evaluated_again(data: str, model: str, tmp_path: Path) -> None:
    settings = config(data, model, {"name": "dsgd", "lr": 0.3}, training={"rounds": 40, "local_steps": 4})
    result = run(settings, tmp_path / "run")
    assert result.metrics[-1].mean > 0.85 > result.metrics[0].mean
    again = evaluate_saved(RunFolder.open(tmp_path / "run"), trust_code=True)
    assert again.evaluation.nodes.mean() == pytest.approx(result.metrics[-1].mean)
    inputs = getattr(sequences, data)()[2]
    module = result.model.module
    module.load_state_dict(RunFolder.open(tmp_path / "run").parameters("node0"))
    outputs = (
        module(**{**inputs, "ids": inputs["ids"].long()})
        if data == "with_mask"
        else module(inputs[0].double(), inputs[1], inputs[2].double())
    )
    right = (outputs.argmax(1) == getattr(sequences, data)()[3]).double().mean()
    assert result.metrics[-1].nodes[0] == pytest.approx(float(right))


def test_bytes_are_pixels() -> None:
    fields, rows = packed("train", {"image": np.full((2, 1, 2, 2), 51, np.uint8), "id": np.array([3, 4])})
    assert fields is not None
    _, kwargs = fields.arguments(rows.float())
    torch.testing.assert_close(kwargs["image"], torch.full((2, 1, 2, 2), 0.2))
    assert kwargs["id"].tolist() == [3, 4] and kwargs["id"].dtype == torch.int64


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), r"train_inputs are a tuple of \[\]; expected arrays"),
        ({1: np.zeros(3)}, r"train_inputs are a dict of \[1\]; expected arrays"),
        ({"a": [1, 2]}, r"train_inputs\['a'\] are a list; expected a tensor or a NumPy array"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((2, 2))}, r"3 train_inputs\['a'\] but 2 \['b'\]"),
        (
            (np.zeros((3, 2)), np.zeros((3, 0))),
            r"train_inputs\[1\] are float64 of shape \(3, 0\); expected real numbers",
        ),
        ((np.zeros((3, 2)), np.full((3, 1), np.nan)), r"train_inputs\[1\] have values that are infinite or not a num"),
        ((np.zeros((3, 2)), np.full((3, 1), 2**24 + 1)), "an input has integers beyond 2.24 beside floating-point"),
        ((np.zeros((3, 2)), np.full((3, 1), -(2**63))), "an input has integers beyond 2.24 beside floating-point"),
        ((np.full((3, 1), 2**64 - 1, np.uint64),), rf"train_inputs\[0\] go up to {2**64 - 1}; expected integers below"),
    ],
)
def test_what_is_wrong_with_several_inputs(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        packed("train", given)
    assert "\n" not in str(raised.value)


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fails on inputs of shape \{'ids': \(6,\), 'mask': \(6,\)\}, 1 at once"):
        compose(config("with_mask", "counter"))
    with pytest.raises(InputError, match="model.name: mlp takes one input, but the data have 2; allowed: package.mod"):
        compose(config("with_mask", "masked", model={"name": "mlp"}))
    with pytest.raises(InputError, match="data.noise: the inputs of .* are several"):
        compose(config("with_numbers", "mixed", data={"dataset": f"{HERE}:with_numbers", "noise": 0.5}))
    with pytest.raises(InputError, match="export: .* has several inputs; node folders hold one"):
        export_nodes(config("with_numbers", "mixed"), tmp_path / "nodes")
    with pytest.raises(InputError, match="train_inputs and test_inputs are not the same inputs"):
        compose(config("with_mask", "masked", data={"dataset": f"{__name__}:different"}))


def different() -> tuple[Any, ...]:
    train, labels, _, _ = sequences.with_mask()
    return train, labels, *sequences.with_numbers()[2:]


class Embedded(torch.nn.Module):
    """A network of a token, a duration and (perhaps) a number."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(9, 4), torch.nn.Linear(5, 2)

    def forward(self, token: torch.Tensor, seconds: torch.Tensor, number: float | torch.Tensor = 0.0) -> torch.Tensor:
        outputs: torch.Tensor = self.head(torch.cat([self.table(token)[:, 0], seconds / 1000 + number], 1))
        return outputs


@pytest.mark.parametrize("more", [{}, {"number": torch.randn(60, 1)}], ids=["whole numbers", "beside real ones"])
def test_a_token_that_the_network_does_not_know_is_found_in_any_input(more: dict[str, torch.Tensor]) -> None:
    token, seconds = torch.arange(60)[:, None] % 9, torch.arange(60)[:, None] + 900
    short = Config(strategy="dsgd", topology={"nodes": 3}, partition="iid", training={"rounds": 1})
    given = {"token": token, "seconds": seconds, **more}
    assert run(short, model=Embedded(), data=(given, torch.arange(60) % 2)).summary["status"] == "finished"
    token[41] = 9
    with pytest.raises(InputError, match="^model: it fails on inputs of shape .*index out of range"):
        run(short, model=Embedded(), data=(given, torch.arange(60) % 2))


@pytest.mark.parametrize("is_single", [True, False])
def test_token_ids_that_are_bytes_are_said_to_be_pixels(is_single: bool) -> None:
    ids = torch.arange(60, dtype=torch.uint8).reshape(20, 3) % 4
    data = (ids if is_single else {"input": ids}, torch.arange(20) % 4)
    with pytest.raises(
        InputError, match=r"^model: it fails on .*; give token ids as int64 \(uint8 is divided by 255\)$"
    ):
        run(Config(topology={"nodes": 2}, partition="iid"), model=torch.nn.Embedding(4, 4), data=data)
