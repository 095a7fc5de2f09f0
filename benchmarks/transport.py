"""Frames between two processes on loopback: the package's transport, gRPC, Zenoh, and TLS sockets as the limit.

Both ends are processes of their own. "one way" is half a round trip of the same frame; "rate" has two frames on their
way, each answered with a byte, and for the limit a stream without any answer; "CPU" is process time of both ends per
byte at that rate. Medians over repeats, in each of which everyone is measured in turn, so that a drift of the machine's
speed falls on all alike; the share of the limit is the median over repeats too. "back" is the time from when a process
that was killed listens again until it has a frame.

    python -m benchmarks.transport [http] [frames] [grpc] [zenoh] [plain]        Zenoh needs: pip install eclipse-zenoh

`frames` is the package's with all that a peer does to a frame: header, checksum, copies, check for finite numbers.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._links import LINKS, Place
from ngpd_fl.deploy.folders import make_peer_keys
from ngpd_fl.peer.transport import Peers

SIZES = {50_000: 400, 5_000_000: 40, 100_000_000: 4}
"""Bytes of a frame, and how many make a measurement."""

REPEATS, KILLS = 5, 3

ECHO, ANSWER, SILENT = b"e", b"a", b"s"
"""First bytes of a frame, which request from the other end: the same frame, a byte, or nothing."""


class Figures(NamedTuple):
    """One measurement: seconds one way, bytes per second, and seconds of process time at both ends per byte."""

    one_way: float
    rate: float
    cpu: float


def far_end(kind: str, place: Place, pipe: Connection) -> None:
    """Answer frames; send the times of listening and of the first frame, and the process time on request."""
    came: queue.SimpleQueue[Any] = queue.SimpleQueue()
    link = LINKS[kind](place, 1)
    link.start(came.put)
    pipe.send(time.monotonic())
    first = came.get()
    pipe.send(time.monotonic())
    threading.Thread(target=send_process_time, args=(pipe,), daemon=True).start()
    while True:
        if (what := bytes(first[:1])) != SILENT:
            link.send(bytes(first) if what == ECHO else ANSWER)
        first = came.get()


def send_process_time(pipe: Connection) -> None:
    """Answer with the process time."""
    while pipe.recv():
        pipe.send(time.process_time())


@contextmanager
def far_process(kind: str, place: Place, method: str) -> Iterator[Connection]:
    """Run the far end in a process that is killed afterwards."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=far_end, args=(kind, place, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def measure(kind: str, place: Place, size: int, number: int, pipe: Connection) -> None:
    """Measure once, in a process of its own: the near end."""
    came: queue.SimpleQueue[Any] = queue.SimpleQueue()
    body = np.random.default_rng(0).normal(size=size // 4).astype(np.float32).tobytes()[1:]  # finite numbers
    with far_process(kind, place, "fork") as far:
        link = LINKS[kind](place, 0)
        link.start(came.put)
        far.recv()
        link.send(ANSWER)
        came.get()
        far.recv()
        times, frame = [], ECHO + body
        for _ in range(max(5, number // 4)):
            began = time.perf_counter()
            link.send(frame)
            came.get()
            times.append(time.perf_counter() - began)
        before, began = used(far), time.perf_counter()
        if kind == "limit":
            frame = SILENT + body
            for _ in range(number):
                link.send(frame)
            link.send(ANSWER)
            came.get()
        else:
            frame = ANSWER + body
            for turn in range(number + 2):
                if turn >= 2:
                    came.get()
                if turn < number:
                    link.send(frame)
        seconds = time.perf_counter() - began
        pipe.send(
            Figures(statistics.median(times) / 2, number * size / seconds, (used(far) - before) / (number * size))
        )
        pipe.recv()


def used(far: Connection) -> float:
    """Return the process time of both ends."""
    far.send(True)
    return time.process_time() + float(far.recv())


def come_back(kind: str, place: Place, pipe: Connection) -> None:
    """Kill the far end, start it again, and send the seconds from its listening to its first frame."""
    came: queue.SimpleQueue[Any] = queue.SimpleQueue()
    link = LINKS[kind](place, 0)
    link.start(came.put)
    for incarnation in range(KILLS + 1):
        if incarnation:
            time.sleep(0.5)  # the one before was killed
            link.send(SILENT)
        with far_process(kind, place, "spawn") as far:  # threads are running here
            listened = far.recv()
            if not incarnation:
                link.send(SILENT)
            seconds = far.recv() - listened
        if incarnation:
            pipe.send(seconds)
    pipe.send(None)
    pipe.recv()


@contextmanager
def near(target: Any, *words: Any) -> Iterator[Connection]:
    """Run a function in a process of its own and give the pipe to it."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=target, args=(*words, theirs))
    process.start()
    try:
        if not ours.poll(120):
            raise TimeoutError(f"{words[0]} did not answer")
        yield ours
        ours.send(True)
    finally:
        process.join(5)
        process.kill()


def main(words: list[str]) -> None:
    """Measure and print two tables."""
    kinds = ["limit", *(each for each in LINKS if each in words or (not set(words) & set(LINKS) and each != "limit"))]
    if find_spec("zenoh") is None and "zenoh" in kinds:
        kinds.remove("zenoh")
    ports = iter(range(20_000 + os.getpid() % 20_000, 65_000, 2))
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        make_peer_keys(
            keys, Peers.model_validate({"peers": [{"nodes": (i,), "address": f"a:{i + 1}"} for i in (0, 1)]}), 1
        )
        print(
            "| | bytes | one way, ms | MB/s | of the limit | CPU, ns per byte |\n| --- | --- | --- | --- | --- | --- |"
        )
        for secure in (False, True) if "plain" in words else (True,):
            for size, number in SIZES.items():
                found: dict[str, list[Figures]] = defaultdict(list)
                for _ in range(REPEATS):
                    for kind in kinds:
                        port = next(ports)
                        with near(
                            measure, kind, Place(keys if secure else None, (port, port + 1)), size, number
                        ) as pipe:
                            found[kind].append(pipe.recv())
                for kind, each in found.items():
                    one_way, rate, cpu = (statistics.median(column) for column in zip(*each, strict=True))
                    share = statistics.median(a.rate / b.rate for a, b in zip(each, found["limit"], strict=True))
                    figures = (
                        f"{size:,}",
                        f"{1e3 * one_way:.2f}",
                        f"{rate / 1e6:.0f}",
                        f"{share:.0%}",
                        f"{1e9 * cpu:.2f}",
                    )
                    print(
                        "|", " | ".join((f"{kind}, {'mutual TLS' if secure else 'plain'}", *figures)), "|", flush=True
                    )
        print("\n| | back after a kill, ms |\n| --- | --- |")
        for kind in kinds[1:]:
            port = next(ports)
            with near(come_back, kind, Place(keys, (port, port + 1))) as pipe:
                times = list(iter(pipe.recv, None))
            print(f"| {kind} | {1e3 * statistics.median(times):.0f} (at most {1e3 * max(times):.0f}) |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
