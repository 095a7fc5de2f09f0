"""A run through Flower's simulation, from its configuration to its records, with a SuperLink of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import tomli_w
import torch

from ngpd_fl.config import Config, InputError
from ngpd_fl.core.signals import finishing
from ngpd_fl.evaluation.saved_models import add_average
from ngpd_fl.flower.direct import check, loopback_peers
from ngpd_fl.flower.events import FailureEvent, RoundEvent, read_event
from ngpd_fl.flower.launcher.app_bundle import write_app
from ngpd_fl.flower.launcher.superlink import SuperLink
from ngpd_fl.flower.launcher.superlink_client import SuperLinkClient
from ngpd_fl.flower.run_config import FlowerConfig, write
from ngpd_fl.records import Progress, RunFolder
from ngpd_fl.training import compose
from ngpd_fl.training.run import Result


class RunFailed(RuntimeError):
    """Flower could not bring the run to its end."""


def run_flower(
    config: Config,
    out: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    on_event: Callable[[str], None] | None = None,
    superlink: SuperLinkClient | None = None,
    app: Path | None = None,
    **flower: Any,
) -> Result:
    """Train the network that ``config`` describes as Flower clients on this machine.

    Args:
        config: the whole run.
        out: folder for the records. Defaults to none: nothing is kept.
        on_progress: called after each round.
        on_event: called with a line for each problem, such as a client that fails, and during the wait for clients.
        superlink: a SuperLink that has been started. Defaults to a new one, which is stopped after the run.
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
    settings = FlowerConfig(**flower)
    if settings.data_plane == "direct" and settings.peers is None and (superlink is None or superlink.simulates):
        settings = settings.model_copy(update={"peers": loopback_peers(config, settings).to_toml()})
    check(config, settings)
    job = compose(config)  # fails before anything is started if the run is impossible
    with nullcontext(superlink) if superlink else SuperLink() as client:
        path = Path(tempfile.mkdtemp(dir=client.home) if out is None else out).absolute()
        _follow(client, config, settings.model_copy(update={"out": path}), on_progress, on_event, app)
        with finishing():
            folder = RunFolder.open(path)
            params, summary = add_average(folder, job.model, job.topology.num_nodes, job.evaluate)
            return Result(config, folder.metrics(), summary, params, job.model)


def _follow(
    superlink: SuperLinkClient,
    config: Config,
    flower: FlowerConfig,
    on_progress: Callable[[Progress], None] | None,
    on_event: Callable[[str], None] | None,
    app: Path | None,
) -> None:
    """Submit the run and follow its events until it ends; raise ``RunFailed`` if it fails."""
    run_id = _submit(superlink, config, flower, app)
    failure: FailureEvent | None = None
    try:
        with closing(superlink.log_of(run_id)) as lines:
            for event in map(read_event, lines):
                if isinstance(event, FailureEvent):
                    failure = failure or event
                elif isinstance(event, RoundEvent):
                    if on_progress is not None:
                        on_progress(_progress(event, flower))
                elif event is not None and on_event is not None:
                    on_event(event.text)
    except KeyboardInterrupt:
        if _status(flower.out) not in ("finished", "diverged"):  # else it was over already
            superlink.stop(run_id)
            raise
    if failure is not None and failure.is_input:
        raise InputError(failure.message)
    # Flower's own status does not count: it is "failed" as well after a missed heartbeat at the end.
    if _status(flower.out) in ("", "failed"):
        details = _details(superlink, run_id)  # the run may write its summary until Flower has ended it
        if _status(flower.out) in ("", "failed"):
            raise RunFailed(failure.message if failure else details)


def _submit(superlink: SuperLinkClient, config: Config, flower: FlowerConfig, app: Path | None) -> int:
    """Submit the run; return Flower's id of it."""
    (superlink.home / "run.toml").write_text(tomli_w.dumps(write(config, flower)))
    app = app or write_app(Path(tempfile.mkdtemp(dir=superlink.home)))
    words = ["run", str(app), "own", "-c", str(superlink.home / "run.toml")]
    if superlink.simulates:
        words += ["--federation-config", _federation(config, flower)]
    try:
        return int(superlink.ask(*words)["run-id"])
    except RuntimeError as error:
        raise RunFailed(f"Flower did not take the run: {error}") from error


def _federation(config: Config, flower: FlowerConfig) -> str:
    """Return the federation settings for a SuperLink that makes the clients itself."""
    words = f"num-supernodes={flower.num_clients(config.topology.nodes)} client-resources-num-cpus=1"
    if config.engine.device != "cpu" and torch.cuda.is_available():
        words += f" client-resources-num-gpus={torch.cuda.device_count() / (os.cpu_count() or 1):.4f}"
    return words


def _details(superlink: SuperLinkClient, run_id: int) -> str:
    """Wait until Flower has ended the run, whose log may have stopped earlier; return Flower's status details."""
    while True:
        run = next((run for run in superlink.runs() if run["run-id"] == str(run_id)), None)
        if run is None:
            return "Flower does not know the run any more"
        if str(run["status"]).startswith("finished"):
            return " ".join(str(run["status-details"]).split())
        time.sleep(0.5)


def _status(out: Path | None) -> str:
    """Return the run's final status from its summary; empty if it has none."""
    assert out is not None
    return str(RunFolder(out).summary()["status"]) if (out / "summary.json").exists() else ""


def _progress(event: RoundEvent, flower: FlowerConfig) -> Progress:
    """Return the progress of an event, with the evaluation of its round from the records."""
    assert flower.out is not None
    evaluations = (metrics for metrics in RunFolder(flower.out).metrics() if metrics.round == event.round)
    return Progress(event.round, event.rounds, event.node_steps, event.seconds, next(evaluations, None))
