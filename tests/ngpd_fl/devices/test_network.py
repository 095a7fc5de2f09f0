"""A network of devices as the clock sees it, by hand."""

from __future__ import annotations

from itertools import islice

import pytest

from ngpd_fl.config import Config
from ngpd_fl.devices import DeviceConditions, DeviceCosts
from tests.ngpd_fl.devices.example import device
from topologies import parse_topology

PATH = parse_topology({"name": "path", "nodes": 3}).build(0)  # edges 0: 0-1, 1: 1-2


def test_costs_are_those_of_the_edges_ends() -> None:
    devices = [
        device(up_kbit_s=400, latency_s=0.1),
        device(step_seconds=2.0, up_kbit_s=800, down_kbit_s=100),
        device(down_kbit_s=300, latency_s=0.2),
    ]
    costs = DeviceCosts(devices, PATH, Config(training={"local_steps": 3}, devices={"relative_cost": 1.5}), 1000)
    assert [costs.compute(node, round) for node, round in ((0, 0), (1, 0), (1, 7))] == [2.25, 9.0, 9.0]
    assert costs.transfer(0, 0, 1) == pytest.approx(0.1 + 8 / 100)  # 0 to 1: the down-link is narrow
    assert costs.transfer(2, 0, 2) == pytest.approx(0.2 + 8 / 300)  # 1 to 2
    assert costs.transfer(2, 0, 8) == pytest.approx(0.2 + 8 / 100)  # eight share the up-link
    assert costs.uplink(0, 3) == pytest.approx(24 / 400)
    assert costs.uplink(0, 0) == 0


def test_jitter_is_drawn_for_each_message_and_edge() -> None:
    costs = DeviceCosts([device(jitter_s=1.0)] * 3, PATH, Config(), message_bytes=1)
    times = [costs.transfer(edge, sequence, 1) for edge in range(4) for sequence in range(5)]
    assert len(set(times)) == 20
    assert times[7] == costs.transfer(1, 2, 1)


def test_presence_is_that_of_the_device_and_differs_between_nodes() -> None:
    conditions = DeviceConditions([device(), *[device(online_s=10, offline_s=5)] * 2], PATH, 0.0, seed=0)
    assert list(conditions.presences(0)) == []
    periods = [list(islice(conditions.presences(node), 20)) for node in (1, 2)]
    assert periods[0] != periods[1]
    for one in periods:
        assert [period.present for period in one] == [False, True] * 10
        assert [period.time for period in one] == sorted(period.time for period in one)
    assert periods[0] == list(islice(conditions.presences(1), 20))  # asked twice
