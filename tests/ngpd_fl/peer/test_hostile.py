"""What one neighbor says in its frames' numbers harms no more than its own edge."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ngpd_fl.engines import EdgeHeader, example_payload
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.frame import Codec, Head, Kind
from ngpd_fl.peer.run import run_id
from ngpd_fl.peer.timeouts import NodeTimeouts
from ngpd_fl.peer.transport import MemoryNetwork
from ngpd_fl.records import RunFolder
from ngpd_fl.training import compose
from tests.ngpd_fl.peer.test_engine import config
from tests.support.peers import Crowd
from tests.support.transports import Caller, until

TRAINING = {"rounds": 60, "local_steps": 1}


class Liar(Caller):
    """A process of a crowd that writes right frames with any numbers in their heads."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(crowd.network, crowd.routes(number))
        job = compose(crowd.config)
        like = example_payload(job.strategy, job.model.start())
        self.edges = sorted(crowd.routes(number).outgoing)
        self._codec = Codec(run_id(crowd.config), like)
        self._fields: dict[str, Tensor] = {name: torch.zeros_like(value) for name, value in like._asdict().items()}

    def say(self, kind: Kind = Kind.MESSAGE, *, edges: list[int] | None = None, **numbers: int) -> None:
        incarnations = numbers.pop("incarnation", 1), numbers.pop("receiver_incarnation", 0)
        for edge in edges or self.edges:
            head = Head(kind, edge, EdgeHeader(0, -1, 0, 0)._replace(**numbers), *incarnations)
            self.send(edge, self._codec.write(head, self._fields if kind is Kind.MESSAGE else None))


def crowd_of(graph: str, nodes: int, tmp_path: Path, timeouts: NodeTimeouts, rounds: int = 60) -> Crowd:
    here = config(
        topology={"name": graph, "nodes": nodes},
        strategy="ecl",
        training=TRAINING | {"rounds": rounds},
        evaluation={"every": 1000},
    )
    return Crowd(here, tmp_path, network=MemoryNetwork(), timeouts=timeouts)


@pytest.mark.parametrize(("graph", "nodes"), [("path", 2), ("ring", 4)])
@pytest.mark.parametrize("met", [False, True])
def test_a_round_that_one_neighbor_claims_is_not_joined(graph: str, nodes: int, met: bool, tmp_path: Path) -> None:
    """Neither at the start, when nothing is known of it, nor after it has kept step."""
    crowd = crowd_of(graph, nodes, tmp_path, NodeTimeouts(20, 5.0), rounds=200)
    with closing(Liar(crowd, nodes - 1)) as liar:
        threads = [crowd.start(number) for number in range(nodes - 1)]
        until(lambda: {edge for edge, _ in liar.heard.frames} == {edge ^ 1 for edge in liar.edges}, 60)
        for round in range(3 * met):
            liar.say(round=round, sequence=round)
        liar.say(round=199, sequence=3)
        for thread in threads:
            thread.join(120)
    assert not crowd.errors
    for summary in crowd.summaries.values():
        assert summary["status"] == "finished" and summary["rounds"] == 200
        assert summary["peer"]["rounds_skipped"] <= 10, "more than a start's leeway"
    assert any(
        f"peer{nodes - 1} says that it is in round 199, which is not believed yet" in each for each in crowd.events
    )


@contextmanager
def victim(crowd: Crowd) -> Iterator[PeerEngine]:
    """The engine of node 0, begun."""
    transport = crowd.network.transport(crowd.routes(0))
    job = compose(crowd.config, [0])
    engine = PeerEngine(
        job, [0], transport, run_id(crowd.config), timeouts=crowd.timeouts, on_event=crowd.events.append
    )
    with closing(engine):
        engine.start()
        yield engine


@pytest.mark.parametrize("flood", ["greetings", "late", "never sent", "replayed"])
def test_a_flood_of_frames_does_not_let_a_neighbor_be_waited_for(flood: str, tmp_path: Path) -> None:
    crowd = crowd_of("path", 2, tmp_path, NodeTimeouts(0.2, 0.5), rounds=100_000)
    over = threading.Event()

    def pour() -> None:
        while not over.is_set():
            match flood:
                case "greetings":
                    liar.say(Kind.HELLO)
                case "late":
                    liar.say(round=max(0, engine.round - 1), sequence=max(0, engine.round - 1))
                case "never sent":
                    round = engine.round
                    liar.say(round=round, sequence=round, newest=round + 7, bitmap=1, receiver_incarnation=1)
                case "replayed":
                    liar.say()
            time.sleep(0.002)

    with closing(Liar(crowd, 1)) as liar:
        with victim(crowd) as engine:
            began = time.monotonic()
            thread = threading.Thread(target=pour)
            thread.start()
            try:
                while engine.round < 60:
                    engine.run_round()
            finally:
                over.set()
                thread.join()
    in_vain = sum("did not send its message" in event for event in crowd.events)
    waits = 1 + (time.monotonic() - began) / 0.5
    assert in_vain <= math.log2(waits) + 1, "the pause before each wait in vain is twice the last"


def test_a_neighbor_that_was_waited_for_in_vain_is_waited_for_again_when_it_is_back(tmp_path: Path) -> None:
    crowd = crowd_of("path", 2, tmp_path, NodeTimeouts(0.2, 60), rounds=100_000)
    with closing(Liar(crowd, 1)) as liar:
        with victim(crowd) as engine:
            for _ in range(3):
                engine.run_round()
            assert engine.lost == 3 and engine.inbox.gone and engine.waited < 30
            liar.say(Kind.HELLO)
            until(lambda: not engine.inbox.gone)
            for wanted in (engine.round, engine.round + 1):
                timer = threading.Timer(0.1, lambda round=wanted: liar.say(round=round, sequence=round))
                timer.start()
                engine.run_round()
                timer.join()
            assert engine.lost == 3 and not engine.inbox.gone


EXTREMES = [0, 1, 2, 7, (1 << 31) - 1, (1 << 32) - 1, 1 << 32, 1 << 61, (1 << 62) - 1, 1 << 62, (1 << 63) - 1]
EXTREMES += [1 << 63, (1 << 64) - 1]


def numbers(random: np.random.Generator, now: int) -> dict[str, int]:
    """Numbers of a head, each right or extreme."""
    right = {"round": now, "sequence": now, "newest": -1, "bitmap": 0, "incarnation": 1, "receiver_incarnation": 1}
    most = {"round": 32, "sequence": 32, "newest": 31, "bitmap": 64, "incarnation": 64, "receiver_incarnation": 64}
    for name in right:
        if random.random() < 0.4:
            drawn = EXTREMES[random.integers(len(EXTREMES))]
            right[name] = min(drawn, (1 << most[name]) - 1)
    return right


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_any_numbers_leave_the_node_running_and_its_other_edges_untouched(mode: str, tmp_path: Path) -> None:
    """Then a neighbor that is honest again is taken in, with a higher incarnation where lies took its numbers."""
    crowd = crowd_of("path", 3, tmp_path, NodeTimeouts(0.2, 0.0), rounds=100_000)
    crowd.config = crowd.config.model_copy(update={"training": crowd.config.training.model_copy(update={"mode": mode})})
    random = np.random.default_rng(0)
    transport = crowd.network.transport(crowd.routes(1))
    engine = PeerEngine(compose(crowd.config, [1]), [1], transport, run_id(crowd.config), timeouts=crowd.timeouts)
    with closing(Liar(crowd, 0)) as liar, closing(Liar(crowd, 2)) as honest, closing(engine):
        engine.start()
        taken = 0
        for _ in range(300):
            for _ in range(3):
                kind = Kind.HELLO if random.random() < 0.2 else Kind.MESSAGE
                liar.say(kind, **numbers(random, engine.round))
            before = sum(engine.ages.values())
            honest.say(round=engine.round, sequence=engine.round)
            until(lambda: engine.inbox.newest_rounds()[honest.edges[0]] == engine.round)
            engine.run_round()
            taken += sum(engine.ages.values()) - before
        assert engine.skipped <= 10 and engine.round == 300 + engine.skipped
        assert engine._raised.keys() <= {liar.edges[0]}
        assert engine.inbox.seen[honest.edges[0]][0] == 1 and taken >= 300
        incarnation = max(engine.inbox.seen[liar.edges[0]][0], 1) + 1
        known, round = sum(engine.ages.values()), engine.round
        liar.say(round=round, sequence=0, incarnation=incarnation)
        until(lambda: engine.inbox.newest_rounds()[liar.edges[0]] == round)
        engine.run_round()
        assert sum(engine.ages.values()) == known + 1


@pytest.mark.parametrize(("skipped", "status"), [(3, "failed"), (2, "finished")])
def test_a_run_most_of_whose_rounds_were_skipped_has_not_finished(skipped: int, status: str, tmp_path: Path) -> None:
    here = config(topology={"name": "path", "nodes": 2}, strategy="ecl", training={"rounds": 4, "local_steps": 1})
    crowd = Crowd(here, tmp_path, timeouts=NodeTimeouts(0, 0))
    crowd.start(0, on_start=lambda engine, recorder: setattr(engine, "skipped", skipped)).join()
    assert crowd.summaries[0]["status"] == status and crowd.summaries[0]["peer"]["rounds_skipped"] == skipped
    noted = (crowd.folder(0) / "peer_events.jsonl").read_text()
    assert ("3 of 4 rounds were left out" in noted) == (status == "failed")


def test_skipped_rounds_are_those_of_all_lives(tmp_path: Path) -> None:
    crowd = Crowd(config(topology={"name": "path", "nodes": 2}, strategy="ecl"), tmp_path, timeouts=NodeTimeouts(0, 0))

    def stop(engine: Any, recorder: Any) -> None:
        engine.skipped = 2

    crowd.start(0, on_start=stop, is_over=lambda: True).join()
    assert crowd.summaries[0]["status"] == "interrupted"
    crowd.start(0).join()
    assert crowd.summaries[0]["peer"]["rounds_skipped"] == 2
    assert RunFolder(crowd.folder(0)).summary()["peer"]["rounds_skipped"] == 2
