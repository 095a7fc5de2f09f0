"""Whole runs with faults: records and replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import Config
from ngpd_fl.training.run import run

FAULTS: dict[str, Any] = {
    "burst_begin": 0.1,
    "delay_probability": 0.2,
    "duplicate_probability": 0.2,
    "delay_s": 0.1,
    "leave": [{"node": 1, "at_s": 0.1, "until_s": 0.3}, {"node": 2, "until_s": 0.1}],
    "slow": [{"node": 0, "factor": 3.0}],
    "cut": [{"groups": [[0, 1]], "at_s": 0.2, "until_s": 0.3}],
    "corrupt": [{"node": 3, "kind": "nan", "at_s": 0.05, "until_s": 0.4}],
    "byzantine": [{"node": 0, "kind": "gaussian", "scale": 0.01}],
}
SMALL: dict[str, Any] = {
    "model": "softmax",
    "topology": {"nodes": 4},
    "evaluation": {"every": 20},
    "data": {"batch_size": 8},
}


@pytest.mark.parametrize(
    ("name", "mode"), [("ngpd", "asynchronous"), ("ecl", "neighbor-synchronous"), ("dsgd", "synchronous")]
)
def test_faults_are_accounted_for_and_replayed_with_all_refusals(name: str, mode: str, tmp_path: Path) -> None:
    values = {**SMALL, "strategy": name, "training": {"rounds": 12, "local_steps": 2, "mode": mode}, "faults": FAULTS,
              "devices": {"seconds_per_step": 0.01, "relative_cost": 1}}  # fmt: skip
    first = run(Config(**values), tmp_path / "first", event_log=True)
    account = first.summary["clock"]
    dropped = sum(count for why, count in account["messages_dropped"].items() if why != "duplicate")
    known = dropped + account["messages_taken"] + account["messages_refused"] + account["messages_on_their_way"]
    assert account["messages_sent"] == known
    assert account["messages_refused"] > 0 and account["messages_dropped"]["lost"] > 0
    assert account["node_away_seconds"][1:3] == pytest.approx([0.2, 0.1])
    assert first.params.isfinite().all()
    values["devices"] |= {"replay": tmp_path / "first" / "events.jsonl"}
    again = run(Config(**values))
    assert again.params.equal(first.params) and again.summary["clock"] == account


def test_half_the_network_cut_off_for_ever_does_not_meet() -> None:
    """A run with a cut is another one; in each of 3 rounds four of the eight messages are lost."""
    values = {**SMALL, "strategy": "dsgd", "training": {"rounds": 3, "local_steps": 2}}
    whole = run(Config(**values, devices={"relative_cost": 1}))
    cut = run(Config(**values, faults={"cut": [{"groups": [[0, 1], [2, 3]]}]}))
    assert whole.summary["clock"]["messages_dropped"] == {}
    assert cut.summary["clock"]["messages_dropped"] == {"lost": 3 * 4}
    distance = [result.metrics[-1].consensus_distance or 0.0 for result in (whole, cut)]
    assert distance[1] > distance[0]
