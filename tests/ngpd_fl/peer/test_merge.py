"""Records that peers have written apart read, put together, like those of the same run in one process."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ngpd_fl import run
from ngpd_fl.config import InputError
from ngpd_fl.peer.merge import gather
from ngpd_fl.records import RunFolder, write_tensors
from ngpd_fl.records.files import read_tensors
from tests.ngpd_fl.peer.test_engine import config
from tests.support.peers import Crowd

UNLIKE = {"train_seconds", "averaged_model", "consensus_distance"}


@pytest.mark.parametrize("dataset", ["digits", "diabetes"])
def test_gathered_records_are_those_of_one_process(dataset: str, tmp_path: Path) -> None:
    here = config(data={"dataset": dataset}, model={"name": "mlp", "hidden": [4]})
    hosted = [[3, 0], [1, 2, 4]]
    Crowd(here, tmp_path, hosted).run()
    summary = gather([tmp_path / "peer0", tmp_path / "peer1"], tmp_path / "all")
    expected = run(here, tmp_path / "one")
    folder = RunFolder.open(tmp_path / "all")
    assert [metrics.round for metrics in folder.metrics()] == [0, 2, 4, 5]
    for found, other in zip(folder.metrics(), expected.metrics, strict=True):
        for name, value in other.model_dump().items():
            if not name.startswith(tuple(UNLIKE)):
                wanted = np.array(value, dtype=float)
                np.testing.assert_allclose(np.array(getattr(found, name), dtype=float), wanted, atol=1e-9, err_msg=name)
    for name, value in expected.summary["final"].items():
        assert summary["final"][name] == pytest.approx(value, abs=1e-9), name
    same = ("strategy", "nodes", "parameters", "rounds", "status", "bytes_sent", "node_steps", "evaluated_on")
    assert {name: summary[name] for name in same} == {name: expected.summary[name] for name in same}
    assert folder.models().keys() == RunFolder(tmp_path / "one").models().keys()
    np.testing.assert_array_equal(folder.label_counts(), RunFolder(tmp_path / "one").label_counts())  # type: ignore[arg-type]


def test_peers_that_have_not_ended_count_as_far_as_they_go(tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 3})
    Crowd(here, tmp_path).run()
    for name in ("summary.json", "models.safetensors"):
        (tmp_path / "peer2" / name).unlink()
    lines = (tmp_path / "peer2" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "peer2" / "metrics.jsonl").write_text("".join(lines[:2]))
    summary = gather([tmp_path / f"peer{number}" for number in range(3)], tmp_path / "all")
    metrics = RunFolder(tmp_path / "all").metrics()
    alone = [RunFolder(tmp_path / f"peer{number}").metrics() for number in range(3)]
    assert summary["status"] == "interrupted" and summary["rounds"] == 5
    assert np.isnan(metrics[2].nodes[2]) and metrics[1].nodes[2] == alone[2][1].nodes[2]
    assert metrics[2].mean == pytest.approx((alone[0][2].nodes[0] + alone[1][2].nodes[1]) / 2)
    assert metrics[3].node_steps == 10 + 10 + 4
    assert not metrics[3].has_average


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["peer0", "peer0"], "node 0 is in"),
        (["peer0", "other"], "of another run"),
        (["peer0", "one"], "not a peer's folder"),
        (["nothing"], "not a run's folder"),
        (["peer0", "counted"], "label_counts.json is of another run"),
    ],
)
def test_what_does_not_belong_together_is_refused(names: list[str], words: str, tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 1})
    Crowd(here, tmp_path).run()
    Crowd(here.model_copy(update={"seed": 1}), tmp_path / "seed1").run()
    (tmp_path / "seed1" / "peer1").rename(tmp_path / "other")
    run(here, tmp_path / "one")
    shutil.copytree(tmp_path / "peer1", tmp_path / "counted")
    (tmp_path / "counted" / "label_counts.json").write_text("[[1, 2], [3, 4]]")
    with pytest.raises(InputError, match=words):
        gather([tmp_path / name for name in names], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of two peers; do not write into them."""
    folder = tmp_path_factory.mktemp("two")
    Crowd(config(topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 1}), folder).run()
    return folder


def summary(**values: Any) -> Callable[[Path], None]:
    """Return a change of a peer's summary."""

    def change(folder: Path) -> None:
        path = folder / "summary.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | values | {"peer": content["peer"] | values.get("peer", {})}))

    return change


def many_steps(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    lines = [json.loads(line) | {"node_steps": 2**63 - 1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def no_nodes(folder: Path) -> None:
    (folder / "peer.json").write_text('{"nodes": [], "starts": 1, "incarnation": 1}')


def model_of_another(folder: Path) -> None:
    models = read_tensors(folder / "models.safetensors").tensors
    write_tensors(folder / "models.safetensors", models | {name.replace("1", "0", 1): models[name] for name in models})


def another_network(folder: Path) -> None:
    models = read_tensors(folder / "models.safetensors").tensors
    write_tensors(folder / "models.safetensors", {name: torch.zeros(3) for name in models})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (summary(peer={"rounds_skipped": "a"}), "peer1/summary.json: damaged .peer.rounds_skipped"),
        (summary(peer={"nodes": []}), "peer1/summary.json: damaged .peer.nodes"),
        (summary(rounds_planned=None), "peer1/summary.json: damaged .rounds_planned"),
        (summary(decomposition_retries="a"), "peer1/summary.json: damaged .decomposition_retries"),
        (summary(decomposition_retries={"factor": {}}), "decomposition_retries: damaged .no width"),
        (summary(node_steps=2**63 - 1), "records do not fit together .node_steps"),
        (many_steps, "evaluations in round 1 do not fit together .node_steps"),
        (no_nodes, "peer1/peer.json: damaged .nodes"),
        (model_of_another, "peer1/models.safetensors: the peer does not host 'node0'"),
        (another_network, "peer1/models.safetensors: is not of this run: parameter node1/"),
    ],
)
def test_damaged_records_are_named_and_leave_no_folder(
    change: Callable[[Path], None], words: str, two: Path, tmp_path: Path
) -> None:
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "peer1")
    with pytest.raises(InputError, match=words):
        gather([tmp_path / "peer0", tmp_path / "peer1"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    here: Any = config(topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 1})
    Crowd(here, tmp_path).run()
    with pytest.raises(InputError, match="not empty"):
        gather([tmp_path / "peer0", tmp_path / "peer1"], tmp_path / "peer0")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_merge_that_ends_early_leaves_no_folder(
    error: BaseException, two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(self: RunFolder, *_: object) -> None:
        assert self.metrics()
        raise error

    monkeypatch.setattr(RunFolder, "finish", finish)
    with pytest.raises(type(error)):
        gather([two / "peer0", two / "peer1"], tmp_path / "made" / "all")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("hosted", "away", "status"),
    [
        ([[0], [1], [2]], [0], "finished"),
        ([[0], [1], [2]], [0, 1, 2], "failed"),
        ([[0], [1, 2]], [0], "finished"),
        ([[0], [1, 2]], [1], "failed"),
    ],
)
def test_a_peer_that_was_away_spoils_a_run_only_where_most_nodes_were(
    hosted: list[list[int]], away: list[int], status: str, tmp_path: Path
) -> None:
    """Peers that left out most of their rounds have failed; the network has, if together they left out most."""
    here: Any = config(topology={"name": "path", "nodes": 3}, training={"rounds": 5, "local_steps": 1})

    def skip(engine: Any, recorder: Any) -> None:
        engine.skipped = 4

    summaries = Crowd(here, tmp_path, hosted).run({number: {"on_start": skip} for number in away})
    numbers = range(len(hosted))
    assert [summary["status"] == "failed" for summary in summaries] == [number in away for number in numbers]
    assert gather([tmp_path / f"peer{number}" for number in numbers], tmp_path / "all")["status"] == status
