"""Checkpoints on disk: what was written comes back, in the order in which a crash can do no harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ngpd_fl.records import Checkpoint, Checkpoints, DamagedCheckpoint, files

VALUES = {"engine": {"round": 1, "heap": [[0.1 + 0.2, "send", 3]], "big": 2**70}, "recorder": {"loss": [1e-300, -0.0]}}


def tensors() -> dict[str, Tensor]:
    rows = torch.arange(12.0).reshape(3, 4)
    return {
        "float64": torch.tensor([[1 / 3, -0.0, torch.inf]], dtype=torch.float64),
        "bits": torch.tensor([True, False]),
        "number": torch.tensor(2**62),
        "empty": torch.zeros(0, 3),
        "rows": rows,
        "the same rows": rows,
        "columns": rows.T,
        "part": rows[1:, 1:3],
        "repeated": rows[0].expand(5, 4),
        "repeated columns": rows.T.unsqueeze(1).expand(4, 2, 3),
    }


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    return Checkpoints(tmp_path)


def test_everything_comes_back_bit_for_bit(checkpoints: Checkpoints) -> None:
    checkpoints.write(7, tensors(), VALUES)
    found = checkpoints.read(7)
    assert (found.round, found.values, found.recorded) == (7, VALUES, 3)
    assert found.tensors.keys() == tensors().keys()
    for name, value in tensors().items():
        again = found.tensors[name]
        assert (again.dtype, again.shape) == (value.dtype, value.shape), name
        assert again.numpy().tobytes() == value.contiguous().numpy().tobytes(), name
        assert again.is_contiguous(), name
    found.tensors["rows"][0, 0] = 9
    assert found.tensors["the same rows"][0, 0] == 0


def test_the_last_two_are_kept_by_the_order_of_rounds(checkpoints: Checkpoints) -> None:
    for round in (999_999, 1_000_000, 1_000_001, 5):
        checkpoints.write(round, tensors(), {})
    assert checkpoints.rounds() == [5]  # those after it belong to a run that did not go on
    for round in (6, 10):
        checkpoints.write(round, tensors(), {})
    assert checkpoints.rounds() == [10, 6]
    checkpoints.forget_after(9)
    assert checkpoints.rounds() == [6]


@pytest.mark.parametrize("number", range(1, 9))
def test_a_write_that_fails_midway_leaves_those_before(
    number: int, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps: content, fsync, name and fsync of the folder, of the tensors and then of the JSON file."""
    for round in (1, 2):
        checkpoints.write(round, tensors(), VALUES)
    done = 0

    def failing(do: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done == number:
                raise OSError(28, "No space left on device")
            return do(*words, **more)

        return step

    monkeypatch.setattr("safetensors.torch.save_file", failing(save_file))
    monkeypatch.setattr("ngpd_fl.records.files._sync", failing(files._sync))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    monkeypatch.setattr(Path, "write_text", failing(Path.write_text))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(3, tensors(), VALUES)
    monkeypatch.undo()
    usable = [each for each in checkpoints.candidates() if isinstance(each, Checkpoint)]
    assert [each.round for each in usable] == ([2, 1] if number < 8 else [3, 2, 1])
    assert all(each.values == VALUES for each in usable)
    assert not list(checkpoints.path.glob("*partial*"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs the names of open files")
def test_content_is_on_disk_before_its_name_and_the_last_one_goes_when_the_new_one_is_there(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    for round in (1, 2):
        checkpoints.write(round, tensors(), {})
    done: list[tuple[str, str]] = []

    def noted(owner: Any, name: str, path: Callable[..., Path]) -> None:
        do = getattr(owner, name)

        def note(*words: Any, **more: Any) -> Any:
            done.append((name, path(*words).name.partition(".partial")[0]))
            return do(*words, **more)

        monkeypatch.setattr(owner, name, note)

    noted(os, "fsync", lambda descriptor: Path(os.readlink(f"/proc/self/fd/{descriptor}")))
    noted(Path, "replace", lambda partial, path: path)
    noted(Path, "unlink", lambda path: path)
    checkpoints.write(3, tensors(), {})
    written = [
        [("fsync", name), ("replace", name), ("fsync", "checkpoints")]
        for name in ("round-000003.safetensors", "round-000003.json")
    ]
    assert done[:6] == written[0] + written[1]
    assert sorted(done[6:]) == [("unlink", "round-000001.json"), ("unlink", "round-000001.safetensors")]


def test_what_a_killed_writer_left_is_removed(checkpoints: Checkpoints) -> None:
    checkpoints.write(1, tensors(), {})
    (checkpoints.path / "round-000002.safetensors.partial-1").write_bytes(b"half")
    (checkpoints.path / "round-000002.safetensors").write_bytes(b"whole")
    (refused, found) = checkpoints.candidates()
    assert isinstance(refused, DamagedCheckpoint) and str(refused).startswith(
        f"{checkpoints.path}/round-000002.json: cannot be"
    )
    assert isinstance(found, Checkpoint) and found.round == 1
    checkpoints.write(3, tensors(), {})
    assert not list(checkpoints.path.glob("*partial*"))


def test_another_version_is_refused(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.records.checkpoints._FORMAT", 0)
    checkpoints.write(1, tensors(), {})
    monkeypatch.undo()
    with pytest.raises(DamagedCheckpoint, match="is of another version"):
        checkpoints.read(1)
