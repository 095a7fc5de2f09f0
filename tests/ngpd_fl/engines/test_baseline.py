"""References against what they are by definition, worked out without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ngpd_fl import run
from ngpd_fl.config import Config, InputError
from ngpd_fl.data import divide
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.records import RunFolder
from ngpd_fl.training import compose, make_engine
from strategies import Phase, Step

SETTING: dict[str, Any] = {
    "seed": 3,
    "topology": {"name": "ring", "nodes": 3},
    "partition": {"name": "dirichlet", "alpha": 0.3},
    "model": {"name": "softmax"},
    "data": {"batch_size": 8},
    "engine": {"dtype": "float64"},
}
ROUNDS, STEPS = 3, 2
SGD = {"name": "dsgd", "lr": 0.1, "momentum": 0.5}


def config(reference: str, strategy: dict[str, Any] = SGD, **more: Any) -> Config:
    training = {"rounds": ROUNDS, "local_steps": STEPS, "baseline": reference}
    return Config(**{**SETTING, "strategy": strategy, "training": training, **more})


def final(settings: Config) -> Tensor:
    engine = make_engine(compose(settings), None)
    for _ in range(ROUNDS):
        engine.run_round()
    return engine.params()


def gradient(params: Tensor, inputs: Tensor, labels: Tensor, like: Config) -> Tensor:
    """Gradient of the mean cross-entropy of a softmax regression, by autograd on the formula itself."""
    model = compose(like).model
    named = model.unflatten(params)
    [(weight_name, weight), (bias_name, bias)] = sorted(named.items(), key=lambda item: -item[1].ndim)
    weight, bias = (leaf.clone().requires_grad_() for leaf in (weight, bias))
    scores = inputs.flatten(1) @ weight.T + bias
    loss = (torch.logsumexp(scores, 1) - scores[torch.arange(len(labels)), labels]).mean()
    parts = dict(zip((weight_name, bias_name), torch.autograd.grad(loss, (weight, bias)), strict=True))
    return torch.cat([parts[name].flatten() for name in named])


def batches(like: Config) -> Any:
    """The minibatch of each node in each step, from the peers' own run of the same seed."""
    peers = compose(like.model_copy(update={"training": like.training.model_copy(update={"baseline": None})}))
    return lambda node, step: tuple(leaf[0] for leaf in peers.minibatches(torch.tensor([node]), [step], Phase())[0])


def test_fedavg_is_local_sgd_and_a_mean_weighted_by_the_nodes_data() -> None:
    settings = config("fedavg")
    batch, start = batches(settings), compose(settings).model.start()
    sizes = np.array([len(part) for part in divide(settings).parts])
    assert len(set(sizes)) == 3  # so that an unweighted mean would be seen
    shares = torch.tensor(sizes / sizes.sum())
    server, velocity = start, torch.zeros(3, len(start), dtype=start.dtype)
    for round in range(ROUNDS):
        models = server.repeat(3, 1)
        for step in range(round * STEPS, (round + 1) * STEPS):
            for node in range(3):
                velocity[node] = 0.5 * velocity[node] + gradient(models[node], *batch(node, step), settings)
                models[node] -= 0.1 * velocity[node]
        server = shares @ models
    torch.testing.assert_close(final(settings), server.repeat(3, 1), rtol=1e-10, atol=1e-12)


FOOF: dict[str, Any] = {"name": "kfac-gossip", "fisher": "foof", "trust_radius": 0, "factor_every": 1, "basis_every": 1}


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_fedpm_is_local_foof_and_a_mean_weighted_by_the_last_preconditioners(steps: int, chunk_size: Any) -> None:
    """With one step it is a step on the mean of all losses, by the mean of all preconditioners; a hub comes last."""
    strategy = {**FOOF, "lr": 0.2, "damping": 0.05, "factor_decay": 0, "rank": 0}
    engine: dict[str, Any] = {"dtype": "float64", "chunk_size": chunk_size}
    settings = config("fedpm", strategy, topology={"name": "star", "nodes": 5}, engine=engine)
    settings = settings.model_copy(update={"training": settings.training.model_copy(update={"local_steps": steps})})
    batch, start = batches(settings), compose(settings).model.start()
    names = compose(settings).model.segments
    sizes = np.array([len(part) for part in divide(settings).parts])
    shares = torch.tensor(sizes / sizes.sum())
    order = sorted(names, key=lambda name: -len(names[name].shape))  # weight, bias

    def matrix(vector: Tensor) -> Tensor:
        weight, bias = (vector[names[name].start : names[name].stop].view(names[name].shape) for name in order)
        return torch.cat([weight, bias[:, None]], 1)

    server = start
    for round in range(ROUNDS):
        models, inverse_of, force = [], [], []
        for node in range(5):
            model = server.clone()
            for step in range(round * steps, (round + 1) * steps):
                inputs, labels = batch(node, step)
                given = torch.cat([inputs.flatten(1), torch.ones(len(inputs), 1)], 1)
                preconditioner = given.T @ given / len(given) + 0.05 * torch.eye(65).double()
                slope = matrix(gradient(model, inputs, labels, settings))
                moved = matrix(model) - 0.2 * torch.linalg.solve(preconditioner, slope, left=False)
                for name, part in zip(order, (moved[:, :-1], moved[:, -1]), strict=True):
                    model[names[name].start : names[name].stop] = part.flatten()
            models.append(moved)
            inverse_of.append(preconditioner)
            force.append(slope)
        total = torch.einsum("n,nij->ij", shares, torch.stack(inverse_of))
        if steps == 1:
            mean_slope = torch.einsum("n,noi->oi", shares, torch.stack(force))
            mixed = matrix(server) - 0.2 * torch.linalg.solve(total, mean_slope, left=False)
        else:
            images = torch.einsum("n,noi,nij->oj", shares, torch.stack(models), torch.stack(inverse_of))
            mixed = torch.linalg.solve(total, images, left=False)
        server = server.clone()
        for name, part in zip(order, (mixed[:, :-1], mixed[:, -1]), strict=True):
            server[names[name].start : names[name].stop] = part.flatten()
    torch.testing.assert_close(final(settings), server.repeat(5, 1), rtol=1e-8, atol=1e-10)


def test_one_round_of_fedpm_solves_least_squares_where_the_plain_mean_does_not() -> None:
    """A linear layer's input factor is the Hessian of its squared error: a step of 1 is Newton's, on all data."""
    errors = {}
    for reference in ("fedpm", "fedavg"):
        settings = Config(
            data={"dataset": "diabetes", "batch_size": 118, "validation_fraction": 0},
            partition={"name": "shards", "shards_per_node": 1},
            topology={"name": "ring", "nodes": 3},
            strategy={**FOOF, "lr": 1.0, "damping": 1e-9, "rank": 0},
            model="softmax",
            training={"rounds": 1, "local_steps": 1, "baseline": reference},
            engine={"dtype": "float64", "device": "cpu"},
        )
        job = compose(settings)
        train = job.dataset.train
        ones = torch.cat([train.inputs, torch.ones(len(train.inputs), 1)], 1).double()
        solution = torch.linalg.lstsq(ones, train.labels.double()).solution[:, 0]
        engine = make_engine(job, None)
        engine.run_round()
        errors[reference] = float((engine.params() - solution).norm(dim=1).max() / solution.norm())
    assert errors["fedpm"] < 1e-6
    assert errors["fedavg"] > 0.3


def test_all_reduce_steps_on_the_mean_of_all_gradients() -> None:
    settings = config("all-reduce")
    batch, model = batches(settings), compose(settings).model.start()
    velocity = torch.zeros_like(model)
    for step in range(ROUNDS * STEPS):
        mean = torch.stack([gradient(model, *batch(node, step), settings) for node in range(3)]).mean(0)
        velocity = 0.5 * velocity + mean
        model = model - 0.1 * velocity
    torch.testing.assert_close(final(settings), model[None], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("strategy", [SGD, {"name": "kfac-gossip"}])
def test_a_single_node_has_all_data_and_is_one_node_of_a_network_whose_nodes_all_do(strategy: dict[str, Any]) -> None:
    settings = config("single-node", strategy)
    job = compose(settings)
    assert job.counts.tolist() == divide(settings).counts.sum(0, keepdims=True).tolist()
    engine = make_engine(job, None)
    infos = [engine.run_round() for _ in range(ROUNDS)]
    assert [(info.node_steps, info.bytes_sent) for info in infos] == [(STEPS, 0)] * ROUNDS
    # By the algorithm's own function, on the batches that a sampler of all images gives to node 0.
    feed = compose(settings).minibatches
    strategy_of = job.strategy
    state = strategy_of.init(job.model.start(), None)  # type: ignore[arg-type]
    for step in range(ROUNDS * STEPS):
        phase = strategy_of.phase(step)
        batch, draws = feed(torch.tensor([0]), [step], phase)
        one = Step(tuple(leaf[0] for leaf in batch), draws[0], torch.tensor(1.0, dtype=torch.float64))
        state, _ = strategy_of.local_step(state, None, one, phase)  # type: ignore[arg-type]
    torch.testing.assert_close(engine.params()[0], state.params, rtol=1e-9, atol=1e-11)
    read = set(feed._sampler.batches([0], [0], 30).flatten().tolist())  # type: ignore[union-attr]
    owners = [sum(index in part for index in read) for part in map(set, divide(settings).parts)]
    assert min(owners) > 0  # images of every node are read


def test_bytes_are_those_of_a_star_and_of_a_ring_all_reduce() -> None:
    vector = 650 * 8  # 64 x 10 weights and 10 biases in float64
    assert make_engine(compose(config("fedavg")), None).run_round().bytes_sent == 2 * 3 * vector
    assert make_engine(compose(config("all-reduce")), None).run_round().bytes_sent == 2 * 2 * STEPS * vector
    spectrum = (65 * 65 + 65 + 1) * 8  # all eigenvectors, their values, and the rest's
    foof = {**FOOF, "rank": 0}
    assert make_engine(compose(config("fedpm", foof)), None).run_round().bytes_sent == 3 * (2 * vector + spectrum)
    kfac = {"name": "kfac-gossip", "factor_every": 2, "basis_every": 2}
    factors = (65 * 65 + 10 * 10) * 8  # inputs with the homogeneous 1, and outputs
    engine = make_engine(compose(config("all-reduce", kfac)), None)
    assert engine.run_round().bytes_sent == 2 * 2 * (STEPS * vector + factors)


@pytest.mark.parametrize("reference", ["fedavg", "fedpm", "all-reduce", "single-node"])
def test_a_run_is_recorded_and_judged_again(reference: str, tmp_path: Any) -> None:
    settings = config(reference, FOOF)
    result = run(settings, tmp_path / "run")
    assert len(result.params) == (3 if reference in ("fedavg", "fedpm") else 1)
    found = evaluate_saved(RunFolder(tmp_path / "run"))
    assert found.evaluation.record()["mean_accuracy"] == result.summary["final"]["mean_accuracy"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"strategy": {"name": "ngpd"}}, "strategy.name: training.baseline = fedavg takes the local steps"),
        ({"strategy": {**SGD, "clip": 1.0}}, "strategy.clip: "),
        ({"strategy": {**SGD, "message_dtype": "float16"}}, "strategy.message_dtype: "),
        ({"strategy": {**SGD, "compress": "top-k"}}, "strategy.compress: "),
        ({"network": {"message_loss": 0.1}}, "network.message_loss: "),
        ({"devices": {"step_sigma": 0.1}}, "training.baseline: fedavg does not go by the virtual clock"),
    ],
)
def test_what_only_peers_have_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refusal:
        config("fedavg", **more)
    assert str(refusal.value).startswith(words) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (SGD, "strategy.name: .*(got dsgd)"),
        ({"name": "kfac-gossip", "trust_radius": 0}, "strategy.fisher: .*(got monte-carlo)"),
        ({"name": "kfac-gossip", "fisher": "foof"}, "strategy.trust_radius: .*(got 0.1)"),
        ({**FOOF, "clip": 1.0}, "strategy.clip: "),
    ],
)
def test_fedpm_takes_whole_steps_of_foof_only(strategy: dict[str, Any], words: str) -> None:
    begin, _, end = words.partition(".*")
    with pytest.raises(InputError) as refusal:
        config("fedpm", strategy)
    assert str(refusal.value).startswith(begin) and str(refusal.value).endswith(end) and "\n" not in str(refusal.value)
