"""Losses from the configuration: built-in ones, a user's own, and what is wrong with the latter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ngpd_fl.config import Config
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.data import Classification, MultiLabelClassification, Regression, TokenClassification
from ngpd_fl.models import (
    Bernoulli,
    Categorical,
    Gaussian,
    LabelSmoothing,
    PerPosition,
    SquaredError,
    build_likelihood,
)
from ngpd_fl.training.run import run

CLASSES = Classification(3)


def regression(width: int) -> Regression:
    return Regression.of(torch.randn((20, width), generator=torch.Generator().manual_seed(0)))


def own(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """Write a module of the user's into the working folder; return the model that names its ``make``."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"loss_{folder.name.replace('-', '_')}"
    head = "import torch\nfrom ngpd_fl.models import Categorical, Gaussian, Likelihood, SquaredError\n"
    (folder / f"{name}.py").write_text(head + text)
    return ModelConfig(loss=f"{name}:make")


def test_built_in_losses() -> None:
    assert type(build_likelihood(ModelConfig(), CLASSES)) is Categorical
    assert type(build_likelihood(ModelConfig(loss="squared-error"), CLASSES)) is SquaredError
    smooth = build_likelihood(ModelConfig(loss="label-smoothing", smoothing=0.2), CLASSES)
    assert isinstance(smooth, LabelSmoothing) and smooth.amount == 0.2


def test_losses_of_real_valued_targets() -> None:
    for loss in ("auto", "squared-error"):
        assert type(build_likelihood(ModelConfig(loss=loss), regression(3))) is Gaussian
    assert type(build_likelihood(ModelConfig(loss="auto"), CLASSES)) is Categorical


def test_losses_of_positions_and_of_several_labels() -> None:
    for loss, kind in (("auto", Categorical), ("cross-entropy", Categorical), ("label-smoothing", LabelSmoothing)):
        likelihood = build_likelihood(ModelConfig(loss=loss), TokenClassification(3, 7))
        assert isinstance(likelihood, PerPosition) and type(likelihood.of_position) is kind and likelihood.length == 7
    for loss in ("auto", "binary-cross-entropy"):
        assert type(build_likelihood(ModelConfig(loss=loss), MultiLabelClassification(3))) is Bernoulli


@pytest.mark.parametrize(
    ("task", "loss", "words"),
    [
        (
            CLASSES,
            "binary-cross-entropy",
            "binary-cross-entropy is not for classes; allowed: auto, cross-entropy, label",
        ),
        (
            TokenClassification(3, 7),
            "squared-error",
            "squared-error is not for classes at each position; allowed: auto,",
        ),
        (
            MultiLabelClassification(3),
            "cross-entropy",
            "is not for multi-label targets; allowed: auto, binary-cross-en",
        ),
        (regression(3), "label-smoothing", "label-smoothing is not for real-valued targets; allowed: auto, squared-er"),
    ],
)
def test_a_loss_for_other_targets(task: Any, loss: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^model.loss: .*{words}"):
        build_likelihood(ModelConfig(loss=loss), task)


def test_a_loss_of_the_users_own_at_each_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    likelihood = build_likelihood(
        own("make = lambda c: Categorical()", tmp_path, monkeypatch), TokenClassification(4, 2)
    )
    assert isinstance(likelihood, PerPosition) and type(likelihood.of_position) is Categorical


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "return torch.nn.functional.cross_entropy(f, y.clamp(min=0))",
            "must leave targets of -100, padding, out of its",
        ),
        ("return torch.nn.functional.cross_entropy(f, y, ignore_index=-1)", "loss fails on a target of padding"),
    ],
)
def test_a_loss_of_the_users_own_that_counts_padding(
    body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"class make(Categorical):\n    def __init__(self, c): pass\n    def loss(self, f, y): {body}"
    with pytest.raises(InputError, match=words):
        build_likelihood(own(text, tmp_path, monkeypatch), TokenClassification(4, 2))


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize(
    "made, real_valued", [("Gaussian()", False), ("Categorical()", True), ("SquaredError()", True)]
)
def test_a_loss_of_the_users_own_for_the_other_kind_of_targets(
    made: str, real_valued: bool, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own(f"def make(width): return {made}", tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"^model.loss: .*") as raised:
        build_likelihood(config, regression(width) if real_valued else Classification(width))
    assert "\n" not in str(raised.value)


def test_a_loss_of_the_users_own_for_real_valued_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own("def make(width): return Gaussian()", tmp_path, monkeypatch)
    for width in (1, 3):
        assert type(build_likelihood(config, regression(width))) is Gaussian


def test_a_loss_that_is_not_known() -> None:
    with pytest.raises(
        ValidationError, match="'hinge' is not known; allowed: auto, cross-entropy, label-smoothing, squared"
    ):
        ModelConfig(loss="hinge")


@pytest.mark.parametrize("made", ["Categorical()", "SquaredError()"])
def test_a_loss_of_the_users_own(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own(f"def make(classes):\n    assert classes == 7\n    return {made}", tmp_path, monkeypatch)
    assert type(build_likelihood(config, Classification(7))).__name__ == made.removesuffix("()")


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ("cannot be imported", "make")),
        ("def make(): pass", ("(num_outputs=3) failed", "TypeError")),
        ("def make(classes): return torch.nn.CrossEntropyLoss()", ("CrossEntropyLoss", "has no method draw_shape")),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n    def score(self, f, y): return f",
            ("score is not the gradient of loss",),
        ),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n"
            "    def loss(self, f, y): return super().loss(f, y)[None]",
            ("loss returns shape (1,); expected ()",),
        ),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n    def draw_shape(self, c): return (c, 2)",
            ("sampled_score",),
        ),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n    def fisher_root(self, f): return f.log()",
            ("fisher_root returns shape (2, 3)", "nan"),
        ),
        (
            "class make:\n    def __init__(self, c): pass\n"
            "    draw_shape = loss = score = sampled_score = fisher_root = lambda *_: None",
            ("returned make, which has no method soften",),
        ),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n    soften = Likelihood.soften",
            ("soften fails on outputs",),
        ),
        (
            "class make(Categorical):\n    def __init__(self, c): pass\n"
            "    def divergence(self, f, g, y): return 3 * super().divergence(f, g, y)",
            ("divergence of nearby outputs is not",),
        ),
        (
            "class make(Categorical):\n    __init__ = lambda *_: None\n    def loss(_, f, y): return float(f[0, 0])",
            ("loss fails on outputs (2, 3)", "torch.func.vmap"),
        ),
    ],
)
def test_what_is_wrong_with_a_loss_of_the_users_own(
    text: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as raised:
        build_likelihood(own(text, tmp_path, monkeypatch), CLASSES)
    message = str(raised.value)
    assert message.startswith("model.loss: ") and "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("loss", ["label-smoothing", "squared-error"])
@pytest.mark.parametrize("strategy", ["ngpd", "dsgd"])
def test_nodes_learn_with_it(loss: str, strategy: str) -> None:
    """The feed draws as many numbers as the likelihood wants."""
    result = run(
        Config(
            strategy=strategy,
            partition="iid",
            topology={"name": "ring", "nodes": 3},
            engine={"threads": 1},
            model={"name": "softmax", "loss": loss},
            training={"rounds": 4},
        )
    )
    assert result.metrics[-1].mean_accuracy > 0.6
