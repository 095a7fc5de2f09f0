"""Costs of computing and sending on a device, in seconds and joules: pure functions, the same for every engine.

    compute    local steps x seconds per step of SGD x the strategy's cost relative to SGD
    transfer   latency of both ends + jitter + bits / min(up-link of sender / messages that share it, down-link of
               receiver)
    energy     idle power x time + (computing - idle power) x time computing + sending power x time sending

Messages that a node sends at the same time have equal sizes and share its up-link equally, so all leave it at the same
time, after ``uplink_seconds``. Later messages wait until then. A message also takes at least the time that the
receiver's down-link needs for it alone: messages from several senders do not slow each other down.

Sizes are bytes, rates kilobits (1000 bits) a second; ``link_seconds`` is the one place where they meet.
"""

from __future__ import annotations

from ngpd_fl.config import Config
from ngpd_fl.devices.device import Device

_KFAC_DENSE, _KFAC_CONVOLUTIONAL = 9.8, 3.0


def compute_seconds(device: Device, local_steps: int, relative_cost: float = 1.0) -> float:
    """Return the seconds for a number of local steps.

    Args:
        device: the computing device.
        local_steps: number of local steps.
        relative_cost: time of a step of the strategy, relative to SGD.
    """
    return local_steps * device.step_seconds * relative_cost


def link_seconds(size_bytes: float, rate_kbit_s: float) -> float:
    """Return the seconds that bytes take on a link; 8 bits a byte, 1000 bits a kilobit."""
    return 8 * size_bytes / (1000 * rate_kbit_s)


def uplink_seconds(size_bytes: float, sender: Device, concurrent_sends: int = 1) -> float:
    """Return the seconds for which messages of equal size, sent at the same time, occupy their sender's up-link.

    Args:
        size_bytes: size of one message.
        sender: the sending device.
        concurrent_sends: number of messages.
    """
    return link_seconds(concurrent_sends * size_bytes, sender.up_kbit_s)


def transfer_seconds(
    size_bytes: float, sender: Device, receiver: Device, concurrent_sends: int = 1, jitter_seconds: float = 0.0
) -> float:
    """Return the seconds from the sending of a message until its last byte arrives.

    Args:
        size_bytes: size of the message.
        sender: the sending device; its concurrent messages share the up-link.
        receiver: the receiving device; the message has the down-link for itself.
        concurrent_sends: number of messages that the sender sends at the same time, this one included.
        jitter_seconds: the message's jitter, as drawn by ``devices.jitter_seconds``.
    """
    rate_kbit_s = min(sender.up_kbit_s / concurrent_sends, receiver.down_kbit_s)
    return sender.latency_s + receiver.latency_s + jitter_seconds + link_seconds(size_bytes, rate_kbit_s)


def joules(device: Device, elapsed_seconds: float, compute_seconds: float, send_seconds: float = 0.0) -> float | None:
    """Return the energy that a device has taken; None where its power is not known.

    Args:
        device: the device.
        elapsed_seconds: the time for which it was on, computing included.
        compute_seconds: the time for which it computed.
        send_seconds: the time for which its up-link was occupied; it may compute meanwhile.
    """
    if device.compute_w is None:
        return None
    waiting = max(elapsed_seconds - compute_seconds, 0.0)
    return device.compute_w * compute_seconds + device.idle_w * waiting + device.send_w * send_seconds


def relative_cost(config: Config) -> float:
    """Return the time of a local step of the run's strategy relative to SGD: as configured, else as measured.

    Figures and setting are in docs/how-to/devices.md: first-order methods add little to SGD; K-FAC's
    were measured with all eigenvectors (``strategy.rank = 0``), which its defaults do not keep.
    """
    if config.devices.relative_cost is not None:
        return config.devices.relative_cost
    if not config.strategy.second_order:
        return 1.0
    return _KFAC_DENSE if config.model.name in ("softmax", "mlp") else _KFAC_CONVOLUTIONAL
