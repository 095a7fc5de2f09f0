"""A client's nodes as a process of its own, which talks to its neighbors directly and outlives Flower's messages.

``PeerProcess`` represents that process in the client, which answers the server: it starts the process and keeps it
running. The two share information only in a folder. The process holds a lock there from its start, which shows that it
runs. A lease, renewed with every message of the server, shows that the process is still needed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from ngpd_fl.config import InputError, build_topology
from ngpd_fl.config.errors import cause
from ngpd_fl.core.signals import stopping
from ngpd_fl.flower import direct, run_config
from ngpd_fl.flower.client.state_store import scratch
from ngpd_fl.flower.run_config import Plain
from ngpd_fl.peer.run import run_peer
from ngpd_fl.peer.timeouts import TIMEOUTS, NodeTimeouts
from ngpd_fl.peer.transport import Credentials, HttpTransport, Insecure, Routes
from ngpd_fl.records import Progress, RunFolder, write_text
from ngpd_fl.records.files import atomic_write, is_locked
from ngpd_fl.training.callbacks import ProgressReport

_ENDING = 20.0
"""Seconds that a process has to end when it is no longer needed: a round may be in progress."""

_TELL = 0.5
"""Shortest time between two progress reports of the process, in seconds."""

_OVER = ("finished", "diverged")
"""Status of a run that needs no further process."""


class Order(NamedTuple):
    """Input of the process.

    Attributes:
        run_config: the run's configuration in Flower's form.
        client: the client's number.
        keys: folder with certificate and key; None for no TLS, which is possible on one machine only.
        run: identifier of the run.
    """

    run_config: Mapping[str, Plain]
    client: int
    keys: str | None
    run: str


class _Files:
    """Paths in the folder that both sides share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.order = folder / "order.json"
        self.lease = folder / "lease"
        self.lock = folder / "lock"
        self.progress = folder / "progress.json"
        self.events = folder / "events.jsonl"
        self.error = folder / "error"

    def add_event(self, what: str) -> None:
        """Record a problem, with the round."""
        with self.events.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"round": self.last_progress()["round"], "what": what}) + "\n")

    def last_progress(self) -> dict[str, Any]:
        """Return the last progress report of the process."""
        report: dict[str, Any] = {"round": 0, "node_steps": 0, "train_seconds": 0.0}
        with suppress(FileNotFoundError, ValueError):  # not yet, or a loss of power came before it was on disk
            report = json.loads(self.progress.read_text())
        return report


class PeerProcess:
    """The process of one client in one run, seen from outside."""

    def __init__(self, home: Path, is_kept: bool) -> None:
        """Name its folder ``home``, which stays after the end of the run if ``is_kept``."""
        self._home = home
        self._is_kept = is_kept
        self._files = _Files(home)

    @classmethod
    def of(cls, run_id: int, client: int, state_dir: Path | None) -> Self:
        """Return a client's process in Flower's run; without a ``state_dir``, the end of the run removes its folder."""
        home = state_dir / f"run-{run_id}" if state_dir else scratch(run_id)
        return cls(home / f"peer{client}", state_dir is not None)

    def ensure_running(self, order: Order) -> bool:
        """Renew the lease, and start the process if it does not run; return whether that was a restart."""
        files = self._files
        is_new = not files.order.exists()
        self._home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home.mkdir(mode=0o700, exist_ok=True)
        files.lease.touch()
        if files.error.exists() or self.status() in _OVER:
            return False
        with files.lock.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if is_new:
                self._stop_others()
            else:
                how = "was stopped" if self.status() else "died"
                files.add_event(f"its process {how} and is started again; it goes on from its last checkpoint")
            write_text(files.order, json.dumps(order._asdict()))
            with (self._home / "log").open("ab") as log:
                subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, str(self._home)],
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # code comes with the run
                    cwd=self._home,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
        return not is_new

    def report(self, round: int, events: int) -> dict[str, Any]:
        """Return its progress and new records, in values that a message can hold.

        Args:
            round: the last round whose evaluation is known.
            events: the number of events that are known.
        """
        files, is_running, progress = self._files, self.is_running(), self._files.last_progress()  # before the records
        metrics = [evaluation for evaluation in RunFolder(files.records).metrics() if evaluation.round > round]
        lines = files.events.read_text().split("\n")[events:-1] if files.events.exists() else []
        return progress | {
            "error": files.error.read_text() if files.error.exists() else "",
            "metrics": "\n".join(evaluation.model_dump_json() for evaluation in metrics),
            "events": "\n".join(lines),
            "summary": json.dumps({} if is_running else self._summary()),
        }

    def models(self) -> dict[str, Any]:
        """Return the nodes' parameters by node and name; empty if the process has not ended."""
        if self.is_running() or not (self._files.records / "models.safetensors").exists():
            return {}
        return RunFolder(self._files.records).models()

    def stop(self) -> None:
        """Stop the process; it writes a checkpoint if its run is not over."""
        self._files.lease.unlink(missing_ok=True)
        deadline = time.monotonic() + _ENDING
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)

    def clear(self) -> None:
        """Remove the folder, unless it is kept."""
        if not self._is_kept:
            shutil.rmtree(self._home, ignore_errors=True)
            with suppress(OSError):  # another client's lies there
                self._home.parent.rmdir()

    def is_running(self) -> bool:
        """Return whether the process is running."""
        return self._files.lock.exists() and is_locked(self._files.lock)

    def status(self) -> str:
        """Return its final status; empty if it has not ended, or died."""
        return str(self._summary().get("status", ""))

    def _summary(self) -> dict[str, Any]:
        folder = RunFolder(self._files.records)
        return folder.summary() if (folder.path / "summary.json").exists() else {}

    def _stop_others(self) -> None:
        """Stop this client's processes of earlier runs, whose server may have ended without notice."""
        if self._is_kept:
            for home in self._home.parent.parent.glob(f"run-*/{self._home.name}"):
                if home != self._home:
                    PeerProcess(home, is_kept=True).stop()


def main(folder: Path) -> None:
    """Run the nodes according to the order in ``folder``; write the reason of a failure there."""
    files = _Files(folder)
    try:
        _run(files, Order(**json.loads(files.order.read_text())))
    except Exception as error:
        traceback.print_exc()
        write_text(files.error, str(error) if isinstance(error, InputError) else cause(error))
        sys.exit(1)


def _run(files: _Files, order: Order) -> None:
    config, flower = run_config.read(order.run_config)
    everyone = direct.peers_of(config, flower)
    own = direct.peer_of(order.client, everyone, config, flower)
    identity = Insecure(own.name) if order.keys is None else Credentials.open(Path(order.keys), own.name)
    routes = Routes.of(own.name, everyone.hosts, build_topology(config).edges)
    is_silent, last = _watch(files.lease, flower.round_timeout), -_TELL

    def on_progress(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() >= last + _TELL or progress.round == progress.rounds:
            last = time.monotonic()
            values = {name: getattr(progress, name) for name in ("round", "node_steps", "train_seconds")}
            with atomic_write(files.progress, sync=False) as partial:
                partial.write_text(json.dumps(values))

    with stopping() as end_requested:
        summary = run_peer(
            config,
            flower.hosted(order.client, config.topology.nodes),
            HttpTransport(identity, everyone, routes),
            files.records,
            [ProgressReport(on_progress)],
            timeouts=NodeTimeouts(flower.register_timeout, min(TIMEOUTS.round, flower.round_timeout)),
            name=order.run,
            is_over=lambda: end_requested.is_set() or is_silent(),
            on_event=files.add_event,
        )
    if summary["status"] == "failed":  # a restart would not help
        skipped = summary["peer"]["rounds_skipped"]
        raise RuntimeError(f"{skipped} of {summary['rounds_planned']} rounds were left out to join the neighbors")


def _watch(lease: Path, seconds: float) -> Callable[[], bool]:
    """Return a check whether the lease is gone, or was not renewed for ``seconds``; robust to changes of the clock."""
    renewed, since = -1, time.monotonic()

    def is_silent() -> bool:
        nonlocal renewed, since
        try:
            modified = lease.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        if modified != renewed:
            renewed, since = modified, time.monotonic()
        return time.monotonic() > since + seconds

    return is_silent


if __name__ == "__main__":
    main(Path(sys.argv[1]))
