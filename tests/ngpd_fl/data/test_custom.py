"""A data set of the user's own, and what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ngpd_fl.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import DATASETS, DataConfig
from ngpd_fl.data import Dataset, load_dataset
from ngpd_fl.data.load import _say_that_inputs_merge
from ngpd_fl.training import compose

WriteModule = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Write a module of the user's into the working folder; return the path of its ``make``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    monkeypatch.delitem(sys.modules, name, raising=False)

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text("import numpy as np\nimport torch\n" + text)
        return f"{name}:make"

    return write


def returning(expression: str) -> str:
    return f"def make():\n    return {expression}\n"


def load(path: str, fraction: float = 0.0) -> Dataset:
    return load_dataset(DataConfig(dataset=path, validation_fraction=fraction), seed=0)


def test_every_name_has_a_reader() -> None:
    assert all(callable(resolve_name(reader)) for reader in DATASETS.values())


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="'x' is not known; allowed: digits, .* or package.module:factory"):
        DataConfig(dataset="x")


@pytest.mark.parametrize("kind", ["float64", ">f4", "float16", "torch"])
def test_floating_point_inputs_are_taken_as_they_are(write: WriteModule, kind: str) -> None:
    values = "np.linspace(-3, 3, 5 * 2 * 3 * 4).reshape(5, 2, 3, 4)"
    train = f"torch.from_numpy({values}).requires_grad_()" if kind == "torch" else f"{values}.astype('{kind}')[::-1]"
    data = load(write(returning(f"{train}, np.arange(5)[::-1], {train}, np.array([0, 1, 2, 6, 4], np.uint16)")))
    expected = torch.linspace(-3, 3, 120, dtype=torch.float64).view(5, 2, 3, 4)
    if kind != "torch":
        expected = expected.flip(0)
    assert data.train.inputs.dtype == torch.float32 and not data.train.inputs.requires_grad
    tolerance = 2e-3 if kind == "float16" else 1e-6
    torch.testing.assert_close(data.train.inputs, expected.float(), rtol=tolerance, atol=tolerance)
    assert data.train.labels.tolist() == [4, 3, 2, 1, 0] and data.test.labels.tolist() == [0, 1, 2, 6, 4]
    assert data.task.num_outputs == 7 and data.train.labels.dtype == torch.int64


def test_bytes_are_scaled_to_0_to_1(write: WriteModule) -> None:
    pixels = "np.array([[[[0, 51]]], [[[255, 102]]]], dtype=np.uint8)"
    data = load(write(returning(f"[{pixels}, torch.tensor([0, 1]), torch.from_numpy({pixels}), np.array([1, 1])]")))
    torch.testing.assert_close(data.train.inputs.flatten(), torch.tensor([0, 0.2, 1, 0.4]))
    assert torch.equal(data.test.inputs, data.train.inputs)


def test_inputs_need_not_be_images(write: WriteModule) -> None:
    data = load(write(returning("np.eye(20), np.arange(20) % 2, np.eye(20)[:3], np.arange(3) % 2")), fraction=0.1)
    assert data.train.inputs.shape == (18, 20) and data.validation.inputs.shape == (2, 20)
    assert data.name.endswith(":make") and (data.train.inputs.sum(1) == 1).all()


def test_what_the_factory_returned_is_not_changed(write: WriteModule) -> None:
    path = write("X = torch.ones(4, 1, 2, 2)\ndef make():\n    return X, np.arange(4), X, np.arange(4)\n")
    load(path).train.inputs.zero_()
    assert (load(path).train.inputs == 1).all()


def test_it_needs_no_folder_in_a_whole_configuration() -> None:
    assert Config(data={"dataset": "package.module:factory"}).data.dataset == "package.module:factory"


OK = "np.zeros((3, 1, 2, 2)), np.arange(3)"


STAMPS = "1_700_000_000.0 + np.arange(300.0)[:, None]"


def test_inputs_keep_their_digits_in_a_run_in_float64(write: WriteModule) -> None:
    data = load_dataset(
        DataConfig(dataset=write(returning(f"{STAMPS}, np.arange(300) % 3, {STAMPS}, np.arange(300) % 3"))),
        seed=0,
        dtype=torch.float64,
    )
    assert data.train.inputs.dtype == torch.float64
    assert data.test.inputs[:, 0].tolist() == [1_700_000_000 + number for number in range(300)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_standardized_before_they_are_rounded(write: WriteModule, dtype: torch.dtype) -> None:
    path = write(returning(f"{STAMPS}, np.arange(300) / 7, {STAMPS}, np.arange(300) / 7"))
    data = load_dataset(DataConfig(dataset=path, validation_fraction=0), seed=0, dtype=dtype)
    numbers, eps = np.arange(300.0), torch.finfo(dtype).eps
    for found in (data.train.inputs, data.train.labels):
        assert found.dtype == dtype and len(found.unique()) == 300
        np.testing.assert_allclose(found[:, 0], (numbers - numbers.mean()) / numbers.std(), rtol=4 * eps, atol=4 * eps)


def test_inputs_that_merge_when_they_are_rounded_are_told_of(
    write: WriteModule, caplog: pytest.LogCaptureFixture
) -> None:
    _say_that_inputs_merge.cache_clear()
    fine = "np.linspace(-1, 1, 300)[:, None] * np.ones((1, 2)) + np.array([0.1, 1000])"
    load(write(returning(f"{fine}, np.arange(300) % 3, {fine}, np.arange(300) % 3")))
    assert not caplog.text
    load(write_again(write, f"{STAMPS}, np.arange(300) % 3, {STAMPS}[:1], np.arange(1)"))
    assert caplog.text.count("vary too little, for how large they are, to be told apart in float32; subtract") == 1


def write_again(write: WriteModule, expression: str) -> str:
    path = write(returning(expression))
    sys.modules.pop(path.partition(":")[0], None)
    return path


def test_values_too_large_for_the_type_are_refused(write: WriteModule) -> None:
    path = write(returning("np.full((4, 2), 1e300), np.arange(4), np.full((4, 2), 1e300), np.arange(4)"))
    with pytest.raises(InputError, match=r"inputs have values that are too large for float32$"):
        load(path)
    assert (
        load_dataset(DataConfig(dataset=path, validation_fraction=0), 0, dtype=torch.float64).train.inputs.max()
        == 1e300
    )


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint64"])
def test_labels_of_any_integer_type_are_classes(write: WriteModule, kind: str) -> None:
    labels = f"np.arange(250, dtype='{kind}')" if kind == "uint8" else f"np.arange(250).astype('{kind}')"
    data = load(write(returning(f"np.zeros((250, 2)), {labels}, np.zeros((250, 2)), {labels}")))
    assert data.task.num_outputs == 250 and data.train.labels.tolist() == list(range(250))


def test_token_ids_reach_a_network_that_is_tried_on_them(write: WriteModule) -> None:
    path = write(
        "from torch import nn\n"
        "def make():\n"
        "    ids = np.arange(120.0).reshape(40, 3) % 7\n"
        "    return ids, np.arange(40) % 4, ids, np.arange(40) % 4\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__()\n"
        "        self.table, self.last = nn.Embedding(7, 2), nn.Linear(6, classes)\n"
        "    def forward(self, ids):\n"
        "        return self.last(self.table(ids.long()).flatten(1))\n"
    )
    config = Config(
        data={"dataset": path},
        model=path.replace(":make", ":Net"),
        strategy="dsgd",
        topology={"name": "path", "nodes": 2},
    )
    assert compose(config).model.num_params == 7 * 2 + 6 * 4 + 4


def test_labels_that_never_occur_are_named(write: WriteModule, caplog: pytest.LogCaptureFixture) -> None:
    data = load(write(returning("np.zeros((4, 2)), np.array([1, 2, 3, 5]), np.zeros((2, 2)), np.array([6, 9])")))
    assert data.task.num_outputs == 10
    assert (
        "the largest label is 9, but 0, 4, 7 to 8 never occur; the network gets outputs for all of them. np.unique("
        in caplog.text
    )
    assert "np.unique(labels, return_inverse=True)[1] numbers the classes" in caplog.text


def test_whole_floating_point_labels_are_told_to_be_targets(
    write: WriteModule, caplog: pytest.LogCaptureFixture
) -> None:
    data = load(write(returning("np.eye(4), np.arange(4.0), np.eye(4), np.arange(4.0)")))
    assert data.task.num_outputs == 1 and "for classes give integers" in caplog.text


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "cannot be imported (AttributeError: "),
        ("make = ", "cannot be imported (SyntaxError: "),
        (
            "make = 3",
            "gives int; expected (inputs, labels), (train_inputs, train_labels, test_inputs, test_labels), a torch",
        ),
        ("def make(): raise OSError('one\\ntwo')", "failed (OSError: one)"),
        (returning("None"), "gives NoneType; expected (inputs, labels), (train_inputs, "),
        (returning(f"{OK}, 3"), "gives 3 values; expected (inputs, labels), "),
        (returning(f"{OK}, [[0.5]], np.arange(1)"), "test_inputs are a list; expected a tensor or a NumPy array"),
        (returning(f"np.zeros((3, 2), bool), np.arange(3), {OK}"), "train_inputs are bool; expected a floating-point"),
        (returning(f"np.arange(-1, 3)[:, None], np.arange(4), {OK}"), "train_inputs go down to -1; expected token ids"),
        (
            returning(f"np.zeros((3, 1, 2, 2), int), np.arange(3), {OK}"),
            "train_inputs are int64 of shape (1, 2, 2) but",
        ),
        (
            returning(f"np.full((3, 2), 2**63, 'uint64'), np.arange(3), {OK}"),
            "train_inputs go up to 9223372036854775808",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), -np.eye(3, dtype=int), {OK}"),
            "train_labels go down to -1; expected classes 0 to C - 1",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), np.full((3, 2), -100), {OK}"),
            "train_labels[0] is all padding (-100); leave it out",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), np.zeros((3, 2), bool), {OK}"),
            "train_labels are 2 answers each but test_labels",
        ),
        (
            returning("np.zeros((10, 2)), np.arange(10)[:, None] % 2"),
            "train_labels have shape (8, 1); expected one integer per example: labels.squeeze(1)",
        ),
        (returning(f"np.full((3, 2), 'a'), np.arange(3), {OK}"), "train_inputs are <U1; expected numbers"),
        (returning(f"np.zeros(3), np.arange(3), {OK}"), "train_inputs have shape (3,); expected (examples, ...)"),
        (returning(f"{OK}, np.zeros((0, 1, 2, 2)), np.arange(0)"), "test_inputs have shape (0, 1, 2, 2); expected"),
        (returning(f"np.full((3, 1, 2, 2), np.nan), np.arange(3), {OK}"), "train_inputs have values that are infinite"),
        (
            returning(f"np.array([[1.0], [np.inf], [2.0]]), np.arange(3), {OK}"),
            "or not a number, in 1 of 3 examples, first in train_inputs[1]; fill them in or leave",
        ),
        (returning(f"np.zeros((3, 2)) > 1, np.arange(3), {OK}"), "train_inputs are bool; expected a floating-point"),
        (returning(f"np.ma.masked_less(np.eye(3), 1), np.arange(3), {OK}"), "train_inputs are masked in part; fill"),
        (
            returning(f"torch.eye(3).to_sparse(), np.arange(3), {OK}"),
            "train_inputs are sparse; give them as to_dense()",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), np.array([0, 1, 1_000_000]), {OK}"),
            "the largest label is 1000000, but 3 to 999999 never occur; expected classes 0 to C - 1: np.unique(",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), np.array([2**64 - 1] * 3, np.uint64), {OK}"),
            "train_labels go up to 18446744073709551615; expected classes from 0: np.unique(",
        ),
        (
            returning(f"np.zeros((3, 1, 2, 2)), np.array(list('abc')), {OK}"),
            "train_labels are <U1; expected numbers: cla",
        ),
        (returning(f"np.zeros((3, 1, 2, 2)), np.arange(4), {OK}"), "3 train_inputs but 4 train_labels"),
        (
            returning(f"{OK}, np.zeros((3, 1, 2, 2)), np.arange(3.0)"),
            "train_labels are classes but test_labels real-valued targets, 1 each,",
        ),
        (
            returning(f"{OK}, np.zeros((3, 1, 2, 2)), np.arange(3) > 1"),
            "test_labels are bool; expected integers (classes)",
        ),
        (
            returning(f"{OK}, np.zeros((3, 1, 2, 2)), np.eye(3, dtype=int)"),
            "train_labels are classes but test_labels classes at 3 positions",
        ),
        (returning(f"{OK}, np.zeros((3, 1, 2, 2)), np.arange(3) - 1"), "test_labels go down to -1; expected classes"),
        (returning(f"{OK}, np.zeros((3, 2)), np.arange(3)"), "float64 of shape (1, 2, 2) but test_inputs float64 of"),
        (returning(f"{OK}, np.zeros((3, 1, 2, 2), np.uint8), np.arange(3)"), "but test_inputs uint8 of shape"),
    ],
)
def test_what_is_wrong_with_it(write: WriteModule, text: str, words: str) -> None:
    path = write(text)
    with pytest.raises(InputError) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith("data.dataset: ") and path in message and "\n" not in message
    assert words in message


@pytest.mark.parametrize("key, value", [("crop", 1), ("flip", True), ("rotation", 90.0)])
def test_what_can_be_done_to_images_only(write: WriteModule, key: str, value: object) -> None:
    path = write(returning("np.eye(9), np.arange(9), np.eye(9), np.arange(9)"))
    with pytest.raises(InputError, match=rf"^data.{key}: needs images \[C, H, W\]; .*make have shape \(9,\)$"):
        load_dataset(DataConfig(dataset=path, **{key: value}), seed=0)
