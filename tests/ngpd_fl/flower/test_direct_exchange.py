"""Nodes that talk to each other directly, watched over a grid in this process; their own processes are real."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict

from ngpd_fl import Config, InputError, RunFolder, run
from ngpd_fl.cli import main
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.client.peer_process import Order, PeerProcess
from ngpd_fl.flower.direct import check, loopback_peers
from ngpd_fl.flower.run_config import FlowerConfig, write
from tests.support.deployment import family, wait_for
from tests.support.flower import FakeRun

TIMES = {"train_seconds"}


def config(**sections: Any) -> Config:
    values: dict[str, Any] = {
        "strategy": "ngpd",
        "topology": {"name": "ring", "nodes": 4},
        "training": {"rounds": 6, "local_steps": 2},
        "network": {"message_loss": 0.1},
        "model": {"name": "mlp", "hidden": (4,)},
        "evaluation": {"every": 2},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**values | sections)


@pytest.mark.slow
def test_a_direct_run_is_the_relayed_one(tmp_path: Path) -> None:
    settings = config()
    direct = FakeRun(settings, data_plane="direct", nodes_per_client=3).go()
    relayed = FakeRun(settings, nodes_per_client=3).go()
    expected = run(settings)
    torch.testing.assert_close(direct.params(expected.model), expected.params, rtol=0, atol=1e-9)
    assert [metrics.round for metrics in direct.recorder.metrics] == [0, 2, 4, 6]
    for ours, theirs in zip(direct.recorder.metrics, relayed.recorder.metrics, strict=True):
        there = theirs.model_dump(exclude=TIMES)
        for name, value in ours.model_dump(exclude=TIMES).items():
            assert value == (value and pytest.approx(there[name], rel=1e-9, abs=1e-12)), name
            assert (value is None) == (there[name] is None), name
    keys = ("rounds", "status", "bytes_sent", "node_steps", "parameters", "unused_classes")
    assert [direct.recorder.summary()[key] for key in keys] == [relayed.recorder.summary()[key] for key in keys]
    account = direct.exchange.summary()
    assert account["events"] == [] and [peer["nodes"] for peer in account["peers"]] == [[0, 1, 2], [3]]
    assert not list(tmp_path.glob("scratch-*")) and family(tmp_path) == {}
    kinds = {kind for kind, *_ in direct.grid.asked}
    assert kinds == {"query", "train.peer"}


def fitting(metrics: str) -> dict[str, Any]:
    return {
        "round": 1, "node_steps": 1, "train_seconds": 0.5, "metrics": metrics, "events": "", "summary": "{}",
        "error": "", "restarted": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("news", "models", "said"),
    [
        ({"round": -1}, {}, "round"),
        ({"train_seconds": "long"}, {}, "train_seconds"),
        ({"summary": '{"status": 3}'}, {}, "status"),
        ({"summary": "[" * 100_000}, {}, "nested deeper"),
        ({"metrics": "{}"}, {}, "not an evaluation"),
        ({"metrics": "few nodes"}, {}, "its evaluations are of another network"),
        ({}, {"node2/weight": Array("float32", (10**9,), "numpy.ndarray", b"x" * 50)}, "node2/weight cannot be read"),
        ({}, {"node3/weight": Array(np.array(["text"]))}, "node3/weight is of type <U4"),
    ],
)
def test_a_client_whose_records_cannot_be_of_this_run_fails_alone(
    news: dict[str, Any], models: dict[str, Array], said: str
) -> None:
    """The first client's records fit; the second one's are as it likes. No process runs."""
    settings = config()
    lines = [each.model_dump_json() for each in run(settings).metrics]
    if "metrics" in news and news["metrics"] == "few nodes":
        few = run(config(topology={"name": "path", "nodes": 2})).metrics
        news = {"metrics": few[-1].model_dump_json()}
    fake = FakeRun(settings, data_plane="direct", nodes_per_client=2)
    ends = {"summary": json.dumps({"status": "finished", "rounds": 6})}

    def ask(kind: str, contents: Any, round: int, timeout: float) -> dict[int, RecordDict]:
        answers = {
            0: RecordDict({wire.CONFIG: wire.config_record(fitting("\n".join(lines)) | ends)}),
            1: RecordDict({wire.CONFIG: wire.config_record(fitting("") | news)}),
        }
        answers[1][wire.MODELS] = ArrayRecord({"node0/weight": Array(np.zeros(1)), **models})
        return answers

    fake.clients.ask = ask  # type: ignore[method-assign]
    fake.go()
    assert fake.recorder.status == "finished" and [each.round for each in fake.recorder.metrics] == [0, 2, 4, 6]
    (event,) = fake.events()
    assert event[1] == 1 and "do not fit the run" in event[2] and said in event[2]
    assert not fake.exchange.models  # nor those of nodes that are another client's


@pytest.mark.slow
def test_a_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    settings = config(
        topology={"name": "path", "nodes": 2}, training={"rounds": 600, "local_steps": 4}, evaluation={"every": 50}
    )
    killed: list[int] = []

    def fault(kind: str, number: int, client: int) -> None:
        if client == 1 and number >= 50 and not killed:
            killed.extend(family(tmp_path / f"scratch-{fake.grid.run_id}" / "peer1"))
            os.kill(killed[0], signal.SIGKILL)
            os.waitpid(killed[0], 0)

    fake = FakeRun(settings, fault, data_plane="direct")
    fake.go()
    assert fake.recorder.status == "finished" and fake.recorder.round == 600
    assert any(client == 1 and "its process died and is started again" in what for _, client, what in fake.events())
    assert [peer["starts"] for peer in fake.exchange.summary()["peers"]] == [1, 2]
    assert fake.params(run(settings.model_copy(update={"training": config().training})).model).isfinite().all()
    assert family(tmp_path) == {}


def order_of(settings: Config, **flower: Any) -> Order:
    plane = FlowerConfig(data_plane="direct", nodes_per_client=settings.topology.nodes, **flower)
    peers = flower.get("peers") or loopback_peers(settings, plane).to_toml()
    return Order(write(settings, plane.model_copy(update={"peers": peers})), 0, None, "this one")


@pytest.mark.slow
def test_a_process_ends_where_the_server_is_silent_and_goes_on_where_it_comes_back(tmp_path: Path) -> None:
    settings = config(training={"rounds": 100_000, "local_steps": 1}, evaluation={"every": 100_000})
    process, order = PeerProcess.of(7, 0, tmp_path), order_of(settings, round_timeout=3.0)
    assert process.ensure_running(order) is False and process.is_running()
    records = tmp_path / "run-7" / "peer0" / "records"
    wait_for(lambda: process.status(), 120, lambda: "it does not stop")
    summary = RunFolder(records).summary()
    assert summary["status"] == "interrupted" and list((records / "checkpoints").glob("round-*.json"))
    wait_for(lambda: not process.is_running(), 10, lambda: "it does not end")
    assert process.ensure_running(order) is True
    try:
        while process.report(-1, 0)["round"] <= summary["rounds"]:
            process.ensure_running(order)
            time.sleep(0.1)
        later = PeerProcess.of(8, 0, tmp_path)
        later.ensure_running(order._replace(run="another"))  # makes room for itself
        assert not process.is_running() and later.is_running()
    finally:
        for each in (process, PeerProcess.of(8, 0, tmp_path)):
            each.stop()
    assert "was stopped and is started again" in process.report(-1, 0)["events"]
    assert process.report(-1, 1)["events"] == "" and family(tmp_path) == {}


def test_a_client_that_cannot_take_part_says_why() -> None:
    settings = config(topology={"name": "path", "nodes": 2})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        peers = f'[[peers]]\naddress = "127.0.0.1:{port}"\nnodes = [0, 1]\n'
        fake = FakeRun(settings, data_plane="direct", nodes_per_client=2, peers=peers)
        with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}: cannot listen there"):
            fake.go()
    (event,) = fake.events()
    assert event[2].startswith("failed: 127.0.0.1")


PEERS = "\n".join(f'[[peers]]\naddress = "127.0.0.1:{7000 + node}"\nnodes = [{node}]' for node in range(4))
ECL = {"strategy": "ecl"}


@pytest.mark.parametrize(
    ("sections", "flower", "said"),
    [
        ({}, {"peers": PEERS}, "peers: are for data-plane direct (got relay)"),
        ({}, {"data_plane": "direct"}, "peers: data-plane direct needs to know where the nodes are"),
        ({}, {"data_plane": "direct", "peers": PEERS, "nodes_per_client": 2}, "peers: client 0 hosts the nodes 0, 1"),
        ({"topology": {"nodes": 5}}, {"data_plane": "direct", "peers": PEERS}, "peers: node 4 of the topology"),
        ({}, {"data_plane": "direct", "peers": "[[peers]"}, "peers: not valid TOML"),
        ({}, {"data_plane": "direct", "peers": "[[peers]]\nnodes = [0]"}, "peers: peers.0.address"),
        ({"training": {"until_accuracy": 0.5}}, {"data_plane": "direct", "peers": PEERS}, "training.until_accuracy"),
        ({"devices": {"slow": {0: 2.0}}}, {"data_plane": "direct", "peers": PEERS}, "devices: peers have no virtual"),
    ],
)
def test_what_cannot_be_is_one_line(sections: dict[str, Any], flower: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(said)}") as raised:
        check(config(**sections), FlowerConfig(**flower))
    assert "\n" not in str(raised.value)


def test_modes_that_only_peers_have_are_taken() -> None:
    settings = config(training={"mode": "asynchronous"})
    check(settings, FlowerConfig(data_plane="direct", peers=PEERS))


def test_a_plane_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flower", "run", "--data-plane", "mesh", "--out", str(tmp_path / "out")]) == 2
    assert "data_plane: input should be 'relay' or 'direct' (got 'mesh')" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
