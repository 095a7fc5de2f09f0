"""The devices of a network: costs and conditions of its virtual clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ngpd_fl.clock import Loss, Presence
from ngpd_fl.config import Config
from ngpd_fl.core.directed_edges import receivers, senders
from ngpd_fl.devices.cost import compute_seconds, joules, relative_cost, transfer_seconds, uplink_seconds
from ngpd_fl.devices.device import Device
from ngpd_fl.devices.draws import jitter_seconds, offline_periods
from topologies import Topology


class DeviceCosts:
    """``Costs`` of a network of devices."""

    def __init__(self, devices: Sequence[Device], topology: Topology, config: Config, message_bytes: int) -> None:
        """Compute the constant costs.

        Args:
            devices: the device of each node.
            topology: the graph.
            config: local steps of a round, their relative cost, and the seed of the draws of jitter.
            message_bytes: payload of a message.
        """
        self._devices = devices
        self._ends = list(zip(senders(topology.edges).tolist(), receivers(topology.edges).tolist(), strict=True))
        self._bytes = message_bytes
        steps, cost = config.training.local_steps, relative_cost(config)
        self._seconds = [compute_seconds(device, steps, cost) for device in devices]
        self._seed = config.seed

    def device(self, node: int) -> str:
        """Return the name of a node's device."""
        return self._devices[node].name

    def joules(self, node: int, elapsed: float, computing: float, sending: float) -> float | None:
        """Return the energy that a node has taken; None where its power is not known."""
        return joules(self._devices[node], elapsed, computing, sending)

    def compute(self, node: int, round: int) -> float:
        """Return the duration of a node's local steps of a round: the same in every round."""
        return self._seconds[node]

    def transfer(self, edge: int, sequence: int, parallel: int) -> float:
        """Return the seconds for which a message is in flight, its jitter included."""
        sender, receiver = (self._devices[node] for node in self._ends[edge])
        jitter = jitter_seconds(sender, receiver, self._seed, edge, sequence)
        return transfer_seconds(self._bytes, sender, receiver, parallel, jitter)

    def uplink(self, node: int, parallel: int) -> float:
        """Return the seconds for which ``parallel`` messages, sent at once, occupy a node's up-link."""
        return uplink_seconds(self._bytes, self._devices[node], parallel)


class DeviceConditions(Loss):
    """``Conditions`` with the engines' draws of lost messages, and with devices that go offline at random."""

    def __init__(self, devices: Sequence[Device], topology: Topology, message_loss: float, seed: int) -> None:
        """Set the conditions.

        Args:
            devices: the device of each node.
            topology: the graph and its schedule.
            message_loss: probability that a message is lost.
            seed: keys all draws.
        """
        super().__init__(topology, message_loss, seed)
        self._devices = devices
        self._seed = seed

    def presences(self, node: int) -> Iterator[Presence]:
        """Yield the starts and ends of the node's offline periods."""
        for begin, end in offline_periods(self._devices[node], node, self._seed):
            yield Presence(begin, False)
            yield Presence(end, True)
