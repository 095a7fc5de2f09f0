"""Studies that are run: what is in their folder, that nothing is done twice, and that kill -9 loses nothing."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import pyarrow.parquet
import pytest

from ngpd_fl.cli import main
from ngpd_fl.records import RunFolder
from ngpd_fl.study import StudyPlan, run_study, study_progress
from ngpd_fl.study.tables import escape
from ngpd_fl.training.run import run
from tests.support.interrupted_runs import assert_same_records
from tests.support.studies import TEXT, read

SMALL = (
    TEXT.replace('star = {"topology.name" = "star"}\n', "")
    .replace('classes = {"partition', "#")
    .replace('skip = ["ring/classes"]', "")
)
"""The cell ring/iid alone."""

WILD = """
title = "Regression, and one that diverges"
base = {data.dataset = "diabetes", model = "softmax", topology.nodes = 4, training = {rounds = 2, local_steps = 2}}
tuning = {trials = 1}
final = {seeds = [1, 2], targets = [100, 1]}
[strategies.wild]
fixed = {strategy.name = "dsgd", strategy.lr = 1e9}
[strategies.tame]
fixed = {strategy.name = "dsgd"}
search = {strategy.lr = [0.05, 0.1]}
"""


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
    return table


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder, with the file that it was run from beside."""
    folder = tmp_path_factory.mktemp("study")
    read(folder, SMALL)
    assert main(["study", str(folder / "file.toml"), "--out", str(folder / "out"), "--jobs", "2", "--quiet"]) == 0
    return folder


def test_every_run_is_there_once(done: Path) -> None:
    out = done / "out"
    assert (out / "study.toml").read_text() == SMALL
    table = rows(out, "runs")
    assert len(table) == 2 * 2 + 3 * 3
    assert {row["status"] for row in table} == {"finished"}
    assert sorted(line["run"] for line in journal(out)) == sorted(path.name for path in (out / "runs").iterdir())
    assert len({line["run"] for line in journal(out)}) == len(journal(out)) == len(table)
    with (out / "runs.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == [row["run"] for row in table]


def test_trials_are_judged_on_validation_and_reports_on_test_with_other_seeds(done: Path) -> None:
    for row in rows(done / "out", "runs"):
        config = RunFolder.open(done / "out" / "runs" / row["run"]).config()
        assert config.evaluation.split == {"tuning": "validation", "final": "test"}[row["phase"]]
        assert config.seed == row["seed"]
        assert (row["seed"] == 0) == (row["phase"] == "tuning")


def test_each_run_is_the_direct_one_and_its_row_says_what_it_recorded(done: Path, tmp_path: Path) -> None:
    row = rows(done / "out", "runs")[-1]
    folder = RunFolder.open(done / "out" / "runs" / row["run"])
    run(folder.config(), tmp_path / "direct")
    assert_same_records(folder.path, tmp_path / "direct")
    final = folder.summary()["final"]
    assert {name: row[name] for name in final} == final
    reached = next(each for each in folder.metrics() if each.mean >= 0.4)
    assert (row["rounds_to_0.4"], row["bytes_sent_to_0.4"]) == (reached.round, reached.bytes_sent)
    assert row["train_seconds_to_0.4"] == reached.train_seconds and row["rounds_to_0.99"] is None


def test_results_are_the_means_of_the_run_folders(done: Path) -> None:
    out = done / "out"
    for result in rows(out, "results"):
        found = [
            RunFolder.open(path)
            for path in (out / "runs").iterdir()
            if (config := RunFolder.open(path).config()).evaluation.split == "test"
            and config.strategy.name.removeprefix("kfac-") == result["strategy"]
        ]
        assert len(found) == 3
        for name in ("mean_accuracy", "min_accuracy", "averaged_model_accuracy"):
            values = [folder.summary()["final"][name] for folder in found]
            assert result[f"{name}_mean"] == pytest.approx(fmean(values))
            assert result[f"{name}_sd"] == pytest.approx(stdev(values))
        reached = [[each for each in folder.metrics() if each.mean >= 0.4] for folder in found]
        first = [each[0] for each in reached if each]
        assert result["reached_0.4"] == len(first)
        assert result["bytes_sent_to_0.4"] == (median([each.bytes_sent for each in first]) if first else None)
        if result["strategy"] != "gossip":  # which is not tuned
            trials = [
                row for row in rows(out, "runs") if (row["strategy"], row["phase"]) == (result["strategy"], "tuning")
            ]
            best = max(trials, key=lambda row: row["mean_accuracy"])
            assert json.loads(result["values"]) == {"strategy.lr": best["strategy.lr"]}


def test_curves_are_the_means_of_the_evaluations_of_final_runs(done: Path) -> None:
    out = done / "out"
    finals = [row for row in rows(out, "runs") if row["phase"] == "final"]
    table = rows(out, "curves")
    assert {(row["strategy"], row["round"]) for row in table} == {
        (run["strategy"], metrics.round)
        for run in finals
        for metrics in RunFolder.open(out / "runs" / run["run"]).metrics()
    }
    for row in table:
        folders = [RunFolder.open(out / "runs" / run["run"]) for run in finals if run["strategy"] == row["strategy"]]
        found = [metrics for folder in folders for metrics in folder.metrics() if metrics.round == row["round"]]
        assert (row["cell"], row["seeds"]) == ("ring/iid", 3) and len(found) == 3
        assert row["role"] == ("baseline" if row["strategy"] == "gossip" else "peer")
        assert row["mean_accuracy_mean"] == pytest.approx(fmean(metrics.mean for metrics in found))
        assert row["min_accuracy_sd"] == pytest.approx(stdev(metrics.worst for metrics in found))
        assert row["train_seconds"] == median(metrics.train_seconds for metrics in found)


def test_called_again_nothing_is_run(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = done / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")} | {"journal": journal(out)}
    tables = (out / "results.md").read_text()
    assert main(["study", str(done / "file.toml"), "--out", str(out)]) == 0
    assert "13 of 13 runs done" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")} | {"journal": journal(out)}
    assert (out / "results.md").read_text() == tables


def test_tables(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = done / "out"
    text = (out / "results.md").read_text()
    assert text.startswith("# Digits: 100 % of_the & {small}\n\nOnly a test.\n\n13 of 13 runs done.")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert [line.split()[1].strip("*") for line in table[-2:]] == ["baselines", "gossip"]
    best = rows(out, "results")[0]
    assert f"| **{best['strategy']}** | **{100 * best['mean_accuracy_mean']:.2f} ± " in text
    assert "97.5 % (Table II)" in text
    assert main(["show", str(out)]) == 0
    said = capsys.readouterr().out
    assert "97.5 %" in said and "ring/iid" in said
    provenance = json.loads((out / "provenance.json").read_text())
    assert [each["runs"] for each in provenance["environments"]] == [13]
    assert provenance["machine"]["cores"] >= 1 and provenance["date"].endswith("Z")


def test_latex_is_well_formed(done: Path) -> None:
    text = (done / "out" / "results.tex").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert escape("100 % of_the & {small}") in body
    plain = re.sub(r"\\[\\&%$#_{}]", "", body)
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0 and plain.count("$") % 2 == 0 and not re.search(r"[%#~_]", plain)
    begun = re.findall(r"\\begin\{(\w+)\}", body)
    assert begun == re.findall(r"\\end\{(\w+)\}", body)[::-1] == ["table", "tabular"]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", body)
    assert columns is not None
    table = [line for line in plain.splitlines() if "&" in line]
    assert len(table) == 4 and {line.count("&") + 1 for line in table} == {len(columns[1])}


def test_list_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, SMALL)
    words = ["study", str(tmp_path / "file.toml"), "--out", str(tmp_path / "out")]
    assert main([*words, "--list"]) == 0
    assert "0 of 13 runs done" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main([*words, "--for", "0s"]) == 0  # no time: nothing is begun
    assert "0 of 13 runs done" in capsys.readouterr().out and not journal(tmp_path / "out")
    assert main([*words, "--for", "soon"]) == 2
    assert "--for soon: should be a time such as 55m, 90s or 1h30m" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert main([*words[:-1], str(tmp_path / "other")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_regression_and_runs_that_diverge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, WILD)
    out = tmp_path / "out"
    assert main(["study", str(tmp_path / "file.toml"), "--out", str(out), "--jobs", "2"]) == 0
    assert "all/wild seed 1 diverged: in round " in capsys.readouterr().err
    tame, wild = rows(out, "results")
    assert (tame["strategy"], tame["best"], tame["reached_100"] > 0, tame["reached_1"]) == ("tame", True, True, 0)
    assert {row["strategy"] for row in rows(out, "curves")} == {"tame"}
    assert (wild["mean_rmse_mean"], wild["diverged"]) == (None, 2)
    values = [row["mean_rmse"] for row in rows(out, "runs") if (row["strategy"], row["phase"]) == ("tame", "final")]
    assert tame["mean_rmse_mean"] == pytest.approx(fmean(values))
    text = (out / "results.md").read_text()
    assert re.search(r"\| wild \| - \| .* \| 2, diverged 2 of 2 \|", text)


def test_a_run_that_fails_is_told_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read(tmp_path, WILD)
    out, words = (
        tmp_path / "out",
        ["study", str(tmp_path / "file.toml"), "--out", str(tmp_path / "out"), "--only", "tame"],
    )
    key = study_progress(plan, out).runs[0].key
    (out / "runs").mkdir(parents=True)
    (out / "study.toml").touch()
    (out / "runs" / key).touch()  # a file where the run's folder belongs
    assert main([*words, "--quiet"]) == 1
    assert "1 run failed (all/tame trial 0)" in capsys.readouterr().err
    assert [line["status"] for line in journal(out)] == ["failed"]
    (out / "runs" / key).unlink()
    assert main([*words, "--quiet"]) == 0
    assert [line["status"] for line in journal(out)] == ["failed", *["finished"] * 3]


def _study(words: list[str]) -> None:
    main(words)


@pytest.mark.slow
def test_kill(tmp_path: Path) -> None:
    """``kill -9`` in the middle of a run: that one and those after it are run, no other, and come to the same."""
    text = SMALL.replace("trials = 2", "trials = 1\noverrides = {training.rounds = 100}").replace("[1, 2, 3]", "[1]")
    plan, out = read(tmp_path, text), tmp_path / "out"
    words = ["study", str(tmp_path / "file.toml"), "--out", str(out), "--only", "dsgd", "--quiet"]
    trial, report = [run for run in study_progress(plan, out).runs if run.strategy.label == "dsgd"]
    process: Any = multiprocessing.get_context("spawn").Process(target=_study, args=(words,))
    process.start()
    while not (out / "runs" / trial.key / "metrics.jsonl").exists():
        time.sleep(0.005)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (out / "runs" / trial.key / "summary.json").exists() and not journal(out)
    with (out / "journal.jsonl").open("a") as file:
        file.write('{"run": "cut of')
    now = run_study(StudyPlan.read(tmp_path / "file.toml"), out, only="dsgd")
    assert [line["what"] for line in journal(out)] == ["ring/iid/dsgd trial 0", "ring/iid/dsgd seed 1"]
    assert report.values is None and [run.record is not None for run in now.runs].count(True) == 2
    folder = out / "runs" / trial.key
    run(RunFolder.open(folder).config(), tmp_path / "direct")
    assert_same_records(folder, tmp_path / "direct")
