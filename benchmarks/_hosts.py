"""Emulated hosts: network namespaces joined by a switch that delays, loses and slows packets.

Needs root, Linux, iproute2 and /dev/net/tun. Every host has a TUN device; the switch is a process that reads IP packets
from all of them and writes each one, where its destination lies, once it is due. (The kernel's netem does the same but
is not in every kernel.)
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import multiprocessing
import os
import random
import select
import shutil
import struct
import subprocess
import time
from collections import defaultdict
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_MTU = 1500


class Impairment(NamedTuple):
    """Impairment of the packets between two hosts.

    Attributes:
        delay_s: smallest delay in seconds.
        loss: probability that a packet is lost.
        bits_s: rate of each host's uplink and downlink, in bits per second; packets queue before them.
        queue_s: longest time in a queue, in seconds; packets that would wait longer are dropped.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    bits_s: float = 1e9
    queue_s: float = 0.5


def why_not() -> str | None:
    """Return the reason why hosts cannot be emulated here; None if they can."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root, to make network namespaces"
    if shutil.which("ip") is None:
        return "needs iproute2"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    made = subprocess.run(["ip", "netns", "add", "ngpd-fl-probe"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", "ngpd-fl-probe"], capture_output=True)
    return f"needs network namespaces ({made.stderr.strip()})" if made.returncode else None


class Hosts:
    """Emulated hosts with addresses 10.99.0.1, 10.99.0.2, ...; a context that removes them at its end."""

    def __init__(self, count: int, impairment: Impairment, seed: int = 0) -> None:
        """Set the number of hosts, the impairment between them, and the seed of losses."""
        self._names = [f"ngpd-fl-{os.getpid()}-{number}" for number in range(count)]
        self._impairment = impairment
        self._seed = seed
        self._stop: Event = multiprocessing.get_context("spawn").Event()
        self._switch: Any = None

    def __enter__(self) -> Hosts:
        """Create the hosts and start the switch."""
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        words = (self._names, self._impairment, self._seed, ready, self._stop)
        self._switch = context.Process(target=_switch, args=words, daemon=True)
        self._switch.start()
        if not ready.wait(30):
            raise RuntimeError("the switch did not start")
        for number, name in enumerate(self._names):
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "tun0")
            _ip("-n", name, "link", "set", "tun0", "mtu", str(_MTU), "up")
        return self

    def __exit__(self, *error: object) -> None:
        """End the switch and remove the hosts."""
        self._stop.set()
        if self._switch is not None:
            self._switch.join(10)
            self._switch.kill()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def address(self, number: int) -> str:
        """Return a host's address."""
        return f"10.99.0.{number + 1}"

    def prefix(self, number: int) -> list[str]:
        """Return the words that run a command on a host."""
        return ["ip", "netns", "exec", self._names[number]]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _open_tun(namespace: str) -> int:
    """Return the switch's end of a new device tun0 in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/var/run/netns/{namespace}") as place, open("/proc/self/ns/net") as home:
        if libc.setns(place.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI))
        libc.setns(home.fileno(), 0)
    return device


def _switch(names: list[str], impairment: Impairment, seed: int, ready: Event, stop: Event) -> None:
    devices = [_open_tun(name) for name in names]
    of_address = {bytes([10, 99, 0, number + 1]): device for number, device in enumerate(devices)}
    chance = random.Random(seed)
    due: list[tuple[float, int, int, bytes]] = []
    free: dict[tuple[str, int], float] = defaultdict(float)  # time at which an uplink or downlink is free again
    count = 0

    def passed(way: tuple[str, int], at: float, packet: bytes) -> float | None:
        """Return the time at which a packet has passed a link; None if the link's queue is full."""
        begin = max(at, free[way])
        if begin - at > impairment.queue_s:
            return None
        free[way] = begin + 8 * len(packet) / impairment.bits_s
        return free[way]

    ready.set()
    while not stop.is_set():
        pause = min(0.05, max(0.0, due[0][0] - time.monotonic())) if due else 0.05
        readable, _, _ = select.select(devices, [], [], pause)
        now = time.monotonic()
        for device in readable:
            for _ in range(64):
                try:
                    packet = os.read(device, _MTU + 100)
                except BlockingIOError:
                    break
                target = of_address.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                if target is None or chance.random() < impairment.loss:
                    continue
                into = passed(("in", device), now, packet)
                out = None if into is None else passed(("out", target), into + impairment.delay_s, packet)
                if out is not None:
                    heapq.heappush(due, (out, count, target, packet))
                    count += 1
        while due and due[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(due)
            try:
                os.write(target, packet)
            except OSError:  # the host is gone, or its buffer is full
                pass
    for device in devices:
        os.close(device)
