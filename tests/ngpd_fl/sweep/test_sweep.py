"""Trials in their processes: each is the direct run, one that fails stops no other, and what is missing is run."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from ngpd_fl.cli import main
from ngpd_fl.config import InputError
from ngpd_fl.records import RunFolder
from ngpd_fl.sweep import SweepPlan, ranked, run_sweep
from ngpd_fl.training.run import run
from tests.support.interrupted_runs import assert_same_records, timeless

BASE = 'model = "softmax"\n[topology]\nnodes = 4\n[training]\nrounds = 2\nlocal_steps = 2\n'
GRID = "[sweep.keys]\nstrategy.name = ['dsgd', 'ngpd']\nstrategy.lr = [0.1, 0.2]\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "search.toml"
    path.write_text(text)
    return path


def test_each_trial_is_the_direct_run(tmp_path: Path) -> None:
    plan = SweepPlan.read(write(tmp_path, BASE + GRID))
    rows = run_sweep(plan, tmp_path / "out", jobs=2)
    wanted = [(name, lr) for name in ("dsgd", "ngpd") for lr in (0.1, 0.2)]
    assert [(row["strategy.name"], row["strategy.lr"]) for row in rows] == wanted
    for row in rows:
        folder = tmp_path / "out" / row["trial"]
        run(RunFolder.open(folder).config(), tmp_path / "direct" / row["trial"])
        assert_same_records(folder, tmp_path / "direct" / row["trial"])
        assert row["mean_accuracy"] == RunFolder(folder).summary()["final"]["mean_accuracy"]
    best = max(rows, key=lambda row: row["mean_accuracy"])
    assert ranked(plan, rows)[0]["mean_accuracy"] == best["mean_accuracy"]
    assert (tmp_path / "out" / "plots" / "sweep.png").exists()
    with pytest.raises(InputError, match="not empty"):
        run_sweep(plan, tmp_path / "out")


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = "[sweep.keys]\nstrategy.name = ['ngpd', 'dsgd']\nstrategy.momentum = [0.5]\nstrategy.lr = [0.1, 1e9]\n"
    out = tmp_path / "out"
    code = main(["sweep", str(write(tmp_path, BASE + keys)), "--out", str(out)])
    said = capsys.readouterr()
    assert code == 1
    table = pyarrow.parquet.read_table(out / "trials.parquet")
    assert table.column("status").to_pylist() == ["failed", "failed", "finished", "diverged"]
    assert "strategy.momentum: unknown key" in table.column("note")[0].as_py()
    assert "trial-0003 diverged: in round " in said.err
    assert "3 of 4 trials did not finish" in said.err
    csv = pyarrow.csv.read_csv(out / "trials.csv", convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True))
    assert csv.column_names == table.column_names
    assert csv.to_pylist() == table.to_pylist()
    assert main(["show", str(out)]) == 0
    assert capsys.readouterr().out == said.out


def _sweep(words: list[str]) -> None:
    main(words)


@pytest.mark.slow
def test_kill(tmp_path: Path) -> None:
    """``kill -9`` of the sweep while its second trial runs: that one and the ones after it are run, no other."""
    text = BASE.replace("rounds = 2", "rounds = 300") + GRID
    path, out = write(tmp_path, text), tmp_path / "out"
    words = ["sweep", str(path), "--out", str(out), "--quiet", "--checkpoint-every", "20"]
    process: Any = multiprocessing.get_context("spawn").Process(target=_sweep, args=(words,))
    process.start()
    while not (out / "trial-0001" / "metrics.jsonl").exists():
        time.sleep(0.01)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(1)  # the trial dies with it
    before = (out / "trial-0000" / "metrics.jsonl").stat().st_mtime_ns
    assert not (out / "trial-0001" / "summary.json").exists()
    done: list[int] = []
    rows = run_sweep(SweepPlan.read(path), out, resume=True, on_end=lambda trial: done.append(trial.number))
    assert done == [1, 2, 3]
    assert (out / "trial-0000" / "metrics.jsonl").stat().st_mtime_ns == before
    assert {row["status"] for row in rows} == {"finished"}
    direct = run(RunFolder.open(out / "trial-0001").config())
    assert timeless(json.loads((out / "trial-0001" / "summary.json").read_text())) == timeless(direct.summary)
