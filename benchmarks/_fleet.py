"""Peers as processes on this machine, each with its own keys, for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from ngpd_fl import Config
from ngpd_fl.deploy.folders import make_peer_keys
from ngpd_fl.peer.transport import Peers
from ngpd_fl.records import RunFolder

ROOT = Path(__file__).parents[1]


class Fleet:
    """The peers of one run; a context that ends all processes at its end.

    Attributes:
        config: the run's configuration.
        path: folder of the configuration, keys, records and logs.
        processes: the processes that were started last, by the peer's number.
    """

    def __init__(
        self,
        config: Config,
        path: Path,
        hosted: Sequence[Sequence[int]] | None = None,
        *,
        addresses: Sequence[str] | None = None,
        prefixes: Sequence[Sequence[str]] | None = None,
        module: Sequence[str] = (),
    ) -> None:
        """Write the files that all peers share, and make their keys.

        Args:
            config: the run's configuration.
            path: an empty folder.
            hosted: the nodes of each peer. Defaults to one node each.
            addresses: the peers' addresses. Defaults to free ports of this machine.
            prefixes: words before each peer's command, such as those that run it in a network namespace.
            module: a module with arguments to run in place of ``ngpd-fl peer``, followed by the folder and the name.
        """
        self.config = config
        self.path = path
        self.hosted = hosted or [[node] for node in range(config.topology.nodes)]
        addresses = addresses or [f"127.0.0.1:{port}" for port in free_ports(len(self.hosted))]
        self.prefixes = prefixes or [[]] * len(self.hosted)
        self.module = module
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        (path / "run.toml").write_text(config.to_toml())
        entries = [
            {"address": address, "nodes": list(nodes)} for address, nodes in zip(addresses, self.hosted, strict=True)
        ]
        (path / "peers.toml").write_text(tomli_w.dumps({"peers": entries}))
        self.peers = Peers.read(path / "peers.toml")
        make_peer_keys(path / "keys", self.peers, 2)

    def __enter__(self) -> Fleet:
        """Return the fleet."""
        return self

    def __exit__(self, *error: object) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def out(self, number: int) -> Path:
        """Return the folder of a peer's records."""
        return self.path / "out" / self.peers.peers[number].name

    def log(self, number: int) -> str:
        """Return a peer's output."""
        return (self.path / f"log{number}.txt").read_text()

    def start(self, number: int, *words: str) -> None:
        """Start a peer, with further options of ``ngpd-fl peer``."""
        name = self.peers.peers[number].name
        command = [*self.prefixes[number], sys.executable, "-m"]
        if self.module:
            command += [*self.module, str(self.path), name]
        else:
            command += ["ngpd_fl", "peer", str(self.path / "run.toml"), "--peers", str(self.path / "peers.toml")]
            command += ["--keys", str(self.path / "keys" / name), "--out", str(self.out(number)), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.path / f"log{number}.txt").open("ab") as log:
            self.processes[number] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)

    def start_all(self, *words: str) -> None:
        """Start all peers."""
        for number in range(len(self.hosted)):
            self.start(number, *words)

    def kill(self, number: int) -> None:
        """Kill a peer, as a loss of power would."""
        self.processes[number].send_signal(signal.SIGKILL)
        self.processes[number].wait()

    def wait(self, seconds: float) -> list[int]:
        """Wait for all started peers and return their exit codes.

        Raises:
            TimeoutError: a peer has not ended in time.
        """
        until = time.monotonic() + seconds
        for number, process in self.processes.items():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired as error:
                raise TimeoutError(f"peer {number} has not ended: {self.log(number)[-500:]}") from error
        return [process.returncode for _, process in sorted(self.processes.items())]

    def round(self, number: int) -> int:
        """Return the round of a peer's last evaluation; -1 if there is none."""
        if not (self.out(number) / "metrics.jsonl").exists():
            return -1
        return max((metrics.round for metrics in RunFolder(self.out(number)).metrics()), default=-1)

    def wait_for_round(self, number: int, round: int, seconds: float) -> None:
        """Wait until a peer has evaluated a round; raise ``TimeoutError`` if that takes too long."""
        until = time.monotonic() + seconds
        while self.round(number) < round:
            if time.monotonic() > until:
                raise TimeoutError(f"peer {number} is in round {self.round(number)}: {self.log(number)[-500:]}")
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
