"""Sweeps as jobs of submitit: its local and debug executors here, and SLURM where there is one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.cli import main
from ngpd_fl.config import InputError
from ngpd_fl.core import machine
from ngpd_fl.records import RunFolder
from ngpd_fl.sweep import SweepPlan, run_sweep
from ngpd_fl.sweep.executors import SlurmExecutor
from ngpd_fl.training.run import run
from tests.support.interrupted_runs import assert_same_records
from tests.support.sweeps import LONG, SHORT, assert_same_sweeps

pytest.importorskip("submitit")

SLURM = pytest.param(
    "slurm", marks=[pytest.mark.slow, pytest.mark.skipif(not shutil.which("sbatch"), reason="needs a SLURM cluster")]
)


def plan(folder: Path, text: str) -> SweepPlan:
    (folder / "search.toml").write_text(text)
    return SweepPlan.read(folder / "search.toml")


@pytest.mark.parametrize("cluster", ["debug", pytest.param("local", marks=pytest.mark.slow), SLURM])
def test_results_are_those_of_processes(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_limit", machine._limit)  # jobs of the debug executor run in this process,
    monkeypatch.setattr(sys, "path", [*sys.path])  # and change its settings
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP)}
    search = plan(tmp_path, SHORT)
    run_sweep(search, tmp_path / "expected", jobs=2)
    rows = run_sweep(search, tmp_path / "found", jobs=2, executor=SlurmExecutor({"time": 5}, cluster))
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert_same_sweeps(tmp_path / "found", tmp_path / "expected")


def job_of(trial: Path) -> int:
    """Return the process of a trial's job: the one that has its configuration locked."""
    while True:
        for entry in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if entry.readlink() == trial / "config.toml":
                    return int(entry.parts[2])
            except OSError:
                continue
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_a_job_that_dies_one_whose_time_is_over_and_what_is_missing(tmp_path: Path) -> None:
    search, out = plan(tmp_path, LONG), tmp_path / "out"
    stops = {0: signal.SIGKILL, 1: signal.SIGUSR2}  # submitit has SLURM send SIGUSR2 before the time is over

    def stop() -> None:
        for number, how in stops.items():
            trial = out / f"trial-{number:04}"
            process = job_of(trial)
            while not (trial / "metrics.jsonl").exists():
                time.sleep(0.05)
            os.kill(process, how)

    threading.Thread(target=stop, daemon=True).start()
    ends: dict[int, Any] = {}
    run_sweep(
        search,
        out,
        jobs=2,
        executor=SlurmExecutor({"time": 5}, "local"),
        checkpoint_every=20,
        on_end=lambda trial: ends.update({trial.number: trial.end}),
    )
    assert ends[0].status == "killed" and " ended without a result; see " in ends[0].note
    [log] = (out / "slurm").iterdir()
    assert ends[0].note.endswith(str(log)), "and nothing else of the jobs is left"
    assert ends[1].status == "interrupted"
    assert json.loads((out / "trial-0001" / "summary.json").read_text())["status"] == "interrupted"
    rows = run_sweep(search, out, jobs=2, executor=SlurmExecutor({"time": 5}, "local"), resume=True)
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert not (out / "slurm").exists()
    for row in rows:
        run(RunFolder(out / row["trial"]).config(), tmp_path / "direct" / row["trial"])
        assert_same_records(out / row["trial"], tmp_path / "direct" / row["trial"])


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", SLURM])
def test_ctrl_c_cancels_the_jobs(cluster: str, tmp_path: Path) -> None:
    search, out = plan(tmp_path, LONG.replace("1000", "1000000")), tmp_path / "out"

    def interrupt() -> None:
        while not (out / "trial-0000" / "metrics.jsonl").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    ends = []
    with pytest.raises(KeyboardInterrupt):
        executor = SlurmExecutor({"time": 5}, cluster)
        run_sweep(search, out, jobs=2, executor=executor, on_end=lambda trial: ends.append(trial.end))
    assert [end.status for end in ends if end] == ["interrupted"] * 2
    if cluster == "slurm":  # the local executor kills a job after a second, before that may have completed its records
        assert json.loads((out / "trial-0000" / "summary.json").read_text())["status"] == "interrupted"
    assert not (out / "slurm").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--slurm time: is needed, the most minutes that a run takes, e.g. time=120"),
        (["time=1h"], "--slurm time: should be a whole number from 1 (got 1h)"),
        (["time=5", "partitoin=gpu"], "--slurm partitoin: not an option of these jobs; did you mean 'partition'?"),
        (["time=5", "cpus_per_task=0"], "--slurm cpus_per_task: should be a whole number from 1 (got 0)"),
        (["time=5", "nodes=2"], "--slurm nodes: not an option of these jobs"),
    ],
)
def test_options_that_cannot_be(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "sbatch").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    options = [word for value in words for word in ("--slurm", value)]
    (tmp_path / "search.toml").write_text(SHORT)
    words = ["sweep", str(tmp_path / "search.toml"), "--out", str(tmp_path / "out"), "--executor", "slurm", *options]
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ngpd-fl: error: {message}")
    assert not (tmp_path / "out").exists()


def test_where_slurm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="^--executor slurm: this machine has no sbatch; start this on a login node"):
        SlurmExecutor({"time": 5}).__enter__()


@pytest.mark.parametrize("command", ["sweep", "study"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--executor", "slrum"], "--executor slrum: unknown; did you mean 'slurm'? allowed: processes, ray, slurm"),
        (["--slurm", "time=5"], "--slurm: sets options of --executor slurm (got processes)"),
    ],
)
def test_executors_that_do_not_exist(
    command: str, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "none.toml", "--out", str(tmp_path / "out"), *words]) == 2
    assert capsys.readouterr().err.splitlines() == [f"ngpd-fl: error: {message}"]
