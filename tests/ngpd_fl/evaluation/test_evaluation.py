"""Evaluation against scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error
from torch import Tensor, nn

from ngpd_fl.data import Classification, Regression, Split, Task
from ngpd_fl.evaluation import evaluate
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Average, Evaluation

NODES, EXAMPLES, WIDTH = 3, 2500, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evaluated(task: Task, labels: Tensor, counts: NDArray[np.int64]) -> tuple[Evaluation, Average, Tensor]:
    """Evaluate a linear network; return what it says of the nodes and of the averaged model, and all outputs.

    What two hosts find about their nodes is the same when it is joined.
    """
    module = nn.Linear(WIDTH, task.num_outputs).double()
    inputs, model = normal(EXAMPLES, WIDTH), FlatModel(module)
    params = normal(NODES, model.num_params, seed=1)
    found = evaluate(model, params, Split(inputs, labels), counts, task)
    outputs = torch.stack([model(each, inputs) for each in (*params, params.mean(0))]).detach()
    spread = ((params - params.mean(0)) ** 2).sum(1).mean().sqrt()
    assert found.average is not None
    assert found.average.consensus_distance == pytest.approx(float(spread))
    halves = [
        evaluate(model, params[part], Split(inputs, labels), counts[part], task, average=False)
        for part in (slice(0, 1), slice(1, NODES))
    ]
    joined = Evaluation.joined(task.measure, [half.part() for half in halves])
    assert joined.average is None
    for name, values in joined.record().items():
        if "averaged_model" not in name and name != "consensus_distance":
            np.testing.assert_allclose(values, found.record()[name], rtol=1e-12)
    return found, found.average, outputs


@pytest.mark.parametrize("num_targets", [1, 3])
def test_errors(num_targets: int) -> None:
    targets = 100 + 20 * normal(EXAMPLES, num_targets, seed=2) * torch.arange(1, num_targets + 1)
    task = Regression.of(targets[: EXAMPLES // 2])
    labels = task.standardized(targets).double()
    bins = task.groups(labels).numpy()
    counts = np.random.default_rng(0).integers(50, size=(NODES, task.num_groups))
    counts[:, 3] = 0
    found, average, outputs = evaluated(task, labels, counts)
    predicted = [task.restored(each).numpy() for each in outputs]
    true = task.restored(labels).numpy()
    np.testing.assert_allclose(true, targets, rtol=1e-5)
    errors = [root_mean_squared_error(true, each) for each in predicted]
    np.testing.assert_allclose([*found.nodes, average.value], errors, rtol=1e-12)
    np.testing.assert_allclose(
        [*found.others["r2"], average.others["r2"]], [r2_score(true, each) for each in predicted], rtol=1e-10
    )
    per_bin = [[root_mean_squared_error(true[bins == b], each[bins == b]) for b in range(10)] for each in predicted]
    np.testing.assert_allclose(found.groups, np.mean(per_bin[:-1], axis=0), rtol=1e-12)
    np.testing.assert_allclose(average.groups, per_bin[-1], rtol=1e-12)
    sizes = np.bincount(bins)
    own = [
        root_mean_squared_error(true, each, sample_weight=of_node[bins] / sizes[bins])
        for each, of_node in zip(predicted, counts, strict=False)
    ]
    np.testing.assert_allclose(found.own, own, rtol=1e-12)


def test_accuracies() -> None:
    labels = torch.randint(5, (EXAMPLES,), generator=torch.Generator().manual_seed(2))
    counts = np.random.default_rng(0).integers(50, size=(NODES, 6))
    found, average, outputs = evaluated(Classification(6), labels, counts)  # of class 5 there is no example
    predicted, true = outputs.argmax(-1).numpy(), labels.numpy()
    shares = [accuracy_score(true, each) for each in predicted]
    np.testing.assert_allclose([*found.nodes, average.value], shares)
    per_class = [[accuracy_score(true[true == c], each[true == c]) for c in range(5)] for each in predicted]
    np.testing.assert_allclose(found.groups, [*np.mean(per_class[:-1], axis=0), np.nan])
    np.testing.assert_allclose(average.groups, [*per_class[-1], np.nan])
    own = [np.average(rate, weights=of_node[:5]) for rate, of_node in zip(per_class, counts, strict=False)]
    np.testing.assert_allclose(found.own, own)
    assert found.others == {}


def test_targets_that_never_change_have_no_r2() -> None:
    task = Regression.of(torch.full((4, 1), 7.0))
    labels = task.standardized(torch.full((EXAMPLES, 1), 7.0)).double()
    found, _, _ = evaluated(task, labels, np.ones((NODES, 1), dtype=np.int64))
    assert np.isnan(found.others["r2"]).all() and np.isfinite(found.nodes).all()


def test_equal_models_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the start. Their values are those of each alone, of others than the first as well."""
    task, labels = Classification(5), torch.arange(EXAMPLES) % 5
    counts = np.random.default_rng(0).integers(50, size=(NODES, 5))
    model, split = FlatModel(nn.Linear(WIDTH, 5).double()), Split(normal(EXAMPLES, WIDTH), labels)
    params = normal(1, model.num_params, seed=1).expand(NODES, -1).clone()
    ran = list[int]()
    forward = FlatModel.__call__
    monkeypatch.setattr(FlatModel, "__call__", lambda *given: ran.append(1) or forward(*given))
    found = evaluate(model, params, split, counts, task, average=False)
    assert len(ran) == EXAMPLES // 1000 + 1
    for node in range(NODES):
        alone = evaluate(model, params[node : node + 1], split, counts[node : node + 1], task, average=False)
        assert found.nodes[node] == alone.nodes[0] and found.own[node] == alone.own[0]
    np.testing.assert_allclose(found.groups, alone.groups)
    params[1, 0] += 1
    assert evaluate(model, params, split, counts, task, average=False).nodes[1] != found.nodes[1]
