"""Flower in one process: a grid that hands each message to the client's own functions at once, with faults."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import threading
import tomllib
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from ngpd_fl import Config
from ngpd_fl.config import build_topology
from ngpd_fl.data import unused_classes
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.client import app as client_app
from ngpd_fl.flower.client import state_store
from ngpd_fl.flower.direct import loopback_peers
from ngpd_fl.flower.launcher.superlink_client import SuperLinkClient
from ngpd_fl.flower.run_config import FlowerConfig, read, write
from ngpd_fl.flower.server import app as server_app
from ngpd_fl.flower.server.clients import Clients
from ngpd_fl.flower.server.direct_exchange import DirectExchange
from ngpd_fl.flower.server.peer_exchange import PeerExchange
from ngpd_fl.records import MEASURES, RunRecorder

HANDLERS: dict[str, Callable[[Message, Context], Message]] = {
    "query": client_app.query,
    "train": client_app.train,
    "evaluate": client_app.evaluate,
    "train.peer": client_app.train_peer,
}

Fault = Callable[[str, int, int], str | None]
"""(message type, round, client) -> what happens to the message: ``fails`` before or ``dies`` after the client has
acted, its process is ``unreachable`` for Ray, its answer is ``late`` by eight other messages or comes ``twice``, or it
``restarts``: process and context are new before. None: nothing."""


NodeConfig = Callable[[int], dict[str, str]]
"""client -> what its node-config has beside the partition-id."""


class FakeGrid:
    """Clients in this process. With ``forgetful`` no process outlives a message."""

    def __init__(
        self, config: Config, flower: FlowerConfig, fault: Fault, forgetful: bool, node_config: NodeConfig
    ) -> None:
        self.config, self.fault, self.forgetful, self.node_config = config, fault, forgetful, node_config
        self.run_config = write(config, flower)
        self.run_id = uuid4().int >> 65
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run_id, 1, 1
        count = flower.num_clients(config.topology.nodes)
        self.client_of = {1000 - 7 * client: client for client in range(count)}  # nothing like the clients' numbers
        self.contexts = {node_id: self.new_context(node_id) for node_id in self.client_of}
        self.answers: dict[str, tuple[int, list[Message]]] = {}
        self.asked: list[tuple[str, int, int]] = []

    def new_context(self, node_id: int) -> Context:
        client = self.client_of[node_id]
        node_config: Any = {"partition-id": client, **self.node_config(client)}
        return Context(self.run_id, node_id, node_config, RecordDict(), self.run_config)

    def get_node_ids(self) -> list[int]:
        return sorted(self.client_of)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [self.handle(message) for message in messages]

    def handle(self, message: Message) -> str:
        message.metadata.__dict__["_message_id"] = str(uuid4())
        kind, node_id = message.metadata.message_type, message.metadata.dst_node_id
        client, number = self.client_of[node_id], int(message.metadata.group_id)
        self.asked.append((kind, number, client))
        happens = self.fault(kind, number, client)
        if self.forgetful or happens == "restarts":
            state_store._in_process.clear()
        if happens == "restarts":
            self.contexts[node_id] = self.new_context(node_id)
        context = copy.deepcopy(self.contexts[node_id])
        if happens == "fails":
            reply = Message(Error(2, "boom"), reply_to=message)
        elif happens == "unreachable":
            reply = Message(Error(2, f"ActorUnavailableError: The actor {'ab' * 16} is unavailable"), reply_to=message)
        else:
            reply = HANDLERS[kind](message, context)
            if happens == "dies":
                reply = Message(Error(0, "gone"), reply_to=message)
            else:
                self.contexts[node_id] = context
        ready, times = len(self.asked) + (8 if happens == "late" else 0), 2 if happens == "twice" else 1
        self.answers[message.metadata.message_id] = (ready, [reply] * times)
        return message.metadata.message_id

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        answers = (self.answers[message_id] for message_id in message_ids)
        return [reply for ready, replies in answers if ready <= len(self.asked) for reply in replies]


class FakeRun:
    """A whole run on the fake grid."""

    def __init__(
        self,
        config: Config,
        fault: Fault = lambda *_: None,
        *,
        forgetful: bool = False,
        node_config: NodeConfig = lambda client: {},
        **flower: Any,
    ) -> None:
        self.flower = FlowerConfig(**flower)
        if self.flower.data_plane == "direct" and self.flower.peers is None:
            self.flower = FlowerConfig(**flower, peers=loopback_peers(config, self.flower).to_toml())
        self.grid: Any = FakeGrid(config, self.flower, fault, forgetful, node_config)
        topology = build_topology(config)
        clients = Clients(self.grid, wire.code_version(), threading.Event())
        clients.meet(self.flower.num_clients(topology.num_nodes), 5.0)
        self.clients = clients
        identity, unused = clients.identities[0], unused_classes(clients.label_counts())
        self.recorder = RunRecorder(config, identity["parameters"], unused, evaluated_on=identity["evaluated-on"])
        self.exchange: PeerExchange | DirectExchange
        if self.flower.data_plane == "direct":
            self.exchange = DirectExchange(clients, self.flower, self.recorder)
        else:
            measure = MEASURES[str(identity["measure"])]
            self.exchange = PeerExchange(clients, topology, self.flower, self.recorder, measure)

    def go(self) -> FakeRun:
        self.exchange.run()
        return self

    def events(self) -> list[tuple[int, int, str]]:
        return [(event.round, event.client, event.what) for event in self.clients.events]

    def params(self, model: Any) -> Any:
        """The collected models as ``[N, P]``; nan for what is missing."""
        import torch

        params = torch.full((self.grid.config.topology.nodes, model.num_params), torch.nan, dtype=torch.float64)
        named: dict[int, dict[str, Any]] = {}
        for name, array in self.exchange.models.items():
            node, _, parameter = name.partition("/")
            named.setdefault(int(node.removeprefix("node")), {})[parameter] = torch.from_numpy(array.numpy())
        for node, tensors in named.items():
            params[node] = model.params_of(tensors)
        return params


class Answer:
    """A command of ``flwr`` that has ended."""

    def __init__(self, output: str) -> None:
        self.stdout = io.StringIO(output)

    def communicate(self) -> tuple[str, None]:
        return self.stdout.read(), None

    def wait(self) -> int:
        return 0

    def kill(self) -> None:
        pass


class FakeSuperLink(SuperLinkClient):
    """A SuperLink without processes: whoever asks for the log of a run lets server and clients run in this one."""

    simulates = True

    def __init__(self, fault: Fault = lambda *_: None) -> None:
        super().__init__()
        self.fault = fault
        self.run_config: Any = {}
        self.stopped: list[int] = []

    def flwr(self, *words: str, **settings: Any) -> Any:
        if words[0] == "log":
            return Answer(self.serve())
        if words[0] == "run":
            self.run_config = tomllib.loads(Path(words[words.index("-c") + 1]).read_text())
        run = {"run-id": "7", "status": "finished:failed", "status-details": "Flower's words"}
        return Answer(json.dumps({"success": True, "run-id": "7", "runs": [run]}))

    def serve(self) -> str:
        """Run the ServerApp and return what it has printed."""
        output = io.StringIO()
        grid: Any = FakeGrid(*read(self.run_config), self.fault, forgetful=False, node_config=lambda client: {})
        grid.run_config = self.run_config
        with contextlib.redirect_stdout(output):
            try:
                server_app.main(grid, grid.new_context(grid.get_node_ids()[0]))
            except Exception:
                traceback.print_exc(file=output)
        return output.getvalue()

    def stop(self, run_id: int) -> None:
        self.stopped.append(run_id)


def faulty_app(folder: Path, source: str) -> Path:
    """Write an app whose clients go through the mod ``fault(message, context, call)`` of ``source``."""
    from ngpd_fl.flower.launcher.app_bundle import write_app

    app = write_app(folder)
    (app / "faults.py").write_text(
        source
        + """
from flwr.clientapp import ClientApp
from ngpd_fl.flower.client.app import evaluate, query, train
app = ClientApp()
app.query()(query)
app.train(mods=[fault])(train)
app.evaluate()(evaluate)
"""
    )
    project = app / "pyproject.toml"
    project.write_text(project.read_text().replace("ngpd_fl.flower.client.app:app", "faults:app"))
    return app
