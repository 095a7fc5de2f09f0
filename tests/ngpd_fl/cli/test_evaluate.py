"""``ngpd-fl evaluate``: the run's own figures again, figures on other data, and models that are not the run's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score, root_mean_squared_error

from ngpd_fl.config import Config
from ngpd_fl.data import load_dataset
from ngpd_fl.models import build_model
from ngpd_fl.records import Accuracies, Errors, RunFolder
from ngpd_fl.training.run import run

SHORT = ("--rounds", "1", "--nodes", "3", "--local-steps", "2")
MINE = """
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

def few():
    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.float32) / 16, digits.target
    return images[:20], labels[:20], images[100:400], labels[100:400]

def three():
    inputs, labels, other, targets = few()
    return inputs, labels % 3, other, targets % 3

def patients():
    inputs, targets = load_diabetes(scaled=False, return_X_y=True)
    return 2 * inputs[:50], 5 * targets[:50], inputs[100:200], targets[100:200]

def shorter():
    inputs, targets, others, goals = patients()
    return inputs[:, :9], targets, others[:, :9], goals

def in_pairs():
    inputs, targets, others, goals = patients()
    return inputs, np.stack([targets, targets], axis=1), others, np.stack([goals, goals], axis=1)
"""
TRAINING = {"rounds": 2, "local_steps": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each task, to be copied."""
    place = tmp_path_factory.mktemp("runs")
    run(Config(strategy="dsgd", topology={"nodes": 4}, training=TRAINING), place / "digits")
    values = {"data": {"dataset": "diabetes"}, "model": "softmax"}
    run(Config(strategy="ecl", topology={"nodes": 4}, training=TRAINING, **values), place / "diabetes")
    return place


@pytest.fixture
def sets_of_mine(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sets_of_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(here))


@pytest.fixture
def folder(here: Path, runs: Path, sets_of_mine: None) -> Path:
    """That of a run on classes."""
    return Path(shutil.copytree(runs / "digits", here / "out"))


@pytest.fixture
def errors(here: Path, runs: Path, sets_of_mine: None) -> Path:
    """That of a run on real-valued targets."""
    return Path(shutil.copytree(runs / "diabetes", here / "out"))


def last_of(folder: Path) -> Any:
    return RunFolder.open(folder).metrics()[-1]


def evaluated(cli: Callable[..., Any], *words: str) -> dict[str, Any]:
    """What ``--out`` writes."""
    out = Path("figures.json")
    out.unlink(missing_ok=True)
    said = cli("evaluate", *words, "--out", str(out))
    assert (said.code, said.err) == (0, "")
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


def assert_recorded(figures: dict[str, Any], folder: Path) -> None:
    """Every figure that the run recorded at its end is there again, to the last bit."""
    of_training = {"round", "node_steps", "train_seconds", "virtual_seconds", "joules", "bytes_sent"}
    of_training |= {"train_loss", "trust_shrink"}
    last = last_of(folder).model_dump(exclude=of_training)
    assert {key: figures[key] for key in last} == last


@pytest.mark.parametrize(
    ("words", "split", "examples", "count"),
    [
        ("--strategy ngpd --set partition.classes_per_node=3", "test", "images", 355),
        ("--model lenet --set engine.dtype=float64", "validation", "images", 144),
        ("--dataset diabetes --model softmax --set partition.classes_per_node=3", "test", "examples", 88),
        ("--dataset diabetes --set engine.dtype=float64", "validation", "examples", 35),
    ],
)
def test_a_run_is_judged_as_it_was(
    words: str, split: str, examples: str, count: int, quick: Callable[..., Any], here: Path
) -> None:
    run = ("run", *SHORT, *words.split(), "--set", f"evaluation.split={split}", "--out", "out", "--quiet")
    assert quick(*run).code == 0
    figures = evaluated(quick, "out", "--split", split)
    assert_recorded(figures, here / "out")
    assert (figures["split"], sum(figures[examples])) == (split, count)


def test_a_comparison_is_judged_as_it_was(quick: Callable[..., Any], here: Path) -> None:
    assert quick("compare", "--strategies", "dsgd,ecl", *SHORT, "--out", "out", "--quiet").code == 0
    for figures in evaluated(quick, "out")["runs"]:
        assert_recorded(figures, here / "out" / figures["run"])
    said = quick("evaluate", "out")
    assert "evaluated on the 355 test images of digits (accuracy)" in said.out
    means = [last_of(here / "out" / name).mean_accuracy for name in ("dsgd", "ecl")]
    assert all(f"{100 * mean:.1f} %" in said.out for mean in means)


def test_of_several_runs_the_least_error_is_the_best(cli: Callable[..., Any], errors: Path, here: Path) -> None:
    """The second run's models are all 0: each node predicts the mean of the training targets."""
    shutil.copytree(errors, here / "both" / "a-zero")
    shutil.copytree(errors, here / "both" / "trained")
    path = here / "both" / "a-zero" / "models.safetensors"
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)
    last, data = last_of(errors), load_dataset(Config(data={"dataset": "diabetes"}).data, 0)
    std = load_diabetes(scaled=False).target[np.arange(442) % 5 != 4].std()
    zero = std * float(data.test.labels.square().mean().sqrt())
    said = cli("evaluate", "both")
    assert last.mean_rmse < zero and "evaluated on the 88 test examples of diabetes (RMSE)" in said.out
    rows = [line.split() for line in said.out.splitlines() if line.startswith(("trained", "a-zero"))]
    means = [f"{value:.2f}" for value in (last.mean_rmse, last.max_rmse, last.min_rmse, last.mean_own_rmse)]
    assert rows[0][:5] == ["trained", *means]
    assert rows[1][:4] == ["a-zero", *[f"{zero:.2f}"] * 3]


def test_what_is_printed(cli: Callable[..., Any], folder: Path) -> None:
    last = last_of(folder)
    assert isinstance(last, Accuracies)
    said = cli("evaluate", "out")
    worst = int(np.argmin(last.accuracy))
    assert f"worst {100 * min(last.accuracy):.1f} % (node {worst})" in said.out
    assert f"averaged model          {100 * last.averaged_model_accuracy:.1f} %" in said.out
    for label, share in enumerate(last.class_accuracy):
        assert share is not None
        row = next(line for line in said.out.splitlines() if line.split()[:1] == [str(label)])
        assert f"{100 * share:.1f} %" in row


def test_what_is_printed_in_regression(cli: Callable[..., Any], errors: Path) -> None:
    last = last_of(errors)
    assert isinstance(last, Errors)
    out = cli("evaluate", "out").out
    worst, best = int(np.argmax(last.nodes)), int(np.argmin(last.nodes))
    assert f"evaluated on         the 88 test examples of diabetes, {len(last.bin_rmse)} bins" in out
    assert (
        f"RMSE of the nodes    mean {last.mean:.2f}, worst {last.worst:.2f} (node {worst}), "
        f"best {last.best:.2f} (node {best})"
    ) in out
    assert f"on their own bins    mean {last.mean_own:.2f}" in out
    assert f"R2                   mean {last.mean_r2:.3f}, averaged model {last.averaged_model_r2:.3f}" in out
    assert "bin by bin" in out and not any(word in out for word in ("accuracy", "class by class", "images", "%"))
    for label, (nodes, averaged) in enumerate(zip(last.bin_rmse, last.averaged_model_bin_rmse, strict=True)):
        row = next(line.split() for line in out.splitlines() if line.split()[:1] == [str(label)])
        assert row[2:] == [f"{nodes:#.4g}", f"{averaged:#.4g}"]


def test_other_data(cli: Callable[..., Any], folder: Path) -> None:
    """Against the plain modules with the saved weights; the nodes' own classes are known without training data."""
    figures = evaluated(cli, "out", "--dataset", "sets_of_mine:few")
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


def test_other_data_in_the_scale_of_the_run(cli: Callable[..., Any], errors: Path) -> None:
    """By the plain modules and scikit-learn: inputs and targets are scaled as in training, not by the other set.

    The nodes' own bins are those of the run's training targets.
    """
    figures = evaluated(cli, "out", "--dataset", "sets_of_mine:patients")
    inputs, targets = load_diabetes(scaled=False, return_X_y=True)
    train, evaluated_on = np.arange(442) % 5 != 4, slice(100, 200)
    scaled = (inputs[evaluated_on] - inputs[train].mean(0)) / inputs[train].std(0)
    module = build_model(Config(model="softmax").model, (10,), 1, seed=0, dtype=torch.float32).module
    found = {}
    for name in ("average", "node2"):
        module.load_state_dict(RunFolder.open(errors).parameters(name))
        output = module(torch.from_numpy(scaled).float()).detach().numpy()[:, 0]
        found[name] = output * targets[train].std() + targets[train].mean()
    assert figures["averaged_model_rmse"] == pytest.approx(
        root_mean_squared_error(targets[evaluated_on], found["average"]), rel=1e-5
    )
    assert figures["averaged_model_r2"] == pytest.approx(r2_score(targets[evaluated_on], found["average"]), rel=1e-4)
    assert figures["rmse"][2] == pytest.approx(root_mean_squared_error(targets[evaluated_on], found["node2"]), rel=1e-5)
    edges = np.quantile(targets[train], np.arange(1, 10) / 10, method="inverted_cdf")
    bins = np.searchsorted(edges, targets[evaluated_on])
    assert figures["examples"] == np.bincount(bins, minlength=10).tolist()
    counts = RunFolder.open(errors).label_counts()
    assert counts is not None
    squared = (found["node2"] - targets[evaluated_on]) ** 2
    of_bin = np.array([squared[bins == each].mean() for each in range(10)])
    assert figures["own_rmse"][2] == pytest.approx(np.sqrt(of_bin @ counts[2] / counts[2].sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("dataset", "error"),
    [
        ("digits", "--dataset digits: is measured by accuracy, the models in out by RMSE"),
        ("sets_of_mine:shorter", "data.dataset: sets_of_mine:shorter has inputs of shape (9,), but diabetes, on which"),
        ("sets_of_mine:in_pairs", "data.dataset: sets_of_mine:in_pairs has labels of shape (2,), but diabetes, on whi"),
    ],
)
def test_other_data_that_do_not_fit(dataset: str, error: str, cli: Callable[..., Any], errors: Path) -> None:
    said = cli("evaluate", "out", "--dataset", dataset)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert error in said.err


def test_other_data_for_a_run_without_evaluations(cli: Callable[..., Any], errors: Path) -> None:
    """Cut off so early, it does not tell in what scale its models are."""
    (errors / "metrics.jsonl").unlink()
    said = cli("evaluate", "out", "--dataset", "sets_of_mine:patients")
    assert said.code == 2 and "--dataset sets_of_mine:patients: out ended before its first evaluation" in said.err
    assert cli("evaluate", "out").code == 0


@pytest.mark.parametrize("kind", ["folder", "errors"])
def test_own_data_tell_what_each_node_has(kind: str, cli: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    """In records of an earlier version, which have no label counts."""
    folder = request.getfixturevalue(kind)
    (folder / "label_counts.json").unlink()
    assert_recorded(evaluated(cli, "out"), folder)


def test_records_without_label_counts_or_data(cli: Callable[..., Any], folder: Path) -> None:
    """Where the run's own data are gone as well, nothing is made up."""
    (folder / "label_counts.json").unlink()
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace('"digits"', '"mnist"\ndata_dir = "nowhere"'))
    figures = evaluated(cli, "out", "--dataset", "sets_of_mine:few")
    assert (figures["own_accuracy"], figures["mean_own_accuracy"]) == (None, None)
    assert figures["accuracy"][0] > 0
    assert "on their own classes    mean -" in cli("evaluate", "out", "--dataset", "sets_of_mine:few").out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "out --dataset sets_of_mine:three",
            "models.safetensors: does not fit sets_of_mine:three (inputs (1, 8, 8), 3",
        ),
        (
            "out --dataset diabetes",
            "--dataset diabetes: is measured by RMSE, the models in out by accuracy",
        ),
        ("out --dataset mnist", "data.data_dir: mnist needs the folder that holds it (--data-dir)"),
        ("out --split tset", "--split: 'tset' is not known; did you mean 'test'? allowed: test, validation"),
        ("out --device gpu", "engine.device: 'gpu' is not known; allowed: auto, cpu, cuda, cuda:N, or several"),
        ("out --out out/config.toml", "out: out/config.toml is there already; nothing is overwritten"),
        ("out --out out/config.toml/x", "out: out/config.toml is not a folder; make it first, or name another file"),
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
        ("cut", "out/models.safetensors: cannot be read as a .safetensors file ("),
        ("bits", "out/models.safetensors: is damaged; the averaged model in it is not the mean"),
        ("names", "is not of this run; it should hold the models node0 to node3 and average (it has"),
        ("nodes", "is not of this run; it should hold the models node0 to node3 and average (it has"),
        ("shape", "does not fit digits (inputs (1, 8, 8), 10 outputs): parameter"),
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


@pytest.mark.parametrize("widths", ["[1000000000, 1000000000]", "[100000000000, 100000000000]"])
def test_a_network_that_is_far_larger_than_the_saved_models_is_not_made(
    widths: str, cli: Callable[..., Any], folder: Path
) -> None:
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(re.sub(r"hidden = \[[^]]*\]", f"hidden = {widths}", text))
    said = cli("evaluate", "out")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    words = r"does not fit digits \(.*\): its models have \d+ parameters, the network of the run (1e\+18|inf)$"
    assert re.search(words, said.err)


def test_of_many_classes_the_worst_are_shown(
    cli: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ngpd_fl.cli.evaluate._SHOWN", 4)
    shares = last_of(folder).class_accuracy
    out = cli("evaluate", "out").out
    assert "the 2 classes on which the nodes are worst" in out
    rows = [int(line.split()[0]) for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == np.argsort(np.array(shares), kind="stable")[:2].tolist()
