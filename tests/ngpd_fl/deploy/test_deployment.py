"""The real thing on loopback: TLS, authenticated SuperNodes, supervisors, and runs through the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from PIL import Image
from sklearn.datasets import load_digits

from ngpd_fl import Config, RunFolder, run
from tests.support.deployment import PROXIES, Deployment, Service, family, own_address, wait_for
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
deploy = pytest.mark.deploy


def config(nodes: int, rounds: int, **sections: Any) -> Config:
    values: dict[str, Any] = {
        "strategy": "dsgd",
        "model": {"name": "mlp", "hidden": [16]},
        "topology": {"name": "ring", "nodes": nodes},
        "training": {"rounds": rounds, "local_steps": 2},
        "evaluation": {"every": rounds},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**values | sections)


def start_run(place: Deployment, settings: Config, out: Path, *words: str) -> subprocess.Popen[str]:
    file = place.folder / f"{out.name}.toml"
    file.write_text(settings.to_toml())
    return place.run(file, out, *words)


def check(settings: Config, out: Path) -> dict[str, Any]:
    """Compare a run's records with those of the in-process engine, and return the summary."""
    expected, folder = run(settings), RunFolder.open(out)
    saved, summary = folder.models(), folder.summary()
    for node, params in enumerate(expected.params):
        torch.testing.assert_close(expected.model.flatten(saved[f"node{node}"]), params, rtol=0, atol=1e-9)
    for ours, theirs in zip(folder.metrics(), expected.metrics, strict=True):
        assert (ours.round, ours.bytes_sent, ours.node_steps) == (theirs.round, theirs.bytes_sent, theirs.node_steps)
        assert ours.accuracy == theirs.accuracy
    assert summary.keys() - expected.summary.keys() == {"flower"}
    assert summary["final"] == {key: pytest.approx(value, rel=1e-9) for key, value in expected.summary["final"].items()}
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("plane", ["relay", "direct"])
def test_two_nodes_follow_the_in_process_engine_and_leave_no_process(
    plane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where proxies are named that lead nowhere, and where the SuperLink listens at one address."""
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    settings = config(2, 2, topology={"name": "path", "nodes": 2})
    words = ["--data-plane", plane]
    if plane == "direct":
        entries = [{"address": f"127.0.0.1:{free_port()}", "nodes": [node]} for node in range(2)]
        (tmp_path / "peers.toml").write_text(tomli_w.dumps({"peers": entries}))
        words += ["--peers", str(tmp_path / "peers.toml")]
    with Deployment(tmp_path, 2, [own_address()]) as place:
        services = [place.superlink(own_address())]
        services[0].wait_for("superlink takes 2 nodes")
        place.address = f"{own_address()}:{place.port}"
        services += [place.supernode("node0"), place.supernode("node1")]
        process = start_run(place, settings, tmp_path / "out", *words)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
        assert "finished after 2 rounds" in said
        assert check(settings, tmp_path / "out")["flower"]["events"] == []
        assert [service.stop() for service in services] == [0, 0, 0]
    assert family(tmp_path) == {}


@pytest.fixture(scope="module")
def nodes(place: Deployment) -> Iterator[list[Service]]:
    """Four SuperNodes, each with a data folder of its own that holds digits as pictures."""
    images, labels = load_digits(return_X_y=True)
    for kind, chosen in (("train", slice(0, 240)), ("test", slice(240, 320))):
        for number, (image, label) in enumerate(zip(images[chosen], labels[chosen], strict=True)):
            folder = place.folder / "data" / "node0" / kind / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((16 * image).clip(0, 255).astype(np.uint8).reshape(8, 8)).save(folder / f"{number}.png")
    for number in range(1, 4):
        shutil.copytree(place.folder / "data" / "node0", place.folder / "data" / f"node{number}")
    with place.until_here():
        yield [
            place.supernode(f"node{number}", "--data-dir", place.folder / "data" / f"node{number}")
            for number in range(4)
        ]


def pictures(place: Deployment, rounds: int, every: int) -> Config:
    data = {"dataset": "image-folder", "data_dir": place.folder / "data" / "node0", "image_size": 8}
    return config(4, rounds, data=data, evaluation={"every": every})


@deploy
def test_four_nodes_leave_the_records_of_the_in_process_engine(
    place: Deployment, nodes: list[Service], tmp_path: Path
) -> None:
    settings = pictures(place, 3, 1)
    process = start_run(place, settings, tmp_path / "out")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert check(settings, tmp_path / "out")["flower"]["events"] == []
    assert [service.said().count("SuperNode ID") for service in nodes] == [1, 1, 1, 1]


@deploy
def test_a_supernode_that_is_killed_comes_back_with_its_state(
    place: Deployment, nodes: list[Service], tmp_path: Path
) -> None:
    """The kernel kills it; the SuperLink refuses its successor until the heartbeat has lapsed; then it goes on."""
    rounds = 30
    process = start_run(place, pictures(place, rounds, 10), tmp_path / "out", "--round-timeout", "25")
    state = place.folder / "node2" / "state"
    before = set(state.glob("run-*"))
    wait_for(lambda: set(state.glob("run-*")) - before, 300, nodes[2].said)
    killed = [pid for pid, words in family(state / "flower").items() if words.split()[1].endswith("flower-supernode")]
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said
    assert "node2 ended" in nodes[2].said() and nodes[2].said().count("SuperNode ID") == 2
    summary = RunFolder.open(tmp_path / "out").summary()
    assert summary["status"] == "finished"
    events = summary["flower"]["events"]
    assert any(event["client"] == 2 for event in events)
    others = {event["what"] for event in events if event["client"] != 2}
    assert all("in time" in what or "busy" in what or "late" in what for what in others), "a busy machine, no more"
    assert not [event for event in events if "is lost" in event["what"]], "it had its state"
    sent = {(i, j): numbers for i, j, *numbers in summary["flower"]["bytes_per_edge"]}
    rounds_of_2 = sent[1, 2][1] * rounds / max(numbers[0] for numbers in sent.values())
    assert 3 <= rounds_of_2 <= rounds - 1, "it was away, killed in the first round, and it came back"
    assert RunFolder.open(tmp_path / "out").models().keys() >= {"node0", "node1", "node2", "node3"}
