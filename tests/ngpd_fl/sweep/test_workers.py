"""Processes of sweeps and studies: whatever script starts them, in whatever folder, and however they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from ngpd_fl.cli import main
from ngpd_fl.records import RunFolder
from ngpd_fl.sweep import SweepPlan, run_sweep
from ngpd_fl.sweep.table import read_trials
from ngpd_fl.sweep.tasks import RunTask

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

BASE = """
model = "softmax"
partition = {name = "dirichlet", alpha = 10.0}
[topology]
nodes = 4
[training]
rounds = 1
local_steps = 1
"""

SCRIPT = """
print("begun", flush=True)
from ngpd_fl.study import StudyPlan, run_study
from ngpd_fl.sweep import SweepPlan, run_sweep
print([row["status"] for row in run_sweep(SweepPlan.read("search.toml"), "search", jobs=2)])
print(run_study(StudyPlan.read("study.toml"), "study", jobs=2).text)
"""

LIBRARIES = ("datasets", "flwr_datasets", "networkx", "optuna", "pydantic", "safetensors", "sklearn", "typer")
"""Modules of the working folder that have the name of a dependency, which they would break."""


STUDY = """
title = "Two runs"
base = {model = "softmax", topology.nodes = 4, training = {rounds = 1, local_steps = 1}}
tuning = {trials = 1}
final = {seeds = [1]}
strategies.dsgd = {fixed = {strategy.name = "dsgd"}, search = {strategy.lr = [0.1]}}
"""

OWN = """
from torch import nn
def make(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def stand_in(folder: Path) -> None:
    """Put modules into a folder that have the names of libraries."""
    for name in LIBRARIES:
        (folder / f"{name}.py").write_text("raise ImportError('of the working folder')\n")


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """And a notebook's settings of pictures, in a folder of files with the names of libraries, break nothing."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "search.py").write_text(SCRIPT)
    (tmp_path / "search.toml").write_text(f"{BASE}[sweep.keys]\nstrategy.name = ['dsgd', 'ecl']\n")
    (tmp_path / "study.toml").write_text(STUDY)
    stand_in(tmp_path)
    done = subprocess.run(
        [sys.executable, "scripts/search.py"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"MPLBACKEND": "module://matplotlib_inline.nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["begun", "['finished', 'finished']", "2 of 2 runs done"]


@pytest.mark.slow
def test_the_command_as_a_module_finds_libraries_first(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "run.toml").write_text(BASE.replace('"softmax"', '"own:make"'))
    stand_in(tmp_path)
    words = [sys.executable, "-m", "ngpd_fl", "run", "--config", "run.toml", "--out", "out", "--quiet"]
    done = subprocess.run(
        words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_largest_seeds(sampler: str, tmp_path: Path) -> None:
    search = f'[sweep]\nsampler = "{sampler}"\ntrials = 3\nseed = {2**32 - 1}\n'
    keys = f"[sweep.keys]\nseed = {{low = 0, high = {2**63 - 1}}}\nstrategy.lr = {{low = 0.01, high = 0.1}}\n"
    (tmp_path / "search.toml").write_text(BASE + search + keys)
    rows = run_sweep(SweepPlan.read(tmp_path / "search.toml"), tmp_path / "out")
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert [RunFolder(tmp_path / "out" / row["trial"]).config().seed for row in rows] == [row["seed"] for row in rows]


def test_what_optuna_says_is_the_users_to_set(tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(f"{BASE}[sweep.keys]\nstrategy.name = ['dsgd']\n")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        run_sweep(SweepPlan.read(tmp_path / "search.toml"), tmp_path / "out")
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """SIGHUP comes to all processes at once: each trial's records are completed, and the sweep goes on later."""
    text = BASE.replace("rounds = 1", "rounds = 100000")
    (tmp_path / "search.toml").write_text(f"{text}[sweep.keys]\nstrategy.name = ['dsgd', 'ecl']\n")
    words = [sys.executable, "-m", "ngpd_fl", "sweep", "search.toml", "--out", "out", "--jobs", "2"]
    with subprocess.Popen(words, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True) as process:
        trials = [tmp_path / "out" / f"trial-000{number}" for number in range(2)]
        deadline = time.monotonic() + 180
        while not all((trial / "metrics.jsonl").exists() for trial in trials):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(60) == 130
    assert [RunFolder(trial).summary()["status"] for trial in trials] == ["interrupted"] * 2
    rows = read_trials(SweepPlan.read(tmp_path / "search.toml"), tmp_path / "out")
    assert [row["status"] for row in rows] == ["interrupted"] * 2
    assert main(["show", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", 0), ("cpu", 0), ("cuda", 1), ("cuda:1", 1), ("cuda:0,cuda:1", 2), ("tpu", 0)]
)
def test_a_run_asks_for_the_gpus_that_its_device_names(device: str, expected: int) -> None:
    task = RunTask("trial", Path("trial"), {}, {"engine.device": device}, "mean_accuracy")
    assert task.num_gpus == expected


def test_ctrl_c_does_not_reach_the_server_of_processes(tmp_path: Path) -> None:
    """A terminal sends it to all processes; the server would show where it was, while it imports."""
    code = (
        "import signal, time\nfrom multiprocessing import forkserver\n"
        "from ngpd_fl.sweep.executors.processes import _start_server\n"
        "forkserver.set_forkserver_preload(['slow'])\n_start_server()\n"
        "print(forkserver._forkserver._forkserver_pid, flush=True)\ntime.sleep(60)"
    )
    (tmp_path / "slow.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(60)")
    main = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert main.stdout is not None
        server = int(main.stdout.readline())
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        os.kill(server, signal.SIGINT)
        time.sleep(0.5)
        assert os.kill(server, 0) is None  # it goes on
    finally:
        os.kill(server, signal.SIGKILL)
        main.kill()
        assert b"Traceback" not in main.communicate()[1]


def test_the_server_of_processes_ignores_signals_of_a_terminal() -> None:
    code = (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nimport ngpd_fl.core.fork_server\n"
        "assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
