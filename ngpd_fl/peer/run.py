"""The run of one peer, from the shared configuration to the records of its nodes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, DevicesConfig, FaultsConfig, InputError, read_record
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.incarnation import is_credible, next_incarnation
from ngpd_fl.peer.timeouts import TIMEOUTS, NodeTimeouts
from ngpd_fl.peer.transport import Transport
from ngpd_fl.records import Measure, RunFolder, write_text
from ngpd_fl.records.shapes import PeerStart
from ngpd_fl.records.versions import current_peer
from ngpd_fl.training import compose
from ngpd_fl.training.callbacks import Callback, EarlyStop
from ngpd_fl.training.nodes import Checkpointing, LocalNodes, check_checkpoint_every, environment_of
from topologies import DirectedOptions

EVENTS = "peer_events.jsonl"
"""File in a peer's folder with a JSON line for every irregularity, of all its starts."""

CHECKPOINT_EVERY = 10
"""Rounds from one checkpoint to the next, by default."""


def run_peer(
    config: Config,
    nodes: Sequence[int],
    transport: Transport,
    out: Path,
    callbacks: Sequence[Callback] = (),
    *,
    timeouts: NodeTimeouts = TIMEOUTS,
    checkpoint_every: int = CHECKPOINT_EVERY,
    name: str = "",
    is_over: Callable[[], bool] = lambda: False,
    on_event: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train the nodes of this process together with those of other processes.

    If ``out`` already holds this run, it resumes from the last checkpoint; meanwhile the neighbors have gone on.

    Args:
        config: the whole run; the same for all peers, except for the place of the data and the device.
        nodes: the nodes of this process.
        transport: connects this process with its neighbors; closed in the end.
        out: folder for the records of these nodes; ``gather`` merges the records of all peers.
        callbacks: called at the steps of the run, whose engine is a ``PeerEngine``.
        timeouts: timeouts of the waits for neighbors.
        checkpoint_every: rounds from one checkpoint to the next.
        name: distinguishes runs of the same configuration; the same for all peers.
        is_over: returns whether to stop early; checked in every round and while waiting.
        on_event: called with a line for every irregularity.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        InputError: the configuration cannot be run by peers, or ``out`` holds something else.
    """
    check_for_peers(config)
    check_checkpoint_every(checkpoint_every)
    for seconds in timeouts:
        if not 0 <= seconds <= threading.TIMEOUT_MAX:  # not a number, too
            raise InputError(f"timeout: {seconds:g} s; allowed: 0 to {threading.TIMEOUT_MAX:g}")
    with own_settings(config.engine.threads):
        job = compose(config, nodes)
        events = out / EVENTS

        def record(what: str) -> None:
            with events.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"round": engine.round, "what": what}) + "\n")
            on_event(what)

        environment = environment_of(job)
        engine = PeerEngine(
            job, nodes, transport, run_id(config, name), timeouts=timeouts, is_over=is_over, on_event=record
        )
        is_new = not RunFolder.holds_run(out)
        folder = RunFolder.create(out, config, environment, checkpoint_every) if is_new else _reopen(out, config)
        with closing(folder):
            own = PeerNodes(job, engine, folder, skew=False)
            if is_new:
                folder.add_counts(job.counts)
                engine.incarnation = next_incarnation()
                write_self(out, nodes, engine.starts, engine.incarnation)
            else:
                _resume(own, folder, environment, record)
            stop = EarlyStop(is_over, status="interrupted")
            return own.complete([*callbacks, stop, Checkpointing(own, checkpoint_every)])


def check_for_peers(config: Config) -> None:
    """Raise ``InputError`` if only a simulation can do the run."""
    if config.devices != DevicesConfig():
        raise InputError("devices: peers have no virtual clock; leave its keys unset, or use ngpd-fl run")
    if config.faults != FaultsConfig():
        raise InputError("faults: peers have those of their network; leave its keys unset, or use ngpd-fl run")
    if isinstance(config.topology, DirectedOptions):
        raise InputError(f"topology.name: peers acknowledge messages both ways, which {config.topology.name} does not")
    if config.training.baseline is not None:
        raise InputError("training.baseline: peers exchange with their neighbors; unset it, or use ngpd-fl run")
    if config.training.timeout_seconds is not None:
        raise InputError("training.timeout_seconds: is of the virtual clock; give the peers' own by --round-timeout")
    if config.training.until_accuracy is not None:
        raise InputError("training.until_accuracy: nobody knows all peers' accuracy while they run; unset it")
    if config.strategy.needs.reliable:
        raise InputError(f"strategy.name: {config.strategy.title} needs every message, peers may lose some")


def run_id(config: Config, name: str = "") -> bytes:
    """Return 16 bytes that identify a run; they do not depend on the place of the data and the device."""
    shared = config.model_dump(mode="json", exclude={"data": {"data_dir", "download"}, "engine": True})
    text = json.dumps([shared, config.engine.dtype, *([name] if name else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:16]


class PeerNodes(LocalNodes):
    """The nodes of one peer, which exchange messages with other processes.

    Attributes:
        engine: the peer's engine.
    """

    engine: PeerEngine
    waits_for_nobody = False

    @property
    def waited(self) -> float:
        """Seconds spent waiting for messages."""
        return self.engine.waited

    def start(self) -> None:
        """Open the transport and wait for the neighbors."""
        self.engine.start()

    def evaluate(self, is_last: bool) -> tuple[Measure, dict[str, Any]]:
        """Evaluate the models of this process' nodes."""
        nodes = self.engine.nodes
        evaluation = self.job.evaluate(self.engine.params(), nodes, average=False)
        return evaluation.measure, evaluation.record(nodes, self.job.topology.num_nodes)

    def finish(self) -> dict[str, Any]:
        """Close the transport, write the summary and the models, and return the summary."""
        self.engine.close()
        skipped, rounds = self.engine.skipped, self.job.config.training.rounds
        if self.recorder.status == "finished" and is_mostly_skipped(skipped, rounds):
            self.recorder.status = "failed"
            self.engine.on_event(
                f"{skipped} of {rounds} rounds were left out to join the neighbors: not a finished run"
            )
        summary = self.recorder.summary() | {"peer": exchange_summary(self.engine)}
        names = [f"node{node}" for node in self.engine.nodes]
        self._write(summary, dict(zip(names, self.engine.params(), strict=True)))
        return summary


def exchange_summary(engine: PeerEngine) -> dict[str, Any]:
    """Return statistics of the exchange in this incarnation; skipped rounds are those of the whole run."""
    counts = engine.counts()
    return {
        "nodes": engine.nodes,
        "starts": engine.starts,
        "incarnation": engine.incarnation,
        "rounds_skipped": engine.skipped,
        "messages_taken": dict(sorted(engine.ages.items())),
        "messages_missed": engine.lost,
        "messages_late": engine.inbox.late,
        "messages_replaced": engine.inbox.replaced + counts.replaced,
        "frames_refused": dict(engine.inbox.refused) | ({"sender": counts.refused} if counts.refused else {}),
        "wire_bytes": {"sent": counts.sent_bytes, "received": counts.received_bytes},
        "waited_seconds": engine.waited,
    }


def _reopen(out: Path, config: Config) -> RunFolder:
    folder = RunFolder.reopen(out)
    if folder.config() != config:
        folder.close()
        raise InputError(f"out: {out} holds a run of another configuration; name another folder")
    return folder


def _resume(own: PeerNodes, folder: RunFolder, environment: dict[str, Any], on_event: Callable[[str], None]) -> None:
    """Resume from the last intact checkpoint, in a new incarnation."""
    engine = own.engine
    nodes, starts, incarnation = read_self(folder.path)
    if nodes != sorted(engine.nodes):
        raise InputError(f"out: {folder.path} holds the records of other nodes ({', '.join(map(str, nodes))})")
    starts, incarnation = starts + 1, next_incarnation(incarnation)
    write_self(folder.path, nodes, starts, incarnation)
    checkpoint = own.restore(environment, on_event)
    with (folder.path / "abandoned.jsonl").open("ab") as file:  # evaluations that this start may repeat or skip
        recorded = folder.path / "metrics.jsonl"  # missing if the start before ended before its first evaluation
        file.write(recorded.read_bytes()[checkpoint.recorded if checkpoint else 0 :] if recorded.exists() else b"")
    own.recorder.metrics = folder.rewind(checkpoint, environment)
    engine.begin_incarnation(starts, incarnation)


def is_mostly_skipped(skipped: float, rounds: int) -> bool:
    """Return whether a run has failed because more than half of its rounds were skipped."""
    return 2 * skipped > rounds


def write_self(out: Path, nodes: Sequence[int], starts: int, incarnation: int) -> None:
    """Record in a peer's folder its nodes, the number of its starts, and its last incarnation."""
    record = {"nodes": sorted(nodes), "starts": starts, "incarnation": incarnation}
    write_text(out / "peer.json", json.dumps(record) + "\n")


def read_self(out: Path) -> tuple[list[int], int, int]:
    """Return what ``write_self`` recorded; raise ``InputError`` if it is missing or damaged."""
    path = out / "peer.json"
    if not path.exists():
        raise InputError(f"{out}: not a peer's folder (it should hold peer.json)")
    record = read_record(path, PeerStart, current_peer)
    if not is_credible(record["incarnation"]):
        raise InputError(f"{path}: damaged (incarnation {record['incarnation']})")
    return record["nodes"], record["starts"], record["incarnation"]
