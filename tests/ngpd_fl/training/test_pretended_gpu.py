"""All that runs, on a pretended GPU: the numbers are a CPU's, and the host waits for it a fixed number of times.

Both devices compute with the same kernels here, so that what differs is what the code does on a GPU alone: batched
convolutions, other chunks. In float64 that is rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl import Config, RunFolder, resume, run
from ngpd_fl.config import InputError
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.profiling import estimate
from ngpd_fl.profiling.doctor import diagnose
from ngpd_fl.training import compose
from ngpd_fl.training.run import Result
from strategies import STRATEGIES
from tests.support.flower import FakeRun
from tests.support.interrupted_runs import TIMINGS, interrupt
from tests.support.peers import Crowd
from tests.support.pretend_device import Counts, PretendDevice, PretendTensor, to_host

REFERENCE = {"strategy": {"name": "kfac-gossip"}}
IMAGES = {"crop": 1, "flip": True, "rotation": 20, "noise": 0.1}
GARBAGE = [{"node": 1, "kind": "nan"}, {"node": 2, "kind": "huge", "at_s": 0.01}]
LIES = [{"node": 1, "kind": "gaussian"}, {"node": 2, "kind": "sign-flip"}]


def config(strategy: str | dict[str, Any] = "ngpd", device: str = "cuda", **sections: Any) -> Config:
    options = {"name": strategy} if isinstance(strategy, str) else strategy
    spec = STRATEGIES[options["name"]][0].spec
    usual: dict[str, Any] = {
        "strategy": options,
        "model": {"name": "mlp", "hidden": (8,)},
        "topology": {"name": "path" if spec.tree else "ring", "nodes": 4},
        "training": {"rounds": 2, "local_steps": 1 if spec.single_step else 2},
        "engine": {"dtype": "float64", "device": device},
    }
    merged = {name: {**usual.get(name, {}), **section} for name, section in sections.items()}
    return Config(**{**usual, **merged})


def on_cpu(settings: Config) -> Config:
    return settings.model_copy(update={"engine": settings.engine.model_copy(update={"device": "cpu"})})


def assert_same(found: Result, expected: Result) -> None:
    """Same parameters and records, up to rounding."""
    assert isinstance(found.params, PretendTensor)
    torch.testing.assert_close(to_host(found.params), expected.params, rtol=1e-9, atol=1e-9, equal_nan=True)
    for ours, theirs in zip(found.metrics, expected.metrics, strict=True):
        there = theirs.model_dump(exclude=TIMINGS)
        for key, value in ours.model_dump(exclude=TIMINGS).items():
            assert value == (there[key] and pytest.approx(there[key], rel=1e-9, abs=1e-9)), key


def assert_same_as_cpu(settings: Config) -> None:
    with PretendDevice():
        found = run(settings)
    assert_same(found, run(on_cpu(settings)))


SETTINGS: dict[str, Any] = {
    "lenet": {"model": {"name": "lenet"}},
    "truncated, few examples": {"strategy": {"rank": 4, "factor_batch": 4}},
    "exact Fisher": {"strategy": {"fisher": "exact"}},
    "empirical Fisher, clipping": {"strategy": {"fisher": "empirical", "theta": 0.5, "clip": 1.0, "memory": 3}},
    "label smoothing": {"model": {"loss": "label-smoothing"}, "strategy": {"fisher_smoothing": 0.1}},
    "random-k": {"strategy": {"compress": "random-k"}},
    "quantize": {"strategy": {"compress": "quantize", "theta": 0.5}},
    "bfloat16": {"strategy": {"message_dtype": "bfloat16"}},
    "losses and matchings": {"network": {"message_loss": 0.3}, "topology": {"schedule": "matching"}},
    "asynchronous": {"training": {"mode": "asynchronous"}, "devices": {"step_sigma": 0.7}},
    "neighbor-synchronous": {"training": {"mode": "neighbor-synchronous"}, "devices": {"step_sigma": 0.7}},
    "synchronous by the clock": {"devices": {"step_sigma": 0.7}},
    "corrupt": {"training": {"rounds": 4, "mode": "asynchronous"}, "faults": {"corrupt": GARBAGE}},
    "lies": {"faults": {"byzantine": LIES}, "strategy": {"clip": 1.0}},
    "images that are moved": {"data": IMAGES},
    "fedavg": {**REFERENCE, "training": {"baseline": "fedavg"}},
    "all-reduce": {**REFERENCE, "training": {"baseline": "all-reduce"}},
    "single node": {**REFERENCE, "training": {"baseline": "single-node"}},
    "regression": {"data": {"dataset": "diabetes"}},
    "star in chunks": {"topology": {"name": "star", "nodes": 5}, "engine": {"chunk_size": 2}},
    "schedule of lr": {"training": {"lr_schedule": "cosine", "lr_warmup": 1, "weight_decay": 0.01}},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy(strategy: str) -> None:
    assert_same_as_cpu(config(strategy))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_kind_of_run(name: str) -> None:
    sections = dict(SETTINGS[name])
    assert_same_as_cpu(config({"name": "ngpd", **sections.pop("strategy", {})}, **sections))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "strategy"),
    [
        *(
            (model, strategy)
            for model in ("softmax", "resnet8", "resnet20", "resnet32")
            for strategy in ("ngpd", "dsgd")
        ),
        ("torchvision:resnet18", "dsgd"),
    ],
)
def test_every_model(model: str, strategy: str) -> None:
    sections: dict[str, Any] = {"training": {"rounds": 1}, "topology": {"name": "path", "nodes": 2}}
    assert_same_as_cpu(config(strategy, model={"name": model}, **sections))


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["lossy", "asynchronous", "neighbor-synchronous", "late", "corrupt", "clipped", "moved", "conv"]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_in_every_kind_of_run(strategy: str, setting: str) -> None:
    sections: dict[str, Any] = {
        "lossy": {"network": {"message_loss": 0.3}},
        "asynchronous": SETTINGS["asynchronous"],
        "neighbor-synchronous": SETTINGS["neighbor-synchronous"],
        "late": {"devices": {"step_sigma": 0.7}, "faults": {"delay_probability": 0.3, "delay_s": 0.01}},
        "corrupt": SETTINGS["corrupt"],
        "clipped": {"strategy": {"clip": 1.0}},
        "moved": {"data": IMAGES},
        "conv": {"model": {"name": "lenet"}},
    }[setting]
    sections = {**sections}
    options = {"name": strategy, **sections.pop("strategy", {})}
    try:
        settings = config(options, **sections)
        compose(on_cpu(settings))
    except InputError as refusal:
        assert strategy != "ngpd", refusal  # which takes all of them
        pytest.skip(f"not for {strategy}: {refusal}")
    assert_same_as_cpu(settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "codec"),
    [(name, codec) for name, (options, _) in STRATEGIES.items() for codec in options.spec.compress],
)
def test_every_compression(strategy: str, codec: str) -> None:
    options = {"theta": 0.5} if strategy in ("ngpd", "ecl") else {}
    assert_same_as_cpu(config({"name": strategy, "compress": codec, **options}, training={"rounds": 4}))


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_checkpoints_hold_what_a_gpu_goes_on_from(mode: str, tmp_path: Path) -> None:
    settings = config("ngpd", training={"rounds": 6, "mode": mode}, network={"message_loss": 0.3})
    with PretendDevice():
        whole = run(settings, tmp_path / "whole")
        interrupt(settings, tmp_path / "cut", after=4, checkpoint_every=3)
        resumed = resume(tmp_path / "cut")
    assert torch.equal(to_host(resumed.params), to_host(whole.params))
    assert_same(whole, run(on_cpu(settings)))


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_nodes_with_starts_of_their_own(mode: str, tmp_path: Path) -> None:
    run(on_cpu(config("dsgd")), tmp_path / "run")
    model = {"init": tmp_path / "run", "init_per_node": True}
    for strategy in ("dsgd", "ngpd"):
        assert_same_as_cpu(config(strategy, model=model, training={"mode": mode}))


def test_objects_that_lie_on_the_device() -> None:
    inputs = torch.randn(100, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = (inputs[:, 0] > 0).long()
    settings, network = config("dsgd"), torch.nn.Linear(4, 2)
    with PretendDevice():
        there = (inputs.cuda(), labels.cuda())
        found = run(settings, model=network, data=there)
    assert_same(found, run(on_cpu(settings), model=network, data=(inputs, labels)))


def test_saved_models_are_judged_again(tmp_path: Path) -> None:
    with PretendDevice() as device:
        result = run(config("dsgd"), tmp_path / "run")
        device.reset()
        found = evaluate_saved(RunFolder(tmp_path / "run"), device="cuda")
        assert device.counts.uploads > 0
    assert found.evaluation.record()["mean_accuracy"] == result.summary["final"]["mean_accuracy"]


def test_flowers_clients() -> None:
    settings = config("ngpd", network={"message_loss": 0.3}, training={"rounds": 4}, topology={"nodes": 6})
    with PretendDevice() as device:
        fake = FakeRun(settings, forgetful=True, nodes_per_client=2).go()
        assert device.counts.uploads > 0
    expected = run(on_cpu(settings))
    torch.testing.assert_close(fake.params(expected.model), expected.params, rtol=0, atol=1e-12)
    assert fake.events() == []


class CrowdOnDevice(Crowd):
    """Peers whose threads see the pretended device."""

    def _be(self, number: int, options: dict[str, Any]) -> None:
        with PretendDevice.in_thread():
            super()._be(number, options)


@pytest.mark.parametrize("schedule", ["static", "matching"])
def test_peers(schedule: str, tmp_path: Path) -> None:
    settings = config("ngpd", network={"message_loss": 0.3}, topology={"schedule": schedule})
    with PretendDevice() as device:
        CrowdOnDevice(settings, tmp_path, [[0], [1, 2], [3]]).run()
        assert device.counts.uploads > 0
    expected = run(on_cpu(settings))
    for number, nodes in enumerate([[0], [1, 2], [3]]):
        models = RunFolder(tmp_path / f"peer{number}").models()
        for node in nodes:
            params = expected.model.flatten(models[f"node{node}"])
            torch.testing.assert_close(params, expected.params[node], rtol=0, atol=1e-12)


def test_what_is_told_of_the_device(tmp_path: Path) -> None:
    with PretendDevice(devices=2):
        found = [finding for finding in diagnose(None, tmp_path) if finding.name.startswith("cuda")]
        estimated = estimate(config("ngpd", device="auto"))
    assert [finding.name for finding in found] == ["cuda:0", "cuda:1"]
    assert all(finding.state == "ok" and finding.result.endswith("computes") for finding in found)
    assert estimated.limit == 1 << 37


def counts_of_a_round(settings: Config) -> tuple[Counts, Counts]:
    """What a later round waits for, to the end of its local steps and in all; what they read is copied before them."""
    with PretendDevice() as device:
        engine = SynchronousEngine(compose(settings).engine_settings)
        engine.run_round()
        device.reset()
        group = engine.group
        group.work(1)
        steps = device.counts
        group.write(1)
        group.read(1)
        return steps, device.counts


UPLOADS_OF_A_ROUND = 9
"""The batches and the curvature's draws; what is sent, delivered and weighed; what the headers say."""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_round_waits_a_fixed_number_of_times_and_no_local_step_does(strategy: str) -> None:
    single = STRATEGIES[strategy][0].spec.single_step
    many = {"training": {"local_steps": 1 if single else 9}, "topology": {"nodes": 17}, "engine": {"chunk_size": 3}}
    few = {"training": {"local_steps": 1 if single else 5}, "topology": {"nodes": 3}}
    found = [counts_of_a_round(config(strategy, **sections)) for sections in (few, many)]
    for steps, whole in found:
        assert steps.downloads == steps.waits == whole.downloads == whole.waits == 0
        assert steps.uploads <= 2 and whole.uploads <= UPLOADS_OF_A_ROUND
    assert found[0][0].uploads == found[1][0].uploads and found[0][1].uploads == found[1][1].uploads


def test_moving_images_waits_for_two_copies_more() -> None:
    plain, moved = (counts_of_a_round(config("dsgd", data=data))[0] for data in ({}, {"crop": 1, "flip": True}))
    assert moved == plain._replace(uploads=plain.uploads + 2)


@pytest.mark.parametrize("data", [{}, {"dataset": "diabetes"}])
def test_an_evaluation_waits_as_often_for_many_nodes_as_for_few(data: dict[str, Any]) -> None:
    found = []
    for nodes in (3, 17):
        with PretendDevice() as device:
            job = compose(config("dsgd", data=data, topology={"nodes": nodes}))
            params = SynchronousEngine(job.engine_settings).params()
            for _ in range(2):  # labels are copied to the host once a run
                device.reset()
                job.evaluate(params)
            found.append(device.counts)
    assert found[0] == found[1] and found[0].downloads == 3
    assert found[0].waits == 1, "to learn whether all models are equal"


@pytest.mark.parametrize("mode", ["asynchronous", "neighbor-synchronous"])
def test_no_local_step_waits_where_nodes_are_in_rounds_of_their_own(mode: str) -> None:
    found = []
    for local_steps in (2, 7):
        with PretendDevice() as device:
            run(config("dsgd", training={"mode": mode, "local_steps": local_steps}))
            found.append(device.counts)
    assert found[0] == found[1]
