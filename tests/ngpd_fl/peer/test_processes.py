"""Peers as processes that speak mutual TLS: the same result, and nothing that befalls one stops the others."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks._fleet import Fleet
from ngpd_fl import run
from ngpd_fl.peer.merge import gather
from ngpd_fl.records import RunFolder
from tests.ngpd_fl.peer.test_engine import config
from tests.support.ports import free_port


def assert_same(fleet: Fleet, tolerance: float) -> None:
    expected = run(fleet.config)
    for number, nodes in enumerate(fleet.hosted):
        models = RunFolder(fleet.out(number)).models()
        for node in nodes:
            params = expected.model.flatten(models[f"node{node}"])
            torch.testing.assert_close(params, expected.params[node], rtol=0, atol=tolerance)


def account(fleet: Fleet, number: int) -> dict[str, Any]:
    found: dict[str, Any] = RunFolder(fleet.out(number)).summary()["peer"]
    return found


def test_processes_end_where_one_does(tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 4}, strategy={"name": "ngpd", "message_dtype": "float32"})
    with Fleet(here, tmp_path, [[0, 2], [1], [3]]) as fleet:
        fleet.start_all("--quiet")
        assert fleet.wait(400) == [0, 0, 0]
        assert all(fleet.log(number) == "" for number in range(3))
        assert_same(fleet, 1e-9)


@pytest.mark.slow
def test_eight_processes_end_where_one_does(tmp_path: Path) -> None:
    here = config(topology={"name": "circulant", "nodes": 8}, model="lenet", training={"rounds": 10, "local_steps": 8})
    with Fleet(here, tmp_path) as fleet:
        fleet.start_all()
        assert fleet.wait(400) == [0] * 8
        assert_same(fleet, 1e-9)
        summary = gather([fleet.out(number) for number in range(8)], tmp_path / "all")
        assert summary["final"]["mean_accuracy"] == pytest.approx(run(here).summary["final"]["mean_accuracy"])


@pytest.mark.slow
def test_a_peer_that_is_killed_comes_back(tmp_path: Path) -> None:
    """kill -9 in the middle: the neighbors go on, take it back, and everyone ends; Prometheus sees it."""
    here = config(
        topology={"name": "path", "nodes": 3}, training={"rounds": 400, "local_steps": 4}, evaluation={"every": 5}
    )
    port = free_port()
    with Fleet(here, tmp_path) as fleet:
        for number in (0, 1):
            fleet.start(number, "--round-timeout", "1", "--checkpoint-every", "10")
        fleet.start(2, "--round-timeout", "1", "--checkpoint-every", "10", "--metrics-port", str(port))
        fleet.wait_for_round(2, 20, 400)
        fleet.kill(2)
        there = fleet.round(1)
        fleet.wait_for_round(1, there + 15, 200)
        fleet.start(2, "--round-timeout", "1", "--metrics-port", str(port))
        fleet.wait_for_round(2, there + 20, 400)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
        assert float(found["ngpd_fl_starts"]) == 2 and float(found["ngpd_fl_rounds_skipped_total"]) > 0
        assert float(found["ngpd_fl_node_steps_total"]) > 0
        codes, was_mostly_away = (
            fleet.wait(200),
            account(fleet, 2)["rounds_skipped"] > 200,
        )  # a busy machine starts slowly
        assert codes == [0, 0, int(was_mostly_away)]
        assert account(fleet, 2)["starts"] == 2 and account(fleet, 2)["rounds_skipped"] > 0
        said = " ".join(fleet.log(0).split())
        assert f"finished; records in {fleet.out(0)} `ngpd-fl gather DIR... --out DIR` merges those of all" in said
        assert not any(account(fleet, number)["frames_refused"] for number in range(3))
        assert account(fleet, 1)["messages_missed"] >= 1
        assert "joins them there" in fleet.log(2) and "did not send its message" in fleet.log(1)
        finals = [RunFolder(fleet.out(number)).summary()["final"]["mean_accuracy"] for number in range(3)]
        assert max(finals) - min(finals) < 0.1


def test_a_peer_that_is_told_to_stop_leaves_a_checkpoint(tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 100_000, "local_steps": 1})
    with Fleet(here, tmp_path) as fleet:
        fleet.start_all("--checkpoint-every", "1000000")
        fleet.wait_for_round(0, 5, 400)
        for process in fleet.processes.values():
            process.send_signal(signal.SIGTERM)
        assert fleet.wait(200) == [130, 130]
        for number in range(2):
            summary = RunFolder(fleet.out(number)).summary()
            kept = json.loads(next((fleet.out(number) / "checkpoints").glob("round-*.json")).read_text())
            assert summary["status"] == "interrupted" and kept["content"]["round"] == summary["rounds"] > 5
            assert f"stopped after round {summary['rounds']} of 100000" in fleet.log(number)
