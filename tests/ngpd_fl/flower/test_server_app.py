"""The ServerApp itself, on the grid in this process: how its records end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.exit import exit_handler

from ngpd_fl import Config, RunFolder
from ngpd_fl.flower.run_config import FlowerConfig
from ngpd_fl.flower.server import app as server_app
from ngpd_fl.flower.server.clients import Interrupted
from tests.support.flower import FakeGrid, Fault

SETTINGS = Config(
    strategy="ngpd",
    topology={"name": "ring", "nodes": 3},
    training={"rounds": 5, "local_steps": 1},
    model={"name": "mlp", "hidden": (4,)},
    engine={"device": "cpu"},
)


def serve(out: Path, fault: Fault = lambda *_: None, settings: Config = SETTINGS) -> None:
    grid = FakeGrid(settings, FlowerConfig(out=out), fault, forgetful=True, node_config=lambda client: {})
    server_app.main(grid, grid.new_context(grid.get_node_ids()[0]))


def test_a_run_that_flower_ends_completes_its_records_first(tmp_path: Path) -> None:
    ended: list[str] = []

    def end() -> None:
        """What Flower does in its main thread when it gets a signal."""
        exit_handler.trigger_exit_handlers(run_before_force_exit=True)
        ended.append(RunFolder.open(tmp_path / "out").summary()["status"])

    main_thread = threading.Thread(target=end)

    def fault(kind: str, number: int, client: int) -> str | None:
        if (kind, number, client) == ("train", 2, 1):
            main_thread.start()
            return "late"
        return None

    with pytest.raises(Interrupted):
        serve(tmp_path / "out", fault)
    main_thread.join()
    assert ended == ["interrupted"]
    folder = RunFolder.open(tmp_path / "out")
    assert [metrics.round for metrics in folder.metrics()] == [0, 1, 2]
    assert folder.summary()["rounds"] == 2
    assert not list(tmp_path.glob("scratch-*"))


def test_a_run_that_fails_leaves_no_scratch(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no client answered in round 3"):
        serve(tmp_path / "out", lambda kind, number, client: "fails" if (kind, number) == ("train", 2) else None)
    assert RunFolder.open(tmp_path / "out").summary()["status"] == "failed"
    assert not list(tmp_path.glob("scratch-*"))


def test_a_run_that_is_over_stays_finished_when_flower_ends_it(tmp_path: Path) -> None:
    """The target is reached, and the signal comes while the models are collected."""
    main_thread = threading.Thread(target=lambda: exit_handler.trigger_exit_handlers(run_before_force_exit=True))
    reached = SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"until_accuracy": 1e-6})})

    def fault(kind: str, number: int, client: int) -> str | None:
        if kind == "evaluate" and asked.count((kind, number, client)) and client == 1:
            main_thread.start()
            return "late"
        asked.append((kind, number, client))
        return None

    asked: list[tuple[str, int, int]] = []
    with pytest.raises(Interrupted):
        serve(tmp_path / "out", fault, reached)
    main_thread.join()
    summary = RunFolder.open(tmp_path / "out").summary()
    assert (summary["status"], summary["target"]["reached"]) == ("finished", True)


def test_a_signal_while_the_records_are_written_leaves_them_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's handler raises SystemExit wherever the main thread is."""
    finish = RunFolder.finish
    calls = []

    def interrupted(folder: RunFolder, *words: Any) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise SystemExit(0)
        finish(folder, *words)

    monkeypatch.setattr(RunFolder, "finish", interrupted)
    with pytest.raises(SystemExit):
        serve(tmp_path / "out")
    folder = RunFolder.open(tmp_path / "out")
    assert folder.summary()["status"] == "finished" and folder.models()
