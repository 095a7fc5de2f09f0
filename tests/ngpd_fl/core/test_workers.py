"""Worker threads: order, errors, torch's threads in each, and the cores that there are."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from ngpd_fl.core import machine
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.core.workers import Workers


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_the_order_of_their_items(count: int) -> None:
    def slow(item: int, other: str) -> str:
        time.sleep(0.01 * (5 - item))
        return other * item

    assert Workers(count).map(slow, range(5), "abcde") == ["", "b", "cc", "ddd", "eeee"]


def test_workers_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)
    assert sorted(Workers(3).map(lambda item: (together.wait(), item)[1], range(3))) == [0, 1, 2]


def test_one_worker_is_the_callers_own_thread() -> None:
    assert Workers().map(lambda item: threading.current_thread(), range(2)) == [threading.current_thread()] * 2


def test_after_an_error_nothing_runs_on() -> None:
    ended = []

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("first")
        time.sleep(0.05)
        ended.append(item)

    with pytest.raises(ValueError, match="first"):
        Workers(2).map(work, range(20))
    before = list(ended)
    time.sleep(0.2)
    assert ended == before and len(ended) < 19


def test_each_worker_has_the_callers_number_of_torch_threads() -> None:
    with own_settings(1):
        assert Workers(2).map(lambda item: torch.get_num_threads(), range(4)) == [1, 1, 1, 1]


def test_cores_are_those_of_the_affinity_the_container_and_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_limit", float("inf"))  # undone with the test
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "_quota", lambda: float("inf"))
    assert machine.cores() == 8
    monkeypatch.setattr(machine, "_quota", lambda: 3.5)
    assert machine.cores() == 3
    machine.limit_cores(2)
    assert machine.cores() == 2
    machine.limit_cores(0)
    assert machine.cores() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({}, float("inf")),
        ({"cpu.max": "nonsense"}, float("inf")),
    ],
)
def test_a_containers_quota_of_both_versions_of_control_groups_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    assert machine._quota() == expected
