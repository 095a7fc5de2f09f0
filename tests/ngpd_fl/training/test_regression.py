"""Regression from end to end: the consensus that nodes come to is the least-squares solution of all their data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from torch import Tensor

from ngpd_fl.cli import main
from ngpd_fl.config import Config, InputError
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Regression, load_dataset, partition_labels
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.models import build_likelihood
from ngpd_fl.records import Errors, RunFolder
from ngpd_fl.training import compose
from ngpd_fl.training.run import run
from strategies import NGPDOptions, Phase

NODES, EACH, DECAY = 3, 118, 0.5
PLOTS = {"rmse_rounds", "rmse_bytes", "rmse_seconds", "r2_rounds", "consensus", "graph", "partition"}


def linear(**strategy: Any) -> Config:
    """All data in every batch of a linear network; node 0 has the smallest targets and the last one the largest."""
    return Config(
        data={"dataset": "diabetes", "batch_size": EACH, "validation_fraction": 0},
        partition={"name": "shards", "shards_per_node": 1},
        topology={"name": "ring", "nodes": NODES},
        strategy=strategy,
        model="softmax",
        training={"local_steps": 4, "weight_decay": DECAY},
        engine={"dtype": "float64", "device": "cpu"},
    )


def least_squares(inputs: Tensor, targets: Tensor) -> Tensor:
    """The minimizer of 1/2 mean |A w - y|^2 + decay / 2 |w|^2, the bias being penalized like any parameter."""
    ones = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double().numpy()
    ridge = Ridge(alpha=DECAY * len(inputs), fit_intercept=False, solver="cholesky")
    return torch.from_numpy(ridge.fit(ones, targets[:, 0].double().numpy()).coef_)


@pytest.mark.parametrize(
    "strategy", [{"name": "ecl", "lr": 0.2}, {"name": "ngpd", "lr": 0.2, "damping": 0.3}], ids=["ecl", "ngpd"]
)
def test_nodes_agree_on_the_least_squares_solution_of_all_data(strategy: dict[str, Any]) -> None:
    job = compose(linear(**strategy))
    train = job.dataset.train
    together = least_squares(train.inputs, train.labels)
    assert job.counts.sum(1).tolist() == [EACH] * NODES
    strata = job.dataset.task.strata(job.dataset.train.labels).numpy()
    for part in partition_labels(strata, NODES, job.config.partition, job.config.seed):
        alone = least_squares(train.inputs[part], train.labels[part])
        assert (alone - together).abs().max() > 0.1  # the nodes want different things
    engine = SynchronousEngine(job.engine_settings)
    for _ in range(250):
        engine.run_round()
    assert (engine.params() - together).abs().max() < 1e-8


def test_the_exact_fisher_matrix_is_the_hessian() -> None:
    """Of a linear network with squared error, which is its Gauss-Newton matrix as well."""
    config = linear(name="ngpd", fisher="exact")
    job = compose(config)
    likelihood = build_likelihood(config.model, job.dataset.task)
    assert isinstance(config.strategy, NGPDOptions)
    kfac = KFAC(job.model, likelihood, (10,), config.strategy)
    inputs, targets = job.dataset.train.inputs.double(), job.dataset.train.labels.double()
    params = torch.randn(11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = torch.zeros((len(inputs), 1), dtype=torch.float64)
    state, _, _ = kfac.gradient(kfac.init(params), params, (inputs, targets), draws, Phase(True, True))
    hessian = torch.func.hessian(lambda each: likelihood.loss(job.model(each, inputs), targets))(params)
    for direction in torch.eye(11, dtype=torch.float64):
        assert float(kfac.quadratic(state, direction)) == pytest.approx(float(direction @ hessian @ direction))
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    step, _ = kfac.solve(state, params, one, zero)
    damped = hessian + config.strategy.delta * torch.eye(11, dtype=torch.float64)
    torch.testing.assert_close(step, torch.linalg.solve(damped, params))


def test_records_are_in_the_unit_of_the_targets(tmp_path: Path) -> None:
    """The recorded errors are those of the recorded models, computed with the plain network by scikit-learn."""
    config = Config(data={"dataset": "diabetes"}, strategy="ecl", training={"rounds": 3}, topology={"nodes": 4})
    result = run(config, tmp_path)
    folder, data = RunFolder.open(tmp_path), load_dataset(config.data, config.seed)
    last = folder.metrics()[-1]
    assert last == result.metrics[-1] and isinstance(last, Errors) and isinstance(data.task, Regression)
    true = data.task.restored(data.test.labels)
    for name, rmse, r2 in [
        ("average", last.averaged_model_rmse, last.averaged_model_r2),
        ("node2", last.rmse[2], last.r2[2]),
    ]:
        result.model.module.load_state_dict(folder.parameters(name))
        predicted = data.task.restored(result.model.module(data.test.inputs))
        assert root_mean_squared_error(true, predicted) == pytest.approx(rmse, rel=1e-5)
        assert r2_score(true, predicted) == pytest.approx(r2, rel=1e-4)
    best = min(result.metrics, key=lambda metrics: metrics.mean)
    assert folder.summary()["best"] == {"round": best.round, "mean_rmse": best.mean}
    assert folder.summary()["final"]["mean_r2"] == last.mean_r2


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["--dataset", "diabetes", "--model", "softmax", "--rounds", "2", "--nodes", "4"]
    assert main(["run", *common, "--out", "one"]) == 0
    said = capsys.readouterr()
    last = RunFolder.open("one").metrics()[-1]
    assert (
        "RMSE of the nodes" in said.out
        and f"mean {last.mean:.2f}, worst {last.worst:.2f}, best {last.best:.2f}" in said.out
    )
    assert "accuracy" not in said.out + said.err and f"mean   {last.mean:.2f}" in said.err
    assert {path.name for path in Path("one/plots").iterdir()} == {f"{name}.png" for name in PLOTS}
    assert main(["compare", "--strategies", "dsgd,ecl", *common, "--out", "two", "--quiet"]) == 0
    runs = json.loads(Path("two/comparison.json").read_text())["runs"]
    means = [each["final"]["mean_rmse"] for each in runs]
    assert means == sorted(means) and "mean RMSE" in Path("two/comparison.md").read_text()
    assert main(["partition", *common[:2], "--out", "split.png"]) == 0
    assert "bins per node" in capsys.readouterr().out


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"model": {"loss": "cross-entropy"}},
            "model.loss: cross-entropy is not for real-valued targets; allowed: auto",
        ),
        ({"model": {"loss": "label-smoothing"}}, "model.loss: label-smoothing is not for real-valued targets"),
        ({"model": "lenet"}, "model.name: lenet needs images [C, H, W], but inputs have shape (10,)"),
        ({"model": "resnet8"}, "model.name: resnet8 needs images [C, H, W]"),
        ({"model": "torchvision:resnet18"}, "model.name: torchvision:resnet18 needs images [C, H, W]"),
        ({"data": {"dataset": "diabetes", "crop": 1}}, "data.crop: needs images [C, H, W]; the inputs of diabetes"),
        ({"data": {"dataset": "diabetes", "rotation": 9.0}}, "data.rotation: needs images [C, H, W]; the inputs of"),
        ({"partition": {"name": "classes", "classes_per_node": 11}}, "partition.classes_per_node: 11 classes on each"),
    ],
)
def test_what_does_not_suit_it_is_said_in_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as raised:
        compose(Config(**({"data": {"dataset": "diabetes"}} | values)))
    assert str(raised.value).startswith(words) and "\n" not in str(raised.value)


def test_a_run_with_errors_without_bound_is_recorded(tmp_path: Path) -> None:
    config = Config(
        data={"dataset": "diabetes"}, model="softmax", strategy={"name": "dsgd", "lr": 1e30}, training={"rounds": 3}
    )
    assert run(config, tmp_path).summary["status"] == "diverged"
    last = RunFolder.open(tmp_path).metrics()[-1]
    assert isinstance(last, Errors) and last.mean_rmse is None
    assert RunFolder.open(tmp_path).summary()["best"]["round"] == 0


def test_an_accuracy_to_end_at_is_refused() -> None:
    config = Config(data={"dataset": "diabetes"}, training={"until_accuracy": 0.9})
    with pytest.raises(InputError, match=r"training\.until_accuracy: diabetes has real-valued targets"):
        compose(config)
