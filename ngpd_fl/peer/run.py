"""One peer's run, from the configuration that all share to the records of its own nodes."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, DevicesConfig, FaultsConfig, InputError, read_record
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.data import fingerprint, unused_classes
from ngpd_fl.peer.engine import WAITS, PeerEngine, Waits
from ngpd_fl.peer.incarnation import is_credible, next_incarnation
from ngpd_fl.peer.transport import Transport
from ngpd_fl.records import (
    Progress,
    RunFolder,
    RunRecorder,
    describe_environment,
    last_checkpoint,
    write_text,
)
from ngpd_fl.records.shapes import PeerLife
from ngpd_fl.training import Job, compose
from topologies import DirectedOptions

EVENTS = "peer_events.jsonl"
"""In a peer's folder: what did not go as it should, a line each with the round; all lives are in it."""

CHECKPOINT_EVERY = 10
"""Rounds from one checkpoint to the next, unless said otherwise."""


def run_peer(
    config: Config,
    nodes: Sequence[int],
    transport: Transport,
    out: Path,
    *,
    waits: Waits = WAITS,
    checkpoint_every: int = CHECKPOINT_EVERY,
    name: str = "",
    is_over: Callable[[], bool] = lambda: False,
    on_start: Callable[[PeerEngine, RunRecorder], None] = lambda engine, recorder: None,
    on_progress: Callable[[Progress], None] | None = None,
    on_event: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train this process' nodes together with those of its neighbors' processes.

    Where ``out`` holds this run already, it goes on from the last checkpoint; the neighbors have gone on meanwhile.

    Args:
        config: the whole run; all peers have the same, but for where data lie and what computes.
        nodes: those that this process hosts.
        transport: joins it with its neighbors; closed when this returns.
        out: folder for the records of these nodes; ``gather`` puts all peers' together.
        waits: how long to wait for neighbors.
        checkpoint_every: rounds from one checkpoint to the next.
        name: tells this run from others of the same configuration; the same for all peers.
        is_over: whether to stop early, looked at in every round and while waiting.
        on_start: called with the engine and the account before the first round.
        on_progress: called after each round.
        on_event: called with a line for whatever does not go as it should.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        InputError: the configuration cannot be run by peers, or ``out`` holds something else.
    """
    check_for_peers(config)
    if checkpoint_every < 1:
        raise InputError(f"checkpoint_every: {checkpoint_every} rounds; allowed: 1 and more")
    for seconds in waits:
        if not 0 <= seconds <= threading.TIMEOUT_MAX:  # not a number, too
            raise InputError(f"timeout: {seconds:g} s; allowed: 0 to {threading.TIMEOUT_MAX:g}")
    with own_settings(config.engine.threads):
        job = compose(config, nodes)
        events = out / EVENTS

        def note(what: str) -> None:
            with events.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"round": engine.round, "what": what}) + "\n")
            on_event(what)

        environment = describe_environment(job.device) | {"data": fingerprint(job.dataset)}
        engine = PeerEngine(job, nodes, transport, run_id(config, name), waits=waits, is_over=is_over, on_event=note)
        is_new = not RunFolder.holds_run(out)
        folder = (
            RunFolder.create(out, config, environment, checkpoint_every=checkpoint_every)
            if is_new
            else _reopen(out, config)
        )
        with closing(folder):
            recorder = RunRecorder(
                config, job.model.num_params, unused_classes(job.counts), folder, on_progress, job.evaluated_on
            )
            if is_new:
                folder.add_counts(job.counts)
                engine.incarnation = next_incarnation()
                write_self(out, nodes, engine.life, engine.incarnation)
            else:
                _go_back(folder, engine, recorder, environment, note)
            peer = _Peer(job, engine, recorder, folder, checkpoint_every, is_over, note)
            on_start(engine, recorder)
            return peer.complete()


def check_for_peers(config: Config) -> None:
    """Raise ``InputError`` where a run is one that only a simulation can do."""
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
    """Return 16 bytes that are the same for all peers of a run, wherever their data lie and whatever computes."""
    shared = config.model_dump(mode="json", exclude={"data": {"data_dir", "download"}, "engine": True})
    text = json.dumps([shared, config.engine.dtype, *([name] if name else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:16]


class _Peer:
    """A peer on its way."""

    def __init__(
        self,
        job: Job,
        engine: PeerEngine,
        recorder: RunRecorder,
        folder: RunFolder,
        checkpoint_every: int,
        is_over: Callable[[], bool],
        note: Callable[[str], None],
    ) -> None:
        self.job = job
        self.engine = engine
        self.recorder = recorder
        self.folder = folder
        self.checkpoint_every = checkpoint_every
        self.is_over = is_over
        self.note = note

    def complete(self) -> dict[str, Any]:
        """Go to the end, whatever it is, and write the summary."""
        try:
            self.engine.start()
            self.go()
        except BaseException as error:
            self.recorder.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            self.engine.close()
            summary = self.recorder.summary() | {"peer": account(self.engine)}
            params = dict(zip(self.engine.nodes, self.engine.params(), strict=True))
            models = {f"node{node}": self.job.model.state_dict(each) for node, each in params.items()}
            self.folder.finish(summary, models)
        return summary

    def go(self) -> None:
        """Evaluate the start, then run round after round until the end, the order to stop, or divergence."""
        recorder = self.recorder
        if not recorder.metrics:
            self.evaluate()
        recorder.report(recorder.metrics[-1])
        while self.engine.round < self.job.config.training.rounds:
            if self.is_over():
                self.keep()
                recorder.status = "interrupted"
                return
            lost = self.run_round()
            recorder.report(self.evaluate() if lost or recorder.evaluation_is_due() else None)
            if lost:
                recorder.status = "diverged"
                return
            if self.engine.round % self.checkpoint_every == 0:
                self.keep()
        skipped, rounds = self.engine.skipped, self.job.config.training.rounds
        if is_mostly_skipped(skipped, rounds):
            recorder.status = "failed"
            self.note(f"{skipped} of {rounds} rounds were left out to join the neighbors: not a finished run")

    def run_round(self) -> bool:
        """Run a round and count it; return whether it was lost."""
        began, waited = time.perf_counter(), self.engine.waited
        info = self.engine.run_round()
        self.recorder.add_retries(self.job.take_retries())
        self.recorder.round = self.engine.round - 1  # it may have left some out
        return self.recorder.add_round(
            float(info.loss),
            float(info.shrink),
            node_steps=info.node_steps,
            bytes_sent=info.bytes_sent,
            seconds=time.perf_counter() - began - (self.engine.waited - waited),
        )

    def evaluate(self) -> Any:
        """Evaluate the models of this process' nodes."""
        began, nodes = time.perf_counter(), self.engine.nodes
        found = self.job.evaluate(self.engine.params(), nodes, average=False)
        record = found.record(nodes, self.job.topology.num_nodes)
        metrics = self.recorder.add_evaluation(found.measure, record)
        self.recorder.evaluation_seconds += time.perf_counter() - began
        return metrics

    def keep(self) -> None:
        """Write a checkpoint."""
        tensors, values = self.engine.state()
        self.folder.checkpoints.write(self.engine.round, tensors, {"engine": values, "recorder": self.recorder.state()})


def account(engine: PeerEngine) -> dict[str, Any]:
    """Return what the exchange with other processes was like, in this life; rounds left out are those of the run."""
    counts = engine.counts()
    return {
        "nodes": engine.nodes,
        "life": engine.life,
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


def _go_back(
    folder: RunFolder,
    engine: PeerEngine,
    recorder: RunRecorder,
    environment: dict[str, Any],
    on_event: Callable[[str], None],
) -> None:
    """Take up the last checkpoint that is fit for it, in a new life."""
    nodes, life, incarnation = read_self(folder.path)
    if nodes != sorted(engine.nodes):
        raise InputError(f"out: {folder.path} holds the records of other nodes ({', '.join(map(str, nodes))})")
    life, incarnation = life + 1, next_incarnation(incarnation)
    write_self(folder.path, nodes, life, incarnation)
    checkpoint = last_checkpoint(folder, environment, on_event)
    if checkpoint is not None:
        try:
            engine.load(checkpoint.tensors, checkpoint.values["engine"])
            recorder.load(checkpoint.values["recorder"])
        except Exception as error:  # values of other types than the run's can fail anywhere
            raise InputError(f"the checkpoint of round {checkpoint.round} does not fit this run: {error}") from error
    with (folder.path / "abandoned.jsonl").open("ab") as file:  # what this life may record otherwise, or leave out
        recorded = folder.path / "metrics.jsonl"  # not there where the life before ended before its first evaluation
        file.write(recorded.read_bytes()[checkpoint.recorded if checkpoint else 0 :] if recorded.exists() else b"")
    recorder.metrics = folder.rewind(checkpoint, environment)
    engine.begin_life(life, incarnation)


def is_mostly_skipped(skipped: float, rounds: int) -> bool:
    """Return whether a run of some rounds is none, since more than half of them were left out."""
    return 2 * skipped > rounds


def write_self(out: Path, nodes: Sequence[int], life: int, incarnation: int) -> None:
    """Note in a peer's folder which nodes it hosts, how often it has been started, and the last start's number."""
    noted = {"nodes": sorted(nodes), "life": life, "incarnation": incarnation}
    write_text(out / "peer.json", json.dumps(noted) + "\n")


def read_self(out: Path) -> tuple[list[int], int, int]:
    """Return what ``write_self`` noted; raise ``InputError`` where it is not there or damaged."""
    path = out / "peer.json"
    if not path.exists():
        raise InputError(f"{out}: not a peer's folder (it should hold peer.json)")
    found = read_record(path, PeerLife)
    if not is_credible(found["incarnation"]):
        raise InputError(f"{path}: damaged (incarnation {found['incarnation']})")
    return found["nodes"], found["life"], found["incarnation"]
