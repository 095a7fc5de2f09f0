"""Sweeps and studies on a Ray cluster of two machines on loopback: results, deaths, Ctrl-C, and clear refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ngpd_fl.cli import main
from ngpd_fl.records import RunFolder
from ngpd_fl.study import StudyPlan, run_study
from ngpd_fl.sweep import SweepPlan, run_sweep
from ngpd_fl.sweep.executors import RayExecutor
from ngpd_fl.sweep.executors.remote import remote_check
from ngpd_fl.training.run import run
from tests.support.interrupted_runs import assert_same_records
from tests.support.ports import free_port
from tests.support.ray_cluster import ray_machine
from tests.support.sweeps import LONG, SHORT, assert_same_sweeps

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with one machine."""
    with ray_machine() as machine:
        yield machine.address


STUDY = """
title = "Two runs"
base = {model = "softmax", topology.nodes = 4, training = {rounds = 2, local_steps = 1}}
tuning = {trials = 1}
final = {seeds = [1]}
strategies.dsgd = {fixed = {strategy.name = "dsgd"}, search = {strategy.lr = [0.1]}}
"""


@pytest.mark.slow
def test_results_are_those_of_processes(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder of files with the names of libraries, which lies on the search path of Ray's processes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.toml").write_text(SHORT)
    (tmp_path / "study.toml").write_text(STUDY)
    search, study = SweepPlan.read("search.toml"), StudyPlan.read("study.toml")
    run_sweep(search, "expected", jobs=2)
    (tmp_path / "optuna.py").write_text("raise ImportError('of the working folder')\n")
    with ray_machine(cluster):
        rows = run_sweep(search, "found", jobs=2, executor=RayExecutor(cluster))
        progress = run_study(study, "study", executor=RayExecutor(cluster))
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert_same_sweeps(tmp_path / "found", tmp_path / "expected")
    assert progress.text == "2 of 2 runs done"
    for folder in (tmp_path / "study" / "runs").iterdir():
        run(RunFolder(folder).config(), tmp_path / "direct" / folder.name)
        assert_same_records(folder, tmp_path / "direct" / folder.name)


@pytest.mark.slow
def test_a_machine_that_dies_and_then_a_sweep_that_is_terminated(cluster: str, tmp_path: Path) -> None:
    """Each of two machines has a core, so that both compute; what is missing is then run by processes."""
    (tmp_path / "search.toml").write_text(LONG.replace("1000", "2000"))  # until Ray notices the death
    words = ["sweep", "search.toml", "--out", "out", "--jobs", "2", "--checkpoint-every", "20", "--executor", "ray"]
    trials = [tmp_path / "out" / f"trial-000{number}" for number in range(2)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_ADDRESS": cluster}
    with (
        ray_machine(cluster) as second,
        subprocess.Popen(
            [sys.executable, "-m", "ngpd_fl", *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr is not None
        while not all((trial / "metrics.jsonl").exists() for trial in trials):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        second.kill()
        killed = process.stderr.readline()
        while "ngpd-fl: warning" not in killed:
            killed = process.stderr.readline()
        process.send_signal(signal.SIGTERM)  # which Ray would handle by ending the process
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert " killed: " in killed
    assert " interrupted: it was interrupted" in said and "sweep interrupted; records are kept in out" in said
    statuses = [json.loads(path.read_text())["status"] for path in (tmp_path / "out").glob("trial-*/summary.json")]
    assert statuses == ["interrupted"], "the other one was killed"
    rows = run_sweep(SweepPlan.read(tmp_path / "search.toml"), tmp_path / "out", jobs=2, resume=True)
    assert [row["status"] for row in rows] == ["finished"] * 2
    for trial in trials:
        run(RunFolder(trial).config(), tmp_path / "direct" / trial.name)
        assert_same_records(trial, tmp_path / "direct" / trial.name)


def test_where_no_cluster_answers_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    (tmp_path / "search.toml").write_text(SHORT)
    assert main(["sweep", str(tmp_path / "search.toml"), "--out", str(tmp_path / "out"), "--executor", "ray"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert (
        line
        == f"ngpd-fl: error: --executor ray: no cluster at {address} (Connection refused); start it with `ray start`"
    )
    assert not (tmp_path / "out").exists()


def test_machines_that_cannot_perform_tasks_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check runs on every machine before anything is computed; here it runs on this one, without what it needs."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "token"
    file.touch()
    assert remote_check(file)() == ""
    check = remote_check(file)
    file.unlink()
    assert check() == f"has another {tmp_path / 'out'}, or none; name a folder with --out that all machines share"
    file.touch()
    monkeypatch.setattr("ngpd_fl.core.code_version.code_version", lambda: "another")
    assert check() == "has other code; install the same version there"
