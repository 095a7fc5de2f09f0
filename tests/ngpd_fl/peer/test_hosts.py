"""Peers on hosts of their own, with a bad network between them. Root only: see benchmarks/_hosts.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks._fleet import Fleet
from benchmarks._hosts import Hosts, Impairment, why_not
from ngpd_fl import Config, run
from ngpd_fl.peer.merge import gather
from ngpd_fl.records import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=f"separate hosts: {why_not()}"),
]

BAD = Impairment(delay_s=0.05, loss=0.05, bits_s=10e6)


def config(**training: Any) -> Config:
    return Config(
        partition={"name": "classes", "classes_per_node": 5},
        topology={"name": "ring", "nodes": 4},
        training={"rounds": 20, **training},
        evaluation={"every": 5},
    )


def accuracy(fleet: Fleet, out: Path) -> float:
    summary = gather([fleet.out(number) for number in range(len(fleet.hosted))], out)
    assert summary["status"] == "finished"
    return float(summary["final"]["mean_accuracy"])


def on_hosts(config: Config, path: Path, hosts: Hosts, *words: str) -> Fleet:
    numbers = range(config.topology.nodes)
    addresses = [f"{hosts.address(number)}:7447" for number in numbers]
    fleet = Fleet(config, path, addresses=addresses, prefixes=[hosts.prefix(number) for number in numbers])
    fleet.start_all(*words)
    return fleet


def test_a_bad_network_costs_time_but_no_accuracy(tmp_path: Path) -> None:
    here = config()
    with Hosts(4, BAD) as hosts, on_hosts(here, tmp_path, hosts, "--round-timeout", "120") as fleet:
        assert fleet.wait(500) == [0] * 4
        found = accuracy(fleet, tmp_path / "all")
    assert abs(found - run(here).summary["final"]["mean_accuracy"]) < 0.01


def test_impatient_peers_end_on_a_bad_network_too(tmp_path: Path) -> None:
    """Messages are given up after half a second, less than the network stalls now and then: that stops nobody.

    A round here takes far less than a stall, after which a peer joins the others many rounds later. One that left out
    over half of its rounds says that it failed.
    """
    here = config(rounds=60)
    with Hosts(4, BAD._replace(loss=0.1)) as hosts, on_hosts(here, tmp_path, hosts, "--round-timeout", "0.5") as fleet:
        codes = fleet.wait(500)
        summaries = [RunFolder(fleet.out(number)).summary() for number in range(4)]
    records = [summary["peer"] for summary in summaries]
    is_skipped = [record["rounds_skipped"] > 30 for record in records]
    assert codes == [int(skipped) for skipped in is_skipped]
    assert [summary["status"] for summary in summaries] == [
        "failed" if skipped else "finished" for skipped in is_skipped
    ]
    refused = sum((Counter(record["frames_refused"]) for record in records), Counter[str]())
    assert sum(record["messages_missed"] for record in records) > 0 and set(refused) <= {"replayed"}
    assert sum(sum(record["messages_taken"].values()) for record in records) > 0
