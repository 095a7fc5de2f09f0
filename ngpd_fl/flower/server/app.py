"""The ServerApp: reads the configuration, runs the exchange of the clients, and records the run."""

from __future__ import annotations

import shutil
import threading
from typing import Any

import torch
from flwr.app import Array, Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.exit import add_exit_handler
from flwr.superlink.grid import InMemoryGrid
from torch import Tensor

from ngpd_fl.config import Config, InputError, build_topology
from ngpd_fl.config.errors import cause
from ngpd_fl.data import unused_classes
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower import run_config
from ngpd_fl.flower.client.state_store import scratch
from ngpd_fl.flower.direct import check
from ngpd_fl.flower.events import FailureEvent, RoundEvent, emit
from ngpd_fl.flower.server.clients import Clients, Interrupted, Unfit
from ngpd_fl.flower.server.direct_exchange import DirectExchange
from ngpd_fl.flower.server.peer_exchange import PeerExchange
from ngpd_fl.records import MEASURES, Progress, RunFolder, RunRecorder, describe_environment, null_if_not_finite
from ngpd_fl.records.new_folder import new_folder
from ngpd_fl.training.callbacks import ProgressReport
from topologies import Topology

app = ServerApp()


_RECORDS_SECONDS = 20.0
"""Seconds that Flower's process waits for the records when it is asked to end: less than ``launcher`` gives it."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the whole network and complete its records, also if Flower is asked to end before the run is over."""
    end_requested, done, here = threading.Event(), threading.Event(), threading.get_ident()

    def end() -> None:
        end_requested.set()
        if threading.get_ident() != here:  # in simulation: the main thread, which would not wait
            done.wait(_RECORDS_SECONDS)

    add_exit_handler(end, run_before_force_exit=True)
    try:
        _run(grid, context, end_requested)
    finally:
        done.set()
        shutil.rmtree(scratch(context.run_id), ignore_errors=True)  # in case clients failed to do so


def _run(grid: Grid, context: Context, end_requested: threading.Event) -> None:
    try:
        config, flower = run_config.read(context.run_config)
        check(config, flower)
        topology = build_topology(config)
        clients = Clients(grid, wire.code_version(), end_requested)
        simulated = isinstance(grid, InMemoryGrid)
        clients.meet(flower.num_clients(topology.num_nodes), flower.register_timeout, simulated=simulated)
    except (InputError, Unfit) as error:
        emit(FailureEvent(message=str(error), is_input=True))
        raise
    try:
        _record(config, flower, topology, clients)
    except Interrupted:
        raise
    except Exception as error:
        emit(FailureEvent(message=str(error) if isinstance(error, InputError) else cause(error), is_input=False))
        raise


def _record(config: Config, flower: run_config.FlowerConfig, topology: Topology, clients: Clients) -> None:
    """Run the exchange and complete its records, however it ends."""
    with new_folder(flower.out, f"{config.data.dataset}-{config.strategy.name}") as path:
        folder = RunFolder.create(path, config, _environment(clients))
        print(f"records: {path.absolute()}", flush=True)
        identity, counts = clients.identities[0], clients.label_counts()
        folder.add_counts(counts)
        recorder = RunRecorder(config, identity["parameters"], unused_classes(counts), folder, identity["evaluated-on"])
        exchange: PeerExchange | DirectExchange
        if flower.data_plane == "direct":
            exchange = DirectExchange(clients, flower, recorder, _report)
        else:
            measure = MEASURES[str(identity["measure"])]
            exchange = PeerExchange(clients, topology, flower, recorder, measure, [ProgressReport(_report)])
        try:
            exchange.run()
        except BaseException as error:
            is_asked_to_end = isinstance(error, Interrupted | SystemExit)
            if not (is_asked_to_end and exchange.has_ended):  # else only what follows a run was cut short
                recorder.status = "interrupted" if is_asked_to_end else "failed"
            raise
        finally:
            _finish(folder, recorder, exchange)


def _finish(folder: RunFolder, recorder: RunRecorder, exchange: PeerExchange | DirectExchange) -> None:
    """Write the result of the run, also if Flower's signal arrives during the writing."""
    end = recorder.summary() | {"flower": exchange.summary()}, _models(exchange.models)
    try:
        folder.finish(*end)
    except SystemExit:
        folder.finish(*end)
        raise


def _environment(clients: Clients) -> dict[str, Any]:
    """Return versions of the server, and the clients' devices and threads."""
    devices = sorted({str(identity["device"]) for identity in clients.identities.values()})
    return describe_environment([torch.device("cpu")]) | {"device": ", ".join(devices), "code": wire.code_version()}


def _models(collected: dict[str, Array]) -> dict[str, dict[str, Tensor]]:
    """Return the collected models by name, in the form of the records."""
    models: dict[str, dict[str, Tensor]] = {}
    for name, array in collected.items():
        model, _, parameter = name.partition("/")
        models.setdefault(model, {})[parameter] = torch.from_numpy(array.numpy())
    return models


def _report(progress: Progress) -> None:
    """Report the progress to the launcher."""
    emit(
        RoundEvent(
            round=progress.round,
            rounds=progress.rounds,
            node_steps=progress.node_steps,
            seconds=progress.train_seconds,
            mean=None if progress.metrics is None else null_if_not_finite(progress.metrics.mean),
        )
    )
