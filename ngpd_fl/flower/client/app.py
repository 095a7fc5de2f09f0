"""The ClientApp: hosts some of the network's nodes and answers the server.

``query`` identifies the client. ``train`` reads the neighbors' messages of the last round, runs a round's local steps,
and sends new messages. ``evaluate`` reads the last round's messages and evaluates the models. Round numbers are
checked: a repeated or late message changes nothing. If nodes talk to each other directly, only ``train.peer`` is used:
it keeps their process running and returns its records.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ngpd_fl.config import Config, InputError
from ngpd_fl.config.import_paths import working_folder_last
from ngpd_fl.config.sections import NODE_FOLDERS
from ngpd_fl.core.machine import limit_cores
from ngpd_fl.data import Split
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower import run_config
from ngpd_fl.flower.client.node_host import NodeHost
from ngpd_fl.flower.client.peer_process import Order, PeerProcess
from ngpd_fl.flower.client.state_store import StateLost, StateStore
from ngpd_fl.training import Job, compose

app = ClientApp()

working_folder_last()  # Ray has put it first


class InvalidRequest(Exception):
    """A message that this client cannot follow in its present state; the reason goes to the server."""


@app.query()
def query(message: Message, context: Context) -> Message:
    """Return the client's number, its code version, and properties of its data and model."""
    client, job, flower = _self(context)
    nodes = flower.hosted(client, job.topology.num_nodes)
    values = {
        "client": client,
        "code": wire.code_version(),
        "device": ", ".join(map(str, job.compute_devices)),
        "parameters": job.model.num_params,
        "measure": job.dataset.task.measure.name,
        "groups": job.dataset.task.num_groups,
        "inputs": list(job.dataset.train.inputs.shape[1:]),
        "dataset.toml": job.origin,
        "partition": "" if job.origin else job.fingerprint,  # of node folders each client knows its own
        "evaluated-on": job.evaluated_on,
        "common-examples": len(job.evaluated) if isinstance(job.evaluated, Split) else 0,
        "label-counts": job.counts[nodes].flatten().tolist(),
    }
    return Message(RecordDict({wire.CONFIG: wire.config_record(values)}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Read the messages of the last round, run this round's local steps, and return the outgoing messages."""

    def act(host: NodeHost, number: int) -> RecordDict:
        if number <= host.worked:
            raise InvalidRequest(f"round {number} again: round {host.worked} is done here")
        host.catch_up(wire.config_of(message.content)["messages-round"], wire.read_messages(message.content))
        work, messages = host.work(number)
        content = RecordDict({wire.METRICS: MetricRecord({"loss": work.loss.tolist(), "shrink": work.shrink.tolist()})})
        wire.write_messages(content, messages)
        return content

    return _answer(message, context, act)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Read the messages of the last round; return the evaluation of the models and, if requested, the models."""

    def act(host: NodeHost, number: int) -> RecordDict:
        if number <= host.worked:  # a client that missed rounds is evaluated as it stands
            raise InvalidRequest(f"evaluation after {number} rounds, but {host.worked + 1} are done here")
        host.catch_up(wire.config_of(message.content)["messages-round"], wire.read_messages(message.content))
        evaluation = host.evaluate()
        metrics: dict[str, Any] = {"node": host.group.nodes.tolist(), **evaluation.part()}
        content = RecordDict({wire.METRICS: MetricRecord(metrics)})
        if wire.config_of(message.content)["collect"]:
            content[wire.MODELS] = ArrayRecord(host.models())
        return content

    return _answer(message, context, act)


@app.train("peer")
def train_peer(message: Message, context: Context) -> Message:
    """Keep the process of the nodes running, and return its records since the server's last request."""
    request = wire.config_of(message.content)
    client, run_values, _, flower = _setting(context)
    keys = context.node_config.get("peer-keys")
    process = PeerProcess.of(context.run_id, client, _state_dir(context, flower))
    has_restarted = request["run"] and process.ensure_running(
        Order(run_values, client, str(keys) if keys else None, str(context.run_id))
    )
    if request["last"]:
        process.stop()
    report = process.report(request["round"], request["events"]) | {"restarted": has_restarted}
    content = RecordDict({wire.CONFIG: wire.config_record(report)})
    if request["collect"] and (named := process.models()):
        values = {f"{model}/{name}": value for model, tensors in named.items() for name, value in tensors.items()}
        content[wire.MODELS] = ArrayRecord({name: Array(value.numpy()) for name, value in values.items()})
    if request["last"]:
        process.clear()
    return Message(content, reply_to=message)


def _answer(message: Message, context: Context, act: Callable[[NodeHost, int], RecordDict]) -> Message:
    """Fetch the client's state, act, keep the state, and reply. A refusal gives the reason and changes nothing."""
    request = wire.config_of(message.content)
    client, job, flower = _self(context)
    store = StateStore(context, client, _state_dir(context, flower))
    nodes = flower.hosted(client, job.topology.num_nodes)
    try:
        host = store.load(lambda: NodeHost(job, nodes), request["known"])
        content = act(host, request["round"])
    except (InvalidRequest, StateLost) as error:
        return Message(Error(wire.REFUSED, str(error)), reply_to=message)
    values = {
        "round": request["round"],
        "worked": host.worked,
        "read": host.read,
        "bytes-per-message": host.group.bytes_per_message,
        "retries": json.dumps(job.take_retries()),
        "lost-curvature": store.lost_curvature and host.worked == request["round"],
    }
    content[wire.CONFIG] = wire.config_record(values)
    store.save(host)
    if request["last"]:
        store.clear()
    return Message(content, reply_to=message)


def _state_dir(context: Context, flower: run_config.FlowerConfig) -> Path | None:
    folder = context.node_config.get("state-dir") or flower.state_dir
    return Path(str(folder)) if folder else None


def _self(context: Context) -> tuple[int, Job, run_config.FlowerConfig]:
    """Return the client's number, the parts of the run, and its settings in Flower."""
    client, values, config, flower = _setting(context)
    apart = config.data.dataset == NODE_FOLDERS  # else the clients of a process share what they read
    nodes = flower.hosted(client, config.topology.nodes) if apart else None
    return client, _job(tuple(values.items()), nodes), flower


def _setting(context: Context) -> tuple[int, dict[str, run_config.Plain], Config, run_config.FlowerConfig]:
    """Return the client's number, and the run's configuration with local changes: its plain values, and parsed."""
    values = dict(context.run_config)
    if folder := context.node_config.get("data-dir"):
        values["data.data_dir"] = folder
    config, flower = _read(tuple(values.items()))
    client = int(str(context.node_config["partition-id"]))
    clients = flower.num_clients(config.topology.nodes)
    if client >= clients:
        raise InputError(f"partition-id: {client} is not known; allowed: 0 to {clients - 1}")
    return client, values, config, flower


@lru_cache(maxsize=8)
def _read(values: tuple[tuple[str, run_config.Plain], ...]) -> tuple[Config, run_config.FlowerConfig]:
    return run_config.read(dict(values))


@lru_cache(maxsize=64)  # clients that share their data share one, those with data of their own have one each
def _job(values: tuple[tuple[str, run_config.Plain], ...], nodes: range | None) -> Job:
    """Compose a run's parts once per process: its clients share them, unless each has its own data."""
    config, _ = _read(values)
    torch.set_num_threads(config.engine.threads)  # the process is this client's, or one of several alike
    limit_cores(1)  # so that several alike do not take the cores from each other; engine.workers gives more
    return compose(config, nodes)
