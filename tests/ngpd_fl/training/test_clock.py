"""Runs by the virtual clock from their configuration to their records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.clock import MODES
from ngpd_fl.config import Config, InputError
from ngpd_fl.training.run import resume, run
from tests.support.interrupted_runs import FAST, assert_same_records, interrupt

BOARD = """
[board]
step_factor = 2
up_kbit_s = 1000
down_kbit_s = 800
latency_s = 0.01
compute_w = 4
idle_w = 1
send_w = 0.5
source = "assumed"
"""
UNEVEN = {"step_sigma": 0.6, "slow": {2: 4.0}, "mix": {"phone-fast": 1.0, "phone-slow": 1.0}}


def config(mode: str = "synchronous", devices: Any = UNEVEN, **sections: Any) -> Config:
    """A run of 8 rounds of 2 local steps, 4 nodes on a ring, DSGD."""
    training = FAST["training"] | {"mode": mode} | sections.pop("training", {})
    return Config(**FAST | {"strategy": "dsgd", "devices": devices, **sections, "training": training})


@pytest.mark.parametrize("mode", MODES)
def test_identical_devices_take_what_paper_says(mode: str, tmp_path: Path) -> None:
    """All modes alike, since the devices keep step: 0.4 s to compute and, both messages at once, 0.0616 s to send."""
    (tmp_path / "boards.toml").write_text(BOARD)
    devices = {
        "table": tmp_path / "boards.toml",
        "classes": ["board"] * 4,
        "seconds_per_step": 0.05,
        "relative_cost": 2.0,
    }
    result = run(config(mode, devices))
    clock = result.summary["clock"]
    size = 4 * 650  # float32; 64 x 10 weights and 10 biases
    sending = 8 * 2 * size / 1e6
    if mode == "asynchronous":  # it never waits
        rounds, seconds = 8, 8 * 0.4
    else:
        rounds, seconds = 8, 8 * (0.4 + 2 * 0.01 + sending)
    joules = 4 * 0.4 * rounds + 1 * (seconds - 0.4 * rounds) + 0.5 * sending * rounds
    assert clock["node_rounds"] == [rounds] * 4
    assert clock["virtual_seconds"] == pytest.approx(seconds)
    assert clock["node_compute_seconds"] == pytest.approx([0.4 * rounds] * 4)
    assert clock["node_send_seconds"] == pytest.approx([sending * rounds] * 4)
    assert clock["node_joules"] == pytest.approx([joules] * 4)
    assert clock["joules"] == pytest.approx(4 * joules)
    assert clock["node_bytes_sent"] == [2 * size * rounds] * 4
    assert result.metrics[-1].virtual_seconds == clock["virtual_seconds"]
    assert result.metrics[-1].joules == clock["joules"]


def test_who_never_joins_is_away_and_who_leaves_has_computed_in_vain(tmp_path: Path) -> None:
    """Rounds of 0.4 s. Node 0 is never there; node 1 leaves in the middle of its third round and does not return."""
    (tmp_path / "boards.toml").write_text(BOARD)
    devices = {"table": tmp_path / "boards.toml", "classes": ["board"] * 4, "seconds_per_step": 0.1, "relative_cost": 1}
    faults = {"leave": [{"node": 0}, {"node": 1, "at_s": 1.0}]}
    clock = run(config("asynchronous", devices, faults=faults), tmp_path / "out", event_log=True).summary["clock"]
    seconds = clock["virtual_seconds"]
    assert clock["node_rounds"][:2] == [0, 2]
    assert clock["node_away_seconds"] == pytest.approx([seconds, seconds - 1.0, 0, 0])
    assert clock["node_compute_seconds"][:2] == pytest.approx([0, 1.0])
    sending = clock["node_send_seconds"][1]
    assert clock["node_joules"][:2] == pytest.approx([0, 4 * 1.0 + 0.5 * sending])
    assert (tmp_path / "out/events.jsonl").read_text().startswith('{"event": "notice", "time": 0.0, "node": 0')


@pytest.mark.parametrize("mode", MODES)
def test_the_account_is_consistent(mode: str) -> None:
    result = run(config(mode, network={"message_loss": 0.2}, evaluation={"every": 1}))
    clock, summary = result.summary["clock"], result.summary
    dropped = clock["messages_dropped"]
    assert dropped["lost"] > 0
    assert clock["mode"] == mode
    assert clock["messages_sent"] == clock["messages_taken"] + sum(dropped.values()) + clock["messages_on_their_way"]
    assert sum(clock["node_bytes_sent"]) == sum(clock["bytes_by_field"].values()) == summary["bytes_sent"]
    assert sum(clock["staleness"].values()) == clock["messages_taken"]
    assert sum(clock["node_rounds"]) == 4 * 8
    assert clock["joules"] is None  # phones come without power
    seconds = [metrics.virtual_seconds for metrics in result.metrics]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)
    assert seconds[-1] == clock["virtual_seconds"] > 0
    for node in range(4):
        spent = sum(clock[f"node_{what}_seconds"][node] for what in ("compute", "wait", "away"))
        assert spent <= clock["virtual_seconds"] * (1 + 1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_log_gives_the_same_run_again(mode: str, tmp_path: Path) -> None:
    """On other devices too: the events say what happens, the devices only what it takes to send."""
    again = {"replay": tmp_path / "first/events.jsonl"}
    settings: dict[str, Any] = {"strategy": "ngpd", "network": {"message_loss": 0.2}}
    first = run(config(mode, **settings), tmp_path / "first", event_log=True)
    second = run(config(mode, UNEVEN | again, **settings), tmp_path / "second", event_log=True)
    assert second.params.equal(first.params)
    assert second.summary["clock"] == first.summary["clock"]
    assert (tmp_path / "second/events.jsonl").read_bytes() == (tmp_path / "first/events.jsonl").read_bytes()
    other = run(config(mode, {"seconds_per_step": 9.0} | again, **settings))
    assert other.params.equal(first.params)
    assert other.metrics[-1].virtual_seconds == first.metrics[-1].virtual_seconds
    for key in ("node_compute_seconds", "node_wait_seconds", "messages_dropped", "staleness", "node_rounds"):
        assert other.summary["clock"][key] == first.summary["clock"][key]


@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_run_is_the_unbroken_one(mode: str, tmp_path: Path) -> None:
    """Also its event log, of which the rounds after the checkpoint were there already."""
    settings = config(mode, strategy="ngpd", network={"message_loss": 0.2})
    whole = run(settings, tmp_path / "whole", event_log=True)
    interrupt(settings, tmp_path / "cut", after=6, checkpoint_every=4, event_log=True)
    assert (tmp_path / "cut/events.jsonl").read_text().count('{"event": "round"}') == 6
    assert resume(tmp_path / "cut").params.equal(whole.params)
    assert_same_records(tmp_path / "cut", tmp_path / "whole")


def test_a_log_of_another_graph(tmp_path: Path) -> None:
    run(config("asynchronous"), tmp_path / "first", event_log=True)
    replay = {"replay": tmp_path / "first/events.jsonl"}
    with pytest.raises(InputError, match=r"event log .*events.jsonl: line \d+ belongs to another network"):
        run(config("asynchronous", replay, topology={"nodes": 3}), tmp_path / "second")
    with pytest.raises(InputError, match=r"event log none.jsonl: cannot be read .No such file or directory.$"):
        run(config("asynchronous", {"replay": "none.jsonl"}), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_an_event_log_needs_a_clock_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="event_log: the run has no clock; set training.mode or a key of devices"):
        run(config(devices={}), tmp_path / "out", event_log=True)
    with pytest.raises(InputError, match="event_log: needs a folder"):
        run(config("neighbor-synchronous"), event_log=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", MODES)
def test_a_target_says_when_it_was_reached(mode: str, tmp_path: Path) -> None:
    """A quarter of the digits is reached within few rounds of 100."""
    target = {"rounds": 100, "until_accuracy": 0.25}
    result = run(config(mode, partition="iid", training=target, evaluation={"every": 1}), tmp_path / "out")
    found, last = result.summary["target"], json.loads((tmp_path / "out/metrics.jsonl").read_text().splitlines()[-1])
    assert found["reached"]
    assert 0 < found["round"] < 100
    assert found["virtual_seconds"] == last["virtual_seconds"] == result.summary["clock"]["virtual_seconds"] > 0
