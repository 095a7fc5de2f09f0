"""Peer exchange: the server's side of a network without a server.

In every round each client computes its nodes. Their messages to nodes of other clients follow the edges of the graph
and pass through this process: it moves opaque arrays from message to message, drops lost ones, counts, and regularly
requests evaluations of the models. It has no model, and averages nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flwr.app import Array, MessageType, RecordDict

from ngpd_fl.core.message_loss import traffic
from ngpd_fl.engines import RoundInfo
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.server.clients import Clients
from ngpd_fl.flower.server.router import Router
from ngpd_fl.records import METRICS, Evaluation
from ngpd_fl.training.callbacks import Callback, EarlyStop
from ngpd_fl.training.loop import TrainingLoop
from topologies import Topology

if TYPE_CHECKING:
    from ngpd_fl.flower.run_config import FlowerConfig
    from ngpd_fl.records import Measure, RunRecorder


_BEFORE: dict[str, Any] = {
    **dict.fromkeys(("round", "node_steps", "train_seconds", "bytes_sent"), 0),
    **dict.fromkeys(("train_loss", "trust_shrink"), None),
}
"""Fields of a record before the first round, beside those of the evaluation."""


class PeerExchange:
    """The clients of a run, driven round by round; a ``Trainable``.

    Attributes:
        round: rounds done.
        models: the nodes' final parameters by name, as far as they were collected.
        has_ended: whether the run has ended, so that at most models are still to be collected.
    """

    engine = None
    waited = 0.0
    is_over = False

    def __init__(
        self,
        clients: Clients,
        topology: Topology,
        flower: FlowerConfig,
        recorder: RunRecorder,
        measure: Measure,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Prepare the run, at its beginning.

        Args:
            clients: the clients, which have been met.
            topology: the graph.
            flower: the settings of the run in Flower.
            recorder: the run's.
            measure: the task's.
            callbacks: called at the steps of the run.
        """
        self.round = 0
        self._callbacks = callbacks
        self._clients = clients
        self._topology = topology
        self._flower = flower
        self._recorder = recorder
        self._measure = measure
        count = flower.num_clients(topology.num_nodes)
        self._hosted = [flower.hosted(client, topology.num_nodes) for client in range(count)]
        home = [node // flower.nodes_per_client for node in range(topology.num_nodes)]
        self._home = home
        self._router = Router(topology.edges, home)
        self._messages: dict[int, wire.NodeMessages] = {}
        self._known = [-1] * count
        self._read = [-1] * count
        self._sent = [0] * (2 * len(topology.edges))
        self._relayed = 0
        self.models: dict[str, Array] = {}
        self.has_ended = False

    def run(self) -> None:
        """Train to the end, and collect the models."""
        recorder = self._recorder
        TrainingLoop(self, recorder, [*self._callbacks, EarlyStop(recorder.is_at_target)]).train()
        self.has_ended = True
        if recorder.status != "diverged" and self.round < recorder.config.training.rounds:
            # the clients did not know that this was the last round
            self._collect(self._ask(MessageType.EVALUATE, self.round, last=True, collect=self._flower.collect))

    def start(self) -> None:
        """Prepare for the first round. Nothing to do: the clients have been met."""

    def summary(self) -> dict[str, Any]:
        """Return the summary's values besides the recorder's: clients, bytes per edge, and problems."""
        return {
            "clients": len(self._hosted),
            "nodes_per_client": self._flower.nodes_per_client,
            "bytes_relayed": self._relayed,
            "bytes_per_edge": [
                [*edge, *self._sent[2 * number : 2 * number + 2]]
                for number, edge in enumerate(self._topology.edges.tolist())
            ],
            "events": [event.record() for event in self._clients.events],
        }

    def run_round(self) -> RoundInfo:
        """Let every client compute its nodes, and route their messages."""
        config, number = self._recorder.config, self.round
        answers = self._ask(MessageType.TRAIN, number)
        if config.strategy.needs.reliable and (silent := set(range(len(self._hosted))) - answers.keys()):
            raise RuntimeError(
                f"client {min(silent)} did not answer in round {number + 1}, but {config.strategy.title} needs every "
                "message; a longer round-timeout may help"
            )
        going = traffic(self._topology, config.network.message_loss, config.seed, number)
        messages = {client: wire.read_messages(answer) for client, answer in answers.items()}
        self._messages = self._router.route(messages, going.delivered)
        self._relayed += sum(
            len(array.data) for messages in self._messages.values() for array in messages.payload.values()
        )
        size = max(wire.config_of(answer)["bytes-per-message"] for answer in answers.values())
        sent = [edge for edge in going.sent.nonzero()[0].tolist() if self._home[self._router.sender[edge]] in answers]
        for edge in sent:
            self._sent[edge] += size
        metrics = [answer.metric_records[wire.METRICS] for answer in answers.values()]
        losses = [value for record in metrics for value in _floats(record["loss"])]
        shrinks = [value for record in metrics for value in _floats(record["shrink"])]
        self.round += 1
        return RoundInfo(
            loss=math.fsum(losses) / len(losses),
            shrink=math.fsum(shrinks) / len(shrinks),
            node_steps=config.training.local_steps * len(losses),
            bytes_sent=size * len(sent),
        )

    def evaluate(self, is_last: bool) -> tuple[Measure, dict[str, Any]]:
        """Let the clients evaluate their models after the rounds so far."""
        answers = self._ask(MessageType.EVALUATE, self.round, last=is_last, collect=is_last and self._flower.collect)
        self._collect(answers)
        metrics = [answer.metric_records[wire.METRICS] for answer in answers.values()]
        parts = [{name: _floats(values) for name, values in record.items()} for record in metrics]
        places = [int(node) for part in parts for node in part["node"]]
        return self._measure, Evaluation.joined(self._measure, parts).record(places, self._topology.num_nodes)

    def _collect(self, answers: dict[int, RecordDict]) -> None:
        for client, answer in answers.items():
            try:
                self.models.update(wire.models(answer, self._hosted[client]))
            except ValueError as error:
                self._clients.note(self.round, client, f"its models are not kept ({error})")

    def _ask(self, kind: str, number: int, *, last: bool = False, collect: bool = False) -> dict[int, RecordDict]:
        """Send each client its part of a round, with the messages of the round before, and return the answers.

        Raises:
            RuntimeError: no client answered.
        """
        contents = {}
        for client in range(len(self._hosted)):
            fresh = self._read[client] < number - 1
            config = {
                "round": number,
                "known": self._known[client],
                "messages-round": number - 1 if fresh else -1,
                "last": last,
                "collect": collect,
            }
            contents[client] = RecordDict({wire.CONFIG: wire.config_record(config)})
            if fresh:
                wire.write_messages(contents[client], self._messages.get(client, wire.NodeMessages({}, {})))
        from ngpd_fl.config import parse_json  # here, since it imports PyTorch
        from ngpd_fl.config.errors import cause

        answers = self._clients.ask(kind, contents, number, self._flower.round_timeout)
        for client, answer in list(answers.items()):
            try:
                values = wire.config_of(answer)
                self._check(kind, client, answer)
                self._recorder.add_retries(parse_json(str(values["retries"])))
            except (KeyError, TypeError, ValueError) as error:  # what no honest client sends
                del answers[client]
                self._clients.note(number, client, f"its answer cannot be used ({cause(error)})")
                continue
            self._known[client], self._read[client] = values["worked"], values["read"]
            if values["lost-curvature"]:
                self._clients.note(number, client, "had lost its curvature and estimates it anew")
        if not answers:
            reasons = [event.what for event in self._clients.events if event.round == number]
            raise RuntimeError(f"no client answered in round {number + 1}: {reasons[-1] if reasons else 'no reason'}")
        return answers

    def _check(self, kind: str, client: int, answer: RecordDict) -> None:
        """Raise ``KeyError``, ``TypeError`` or ``ValueError`` if a client's answer has not all that it must have."""
        values, metrics = wire.config_of(answer), answer.metric_records[wire.METRICS]
        for key in ("worked", "read", "bytes-per-message"):
            if type(values[key]) is not int:
                raise ValueError(f"{key} should be a whole number")
        values["lost-curvature"]
        nodes = self._hosted[client]
        if kind == MessageType.TRAIN:
            self._router.check(client, wire.read_messages(answer))
            if any(len(_floats(metrics[key])) != len(nodes) for key in ("loss", "shrink")):
                raise ValueError(f"loss and shrink are not of its {len(nodes)} nodes")
            return
        part = {name: _floats(values) for name, values in metrics.items()}
        groups = self._clients.identities[client]["groups"]
        if sorted(part["node"]) != list(nodes) or {len(part[key]) for key in ("groups", "nodes-per-group")} != {groups}:
            raise ValueError("its evaluation is not of its nodes")
        record = Evaluation.joined(self._measure, [part]).record()
        METRICS[self._measure](**_BEFORE, **record)


def _floats(values: Any) -> list[float]:
    return list(values)
