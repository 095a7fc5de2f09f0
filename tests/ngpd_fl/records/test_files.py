"""Files that are written whole or not at all, and what is left of writers that were killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ngpd_fl.config import InputError
from ngpd_fl.records.checkpoints import Checkpoints
from ngpd_fl.records.files import atomic_write, lock, remove_partial, write_tensors, write_text

SPAWN = multiprocessing.get_context("spawn")  # a forked process lacks torch's threads and waits for them


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    with atomic_write(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(OSError, match="full"), atomic_write(path) as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise OSError("full")
    assert not list(tmp_path.iterdir())
    with atomic_write(path) as partial:
        (partial / "inner").mkdir(parents=True)
        (partial / "inner" / "file").write_text("whole")
    assert (path / "inner" / "file").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "models.safetensors", {"one": torch.zeros(3)})
        write_text(tmp_path / "summary.json", "{}")
        (tmp_path / "metrics.jsonl").touch()
        Checkpoints(tmp_path).write(1, {"one": torch.zeros(3)}, {})
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5 and {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}


def _write_many(path: Path) -> None:
    write_tensors(path, {str(number): torch.zeros(1 << 22) for number in range(16)})


def _write_beside(path: Path) -> None:
    """Leave what a library does that makes a temporary file of its own, a moment before it is renamed."""
    with atomic_write(path) as partial:
        save_file({"half": torch.zeros(3)}, partial.with_name(".tmpAb3_xY"))
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("write", [_write_many, _write_beside])
def test_the_next_writer_removes_what_a_killed_one_left(write: object, tmp_path: Path) -> None:
    path = tmp_path / "models.safetensors"
    process = SPAWN.Process(target=write, args=(path,))
    process.start()
    while process.is_alive() and not list(tmp_path.rglob("*tmp*")):
        time.sleep(0.0005)
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not path.exists() and [each for each in tmp_path.rglob("*") if each.is_file()]
    write_text(tmp_path / "another.txt", "whole")
    assert [each.name for each in tmp_path.rglob("*")] == ["another.txt"]


def test_what_a_living_writer_has_begun_stays(tmp_path: Path) -> None:
    path = tmp_path / "models.safetensors"
    with atomic_write(path) as partial:
        save_file({"whole": torch.ones(3)}, partial)
        remover = SPAWN.Process(target=remove_partial, args=(tmp_path,))
        remover.start()
        remover.join(60)
        write_text(tmp_path / "another.txt", "whole")
        remove_partial(tmp_path, is_ours=True)
    assert load_file(path)["whole"].tolist() == [1, 1, 1]


def test_what_earlier_versions_left_is_removed_where_nobody_else_writes(tmp_path: Path) -> None:
    for name in (".tmpAb3_xY", "summary.json.partial-123", "notes.tmp", ".tmp"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    remove_partial(tmp_path, is_ours=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp", "notes.tmp"]


def test_writers_and_removers_in_one_folder(tmp_path: Path) -> None:
    """None takes another's unfinished file for that of a dead one, however their steps fall together."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_text(tmp_path / str(number % 5), str(number)), range(400)))
    assert {path.name: int(path.read_text()) % 5 for path in tmp_path.iterdir()} == {
        str(name): name for name in range(5)
    }


@pytest.mark.parametrize("kind", ["run", "study", "sweep"])
def test_a_link_out_of_the_folder_is_not_opened_to_be_changed(kind: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "journal.jsonl").symlink_to(precious)
    with pytest.raises(InputError, match="journal.jsonl: is a link to another file, which would be changed"):
        lock(tmp_path / "journal.jsonl", kind)
    lock(precious, kind).close()
