"""Peer exchange: the server's side of a network without a server.

In every round each client computes its nodes, and what they send to nodes of other clients goes along the edges of the
graph, through the hands of this process: it moves opaque arrays from parcel to parcel, drops the messages that are
lost, counts, and asks now and then how good the models are. It has no model, and nothing is averaged here.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from flwr.app import Array, MessageType, RecordDict

from ngpd_fl.core.message_loss import traffic
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.server.clients import Clients
from ngpd_fl.flower.server.router import Router
from topologies import Topology

if TYPE_CHECKING:  # not at run time: they know the algorithms' options, hence the algorithms
    from ngpd_fl.flower.run_config import FlowerConfig
    from ngpd_fl.records import Measure, Metrics, RunRecorder


class PeerExchange:
    """Drives the clients of one run, round by round.

    Attributes:
        models: the nodes' final parameters by name, as far as they were collected.
        is_over: whether the run has ended, so that at most models are still to be collected.
    """

    def __init__(
        self, clients: Clients, topology: Topology, flower: FlowerConfig, recorder: RunRecorder, measure: Measure
    ) -> None:
        """Take the clients, which have been met, the graph, the way through Flower, its account, its measure."""
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
        self._mail: dict[int, wire.NodeMessages] = {}
        self._known = [-1] * count
        self._read = [-1] * count
        self._sent = [0] * (2 * len(topology.edges))
        self._relayed = 0
        self.models: dict[str, Array] = {}
        self.is_over = False

    def go(self) -> None:
        """Evaluate the start, then run round after round until the end, the target or divergence."""
        recorder = self._recorder
        recorder.report(self._evaluate(last=False))
        while recorder.round < recorder.config.training.rounds and not recorder.is_at_target():
            lost = self._round(recorder.round)
            last = lost or recorder.round == recorder.config.training.rounds
            metrics = self._evaluate(last) if recorder.evaluation_is_due() or lost else None
            recorder.report(metrics)
            if lost:
                recorder.status = "diverged"
                break
        self.is_over = True
        if (
            recorder.status != "diverged" and recorder.round < recorder.config.training.rounds
        ):  # the clients did not know that this was the last round
            self._collect(self._ask(MessageType.EVALUATE, recorder.round, last=True, collect=self._flower.collect))

    def account(self) -> dict[str, Any]:
        """Return what the summary says beside the recorder's: clients, bytes per edge, and what went wrong."""
        return {
            "clients": len(self._hosted),
            "nodes_per_client": self._flower.nodes_per_client,
            "bytes_relayed": self._relayed,
            "bytes_per_edge": [
                [*edge, *self._sent[2 * number : 2 * number + 2]]
                for number, edge in enumerate(self._topology.edges.tolist())
            ],
            "events": [event._asdict() for event in self._clients.events],
        }

    def _round(self, number: int) -> bool:
        """Let every client work, and route what they send; return whether training is lost."""
        config, began = self._recorder.config, time.perf_counter()
        answers = self._ask(MessageType.TRAIN, number)
        if config.strategy.needs.reliable and (silent := set(range(len(self._hosted))) - answers.keys()):
            raise RuntimeError(
                f"client {min(silent)} did not answer in round {number + 1}, but {config.strategy.title} needs every "
                "message; a longer round-timeout may help"
            )
        going = traffic(self._topology, config.network.message_loss, config.seed, number)
        parcels = {client: wire.get(answer) for client, answer in answers.items()}
        self._mail = self._router.route(parcels, going.delivered)
        self._relayed += sum(len(array.data) for mail in self._mail.values() for array in mail.payload.values())
        size = max(wire.noted(answer)["bytes-per-message"] for answer in answers.values())
        sent = [edge for edge in going.sent.nonzero()[0].tolist() if self._home[self._router.sender[edge]] in answers]
        for edge in sent:
            self._sent[edge] += size
        figures = [answer.metric_records[wire.FIGURES] for answer in answers.values()]
        losses = [each for figure in figures for each in _floats(figure["loss"])]
        shrinks = [each for figure in figures for each in _floats(figure["shrink"])]
        return self._recorder.add_round(
            math.fsum(losses) / len(losses),
            math.fsum(shrinks) / len(shrinks),
            node_steps=config.training.local_steps * len(losses),
            bytes_sent=size * len(sent),
            seconds=time.perf_counter() - began,
        )

    def _evaluate(self, last: bool) -> Metrics:
        """Ask how good the models are after the rounds so far, and record it."""
        recorder, began = self._recorder, time.perf_counter()
        answers = self._ask(MessageType.EVALUATE, recorder.round, last=last, collect=last and self._flower.collect)
        self._collect(answers)
        figures = [answer.metric_records[wire.FIGURES] for answer in answers.values()]
        parts = [{name: _floats(values) for name, values in figure.items()} for figure in figures]
        metrics = recorder.add_parts(self._measure, self._topology.num_nodes, parts)
        recorder.evaluation_seconds += time.perf_counter() - began
        return metrics

    def _collect(self, answers: dict[int, RecordDict]) -> None:
        for answer in answers.values():
            self.models.update(answer.array_records.get(wire.MODELS, {}))

    def _ask(self, kind: str, number: int, *, last: bool = False, collect: bool = False) -> dict[int, RecordDict]:
        """Send each client its part of a round, with the messages of the round before, and return the answers.

        Raises:
            RuntimeError: no client answered.
        """
        contents = {}
        for client in range(len(self._hosted)):
            fresh = self._read[client] < number - 1
            note = {
                "round": number,
                "known": self._known[client],
                "parcel": number - 1 if fresh else -1,
                "last": last,
                "collect": collect,
            }
            contents[client] = RecordDict({wire.NOTE: wire.note(note)})
            if fresh:
                wire.put(contents[client], self._mail.get(client, wire.NodeMessages({}, {})))
        from ngpd_fl.config import parse_json  # not before: this brings PyTorch along

        answers = self._clients.ask(kind, contents, number, self._flower.round_timeout)
        for client, answer in answers.items():
            said = wire.noted(answer)
            self._known[client], self._read[client] = said["worked"], said["read"]
            self._recorder.add_retries(parse_json(said["retries"]))
            if said["lost-curvature"]:
                self._clients.note(number, client, "had lost its curvature and estimates it anew")
        if not answers:
            reasons = [event.what for event in self._clients.events if event.round == number]
            raise RuntimeError(f"no client answered in round {number + 1}: {reasons[-1] if reasons else 'no reason'}")
        return answers


def _floats(values: Any) -> list[float]:
    return list(values)
