"""Runs that are cut short, and what must not differ between them and unbroken ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ngpd_fl.cli import main
from ngpd_fl.config import Config
from ngpd_fl.records import Progress, RunFolder
from ngpd_fl.training.callbacks import Callback, ProgressReport
from ngpd_fl.training.run import run

TIMINGS = {"train_seconds", "node_steps_per_second", "evaluation_seconds"}
FAST: dict[str, Any] = {
    "model": "softmax",
    "topology": {"nodes": 4},
    "training": {"rounds": 8, "local_steps": 2},
    "evaluation": {"every": 3},
}


def interrupt(config: Config, out: Path, after: int, callbacks: Sequence[Callback] = (), **options: Any) -> None:
    """Run until a round is done, then Ctrl-C."""

    def on_progress(progress: Progress) -> None:
        if progress.round == after:
            raise KeyboardInterrupt

    try:
        run(config, out, [*callbacks, ProgressReport(on_progress)], **options)
    except KeyboardInterrupt:
        return
    raise AssertionError("the run came to its end")


def timeless(value: Any) -> Any:
    """The same without what depends on the machine's speed."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in TIMINGS}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def assert_same_records(cut: Path, whole: Path) -> None:
    """Let two finished runs have the same records, bit for bit, apart from timings."""
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (cut, whole)]
    assert [timeless(json.loads(line)) for line in lines[0]] == [timeless(json.loads(line)) for line in lines[1]]
    assert timeless(RunFolder(cut).summary()) == timeless(RunFolder(whole).summary())
    models, expected = (load_file(folder / "models.safetensors") for folder in (cut, whole))
    assert models.keys() == expected.keys()
    assert all(models[name].equal(expected[name]) for name in models)
    events = [folder / "events.jsonl" for folder in (cut, whole)]
    assert events[0].exists() == events[1].exists()
    assert not events[0].exists() or events[0].read_bytes() == events[1].read_bytes()
    seconds = [json.loads(line)["train_seconds"] for line in lines[0]]
    assert seconds == sorted(seconds)


def _doomed(words: list[str], metrics: Path, evaluations: int, seconds: float) -> None:
    """Run a command, and kill this process some seconds after so many evaluations are recorded."""

    def wait() -> None:
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < evaluations:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
    main(words)


def kill(words: list[str], out: Path, evaluations: int, seconds: float) -> None:
    """Let a command in a process of its own be killed by ``kill -9``, see ``_doomed``.

    The process is forked from a server that has imported what it needs but computed nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.interrupted_runs"])
    process = context.Process(target=_doomed, args=([*words, "--quiet"], out / "metrics.jsonl", evaluations, seconds))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, "it ended by itself"
