"""``ngpd-fl evaluate``: the run's own figures again, figures on other data, and models that are not the run's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ngpd_fl.config import Config
from ngpd_fl.data import load_dataset
from ngpd_fl.models import build_model
from ngpd_fl.records import RunFolder

SHORT = ("--rounds", "2", "--nodes", "4", "--local-steps", "2")
MINE = """
import numpy as np
from sklearn.datasets import load_digits

def few():
    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.float32) / 16, digits.target
    return images[:20], labels[:20], images[100:400], labels[100:400]

def three():
    inputs, labels, other, targets = few()
    return inputs, labels % 3, other, targets % 3
"""


@pytest.fixture
def folder(quick: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (here / "sets_of_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(here))
    assert quick("run", "--strategy", "dsgd", *SHORT, "--out", "out", "--quiet").code == 0
    return here / "out"


def judged(cli: Callable[..., Any], *words: str) -> dict[str, Any]:
    """What ``--out`` writes."""
    out = Path("figures.json")
    out.unlink(missing_ok=True)
    said = cli("evaluate", *words, "--out", str(out))
    assert (said.code, said.err) == (0, "")
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


def assert_recorded(figures: dict[str, Any], folder: Path) -> None:
    """Every figure that the run recorded at its end is there again, to the last bit."""
    last = RunFolder.open(folder).metrics()[-1].model_dump()
    shared = figures.keys() & last.keys()
    assert len(shared) == 10
    assert {key: figures[key] for key in shared} == {key: last[key] for key in shared}


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize(
    "words", ["--strategy ngpd --set partition.classes_per_node=3", "--model lenet --set engine.dtype=float64"]
)
def test_a_run_is_judged_as_it_was(split: str, words: str, quick: Callable[..., Any], here: Path) -> None:
    run = ("run", *SHORT, *words.split(), "--set", f"evaluation.split={split}", "--out", "out", "--quiet")
    assert quick(*run).code == 0
    figures = judged(quick, "out", "--split", split)
    assert_recorded(figures, here / "out")
    assert (figures["split"], sum(figures["images"])) == (split, {"test": 355, "validation": 144}[split])


def test_a_comparison_is_judged_as_it_was(quick: Callable[..., Any], here: Path) -> None:
    assert quick("compare", "--strategies", "dsgd,ecl", *SHORT, "--out", "out", "--quiet").code == 0
    for figures in judged(quick, "out")["runs"]:
        assert_recorded(figures, here / "out" / figures["run"])
    said = quick("evaluate", "out")
    assert "judged on the 355 test images of digits" in said.out
    means = [RunFolder.open(here / "out" / name).metrics()[-1].mean_accuracy for name in ("dsgd", "ecl")]
    assert all(f"{100 * mean:.1f} %" in said.out for mean in means)


def test_what_is_printed(cli: Callable[..., Any], folder: Path) -> None:
    last = RunFolder.open(folder).metrics()[-1]
    said = cli("evaluate", "out")
    worst = int(np.argmin(last.accuracy))
    assert f"worst {100 * min(last.accuracy):.1f} % (node {worst})" in said.out
    assert f"averaged model            {100 * last.averaged_model_accuracy:.1f} %" in said.out
    for label, share in enumerate(last.class_accuracy):
        assert share is not None
        row = next(line for line in said.out.splitlines() if line.split()[:1] == [str(label)])
        assert f"{100 * share:.1f} %" in row


def test_other_data(cli: Callable[..., Any], folder: Path) -> None:
    """Against the plain modules with the saved weights; the nodes' own classes are known without training data."""
    figures = judged(cli, "out", "--dataset", "sets_of_mine:few")
    data = load_dataset(Config(data={"dataset": "sets_of_mine:few"}).data, 0)
    module = build_model(Config().model, (1, 8, 8), 10, seed=0, dtype=torch.float32).module
    counts = RunFolder.open(folder).label_counts()
    assert counts is not None
    for name, accuracy in [("average", figures["averaged_model_accuracy"]), ("node2", figures["accuracy"][2])]:
        module.load_state_dict(RunFolder.open(folder).parameters(name))
        right = (module(data.test.inputs).argmax(1) == data.test.labels).numpy()
        assert accuracy == right.mean()
    of_class = np.array([right[data.test.labels.numpy() == label].mean() for label in range(10)])
    assert figures["own_accuracy"][2] == pytest.approx(of_class @ counts[2] / counts[2].sum())
    assert figures["dataset"] == "sets_of_mine:few" and sum(figures["images"]) == 300


def test_records_without_label_counts(cli: Callable[..., Any], folder: Path) -> None:
    """Of an earlier version: the run's own data tell them; where these are gone, nothing is made up."""
    (folder / "label_counts.json").unlink()
    assert_recorded(judged(cli, "out"), folder)
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace('"digits"', '"mnist"\ndata_dir = "nowhere"'))
    figures = judged(cli, "out", "--dataset", "sets_of_mine:few")
    assert (figures["own_accuracy"], figures["mean_own_accuracy"]) == (None, None)
    assert figures["accuracy"][0] > 0
    assert "on classes as their own   mean -" in cli("evaluate", "out", "--dataset", "sets_of_mine:few").out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "out --dataset sets_of_mine:three",
            "models.safetensors: does not fit sets_of_mine:three (images (1, 8, 8), 3",
        ),
        ("out --dataset mnist", "data.data_dir: mnist needs the folder that holds it (--data-dir)"),
        ("out --split train", "Invalid value for '--split': 'train' is not one of 'test', 'validation'"),
        ("out --device gpu", "engine.device: input should be 'auto', 'cpu' or 'cuda' (got 'gpu')"),
        ("out --out out/config.toml", "out: out/config.toml is there already; nothing is overwritten"),
        ("out --out out/config.toml/x", "out: out/config.toml/x cannot be written (File exists)"),
        ("nowhere", "nowhere: cannot be read (No such file or directory)"),
    ],
)
def test_bad_input(words: str, error: str, cli: Callable[..., Any], folder: Path) -> None:
    said = cli("evaluate", *words.split())
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert error in said.err
    assert not (folder / "x").exists() and (folder / "config.toml").is_file()


def damage(folder: Path, kind: str) -> None:
    path = folder / "models.safetensors"
    tensors = load_file(path)
    match kind:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-100])
        case "bits":
            data = bytearray(path.read_bytes())
            data[-5000:-4000] = b"\x3f" * 1000
            path.write_bytes(data)
        case "names":
            save_file({name.removeprefix("node0/"): value for name, value in tensors.items()}, path)
        case "nodes":
            save_file({name: value for name, value in tensors.items() if not name.startswith("node3/")}, path)
        case "shape":
            save_file({n: v[:, :9].contiguous() if v.ndim == 2 else v for n, v in tensors.items()}, path)
        case "more":
            save_file(tensors | {"node0/other": torch.zeros(1)}, path)
        case "type":
            save_file({name: value.double() for name, value in tensors.items()}, path)
        case "counts":
            (folder / "label_counts.json").write_text("[[1, 2], [3]]")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", "out: the run has not ended (no models.safetensors)"),
        ("cut", "out/models.safetensors: cannot be read ("),
        ("bits", "out/models.safetensors: is damaged; the averaged model in it is not the mean"),
        ("names", "is not of this run; it should hold the models node0 to node3 and average (it has"),
        ("nodes", "is not of this run; it should hold the models node0 to node3 and average (it has"),
        ("shape", "does not fit digits (images (1, 8, 8), 10 classes): parameter"),
        ("more", "is not of this run; its network has no parameter 'other'"),
        ("type", "is not of this run; it holds torch.float64, the run was in torch.float32"),
        ("counts", "out/label_counts.json: damaged ("),
    ],
)
def test_damaged_and_foreign_models(kind: str, error: str, cli: Callable[..., Any], folder: Path) -> None:
    damage(folder, kind)
    said = cli("evaluate", "out", "--out", "figures.json")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert error in said.err
    assert not Path("figures.json").exists()


def test_of_many_classes_the_worst_are_shown(
    cli: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ngpd_fl.cli.evaluate._SHOWN", 4)
    shares = RunFolder.open(folder).metrics()[-1].class_accuracy
    out = cli("evaluate", "out").out
    assert "the 2 classes that the nodes recognise worst" in out
    rows = [int(line.split()[0]) for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == np.argsort(np.array(shares), kind="stable")[:2].tolist()
