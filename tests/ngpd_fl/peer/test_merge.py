"""Records that peers have written apart read, put together, like those of the same run in one process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ngpd_fl import run
from ngpd_fl.config import InputError
from ngpd_fl.peer.merge import gather
from ngpd_fl.records import RunFolder
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


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    here: Any = config(topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 1})
    Crowd(here, tmp_path).run()
    with pytest.raises(InputError, match="not empty"):
        gather([tmp_path / "peer0", tmp_path / "peer1"], tmp_path / "peer0")


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
