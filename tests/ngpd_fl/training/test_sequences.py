"""Runs on token ids with a class at each position, and on several labels: records, files, engines, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, hamming_loss
from torch.nn import functional as F

from ngpd_fl import Config, RunFolder, run
from ngpd_fl.cli.app import main
from ngpd_fl.config import InputError
from ngpd_fl.data import export_nodes, load_dataset
from ngpd_fl.records import MultiLabelAccuracies, TokenAccuracies
from ngpd_fl.training import compose
from ngpd_fl.training.job import loss_of
from ngpd_fl.training.trackers import TensorBoard
from strategies import Phase
from tests.support.pretend_device import PretendDevice, to_host
from tests.support.sequences import LENGTH, TOKENS, answers, sequences

HERE = "tests.support.sequences"


def config(strategy: str | dict[str, Any] = "dsgd", **sections: Any) -> Config:
    usual: dict[str, Any] = {
        "strategy": strategy,
        "data": {"dataset": f"{HERE}:sequences", "batch_size": 8},
        "model": {"name": f"{HERE}:counter"},
        "partition": "iid",
        "topology": {"name": "ring", "nodes": 4},
        "training": {"rounds": 3, "local_steps": 2},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**{**usual, **sections})


ANSWERS: dict[str, Any] = {"data": {"dataset": f"{HERE}:answers", "batch_size": 8}, "model": "softmax"}


def test_token_ids_stay_integers() -> None:
    job = compose(config())
    assert job.minibatches.split.inputs.dtype == torch.int64  # type: ignore[union-attr]
    given = sequences()
    rows = {tuple(row) for row in given[0].tolist()}
    assert {tuple(row) for row in job.dataset.train.inputs.tolist()} <= rows
    assert torch.equal(job.dataset.test.inputs, given[2].long()) and torch.equal(job.dataset.test.labels, given[3])


@pytest.mark.parametrize("strategy", ["dsgd", "ngpd"])
def test_accuracy_and_perplexity_are_those_of_the_tokens(strategy: str) -> None:
    result = run(config(strategy, training={"rounds": 20, "local_steps": 4}))
    last, job = result.metrics[-1], compose(config(strategy))
    assert isinstance(last, TokenAccuracies)
    inputs, targets = sequences()[2].long(), sequences()[3]
    for params, accuracy, perplexity in (
        *zip(result.params, last.accuracy, last.perplexity, strict=True),
        (result.params.mean(0), last.averaged_model_accuracy, last.averaged_model_perplexity),
    ):
        right, total, loss = 0, 0, 0.0
        for row, wanted in zip(job.model(params, inputs).detach(), targets, strict=True):
            for output, target in zip(row, wanted.tolist(), strict=True):
                if target != -100:
                    right, total = right + (int(output.argmax()) == target), total + 1
                    loss -= float(output[target] - output.logsumexp(0))
        assert accuracy == pytest.approx(right / total) and perplexity == pytest.approx(math.exp(loss / total))
    assert last.mean_perplexity == pytest.approx(np.mean(last.perplexity))  # type: ignore[arg-type]
    assert last.mean > 0.6 and last.mean_perplexity < result.metrics[0].mean_perplexity  # type: ignore[attr-defined]


def test_nodes_are_counted_by_token() -> None:
    job = compose(config())
    assert job.counts.sum() == int((job.dataset.train.labels >= 0).sum())
    assert job.counts.shape == (4, TOKENS)
    assert 0 < job.skew["total_variation"] < 0.3


def test_the_loss_is_the_mean_over_tokens() -> None:
    job = compose(config())
    batch, _ = job.minibatches(torch.tensor([1]), [0], Phase(False, False))
    params = job.model.start()
    loss, gradient = loss_of(job.objective).gradient(params, (batch[0][0], batch[1][0]))
    params.requires_grad_()
    expected = F.cross_entropy(job.model(params, batch[0][0]).flatten(0, 1), batch[1][0].flatten())
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, params)[0])


@pytest.mark.parametrize("strategy", ["dsgd", {"name": "ngpd", "fisher": "exact"}, "ngpd", "ecl"])
@pytest.mark.parametrize("sections", [{}, ANSWERS], ids=["tokens", "answers"])
def test_a_pretended_gpu_takes_the_same_steps(strategy: Any, sections: Any) -> None:
    settings = config(strategy, training={"rounds": 2, "local_steps": 2}, **sections)
    on_gpu = settings.model_copy(update={"engine": settings.engine.model_copy(update={"device": "cuda"})})
    with PretendDevice():
        found = run(on_gpu)
    torch.testing.assert_close(to_host(found.params), run(settings).params, rtol=1e-9, atol=1e-9)


def test_files_show_and_evaluate_have_the_perplexity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    last = run(config(), folder).metrics[-1]
    assert isinstance(last, TokenAccuracies)
    assert RunFolder.open(folder).metrics()[-1] == last
    assert json.loads((folder / "summary.json").read_text())["final"]["mean_perplexity"] == last.mean_perplexity
    assert main(["show", str(folder), "--plots", "--trust-code"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "token accuracy of the nodes mean" in shown
    assert f"perplexity mean {last.mean_perplexity:#.4g}, averaged" in shown
    assert {path.stem for path in (folder / "plots").glob("*.png")} >= {"accuracy_rounds", "perplexity_rounds"}
    assert main(["evaluate", str(folder), "--trust-code"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    tokens = int((sequences()[3] >= 0).sum())
    assert f"{tokens} test tokens" in shown and f"perplexity mean {last.mean_perplexity:#.4g}, averaged" in shown
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    assert "perplexity: perplexity against rounds" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", ["sequences", "answers", "whole_number_answers"])
def test_exported_nodes_take_the_same_steps(name: str, tmp_path: Path) -> None:
    task = {"task": "multi-label"} if name == "whole_number_answers" else {}
    model = {"name": f"{HERE}:counter"} if name == "sequences" else "softmax"
    data = {"dataset": f"{HERE}:{name}", "batch_size": 8, "validation_fraction": 0, **task}
    settings = config(data=data, model=model)
    export_nodes(settings, tmp_path / "nodes")
    apart = config(
        data={**data, "dataset": "node-folders", "data_dir": tmp_path / "nodes", "task": "auto"},
        model=model,
        partition="given",
    )
    found, expected = run(apart), run(settings)
    assert torch.equal(found.params, expected.params)
    left = {"train_seconds"}
    assert found.metrics[-1].model_dump(exclude=left) == expected.metrics[-1].model_dump(exclude=left)


@pytest.mark.parametrize(
    ("description", "labels", "words"),
    [
        (
            'classes = ["a", "b"]',
            "zeros((4, 6), int)",
            r"labels of shape \(4, 6\); by dataset.toml expected one class of",
        ),
        (
            'classes = ["a", "b"]\npositions = 6',
            "zeros(4, int)",
            r"labels of shape \(4,\); by .* expected \(examples, 6\)",
        ),
        ('classes = ["a", "b"]\npositions = 6', "full((4, 6), 2)", "has class 2; dataset.toml has 2, allowed: 0 to 1"),
        (
            'classes = ["a", "b"]\npositions = 2',
            "zeros((4, 2), bool)",
            "has bool labels, but dataset.toml has no labels",
        ),
        ('labels = ["a", "b"]', "full((4, 2), 2)", "train_labels have the value 2; multi-label classification needs 0"),
        (
            'labels = ["a", "b"]',
            "zeros((4, 3), int)",
            r"labels of shape \(4, 3\); by dataset.toml expected \(examples, 2\)",
        ),
        ('labels = ["a", "a"]', "zeros((4, 2), int)", "labels: each needs a name of its own"),
        ("targets = {mean = [0.0], std = [1.0]}\npositions = 2", "zeros((4, 1))", "positions: goes with classes"),
        ('classes = ["a"]\nlabels = ["b"]', "zeros(4, int)", "needs either classes, labels or targets"),
    ],
)
def test_node_folders_that_do_not_fit_their_description(
    description: str, labels: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "dataset.toml").write_text(description)
    for node in range(2):
        (tmp_path / f"node{node}").mkdir()
        values = eval(f"np.{labels}", {"np": np, "int": int, "bool": bool})
        np.savez(tmp_path / f"node{node}" / "train.npz", inputs=np.zeros((4, 6), np.int64), labels=values)
    data = {"dataset": "node-folders", "data_dir": tmp_path}
    with pytest.raises(InputError, match=words) as raised:
        compose(config(data=data, partition="given", topology={"name": "path", "nodes": 2}))
    assert "\n" not in str(raised.value)


def test_answers_are_measured_as_scikit_learn_does() -> None:
    settings = config("ngpd", **ANSWERS, training={"rounds": 10})
    result, job = run(settings), compose(settings)
    last = result.metrics[-1]
    assert isinstance(last, MultiLabelAccuracies)
    inputs, labels = answers()[2].double(), answers()[3].numpy()
    for params, accuracy, match in zip(result.params, last.accuracy, last.exact_match, strict=True):
        predicted = (job.model(params, inputs) > 0).numpy()
        assert accuracy == pytest.approx(1 - hamming_loss(labels, predicted))
        assert match == pytest.approx(accuracy_score(labels, predicted))
    assert last.mean > 0.85
    np.testing.assert_array_equal(job.counts.sum(0), job.dataset.train.labels.sum(0))


def test_partitions_go_by_the_label_powerset() -> None:
    dataset = load_dataset(config(**ANSWERS).data, 0)
    rows = dataset.train.labels.tolist()
    strata = dataset.task.strata(dataset.train.labels).tolist()
    assert {tuple(row): stratum for row, stratum in zip(rows, strata, strict=True)} == {
        row: number for number, row in enumerate(sorted({tuple(row) for row in rows}))
    }
    assert compose(config(**ANSWERS, partition="dirichlet")).counts.sum() == np.sum(rows)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"partition": "dirichlet"}, "partition.name: dirichlet goes by the class of an example, but those of"),
        ({"data": {"dataset": f"{HERE}:sequences", "noise": 0.1}}, "data.noise: the inputs of .* are token ids"),
        ({"model": "mlp"}, r"model: it fails on token ids of shape \(6,\), up to 4 \(measurements need"),
        ({"model": {"name": f"{HERE}:counter", "loss": "squared-error"}}, "squared-error is not for classes at each p"),
        (
            {**ANSWERS, "model": {"name": "mlp", "loss": "cross-entropy"}},
            "is not for multi-label targets; allowed: aut",
        ),
        ({**ANSWERS, "data": {"dataset": f"{HERE}:sequences", "task": "multi-label"}}, "train_labels have the value"),
    ],
)
def test_what_does_not_fit_is_one_line(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        compose(config(**sections))
    assert "\n" not in str(raised.value)


def test_a_class_at_each_position_needs_an_output_at_each() -> None:
    with pytest.raises(InputError, match=rf"returns shape \(1, 5\); expected \(1, {LENGTH}, 5\)"):
        compose(config(model={"name": f"{__name__}:flat"}))


def flat(input_shape: Any, num_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Embedding(num_classes, 3), torch.nn.Flatten(), torch.nn.Linear(18, num_classes))


def test_tensorboard_has_the_perplexity(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    last = run(config(), tmp_path / "run", [TensorBoard()]).metrics[-1]
    assert isinstance(last, TokenAccuracies) and last.mean_perplexity is not None
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert events.Scalars("perplexity/mean")[-1].value == pytest.approx(last.mean_perplexity, rel=1e-6)
    assert events.Histograms("nodes/perplexity")[-1].histogram_value.max == pytest.approx(
        max(last.perplexity), rel=1e-6
    )  # type: ignore[type-var]


def test_federated_averaging_weighs_nodes_by_their_examples() -> None:
    """Not by how often labels occur. After one step all have the start less the weighted mean of the gradients."""
    training = {"rounds": 1, "local_steps": 1, "baseline": "fedavg"}
    settings = config({"name": "dsgd", "lr": 0.5}, **ANSWERS, partition="quantity", training=training)
    job = compose(settings)
    sizes = job.minibatches.sizes  # type: ignore[union-attr]
    assert sizes.sum() == len(job.dataset.train) and len(set(sizes.tolist())) == 4
    start = job.model.start()
    expected = start.clone()
    for node, size in enumerate(sizes.tolist()):
        batch, _ = job.minibatches(torch.tensor([node]), [0], Phase(False, False))
        _, gradient = loss_of(job.objective).gradient(start, (batch[0][0], batch[1][0]))
        expected -= 0.5 * size / int(sizes.sum()) * gradient
    torch.testing.assert_close(run(settings).params, expected.expand(4, -1))
