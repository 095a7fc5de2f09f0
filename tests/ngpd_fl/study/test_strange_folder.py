"""A study goes on in a folder that is another person's, or that something has happened to."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.study import run_study, study_progress
from tests.support.studies import read

ONE = """
title = "One run"
base = {model = "softmax", topology.nodes = 3, training = {rounds = 1, local_steps = 1}}
tuning = {trials = 1}
final = {seeds = [1]}
[strategies.dsgd]
fixed = {strategy.name = "dsgd"}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    run_study(read(folder, ONE), folder / "out")
    return folder / "out"


@pytest.fixture
def own(done: Path, tmp_path: Path) -> Path:
    return shutil.copytree(done, tmp_path / "out")


def test_runs_with_evaluations_of_another_kind(own: Path, tmp_path: Path) -> None:
    [path] = own.glob("runs/*/metrics.jsonl")
    errors = {"mean": 0.1, "min": 0.1, "max": 0.1, "mean_own": 0.1, "averaged_model": 0.1}
    lines = []
    for line in path.read_text().splitlines():
        values = {key: value for key, value in json.loads(line).items() if "accuracy" not in key}
        values |= {f"{name}_rmse": value for name, value in errors.items()}
        values |= {"rmse": [0.1] * 3, "own_rmse": [0.1] * 3, "bin_rmse": [0.1], "averaged_model_bin_rmse": [0.1]}
        lines.append(json.dumps(values | {"mean_r2": 0.1, "averaged_model_r2": 0.1, "r2": [0.1] * 3}))
    path.write_text("\n".join(lines) + "\n")
    plan = read(tmp_path, ONE)
    for reading in (lambda: study_progress(plan, own), lambda: run_study(plan, own)):
        with pytest.raises(InputError, match="its evaluations have no accuracy, so it is of another study"):
            reading()


def linked(folder: Path) -> None:
    (folder / "runs").rename(folder.parent / "elsewhere")
    (folder / "runs").symlink_to(folder.parent / "elsewhere")


def linked_run(folder: Path) -> None:
    [run] = (folder / "runs").iterdir()
    (run / "summary.json").unlink()
    (folder.parent / "config.toml").write_text((run / "config.toml").read_text())
    (run / "config.toml").unlink()
    (run / "config.toml").symlink_to(folder.parent / "config.toml")


def journal_of_folders(folder: Path) -> None:
    (folder / "journal.jsonl").unlink()
    (folder / "journal.jsonl").mkdir()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (linked, "runs: is a link to another folder"),
        (linked_run, "config.toml: is a link to another file"),
        (journal_of_folders, r"out: .* cannot be written \(Is a directory\)"),
    ],
)
def test_what_a_study_cannot_go_on_in(change: Callable[[Path], None], error: str, own: Path, tmp_path: Path) -> None:
    change(own)
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    (tmp_path / "elsewhere" / ".tmpabcdef").touch()
    began = time.monotonic()
    with pytest.raises(InputError, match=error):
        run_study(read(tmp_path, ONE), own)
    assert time.monotonic() - began < 20 and (tmp_path / "elsewhere" / ".tmpabcdef").exists()


def file(folder: Path) -> None:
    folder.write_text("")


def in_a_file(folder: Path) -> None:
    folder.parent.rmdir()
    folder.parent.write_text("")


def nowhere(folder: Path) -> None:
    folder.symlink_to("nowhere")


def of_something_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes").touch()


def runs_in_a_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "study.toml").touch()
    (folder / "runs").touch()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (file, r"out: .*out cannot be read \(Not a directory\)"),
        (in_a_file, r"out: .*out cannot be read \(Not a directory\)"),
        (nowhere, r"out: .*out cannot be read \(No such file or directory\)"),
        (of_something_else, "out: .*out is not empty"),
        (runs_in_a_file, "out/runs: is not a folder"),
    ],
)
def test_the_progress_in_what_is_no_folder_of_a_study(make: Callable[[Path], None], error: str, tmp_path: Path) -> None:
    (tmp_path / "parent").mkdir()
    make(tmp_path / "parent" / "out")
    with pytest.raises(InputError, match=error):
        study_progress(read(tmp_path, ONE), tmp_path / "parent" / "out")


def test_a_run_is_not_done_in_the_folder_that_a_link_leads_to(own: Path, tmp_path: Path) -> None:
    [run] = (own / "runs").iterdir()
    shutil.rmtree(run)
    (tmp_path / "elsewhere").mkdir()
    run.symlink_to(tmp_path / "elsewhere")
    now = run_study(read(tmp_path, ONE), own)
    assert "is a link to another folder" in now.runs[0].record.note  # type: ignore[union-attr]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_leaves_a_folder_that_the_same_command_takes(tmp_path: Path) -> None:
    plan = read(tmp_path, ONE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(InputError, match=r"out: .* cannot be written \(File too large\)"):
            run_study(plan, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / "n\udcff"
    assert run_study(read(tmp_path, ONE), folder).text == "1 of 1 runs done"
    assert study_progress(read(tmp_path, ONE), folder).text == "1 of 1 runs done"
