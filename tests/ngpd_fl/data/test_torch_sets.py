"""Items of a torch ``Dataset`` with several inputs, and items that are no input and label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from ngpd_fl import Config, InputError, run

IDS, SIZES = torch.arange(60).reshape(20, 3) % 7, torch.arange(40.0).reshape(20, 2)
LABELS = torch.arange(20) % 2
SHORT = Config(strategy="dsgd", topology={"nodes": 2}, partition="iid", training={"rounds": 1})


class Items(Dataset[Any]):
    """A set whose items a function makes of their number."""

    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


class TwoInputs(nn.Module):
    """A network of token ids and sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(7, 4), nn.Linear(6, 2)

    def forward(self, ids: Tensor, sizes: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.cat([self.table(ids).mean(1), sizes], 1))
        return outputs


@pytest.mark.parametrize(
    ("item", "whole"),
    [
        (lambda i: ({"ids": IDS[i].numpy(), "sizes": SIZES[i]}, int(LABELS[i])), {"ids": IDS, "sizes": SIZES}),
        (lambda i: {"x": {"ids": IDS[i], "sizes": SIZES[i]}, "y": LABELS[i]}, {"ids": IDS, "sizes": SIZES}),
        (lambda i: ((IDS[i], SIZES[i].tolist()), LABELS[i]), (IDS, SIZES)),
    ],
    ids=["by name", "in a dictionary", "by position"],
)
def test_items_with_several_inputs_are_as_whole_arrays(item: Callable[[int], Any], whole: Any) -> None:
    model = TwoInputs()
    found, expected = (run(SHORT, model=model, data=data).params for data in (Items(item), (whole, LABELS)))
    assert torch.equal(found, expected)


def test_a_tuple_of_numbers_is_one_input() -> None:
    given = Items(lambda i: (tuple(SIZES[i].tolist()), int(LABELS[i])))
    model = nn.Linear(2, 2)
    expected = run(SHORT, model=model, data=(SIZES, LABELS)).params
    assert torch.equal(run(SHORT, model=model, data=given).params, expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Items(lambda i: (SIZES[i], IDS[i], 0)), r"example 0 .*it has 3 parts; expected \(input, label\); several inp"),
        (Items(lambda i: SIZES[i]), r"example 0 .*it has the type Tensor; expected \(input, label\); several inputs: "),
        (Items(lambda i: ({"a": {}}, 0)), "example 0 .*an input is a dict of object; expected numbers or a picture"),
        (
            Items(lambda i: ({"a" if i < 9 else "b": SIZES[i]}, 0)),
            r"train_inputs\[9\] has \['b'\], but the first has \['a'\]; all should be alike",
        ),
        (
            Items(lambda i: ({"a": SIZES[i, : 1 + (i < 9)]}, 0)),
            r"train_inputs\['a'\]\[9\] is \(1,\) float32, but the first is \(2,\) float32",
        ),
        (Items(lambda i: ({}, 0)), r"train_inputs are a tuple of \[\]; expected arrays"),
        (TensorDataset(SIZES, IDS, LABELS), "train has 3 tensors; expected inputs and labels; several inputs: give a "),
    ],
)
def test_items_that_are_no_input_and_label(data: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"^data.dataset: object:{type(data).__name__}: {words}") as raised:
        run(SHORT, data=data)
    assert "\n" not in str(raised.value)
