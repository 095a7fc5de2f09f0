"""Direct exchange: the server's side of a run whose nodes talk to each other.

No message of the algorithm passes through the server. Each client has a process that runs all rounds with its
neighbors. The server regularly checks that the processes run, and merges the clients' records.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, RecordDict

from ngpd_fl.config import conforming, parse_json
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.run_config import FlowerConfig
from ngpd_fl.flower.server.clients import Clients
from ngpd_fl.peer.merge import PeerRecords, are_alike, merge_round, merge_totals
from ngpd_fl.records import Progress, RunRecorder
from ngpd_fl.records.metrics import parse_metrics
from ngpd_fl.records.shapes import Amount, Count, Shape, Summary

KIND = "train.peer"
"""Flower's type of the only message there is."""

_INTERVAL = 2.0
"""Shortest time between two checks, in seconds. A check sends a message to every client."""

_TIMEOUT = 30.0
"""Longest duration of a check, in seconds: the other clients' leases must be renewed in time."""

_RESTARTS = 3
"""Number of restarts allowed for a process that dies without progress."""


class _News(Shape):
    """A client's answer, as ``PeerProcess.report`` makes it."""

    round: Count
    node_steps: Count
    train_seconds: Amount
    metrics: str
    events: str
    summary: str
    error: str
    restarted: bool


class _Event(Shape):
    """A line of a client's events."""

    round: Count
    what: str


@dataclass
class _ClientReport(PeerRecords):
    """Reports of a client about its nodes.

    Attributes:
        round: rounds that the nodes have done.
        node_steps: local steps that they have done.
        train_seconds: seconds that these took.
        events: number of the client's events that are known.
        restarts: number of restarts of its process since its last progress.
        answered_at: time of its last answer, by ``time.monotonic()``.
        is_over: whether it has ended in any way.
        error: reason of its failure; empty if it did not fail.
    """

    round: int = 0
    node_steps: int = 0
    train_seconds: float = 0.0
    events: int = 0
    restarts: int = 0
    answered_at: float = 0.0
    is_over: bool = False
    error: str = ""

    @property
    def recorded(self) -> int:
        """The last round whose evaluation it has reported; -1 if none."""
        return max(self.metrics, default=-1)


class DirectExchange:
    """Supervises the clients of one run.

    Attributes:
        models: the nodes' final parameters by name, as far as they were collected.
        has_ended: whether the run has ended, so that at most models are still to be collected.
    """

    def __init__(
        self,
        clients: Clients,
        flower: FlowerConfig,
        recorder: RunRecorder,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Prepare the run, at its beginning.

        Args:
            clients: the clients, which have been met.
            flower: the settings of the run in Flower.
            recorder: the run's.
            report: called with the progress after rounds that all clients have done.
        """
        self._report = report
        self._clients = clients
        self._flower = flower
        self._recorder = recorder
        nodes, now = recorder.config.topology.nodes, time.monotonic()
        count = flower.num_clients(nodes)
        self._reports = [_ClientReport(list(flower.hosted(client, nodes)), answered_at=now) for client in range(count)]
        self._recorded, self._reported = -1, 0  # rounds: of the last evaluation, and of the last progress
        self.models: dict[str, Array] = {}
        self.has_ended = False

    def run(self) -> None:
        """Supervise the clients until all have ended, one has diverged, or none is left.

        Raises:
            RuntimeError: no client completed its run.
        """
        while not self._all_ended():
            began = time.monotonic()
            self._poll(min(_TIMEOUT, self._flower.round_timeout / 4))
            self._record()
            if not self._all_ended():
                self._clients.wait(max(_INTERVAL, time.monotonic() - began))  # slow checks are less frequent
        self._conclude()
        self._poll(self._flower.round_timeout, last=True)
        self._record()
        self._conclude()
        if not self.has_ended:
            reasons = [event.what for event in self._clients.events]
            raise RuntimeError(f"no client came to its end: {reasons[-1] if reasons else 'no reason'}")

    def summary(self) -> dict[str, Any]:
        """Return the summary's values besides the recorder's: clients, their messages, and problems."""
        return {
            "data_plane": "direct",
            "clients": len(self._reports),
            "nodes_per_client": self._flower.nodes_per_client,
            "peers": [report.summary.get("peer", {"nodes": report.nodes}) for report in self._reports],
            "events": [event.record() for event in self._clients.events],
        }

    def _conclude(self) -> None:
        """Determine the run's final status from the clients' summaries."""
        statuses = {report.summary.get("status") for report in self._reports}
        self.has_ended = bool(statuses & {"finished", "diverged"})
        self._recorder.status = "diverged" if "diverged" in statuses else "finished"

    def _all_ended(self) -> bool:
        has_diverged = any(report.summary.get("status") == "diverged" for report in self._reports)
        return has_diverged or all(map(self._has_ended, self._reports))

    def _has_ended(self, report: _ClientReport) -> bool:
        return report.is_over or time.monotonic() > report.answered_at + self._flower.round_timeout

    def _poll(self, timeout: float, last: bool = False) -> None:
        """Request and record each client's report; keep its process running or, in the end, stop it."""
        contents = {}
        for client, report in enumerate(self._reports):
            config = {
                "round": report.recorded,
                "events": report.events,
                "run": not last and not report.is_over,
                "collect": last and self._flower.collect,
                "last": last,
            }
            contents[client] = RecordDict({wire.CONFIG: wire.config_record(config)})
        for client, answer in self._clients.ask(KIND, contents, self._recorder.round, timeout).items():
            report = self._reports[client]
            report.answered_at = time.monotonic()
            try:
                self._note(client, report, conforming(wire.config_of(answer), _News))
                self.models.update(wire.models(answer, report.nodes))
            except ValueError as error:
                report.error, report.is_over = report.error or f"its records do not fit the run ({error})", True
                self._clients.note(report.round, client, report.error)

    def _note(self, client: int, report: _ClientReport, news: dict[str, Any]) -> None:
        """Take in a client's news; raise ``ValueError`` if its records are not of this run."""
        metrics = {evaluation.round: evaluation for evaluation in map(parse_metrics, news["metrics"].splitlines())}
        first = next((evaluation for known in self._reports for evaluation in known.metrics.values()), None)
        nodes = self._recorder.config.topology.nodes
        if not all(are_alike(evaluation, first or evaluation, nodes) for evaluation in metrics.values()):
            raise ValueError("its evaluations are of another network")
        summary = parse_json(news["summary"])
        report.summary = conforming(summary, Summary) if summary else {}
        report.metrics |= metrics
        for line in news["events"].splitlines():
            report.events += 1
            with suppress(ValueError):  # cut off by a loss of power
                event = conforming(parse_json(line), _Event)
                self._clients.note(event["round"], client, event["what"])
        if news["round"] > report.round:
            report.restarts = 0
        report.restarts += news["restarted"]
        report.round = max(report.round, news["round"])
        report.node_steps, report.train_seconds = news["node_steps"], news["train_seconds"]
        if news["error"] and not report.error:
            report.error = news["error"]
            self._clients.note(report.round, client, f"failed: {report.error}")
        elif report.restarts > _RESTARTS and not report.error:
            report.error = "its process dies again and again"
            self._clients.note(report.round, client, report.error)
        report.is_over = bool(report.error) or report.summary.get("status") in ("finished", "diverged")

    def _record(self) -> None:
        """Record the rounds that all clients have evaluated, have left out, or will never reach; report progress."""
        recorder, waited_for = self._recorder, [report for report in self._reports if not self._has_ended(report)]
        complete = min((report.recorded for report in waited_for), default=recorder.config.training.rounds)
        for round in sorted({round for report in self._reports for round in report.metrics}):
            if self._recorded < round <= complete:
                self._report(recorder.progress(merge_round(self._reports, round, recorder)))
                self._recorded = self._reported = round
        recorder.round = max(self._recorded, min((report.round for report in waited_for), default=0), 0)
        merge_totals(self._reports, recorder)
        recorder.node_steps = sum(report.summary.get("node_steps", report.node_steps) for report in self._reports)
        recorder.train_seconds = max(
            report.summary.get("train_seconds", report.train_seconds) for report in self._reports
        )
        if recorder.round > self._reported:
            self._report(recorder.progress(None))
            self._reported = recorder.round
