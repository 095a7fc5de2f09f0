"""Peers that exchange frames compute what the in-process engine computes; nothing that befalls one stops the others."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.config import InputError
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.run import check_for_peers, run_id
from ngpd_fl.peer.timeouts import NodeTimeouts
from ngpd_fl.peer.transport import MemoryNetwork, seeded
from ngpd_fl.peer.transport.memory import MemoryTransport
from ngpd_fl.records import RunFolder
from ngpd_fl.training import compose
from tests.support.peers import Crowd
from tests.support.transports import until


def config(**sections: Any) -> Config:
    values: dict[str, Any] = {
        "data": {"dataset": "digits"},
        "partition": {"name": "classes", "classes_per_node": 3},
        "topology": {"name": "circulant", "nodes": 5},
        "model": {"name": "softmax"},
        "strategy": "ngpd",
        "training": {"rounds": 5, "local_steps": 2},
        "engine": {"dtype": "float64"},
        "evaluation": {"every": 2},
    }
    return Config(**values | sections)


NETWORKS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "losses": {"network": {"message_loss": 0.3}},
    "matchings": {"topology": {"name": "ring", "nodes": 5, "schedule": "matching"}},
}


@pytest.mark.parametrize("strategy", ["ngpd", "ecl", "dsgd", "kfac-gossip"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("hosted", [[[0], [1], [2], [3], [4]], [[3, 0], [1, 2, 4]]])
def test_peers_end_where_the_in_process_engine_does(strategy: str, network: str, hosted: Any, tmp_path: Path) -> None:
    assert_same_end(config(strategy=strategy, **NETWORKS[network]), hosted, tmp_path)


@pytest.mark.parametrize(("strategy", "graph"), [("gradient-tracking", "ring"), ("relay-sgd", "tree")])
def test_messages_of_several_parts(strategy: str, graph: str, tmp_path: Path) -> None:
    here = config(strategy=strategy, topology={"name": graph, "nodes": 5}, network={"message_loss": 0.3})
    assert_same_end(here, [[3, 0], [1, 2, 4]], tmp_path)


def assert_same_end(here: Config, hosted: Any, tmp_path: Path) -> None:
    summaries = Crowd(here, tmp_path, hosted).run()
    expected = run(here)
    for number, summary in enumerate(summaries):
        assert summary["status"] == "finished"
        assert summary["peer"]["frames_refused"] == {} and summary["peer"]["rounds_skipped"] == 0
        models = RunFolder(tmp_path / f"peer{number}").models()
        for node in hosted[number]:
            params = expected.model.flatten(models[f"node{node}"])
            torch.testing.assert_close(params, expected.params[node], rtol=0, atol=1e-12)
    assert sum(summary["bytes_sent"] for summary in summaries) == expected.summary["bytes_sent"]
    assert sum(summary["node_steps"] for summary in summaries) == expected.summary["node_steps"]


class After:
    """Says stop after so many looks from outside of waiting: rounds."""

    def __init__(self, engine_round: int) -> None:
        self.round = engine_round
        self.engine: Any = None

    def on_start(self, engine: Any, recorder: Any) -> None:
        self.engine = engine

    def __call__(self) -> bool:
        return self.engine is not None and self.engine.round >= self.round


def test_a_peer_that_stops_is_not_waited_for_and_goes_on_later(tmp_path: Path) -> None:
    here = config(training={"rounds": 40, "local_steps": 1}, evaluation={"every": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(20, 1000))
    stop = After(6)
    threads = [crowd.start(number) for number in range(4)]
    last = crowd.start(4, is_over=stop, on_start=stop.on_start, checkpoint_every=4)
    last.join()
    assert crowd.summaries[4]["status"] == "interrupted" and crowd.summaries[4]["rounds"] == 6
    again = crowd.start(4, timeouts=NodeTimeouts(20, 2))
    for thread in (*threads, again):
        thread.join(60)
        assert not thread.is_alive()
    assert not crowd.errors
    assert [crowd.summaries[number]["status"] for number in range(5)] == ["finished"] * 5
    assert crowd.summaries[4]["peer"]["starts"] == 2
    rounds = [metrics.round for metrics in RunFolder(crowd.folder(4)).metrics()]
    assert rounds == sorted(set(rounds)) and rounds[:7] == [0, 1, 2, 3, 4, 5, 6] and rounds[-1] == 40
    assert not any(summary["peer"]["frames_refused"] for summary in crowd.summaries.values())


def test_what_was_recorded_after_the_checkpoint_is_kept_apart(tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 6, "local_steps": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(0, 0))
    crash = After(5)

    def fail() -> bool:
        if crash():
            raise RuntimeError("a crash")
        return False

    crowd.start(0, is_over=fail, on_start=crash.on_start, checkpoint_every=3).join()
    assert [str(error) for error in crowd.errors] == ["a crash"]
    before = (crowd.folder(0) / "metrics.jsonl").read_text()
    crowd.start(0).join()
    folder = RunFolder(crowd.folder(0))
    assert folder.summary()["status"] == "finished"
    assert [metrics.round for metrics in folder.metrics()] == [0, 2, 4, 6]
    abandoned = (crowd.folder(0) / "abandoned.jsonl").read_text()
    kept = (crowd.folder(0) / "metrics.jsonl").read_text()
    assert abandoned and before.endswith(abandoned) and kept.startswith(before.removesuffix(abandoned))


def test_a_peer_that_is_killed_before_its_first_round_starts_like_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 2, "local_steps": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(60, 0))

    def fail(engine: Any, recorder: Any) -> None:
        raise RuntimeError("a crash")

    crowd.start(0, on_start=fail).join()
    assert [str(error) for error in crowd.errors] == ["a crash"] and not (crowd.folder(0) / "metrics.jsonl").exists()
    monkeypatch.setattr("ngpd_fl.peer.engine._SILENCE", 0.1)  # more than it waits for a message
    again = crowd.start(0)
    until(lambda: any("waits for its neighbors" in event for event in crowd.events))
    crowd.start(1).join(60)
    again.join(60)
    assert [crowd.summaries[number]["status"] for number in (0, 1)] == ["finished"] * 2
    assert not any("has not been heard" in event for event in crowd.events)


def test_a_long_start_says_who_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.engine._SILENCE", 0.1)
    here = config(topology={"name": "star", "nodes": 3}, training={"rounds": 1, "local_steps": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(1.2, 0))
    crowd.start(0).join(60)
    assert crowd.events[0] == "waits for its neighbors (nodes 1, 2), at most 1.2 s"
    assert sum("waits for" in event for event in crowd.events) == 1


def test_no_frame_may_be_longer_than_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    bounds: list[int | None] = []

    class Measured(MemoryTransport):
        def start(self, receive: Any, queue_length: int = 1, largest: int | None = None) -> None:
            bounds.append(largest)
            super().start(receive, queue_length, largest)

        def send(self, edge: int, frame: Any) -> None:
            sent.append(sum(memoryview(piece).nbytes for piece in frame))
            super().send(edge, frame)

    monkeypatch.setattr("ngpd_fl.peer.transport.memory.MemoryTransport", Measured)
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 1, "local_steps": 1})
    Crowd(here, tmp_path, network=MemoryNetwork()).run()
    assert bounds == [max(sent)] * 2


@pytest.mark.parametrize(
    "timeouts", [NodeTimeouts(float("nan"), 1), NodeTimeouts(1, -1), NodeTimeouts(1, float("inf"))]
)
def test_an_impossible_timeout_is_refused(timeouts: NodeTimeouts, tmp_path: Path) -> None:
    crowd = Crowd(config(), tmp_path, timeouts=timeouts)
    crowd.start(0).join()
    assert "timeout: " in str(crowd.errors[0]) and isinstance(crowd.errors[0], InputError)
    assert not crowd.folder(0).exists()


def test_a_peer_that_never_comes_does_not_stop_the_others(tmp_path: Path) -> None:
    here = config(training={"rounds": 4, "local_steps": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(0.5, 1000))
    threads = [crowd.start(number) for number in range(4)]
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(summary["status"] == "finished" for summary in crowd.summaries.values())
    assert any("node 4 has not been heard" in event for event in crowd.events)


def test_a_peer_that_leaves_out_rounds_estimates_its_curvature_anew(tmp_path: Path) -> None:
    """One that begins in round 3, with a schedule that refreshes in the very first step alone."""
    rare = {"name": "ngpd", "factor_every": 1000, "basis_every": 1000}
    crowd = Crowd(config(topology={"name": "path", "nodes": 2}, strategy=rare), tmp_path, timeouts=NodeTimeouts(0, 0))
    transport = crowd.network.transport(crowd.routes(0))
    engine = PeerEngine(compose(crowd.config, [0]), [0], transport, b"0123456789abcdef", timeouts=crowd.timeouts)
    with closing(engine):
        engine.start()
        engine.inbox.newest_rounds = lambda: dict.fromkeys(engine._group.incoming, 3)  # type: ignore[method-assign]
        engine.run_round()
    assert engine.round == 4 and engine.skipped == 3
    factors = {name: value for name, value in engine.state()[0].items() if name.endswith("_factor")}
    assert factors and all(value.any() for value in factors.values())


def test_asynchronous_peers_do_not_wait(tmp_path: Path) -> None:
    here = config(training={"rounds": 60, "local_steps": 1, "mode": "asynchronous"})
    summaries = Crowd(here, tmp_path, network=MemoryNetwork(seeded(0, loss=0.2, duplicate=0.1, delay_s=0.005))).run()
    for summary in summaries:
        assert summary["status"] == "finished" and summary["peer"]["waited_seconds"] == 0
        assert set(summary["peer"]["frames_refused"]) <= {"replayed"}
        assert sum(summary["peer"]["messages_taken"].values()) > 20
    assert sum(summary["peer"]["frames_refused"].get("replayed", 0) for summary in summaries) > 0


def test_another_configuration_or_other_nodes_are_refused(tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 2}, training={"rounds": 2, "local_steps": 1})
    stop = After(1)
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(0, 0))
    crowd.start(0, is_over=stop, on_start=stop.on_start).join()
    (tmp_path / "peer0").rename(tmp_path / "peer1")
    crowd.start(1).join()
    Crowd(config(topology={"name": "path", "nodes": 2}), tmp_path, timeouts=NodeTimeouts(0, 0)).start(1).join()
    assert [type(error) for error in crowd.errors] == [InputError] and "other nodes (0)" in str(crowd.errors[0])


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"devices": {"step_sigma": 0.5}}, "devices"),
        ({"faults": {"burst_begin": 0.5}}, "faults"),
        ({"training": {"mode": "neighbor-synchronous", "timeout_seconds": 1.0}}, "training.timeout_seconds"),
        ({"training": {"until_accuracy": 0.5}}, "training.until_accuracy"),
        ({"strategy": "dsgd", "training": {"baseline": "fedavg"}}, "training.baseline"),
        ({"strategy": "sgp", "topology": "directed-ring"}, "topology.name: peers acknowledge"),
        ({"strategy": {"name": "dsgd", "compress": "top-k"}}, "strategy.name: .* needs every message"),
    ],
)
def test_what_only_a_simulation_can_do_is_refused(sections: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_for_peers(config(**sections))


def test_the_run_is_the_same_wherever_data_lie() -> None:
    run = run_id(config())
    assert run_id(config(data={"dataset": "digits", "data_dir": "/data"})) == run
    assert run_id(config(engine={"dtype": "float64", "device": "cpu", "threads": 2})) == run
    for other in ({"engine": {"dtype": "float32"}}, {"seed": 1}, {"strategy": "ecl"}):
        assert run_id(config(**other)) != run
