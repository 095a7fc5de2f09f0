"""A run through Flower's simulation, from its configuration to its records, with a SuperLink of its own."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import tomli_w
import torch

from ngpd_fl.config import Config, InputError
from ngpd_fl.core.signals import finishing
from ngpd_fl.evaluation.saved_models import add_average
from ngpd_fl.flower.direct import check, loopback_peers
from ngpd_fl.flower.launcher.app_bundle import write_app
from ngpd_fl.flower.launcher.superlink import SuperLink
from ngpd_fl.flower.launcher.superlink_client import Link
from ngpd_fl.flower.run_config import FlowerConfig, write
from ngpd_fl.records import Progress, RunFolder
from ngpd_fl.training import compose
from ngpd_fl.training.run import Result

_PROGRESS = re.compile(r"round (\d+)/(\d+)  (\d+) node-steps  ([\d.]+) s")
_EVENT = re.compile(r"round \d+: client \d+ .*|waiting for clients: .*")
_ERROR = re.compile(r"ngpd-fl: error: (.*)")
_EXCEPTION = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): .+")
_STARTED = re.compile(r"Successfully started run (\d+)")
_NOISE = re.compile(r"\x1b\[\d*m")


class RunFailed(RuntimeError):
    """Flower could not bring the run to its end."""


def run_flower(
    config: Config,
    out: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    on_event: Callable[[str], None] | None = None,
    link: Link | None = None,
    app: Path | None = None,
    **flower: Any,
) -> Result:
    """Train the network that ``config`` describes as Flower clients on this machine.

    Args:
        config: the whole run.
        out: folder for the records. Defaults to none: nothing is kept.
        on_progress: called after each round.
        on_event: called with a line for each problem, such as a client that fails, and during the wait for clients.
        link: a SuperLink that has been started. Defaults to a new one, which is stopped after the run.
        app: folder of a Flower app. Defaults to the app of this code.
        flower: the keys of ``FlowerConfig``, such as ``nodes_per_client``.

    Returns:
        The result. The averaged model and the consensus distance exist only for the end: during the run the parameters
        are never in one place. Nodes whose parameters were not collected are nan in ``params``.

    Raises:
        InputError: the configuration cannot be run; nothing was written.
        RunFailed: the run was not completed; its records are kept.
        KeyboardInterrupt: raised again after the records have been completed (status ``"interrupted"``).
    """
    told = FlowerConfig(**flower)
    if told.data_plane == "direct" and told.peers is None and (link is None or link.simulates):
        told = told.model_copy(update={"peers": loopback_peers(config, told).to_toml()})
    check(config, told)
    job = compose(config)  # fails before anything is started if the run is impossible
    with nullcontext(link) if link else SuperLink() as up:
        path = Path(tempfile.mkdtemp(dir=up.home) if out is None else out).absolute()
        _follow(up, config, told.model_copy(update={"out": path}), on_progress, on_event, app)
        with finishing():
            folder = RunFolder.open(path)
            params, summary = add_average(folder, job.model, job.topology.num_nodes, job.evaluate)
            return Result(config, folder.metrics(), summary, params, job.model)


def _follow(
    link: Link,
    config: Config,
    flower: FlowerConfig,
    on_progress: Callable[[Progress], None] | None,
    on_event: Callable[[str], None] | None,
    app: Path | None,
) -> None:
    """Submit the run and read its output until it ends; raise ``RunFailed`` if it fails."""
    (link.home / "run.toml").write_text(tomli_w.dumps(write(config, flower)))
    where = app or write_app(Path(tempfile.mkdtemp(dir=link.home)))
    words = ["run", str(where), "own", "--stream", "-c", str(link.home / "run.toml")]
    if link.simulates:
        words += ["--federation-config", _federation(config, flower)]
    stream = link.flwr(*words)
    assert stream.stdout is not None
    said: deque[str] = deque(maxlen=20)
    error = run_id = cause = None
    try:
        for line in stream.stdout:
            text = _NOISE.sub("", line).strip()
            if found := _PROGRESS.match(text):
                if on_progress is not None:
                    on_progress(_progress(found, flower))
            elif _EVENT.match(text):
                if on_event is not None:
                    on_event(text)
            elif found := _ERROR.match(text):
                error = error or found[1]
            elif found := _STARTED.search(text):
                run_id = int(found[1])
            elif text:
                cause = text if _EXCEPTION.fullmatch(text) else cause
                said.append(text)
        stream.wait()
    except KeyboardInterrupt:
        if run_id is None or _status(flower.out) not in ("finished", "diverged"):  # else it was over already
            if run_id is not None:
                link.stop(run_id)
            raise
    finally:
        stream.kill()
        stream.wait()
        stream.stdout.close()
    if error is not None:
        raise InputError(error)
    if run_id is None:
        raise RunFailed(f"Flower did not take the run: {' '.join(said)}")
    if _status(flower.out) in (
        "",
        "failed",
    ):  # not Flower's status, which is "failed" as well after a missed heartbeat at the end
        details = _details(link, run_id)
        if _status(flower.out) in ("", "failed"):
            raise RunFailed(cause or details)


def _federation(config: Config, flower: FlowerConfig) -> str:
    """Return the federation settings for a SuperLink that makes the clients itself."""
    words = f"num-supernodes={flower.num_clients(config.topology.nodes)} client-resources-num-cpus=1"
    if config.engine.device != "cpu" and torch.cuda.is_available():
        words += f" client-resources-num-gpus={torch.cuda.device_count() / (os.cpu_count() or 1):.4f}"
    return words


def _details(link: Link, run_id: int) -> str:
    """Wait until Flower has ended the run, whose log may have stopped earlier; return Flower's status details."""
    while True:
        run = next((run for run in link.runs() if run["run-id"] == str(run_id)), None)
        if run is None:
            return "Flower does not know the run any more"
        if str(run["status"]).startswith("finished"):
            return " ".join(str(run["status-details"]).split())
        time.sleep(0.5)


def _status(out: Path | None) -> str:
    """Return the run's final status from its summary; empty if it has none."""
    assert out is not None
    return str(RunFolder(out).summary()["status"]) if (out / "summary.json").exists() else ""


def _progress(found: re.Match[str], flower: FlowerConfig) -> Progress:
    """Return the progress in a line of the server, with the evaluation of its round from the records."""
    round, rounds, steps = (int(found[group]) for group in (1, 2, 3))
    assert flower.out is not None
    recorded = (metrics for metrics in RunFolder(flower.out).metrics() if metrics.round == round)
    return Progress(round, rounds, steps, float(found[4]), next(recorded, None))
