"""Costs of computing and sending on a device, in seconds and joules: pure functions, the same for every engine.

    compute    local steps x seconds per step of SGD x the strategy's cost relative to SGD
    transfer   latency of both ends + jitter + bits / min(up-link of sender / messages that share it, down-link of
               receiver)
    energy     idle power x time + (computing - idle power) x time computing + sending power x time sending

Messages that a node sends at one moment are equally long and share its up-link equally, so all leave it at the same
moment, after ``uplink_seconds``; what the node sends later waits until then. A message also takes no less than the
receiver's down-link needs for it alone: messages that reach one node from several do not slow each other down.

Sizes are bytes, rates kilobits (1000 bits) a second; ``link_seconds`` is the one place where they meet.
"""

from __future__ import annotations

from ngpd_fl.config import Config
from ngpd_fl.devices.device import Device

_KFAC_DENSE, _KFAC_CONVOLUTIONAL = 9.8, 3.0


def compute_seconds(device: Device, local_steps: int, relative_cost: float = 1.0) -> float:
    """Return the seconds of some local steps.

    Args:
        device: that computes them.
        local_steps: how many.
        relative_cost: of a step of the strategy over one of SGD.
    """
    return local_steps * device.step_seconds * relative_cost


def link_seconds(size_bytes: float, rate_kbit_s: float) -> float:
    """Return the seconds that bytes take on a link; 8 bits a byte, 1000 bits a kilobit."""
    return 8 * size_bytes / (1000 * rate_kbit_s)


def uplink_seconds(size_bytes: float, sender: Device, concurrent_sends: int = 1) -> float:
    """Return the seconds for which equally long messages, sent at one moment, occupy their sender's up-link.

    Args:
        size_bytes: of one of them.
        sender: whose up-link they share.
        concurrent_sends: how many they are.
    """
    return link_seconds(concurrent_sends * size_bytes, sender.up_kbit_s)


def transfer_seconds(
    size_bytes: float, sender: Device, receiver: Device, concurrent_sends: int = 1, jitter_seconds: float = 0.0
) -> float:
    """Return the seconds from the moment when a message is sent until its last byte is there.

    Args:
        size_bytes: of the message.
        sender: whose up-link it shares with the others that are sent at that moment.
        receiver: whose down-link it has for itself.
        concurrent_sends: messages that the sender sends at that moment, this one included.
        jitter_seconds: what ``devices.jitter_seconds`` has drawn for it.
    """
    rate_kbit_s = min(sender.up_kbit_s / concurrent_sends, receiver.down_kbit_s)
    return sender.latency_s + receiver.latency_s + jitter_seconds + link_seconds(size_bytes, rate_kbit_s)


def joules(device: Device, elapsed_seconds: float, compute_seconds: float, send_seconds: float = 0.0) -> float | None:
    """Return the energy that a device has taken; None where its power is not known.

    Args:
        device: whose energy it is.
        elapsed_seconds: all the time that it was on, computing included.
        compute_seconds: the time that it computed.
        send_seconds: the time that its up-link was occupied; it may compute meanwhile.
    """
    if device.compute_w is None:
        return None
    waiting = max(elapsed_seconds - compute_seconds, 0.0)
    return device.compute_w * compute_seconds + device.idle_w * waiting + device.send_w * send_seconds


def relative_cost(config: Config) -> float:
    """Return the time of a local step of the run's strategy over one of SGD: as configured, else as measured.

    Figures and setting are in docs/how-to/devices.md: first-order methods add little to SGD; K-FAC's are
    of default settings.
    """
    if config.devices.relative_cost is not None:
        return config.devices.relative_cost
    if not config.strategy.second_order:
        return 1.0
    return _KFAC_DENSE if config.model.name in ("softmax", "mlp") else _KFAC_CONVOLUTIONAL
