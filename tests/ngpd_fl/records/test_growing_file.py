"""A file that grows: every line once, as it becomes whole, whatever is done to the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ngpd_fl.records import growing_file
from ngpd_fl.records.growing_file import GrowingFile


def lines(file: GrowingFile) -> list[bytes]:
    return file.read().lines


def test_lines_come_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = GrowingFile(path)
    assert file.read() == ([], False, False)
    path.write_text("one\ntw")
    assert lines(file) == [b"one"]
    assert lines(file) == []
    with path.open("a") as more:
        more.write("o\nthree\n")
    assert file.read() == ([b"two", b"three"], False, False)
    assert lines(file) == []


@pytest.mark.parametrize("content", ["", "one\n", "one\nzwo\n", "one\nzwo\nthree\nfour\n"])
def test_a_file_that_was_cut_off_begins_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text("one\ntwo\n")
    file = GrowingFile(path)
    assert lines(file) == [b"one", b"two"]
    with path.open("r+") as cut:  # the same file, as resume has it
        cut.truncate(0)
        cut.write(content)
    assert file.read() == (content.encode().splitlines(), True, False)


def test_a_file_that_was_replaced_or_removed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one\n")
    file = GrowingFile(path)
    assert lines(file) == [b"one"]
    (tmp_path / "other").write_text("one\n")
    (tmp_path / "other").replace(path)
    assert file.read() == ([b"one"], True, False)
    path.unlink()
    assert file.read() == ([], True, False)
    assert file.read() == ([], False, False)


def test_a_link_and_what_is_no_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        file = GrowingFile(tmp_path / name)
        assert lines(file) == [] and name in file.problem


def test_long_files_come_in_pieces_and_long_lines_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing_file, "_PIECE", 8)
    monkeypatch.setattr(growing_file, "_LONGEST", 32)
    path = tmp_path / "file"
    path.write_text("1234567\nabcdefghijklmnop\n89\n" + "x" * 40 + "\n")
    file = GrowingFile(path)
    assert file.read() == ([b"1234567"], False, True)
    assert file.read() == ([b"abcdefghijklmnop"], False, True)
    assert file.read() == ([b"89"], False, True)
    assert file.read() == ([], False, False) and "longer" in file.problem


def test_of_a_long_file_the_end_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("".join(f"{number}\n" for number in range(100)))
    file = GrowingFile(path, tail=7)
    assert lines(file) == [b"98", b"99"]


def test_of_very_many_lines_a_look_returns_some_and_the_next_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n" * 50_000 + b"x\n")
    file = GrowingFile(path)
    looks = [file.read() for _ in range(3)]
    assert [len(look.lines) for look in looks] == [20_000, 20_000, 10_001] and looks[2].lines[-1] == b"x"
