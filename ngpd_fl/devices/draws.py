"""Random draws for devices: the device of each node, the jitter of each message, the times when a node is away.

Every draw is keyed by (seed, purpose, node or edge, number), so that none depends on the order of events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from math import exp, inf

import numpy as np

from ngpd_fl.config import DevicesConfig, InputError, choices
from ngpd_fl.core.randomness import Purpose, generator
from ngpd_fl.devices.device import Device
from ngpd_fl.devices.table import SHIPPED, read_table


def draw_devices(config: DevicesConfig, num_nodes: int, seed: int) -> list[Device]:
    """Return the device of each node ``[N]``; the device of node i does not depend on the size of the network.

    Raises:
        InputError: the table cannot be read, or a class or node does not exist.
    """
    classes = read_table(SHIPPED)
    if config.table is not None:
        classes |= read_table(config.table)
    if config.classes and len(config.classes) != num_nodes:
        raise InputError(
            f"devices.classes: must name {num_nodes} classes, one for each node (got {len(config.classes)})"
        )
    mix = config.mix or {"reference": 1.0}
    for key, names in (("mix", mix), ("classes", config.classes)):
        for name in names:
            if name not in classes:
                raise InputError(f"devices.{key}: {name!r} is not known; {choices(name, classes)}")
    slow = config.slow or {}
    for node in slow:
        if node >= num_nodes:
            raise InputError(f"devices.slow: there is no node {node}; allowed: 0 to {num_nodes - 1}")
    devices = []
    for node in range(num_nodes):
        draws = generator(seed, Purpose.DEVICE, node)  # three numbers, used or not: a key changes its own effect only
        position, step_normal, link_normal = draws.random(), *draws.standard_normal(2)
        name = config.classes[node] if config.classes else _drawn(mix, position)
        device = classes[name].device(name, config.seconds_per_step)
        devices.append(
            device.scaled(
                step_seconds=exp(config.step_sigma * step_normal) * slow.get(node, 1.0),
                rate=exp(config.link_sigma * link_normal),
            )
        )
    return devices


def _drawn(mix: Mapping[str, float], position: float) -> str:
    """Return the name drawn by ``position``, in [0, 1): inversion of the shares in alphabetical order."""
    names = sorted(mix)
    ends = np.cumsum([mix[name] for name in names])
    return names[int(np.searchsorted(ends, position * ends[-1], side="right"))]


def jitter_seconds(sender: Device, receiver: Device, seed: int, edge: int, message: int) -> float:
    """Return a message's delay beyond the latency: exponential, its mean the sum of both ends' ``jitter_s``.

    Args:
        sender: the sending device.
        receiver: the receiving device.
        seed: the run's seed.
        edge: the directed edge.
        message: number of messages sent over the edge before.
    """
    mean = sender.jitter_s + receiver.jitter_s
    return mean and float(generator(seed, Purpose.JITTER, edge, message).exponential(mean))


def offline_periods(device: Device, node: int, seed: int) -> Iterator[tuple[float, float]]:
    """Yield the offline periods (begin, end) of a node, endlessly; none if it is always online.

    A node starts online. Online and offline periods alternate; their lengths are exponential with the device's means.
    """
    if device.online_s == inf:
        return
    end = 0.0
    for number in count():
        online, offline = generator(seed, Purpose.AVAILABILITY, node, number).standard_exponential(2)
        begin = end + device.online_s * float(online)
        end = begin + device.offline_s * float(offline)
        yield begin, end
