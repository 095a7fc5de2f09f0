"""Networks from the configuration: built-in ones, a user's own, and what is wrong with the latter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.models.lenet import lenet

SHAPE = (1, 8, 8)
WriteModule = Callable[[str], str]


def build(name: str, seed: int = 0, dtype: torch.dtype = torch.float32, **sizes: object) -> FlatModel:
    return build_model(ModelConfig(name=name, **sizes), SHAPE, 10, seed, dtype)


def refusal(name: str, dtype: torch.dtype = torch.float32) -> str:
    with pytest.raises(InputError) as raised:
        build(name, dtype=dtype)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Write a module of the user's into the working folder; return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    monkeypatch.delitem(sys.modules, name, raising=False)

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text("import torch\nfrom torch import nn\n" + text)
        return name

    return write


@pytest.mark.parametrize(
    "name, sizes, num_params",
    [
        ("softmax", {}, 64 * 10 + 10),
        ("mlp", {"hidden": (7, 5)}, 65 * 7 + 8 * 5 + 6 * 10),
        ("mlp", {"hidden": ()}, 65 * 10),
        ("lenet", {"channels": (3, 4), "hidden": (9, 6)}, 26 * 3 + (25 * 3 + 1) * 4 + (16 + 1) * 6 + 7 * 10),
        ("lenet", {"hidden": ()}, 26 * 8 + (25 * 8 + 1) * 16 + (64 + 1) * 64 + 65 * 10),
    ],
)
def test_built_in_networks_have_the_sizes_of_the_configuration(name: str, sizes: dict, num_params: int) -> None:
    model = build(name, **sizes)
    assert model.num_params == num_params
    assert model(model.start(), torch.zeros(3, *SHAPE)).shape == (3, 10)
    assert model.module.training


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 7), (2, 28, 28), (3, 64, 33)])
def test_lenet_fits_images_of_many_sizes(shape: tuple[int, ...]) -> None:
    assert lenet(ModelConfig(channels=(2, 3), hidden=(4,)), shape, 3)(torch.zeros(2, *shape)).shape == (2, 3)


def test_lenet_says_what_size_it_needs() -> None:
    with pytest.raises(InputError, match=r"^model.name: lenet needs images of at least 4x4 \(got 3x9\)$"):
        lenet(ModelConfig(), (1, 3, 9), 3)


@pytest.mark.parametrize("name", ["softmax", "mlp", "lenet"])
def test_the_start_depends_on_the_seed_and_on_nothing_else(name: str) -> None:
    first = build(name, seed=3).start()
    torch.manual_seed(99)
    torch.rand(5)
    assert torch.equal(build(name, seed=3).start(), first)
    assert not torch.equal(build(name, seed=4).start(), first)


@pytest.mark.parametrize("name", ["softmax", "mlp", "lenet"])
def test_the_start_is_the_same_in_every_dtype_up_to_rounding(name: str) -> None:
    double, single = build(name, dtype=torch.float64).start(), build(name).start()
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert torch.equal(double.float(), single)


def test_building_leaves_the_global_random_state_alone(write: WriteModule, monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded(seed: int) -> None:
        raise AssertionError("a CUDA generator was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    bad = write("def make(shape, classes):\n    torch.rand(3)\n    raise ValueError('no')")
    before = torch.get_rng_state()
    build("lenet")
    refusal(f"{bad}:make")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_of_the_users_own(write: WriteModule) -> None:
    mine = write(
        "def make(shape, classes):\n"
        "    assert shape == (1, 8, 8) and classes == 10\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()\n"
    )
    model = build(f"{mine}:make", seed=5)
    assert model.num_params == 650 and model.module.training
    assert torch.equal(build(f"{mine}:make", seed=5).start(), model.start())
    assert torch.equal(build(f"{mine}:make", seed=5, dtype=torch.float64).start().float(), model.start())


def test_a_class_is_a_factory_and_may_come_in_float64(write: WriteModule) -> None:
    mine = write(
        "class Net(nn.Linear):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__(64, classes)\n"
        "        self.double()\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1))\n"
    )
    assert build(f"{mine}:Net").start().dtype == torch.float32


def test_the_trial_runs_in_the_dtype_of_the_run(write: WriteModule) -> None:
    mine = write(
        "class Net(nn.Linear):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__(64, classes)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1).float())\n"
    )
    assert build(f"{mine}:Net").num_params == 650
    assert "fails on inputs" in refusal(f"{mine}:Net", torch.float64)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ("cannot be imported", "make")),
        ("make = ", ("cannot be imported", "SyntaxError")),
        ("import nowhere_to_be_found", ("cannot be imported", "nowhere_to_be_found")),
        ("raise ValueError('two\\nlines')", ("cannot be imported", "ValueError: two")),
        ("make = 3", ("is no network but int", "expected a torch.nn.Module or a factory(")),
        ("def make(shape): pass", ("failed", "TypeError", "input_shape=(1, 8, 8), num_classes=10")),
        ("def make(shape, classes): raise RuntimeError('one\\ntwo')", ("failed", "RuntimeError: one")),
        ("def make(shape, classes): assert not shape", ("failed", "AssertionError")),
        ("def make(shape, classes): return classes", ("returned int", "torch.nn.Module")),
        ("def make(shape, classes): return nn.Linear", ("returned type", "torch.nn.Module")),
    ],
)
def test_what_is_wrong_with_a_network_of_the_users_own(write: WriteModule, text: str, words: tuple[str, ...]) -> None:
    mine = write(text)
    message = refusal(f"{mine}:make")
    assert message.startswith("model.name: ") and f"{mine}:make" in message
    assert all(word in message for word in words), message


def test_a_module_that_does_not_exist() -> None:
    assert "'nowhere.at_all:make' cannot be imported" in refusal("nowhere.at_all:make")
