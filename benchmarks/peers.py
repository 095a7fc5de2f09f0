"""Cost of an exchange between processes, and robustness to killed processes.

    python -m benchmarks.peers [round] [soak [MINUTES]]

* `round`: 4 peers in a ring on this machine, mutual TLS, messages of 51,000 floats: wall time of a round, the slowest
  peer's computing, and what is left for the exchange; medians. The model is softmax on random images, with one local
  step, so that on few cores the peers do not wait for each other's computing.
* `soak`: 8 peers in a ring, one of them, drawn by chance, killed every 15 s and started again: rounds done, what was
  lost, and every process' memory over time.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._fleet import Fleet
from ngpd_fl import Config
from ngpd_fl.core.signals import terminated_like_interrupted
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.run import run_id
from ngpd_fl.peer.transport import Credentials, HttpTransport, Peers, Routes
from ngpd_fl.records import RunFolder
from ngpd_fl.training import compose

KILL_EVERY_S = 15.0


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return random images and labels with which softmax has 51,000 parameters: 5,099 pixels, 10 classes."""
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(400, 1, 1, 5099, generator=generator)
    return train, torch.arange(400) % 10, train[:10], torch.arange(10)


def network(nodes: int, **training: Any) -> Config:
    """Return the run that both parts train."""
    return Config(
        data={"dataset": "benchmarks.peers:images", "batch_size": 8, "validation_fraction": 0.0},
        partition="iid",
        topology={"name": "ring", "nodes": nodes},
        model="softmax",
        strategy="ecl",
        training=training,
        evaluation={"every": 10},
    )


class Timed(PeerEngine):
    """Notes for each round how long it took and how much of that was computing, in seconds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make the engine, and time the parts of its rounds."""
        super().__init__(*arguments, **options)
        self.times: list[tuple[float, float]] = []
        self.computing = 0.0
        for name in ("work", "write", "read"):
            setattr(self._group, name, self._timed(getattr(self._group, name)))

    def run_round(self) -> Any:
        """Run a round and note its times."""
        self.computing, began = 0.0, time.perf_counter()
        info = super().run_round()
        self.times.append((time.perf_counter() - began, self.computing))
        return info

    def _timed(self, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.computing += time.perf_counter() - began

        return call


def one_peer(path: Path, name: str) -> None:
    """Run one of the peers of ``print_round``, and write its times."""
    torch.set_num_threads(1)
    config, peers = Config.load(path / "run.toml"), Peers.read(path / "peers.toml")
    job = compose(config)
    routes = Routes.of(name, peers.hosts, job.topology.edges)
    transport = HttpTransport(Credentials.open(path / "keys" / name), peers, routes)
    engine = Timed(job, peers[name].nodes, transport, run_id(config))
    engine.start()
    for _ in range(config.training.rounds):
        engine.run_round()
    engine.close()
    (path / f"{name}.txt").write_text("\n".join(f"{wall} {computing}" for wall, computing in engine.times))


def print_round(rounds: int = 200) -> None:
    """Print the parts of a round."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with Fleet(network(4, rounds=rounds, local_steps=1), path, module=["benchmarks.peers", "one-peer"]) as fleet:
            fleet.start_all()
            fleet.wait(600)
        of_peers = [
            [tuple(map(float, line.split())) for line in (path / f"node{number}.txt").read_text().splitlines()]
            for number in range(4)
        ]
    later = [list(zip(*each, strict=True)) for each in zip(*of_peers, strict=True)][rounds // 10 :]
    wall = [1e3 * statistics.median(walls) for walls, _ in later]
    slowest = [1e3 * max(computing) for _, computing in later]
    left = [one - other for one, other in zip(wall, slowest, strict=True)]
    print(f"4 peers in a ring, mutual TLS, {51_000 * 4 / 1e3:.0f} kB a message, medians of {len(later)} rounds")
    for words, values in (("a round", wall), ("slowest peer's computing", slowest), ("left for the exchange", left)):
        quarter, three = statistics.quantiles(values, n=4)[::2]
        print(f"  {words:<26}{statistics.median(values):8.2f} ms   (quartiles {quarter:.2f} to {three:.2f})")


def soak(minutes: float) -> None:
    """Kill and restart peers for some minutes; print their rounds, starts and memory."""
    chance, pages, jumps = random.Random(0), dict[int, list[tuple[float, float]]](), []
    with tempfile.TemporaryDirectory() as folder:
        with Fleet(network(8, rounds=10_000_000, local_steps=1), Path(folder)) as fleet:
            options = ["--round-timeout", "2", "--checkpoint-every", "10", "--quiet"]
            fleet.start_all(*options)
            for number in range(8):
                fleet.wait_for_round(number, 10, 300)
            began = time.monotonic()
            born = dict.fromkeys(range(8), began)
            kills = 0
            while (elapsed := time.monotonic() - began) < 60 * minutes:
                if elapsed >= (kills + 1) * KILL_EVERY_S:
                    victim, kills = chance.randrange(8), kills + 1
                    fleet.kill(victim)
                    before = fleet.round(victim)
                    kept = max(RunFolder(fleet.out(victim)).checkpoints.rounds(), default=0)
                    jumps.append(before - kept)
                    pages.pop(victim, None)
                    born[victim] = time.monotonic()
                    fleet.start(victim, *options)
                for number, process in fleet.processes.items():
                    if time.monotonic() - born[number] > 20:  # its imports are done
                        pages.setdefault(number, []).append((time.monotonic() - born[number], _memory(process.pid)))
                time.sleep(1)
            alive = [process.poll() is None for process in fleet.processes.values()]
            rounds = [fleet.round(number) for number in range(8)]
            for process in fleet.processes.values():
                process.terminate()
            fleet.wait(60)
            starts = [RunFolder(fleet.out(number)).summary()["peer"]["starts"] for number in range(8)]
    print(f"8 peers, {minutes:g} minutes, {kills} kills; alive at the end: {sum(alive)} of 8; starts {starts}")
    print(f"  rounds {min(rounds)} to {max(rounds)}; evaluated rounds after the last checkpoint: at most {max(jumps)}")
    for number, found in sorted(pages.items()):
        (since, first), (until, last) = found[0], found[-1]
        print(f"  peer {number}: {first:7.1f} MiB {since:4.0f} s after its start, {last:7.1f} MiB after {until:4.0f} s")


def _memory(process: int) -> float:
    """Return a process' resident memory in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    """Print the parts that are named, by default the round and 10 minutes of soak."""
    words = sys.argv[1:] or ["round", "soak"]
    if words[0] == "one-peer":
        one_peer(Path(words[1]), words[2])
        return
    with terminated_like_interrupted():  # so that no peer is left behind
        if "round" in words:
            print_round()
        if "soak" in words:
            given = words[words.index("soak") + 1 :]
            soak(float(given[0]) if given else 10.0)


if __name__ == "__main__":
    main()
