"""A run on several pretended GPUs: its results are those of one, and only messages between them move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ngpd_fl import Config, RunFolder, resume, run
from ngpd_fl.config import InputError
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.evaluation.saved_models import evaluate_saved
from ngpd_fl.profiling import estimate
from ngpd_fl.profiling.doctor import diagnose
from ngpd_fl.training import Job, compose
from ngpd_fl.training.run import Result
from tests.support.flower import FakeRun
from tests.support.interrupted_runs import TIMINGS, interrupt
from tests.support.pretend_device import PretendDevice, PretendTensor, to_host

NAMES = {0: "cpu", 1: "cuda", 2: "cuda:0,cuda:1", 3: "cuda:0,cuda:1,cuda:2"}

SETTINGS: dict[str, dict[str, Any]] = {
    "ngpd": {"strategy": {"name": "ngpd"}},
    "dsgd": {"strategy": {"name": "dsgd"}},
    "ngpd, lenet": {"strategy": {"name": "ngpd"}, "model": {"name": "lenet"}},
    "dsgd, lenet": {"strategy": {"name": "dsgd"}, "model": {"name": "lenet"}, "data": {"crop": 1, "flip": True}},
    "losses and matchings": {
        "strategy": {"name": "ngpd"},
        "network": {"message_loss": 0.3},
        "topology": {"schedule": "matching"},
    },
    "degrees that differ": {
        "strategy": {"name": "ngpd", "theta": 0.5},
        "topology": {"name": "barabasi-albert", "nodes": 9},
        "network": {"message_loss": 0.3},
    },
    "a hub": {"strategy": {"name": "dsgd"}, "topology": {"name": "star", "nodes": 5}, "engine": {"chunk_size": 2}},
    "compressed": {"strategy": {"name": "ngpd", "compress": "quantize", "theta": 0.5}},
    "relay": {"strategy": {"name": "relay-sgd"}, "topology": {"name": "path"}},
    "fedavg": {"strategy": {"name": "kfac-gossip"}, "training": {"baseline": "fedavg"}},
    "fedpm": {
        "strategy": {"name": "kfac-gossip", "fisher": "foof", "trust_radius": 0},
        "training": {"baseline": "fedpm"},
        "topology": {"name": "star", "nodes": 5},
    },
    "regression": {"strategy": {"name": "ngpd"}, "data": {"dataset": "diabetes"}},
}


def config(gpus: int, sections: dict[str, dict[str, Any]], **more: dict[str, Any]) -> Config:
    usual: dict[str, dict[str, Any]] = {
        "model": {"name": "mlp", "hidden": (8,)},
        "topology": {"name": "ring", "nodes": 7},
        "training": {"rounds": 3, "local_steps": 2},
        "engine": {"dtype": "float64"},
    }
    for given in (sections, more, {"engine": {"device": NAMES[gpus]}}):
        for name, section in given.items():
            usual[name] = {**usual.get(name, {}), **section}
    return Config(**usual)


def devices_of(tensors: Any) -> set[str]:
    return {str(tensor.device) for tensor in tensors}


def assert_same(found: Result, expected: Result) -> None:
    torch.testing.assert_close(to_host(found.params), to_host(expected.params), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(found.metrics, expected.metrics, strict=True):
        there = theirs.model_dump(exclude=TIMINGS)
        for key, value in ours.model_dump(exclude=TIMINGS).items():
            assert value == (there[key] and pytest.approx(there[key], rel=1e-9, abs=1e-9)), key


@pytest.mark.parametrize("name", SETTINGS)
def test_results_do_not_depend_on_the_number_of_gpus(name: str) -> None:
    with PretendDevice(devices=3):
        alone, *others = (run(config(gpus, SETTINGS[name])) for gpus in (1, 2, 3))
    for found in others:
        assert_same(found, alone)


def test_blocks_of_the_same_nodes_give_the_same_bits() -> None:
    """With a node in each block, what is computed at once does not depend on the number of GPUs."""
    with PretendDevice(devices=3):
        found = [run(config(gpus, SETTINGS["ngpd"], engine={"chunk_size": 1})).params for gpus in (1, 2, 3)]
    assert all(torch.equal(to_host(found[0]), to_host(params)) for params in found[1:])


def test_each_gpu_holds_its_own_nodes_and_only_messages_between_them_move() -> None:
    with PretendDevice(devices=2) as device:
        engine = SynchronousEngine(compose(config(2, SETTINGS["ngpd"], topology={"nodes": 8})).engine_settings)
        engine.run_round()
        device.reset()
        engine.run_round()
        counts, moved = device.counts, device.moved
        vector = engine.params().shape[1]
        leaves = engine.state()[0]
    of_blocks = [{name: leaf for name, leaf in leaves.items() if name.startswith(f"['blocks'][{n}]")} for n in (0, 1)]
    assert devices_of(of_blocks[0].values()) == {"cuda:0"} and devices_of(of_blocks[1].values()) == {"cuda:1"}
    assert all(len(leaf) == 4 for leaf in of_blocks[0].values())
    # A ring in halves: two edges between them, with a message each way. Besides, what the local steps report.
    assert moved == 4 * (vector + 1) + 2 * 4
    assert counts.downloads == counts.waits == 0


def test_no_local_step_waits() -> None:
    with PretendDevice(devices=3) as device:
        for name in ("dsgd", "ngpd, lenet"):
            engine = SynchronousEngine(compose(config(3, SETTINGS[name], training={"local_steps": 5})).engine_settings)
            engine.run_round()
            device.reset()
            engine.group.work(1)
            counts = device.counts
            assert counts.downloads == counts.waits == 0 and counts.uploads <= 3 * 4, device.report()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "lenet"])
def test_a_run_goes_on_on_another_number_of_gpus_or_none(model: str, tmp_path: Path) -> None:
    sections = {
        "model": {"name": model},
        "network": {"message_loss": 0.3},
        "topology": {"name": "barabasi-albert", "nodes": 9},
    }
    expected = None
    with PretendDevice(devices=3):
        for gpus, then in ((2, 1), (1, 3), (3, 0), (0, 2)):
            settings = config(gpus, {"strategy": {"name": "ngpd"}, **sections}, training={"rounds": 6})
            folder = tmp_path / f"{gpus} to {then}"
            expected = expected or run(settings)
            interrupt(settings, folder, after=4, checkpoint_every=3)
            lines: list[str] = []
            resumed = resume(folder, device=NAMES[then], on_event=lines.append)
            assert isinstance(resumed.params, PretendTensor) == (then > 0)
            torch.testing.assert_close(to_host(resumed.params), to_host(expected.params), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["asynchronous", "neighbor-synchronous"])
def test_events_go_on_from_a_gpu_to_a_cpu(mode: str, tmp_path: Path) -> None:
    settings = config(1, SETTINGS["ngpd"], training={"rounds": 6, "mode": mode}, engine={"dtype": "float64"})
    with PretendDevice():
        whole = run(settings)
        interrupt(settings, tmp_path / "cut", after=4, checkpoint_every=3)
    resumed = resume(tmp_path / "cut", device="cpu", on_event=lambda line: None)
    torch.testing.assert_close(resumed.params, to_host(whole.params), rtol=1e-9, atol=1e-9)


def test_a_state_of_other_nodes_is_refused() -> None:
    with PretendDevice(devices=2):
        six, seven = (
            SynchronousEngine(compose(config(2, SETTINGS["dsgd"], topology={"nodes": nodes})).engine_settings)
            for nodes in (6, 7)
        )
        with pytest.raises(ValueError, match="states of 6 nodes; expected 7"):
            seven.load(*six.state())


@pytest.mark.parametrize("data", [{}, {"dataset": "diabetes"}])
def test_all_gpus_evaluate(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    with PretendDevice(devices=3):
        job = compose(config(3, SETTINGS["dsgd"], data=data))
        call = type(job.model).__call__

        def watched(model: Any, params: Tensor, inputs: Tensor) -> Tensor:
            seen.append((str(params.device), str(inputs.device)))
            return call(model, params, inputs)

        monkeypatch.setattr(type(job.model), "__call__", watched)
        params = job.model.start() + torch.linspace(0, 1, 7, dtype=torch.float64, device="cuda:0")[:, None]
        found, expected = job.evaluate(params), compose_on(1, data).evaluate(params)
    assert set(seen[:8]) == {(f"cuda:{index}", f"cuda:{index}") for index in range(3)}
    np.testing.assert_array_equal(found.nodes, expected.nodes)
    assert found.average is not None and expected.average is not None
    assert found.average.value == expected.average.value


def compose_on(gpus: int, data: dict[str, Any]) -> Job:
    return compose(config(gpus, SETTINGS["dsgd"], data=data))


def test_saved_models_are_evaluated_on_several(tmp_path: Path) -> None:
    with PretendDevice(devices=2):
        result = run(config(2, SETTINGS["dsgd"]), tmp_path / "run")
        found = evaluate_saved(RunFolder(tmp_path / "run"), device="cuda:0,cuda:1")
    assert found.evaluation.record()["mean_accuracy"] == result.summary["final"]["mean_accuracy"]
    assert RunFolder(tmp_path / "run").environment()["device_name"] == "pretended device, pretended device"


def test_clients_with_several() -> None:
    settings = config(2, SETTINGS["losses and matchings"], topology={"nodes": 6}, training={"rounds": 4})
    with PretendDevice(devices=2):
        fake = FakeRun(settings, forgetful=True, nodes_per_client=3).go()
    expected = run(config(0, SETTINGS["losses and matchings"], topology={"nodes": 6}, training={"rounds": 4}))
    torch.testing.assert_close(fake.params(expected.model), expected.params, rtol=0, atol=1e-12)
    assert fake.events() == []


class Scaled(nn.Module):
    """A network with a buffer."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("factor", torch.linspace(0.5, 1.5, 64))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.linear(images.flatten(1) * self.factor)
        return scores


def scaled(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    return Scaled()


def test_buffers_are_on_every_gpu() -> None:
    sections = {"model": {"name": f"{__name__}:scaled"}}
    for strategy in ("ngpd", "dsgd"):
        with PretendDevice(devices=2):
            found = run(config(2, SETTINGS[strategy], **sections))
        assert_same(found, run(config(0, SETTINGS[strategy], **sections)))


@pytest.mark.slow
def test_what_is_told_of_them(tmp_path: Path) -> None:
    with PretendDevice(devices=3):
        copies = [finding for finding in diagnose(None, tmp_path) if finding.name == "copies"]
        one, three = (estimate(config(gpus, SETTINGS["ngpd"])) for gpus in (1, 3))
    assert [finding.result for finding in copies] == ["arrive from each GPU at each other"]
    assert one.limit == 1 << 37 and three.limit == 3 * (1 << 37)
    assert three.dataset == 3 * one.dataset and three.state == one.state
    # 14 directed edges and an empty row; cut three times: 6 of them twice, 3 empty rows. Of the numbers for all
    # neighbors 7 and an empty one; 6 of them twice, 3 empty ones.
    row = one.parameters * 8
    assert one.messages == 15 * row + 8 * 8 and three.messages == (14 + 6 + 3) * row + (7 + 6 + 3) * 8


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"engine": {"device": "cuda:0,cuda:2"}}, "engine.device: cuda:2 is not available here; allowed: auto, cpu, "),
        ({"training": {"baseline": "all-reduce"}}, "engine.device: cuda:0,cuda:1 are more devices than nodes; name at"),
        ({"training": {"mode": "asynchronous"}}, "engine.device: a run with a virtual clock takes one device (got cu"),
    ],
)
def test_what_several_cannot_do_is_refused(sections: dict[str, Any], words: str, tmp_path: Path) -> None:
    settings = config(2, SETTINGS["dsgd"], **sections)
    if "engine" in sections:
        settings = settings.on_device(sections["engine"]["device"])
    with PretendDevice(devices=2), pytest.raises(InputError) as refusal:
        run(settings, tmp_path / "out")
    assert str(refusal.value).startswith(words)
    assert not (tmp_path / "out").exists()
