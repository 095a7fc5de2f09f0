"""The protocol, on a grid in this process: one trajectory with the vectorized engine, and what faults do to it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord

from ngpd_fl import Config, run
from ngpd_fl.core.message_loss import traffic
from ngpd_fl.engines import EdgeHeader
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.client import state_store
from ngpd_fl.flower.server import clients as clients_module
from ngpd_fl.flower.server.clients import Unfit
from ngpd_fl.training import Job, compose
from tests.support.flower import FakeRun
from tests.support.node_groups import GroupNetwork

NGPD = {"name": "ngpd", "lr": 0.05, "factor_every": 2, "basis_every": 3}

BOTH = [NGPD, pytest.param("dsgd", marks=pytest.mark.slow)]
"""Algorithms of tests with many cases; the simpler one hardly ever fails where the other does not."""


def config(strategy: Any = "dsgd", schedule: str = "static", **sections: Any) -> Config:
    values: dict[str, Any] = {
        "strategy": strategy,
        "topology": {"name": "ring", "nodes": 6, "schedule": schedule},
        "training": {"rounds": 5, "local_steps": 2},
        "network": {"message_loss": 0.2},
        "model": {"name": "mlp", "hidden": (8,)},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**values | sections)


@pytest.mark.parametrize("state", ["process", "context", "scratch"])
@pytest.mark.parametrize("nodes_per_client", [1, 4])
@pytest.mark.parametrize("schedule", ["static", "matching"])
@pytest.mark.parametrize("strategy", BOTH)
def test_clients_follow_the_engine(
    strategy: Any, schedule: str, nodes_per_client: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_store, "_is_one_machine", lambda: state == "scratch")
    settings = config(strategy, schedule)
    expected = run(settings)
    fake = FakeRun(settings, forgetful=state != "process", nodes_per_client=nodes_per_client).go()
    torch.testing.assert_close(fake.params(expected.model), expected.params, rtol=0, atol=1e-12)
    assert fake.events() == []
    for ours, theirs in zip(fake.recorder.metrics, expected.metrics, strict=True):
        ignored = {"train_seconds", "averaged_model_accuracy", "averaged_model_class_accuracy", "consensus_distance"}
        there = theirs.model_dump(exclude=ignored)
        for key, value in ours.model_dump(exclude=ignored).items():
            assert value == (value and pytest.approx(there[key], rel=1e-12, abs=1e-12)), key
            assert (value is None) == (there[key] is None)
    keys = ("rounds", "status", "bytes_sent", "node_steps", "parameters", "unused_classes")
    assert [fake.recorder.summary()[key] for key in keys] == [expected.summary[key] for key in keys]


Nodes = dict[int, list[int]]
"""Round -> nodes."""


def outages(settings: Config, away: Nodes, deaf: Nodes | None = None, mute: Nodes | None = None) -> torch.Tensor:
    """Parameters of groups of one node, by an engine that has nothing of Flower.

    Args:
        settings: the run.
        away: who takes no part.
        deaf: who gets none of the round's messages.
        mute: whose messages all get lost.
    """

    class Network(GroupNetwork):
        def arrives(self) -> Any:
            arrives, number = super().arrives().copy(), self.round
            for edge, receiver in enumerate(self.ends):
                if receiver in (deaf or {}).get(number, []) or self.ends[edge ^ 1] in (mute or {}).get(number, []):
                    arrives[edge] = False
            return arrives

    members = [[node] for node in range(settings.topology.nodes)]
    network = Network(compose(settings).engine_settings, members, outage=lambda number: away.get(number, []))
    for _ in range(settings.training.rounds):
        network.run_round()
    return network.params()


@pytest.mark.parametrize("strategy", BOTH)
@pytest.mark.parametrize("happens", ["fails", "dies"])
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("state", ["context", "scratch", "process"])
def test_a_client_that_fails_in_some_rounds_is_one_that_is_away(
    every: int, happens: str, strategy: Any, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is that of before, its messages and those to it are lost, and the next round has it again.

    The message that it fails on has brought the neighbors' of the round before, unless an evaluation had.
    A process that holds a later state of the client than the message names goes back to that.
    """
    monkeypatch.setattr(state_store, "_is_one_machine", lambda: state != "context")
    settings = config(strategy, evaluation={"every": every})
    away = {1: [2], 3: [2, 4]}
    deaf = {number - 1: nodes for number, nodes in away.items()} if every > 1 else {}

    def fault(kind: str, number: int, client: int) -> str | None:
        return happens if kind == "train" and client in away.get(number, []) else None

    fake = FakeRun(settings, fault, forgetful=state != "process").go()
    expected = outages(settings, away, deaf)
    torch.testing.assert_close(fake.params(compose(settings).model), expected, rtol=0, atol=1e-12)
    failed = [(number, client) for number, client, what in fake.events() if what in ("boom", "gone")]
    assert failed == [(1, 2), (3, 2), (3, 4)]
    assert all(None not in metrics.accuracy for metrics in fake.recorder.metrics), "it is evaluated as it stands"


def test_an_answer_that_comes_twice_counts_once() -> None:
    settings = config(NGPD)
    fake = FakeRun(settings, lambda kind, number, client: "twice").go()
    torch.testing.assert_close(fake.params(compose(settings).model), run(settings).params, rtol=0, atol=1e-12)


def test_a_late_client_is_left_out_until_it_answers_and_overwrites_nothing() -> None:
    settings = config(NGPD, evaluation={"every": 5})

    def fault(kind: str, number: int, client: int) -> str | None:
        return "late" if (kind, number, client) == ("train", 1, 3) else None

    fake = FakeRun(settings, fault, round_timeout=0.5).go()
    assert fake.events() == [
        (1, 3, "did not answer in time"),
        (2, 3, "is still busy with an earlier message: left out until it answers"),
        (1, 3, "answered late; not used"),
    ]
    assert [number for kind, number, client in fake.grid.asked if kind == "train" and client == 3] == [0, 1, 4]
    expected = outages(settings, {2: [3], 3: [3]}, deaf={1: [3]}, mute={1: [3]})
    torch.testing.assert_close(fake.params(compose(settings).model), expected, rtol=0, atol=1e-12)


def test_a_late_evaluation_is_not_taken_for_the_next_rounds_answer() -> None:
    def fault(kind: str, number: int, client: int) -> str | None:
        return "late" if (kind, number, client) == ("evaluate", 1, 3) else None

    settings = config(NGPD)
    fake = FakeRun(settings, fault, round_timeout=0.5).go()
    assert fake.events() == [
        (1, 3, "did not answer in time"),
        (1, 3, "is still busy with an earlier message: left out until it answers"),
        (1, 3, "answered late; not used"),
    ]
    expected = outages(settings, {1: [3]})
    torch.testing.assert_close(fake.params(compose(settings).model), expected, rtol=0, atol=1e-12)
    assert [metrics.accuracy[3] is None for metrics in fake.recorder.metrics] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_message_that_comes_again_changes_nothing() -> None:
    settings = config(NGPD)
    fake = FakeRun(settings)
    fake.go()
    node_id = fake.grid.get_node_ids()[0]
    before = fake.grid.contexts[node_id].state
    note = {"round": 2, "known": -1, "messages-round": -1, "last": False, "collect": False}
    from flwr.app import Message, RecordDict

    for kind in ("train", "evaluate"):
        fake.grid.handle(Message(RecordDict({wire.CONFIG: wire.config_record(note)}), node_id, kind, group_id="2"))
        ((_, (reply,)),) = [list(fake.grid.answers.values())[-1]]
        assert reply.has_error() and "round" in str(reply.error.reason)
        assert fake.grid.contexts[node_id].state.config_records == before.config_records


def test_a_client_without_its_state_stays_out_and_says_so() -> None:
    def fault(kind: str, number: int, client: int) -> str | None:
        return "restarts" if (kind, number, client) == ("train", 2, 3) else None

    settings = config("dsgd", evaluation={"every": 5})
    fake = FakeRun(settings, fault).go()
    expected = outages(settings, {2: [3], 3: [3], 4: [3]})
    found = fake.params(compose(settings).model)
    assert found[3].isnan().all()
    others = [0, 1, 2, 4, 5]
    torch.testing.assert_close(found[others], expected[others], rtol=0, atol=1e-12)
    whats = {what for _, client, what in fake.events() if client == 3}
    assert any("its state of round 1 is lost (no state-dir)" in what for what in whats)


@pytest.mark.parametrize("strategy", [NGPD, "dsgd"])
def test_with_a_state_dir_a_restarted_client_comes_back_where_it_was(strategy: Any, tmp_path: Path) -> None:
    def fault(kind: str, number: int, client: int) -> str | None:
        return "restarts" if (number, client) in ((2, 3), (4, 0)) else None

    settings = config(strategy)
    fake = FakeRun(settings, fault, state_dir=tmp_path).go()
    torch.testing.assert_close(fake.params(compose(settings).model), run(settings).params, rtol=0, atol=1e-12)
    assert fake.events() == []
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_lost_curvature_is_estimated_anew_and_told(kind: str, tmp_path: Path) -> None:

    def losing(options: dict[str, Any]) -> FakeRun:
        def fault(*message: Any) -> None:
            if message == (kind, 2, 4):
                for path in tmp_path.glob("scratch-*/client4/*"):
                    path.unlink()

        return FakeRun(config({**NGPD, **options}, evaluation={"every": 2}), fault, forgetful=True).go()

    rare, fresh = {"factor_every": 100, "basis_every": 100}, {"factor_every": 1, "basis_every": 1, "factor_decay": 0}
    fake, without = losing(rare), run(config({**NGPD, **rare}))
    assert fake.events() == [(2, 4, "had lost its curvature and estimates it anew")]
    found = fake.params(without.model)
    assert found.isfinite().all() and float((found - without.params)[4].abs().max()) > 1e-6
    # Where every step estimates all of it anyway, nothing is lost.
    found, without = losing(fresh).params(without.model), run(config({**NGPD, **fresh}))
    torch.testing.assert_close(found, without.params, rtol=0, atol=1e-12)
    assert not list(tmp_path.glob("scratch-*")), "the run leaves nothing behind"


def test_a_diverging_run_stops() -> None:
    fake = FakeRun(config({"name": "dsgd", "lr": 1e9, "momentum": 0})).go()
    assert fake.recorder.status == "diverged" and fake.recorder.round < 5


@pytest.mark.parametrize("tries", [3, 10**9])
def test_a_process_that_cannot_be_reached_for_a_moment_ends_no_run(tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "_RESENT_FOR", 1.0)
    settings = config("dsgd", network={"message_loss": 0.0})
    refused = 0

    def fault(kind: str, number: int, client: int) -> str | None:
        nonlocal refused
        if kind == "train" and ((number, client) == (1, 5) and not refused or number == 3 and refused <= 8 * tries):
            refused += 1
            return "unreachable"
        return None

    fake = FakeRun(settings, fault)
    if tries > 3:
        with pytest.raises(RuntimeError, match="no client answered in round 4: was given to a process that is dead"):
            fake.go()
        return
    events = fake.go().events()
    assert events == [(1, 5, "died with its process; Flower's simulation starts no other")]
    params = fake.params(run(settings).model)
    torch.testing.assert_close(params, outages(settings, {1: [5]}), rtol=0, atol=1e-12)


def test_a_run_without_any_answer_fails() -> None:
    with pytest.raises(RuntimeError, match="no client answered in round 3: boom"):
        FakeRun(config(), lambda kind, number, client: "fails" if number == 2 else None).go()


def test_an_algorithm_that_needs_every_message_ends_where_a_client_is_away() -> None:
    def fault(kind: str, number: int, client: int) -> str | None:
        return "fails" if (kind, number, client) == ("train", 2, 3) else None

    compressed = config({"name": "dsgd", "compress": "top-k"}, network={"message_loss": 0.0})
    with pytest.raises(RuntimeError, match="client 3 did not answer in round 3, but dsgd with compress = top-k needs"):
        FakeRun(compressed, fault).go()
    assert FakeRun(config({"name": "dsgd"}), fault).go().recorder.round == 5


class Opaque(wire.Array):
    """A payload that cannot be looked into."""

    def numpy(self) -> Any:
        raise AssertionError("the server looked into a payload")


def test_the_server_never_looks_into_a_payload() -> None:
    """Payloads keep their identity on the way, though every way of reading them raises at the server."""
    from ngpd_fl.flower.server.router import Router

    job: Job = compose(config("dsgd"))
    home = [0, 0, 1, 1, 2, 2]
    router = Router(job.topology.edges, home)
    delivered = traffic(job.topology, 0.0, job.config.seed, 0).delivered
    blob = {node: Opaque("float64", (1,), "secret", bytes([node])) for node in range(6)}
    messages = {
        client: wire.NodeMessages(
            {f"node/params/{node}": blob[node] for node in range(6) if home[node] == client},
            {
                edge: EdgeHeader(0, -1, 0, 0)
                for edge in range(12)
                if home[router.sender[edge]] == client != home[router.receiver[edge]]
            },
        )
        for client in range(3)
    }
    arrived = router.route(messages, delivered)
    for client, messages in arrived.items():
        for name, value in messages.payload.items():
            assert value is blob[int(name.split("/")[2])]
        for edge in messages.headers:
            assert delivered[edge] and home[router.receiver[edge]] == client
    assert sum(len(messages.headers) for messages in arrived.values()) == sum(
        bool(delivered[edge]) for edge in range(12) if home[router.sender[edge]] != home[router.receiver[edge]]
    )
    with pytest.raises(ValueError, match="does not begin there"):
        router.check(0, wire.NodeMessages({}, {2 * 5 + 1: EdgeHeader(0, -1, 0, 0)}))


def test_a_client_imports_nothing_that_it_does_not_need() -> None:
    """In deployment each message is a new process."""
    script = (
        "import sys, ngpd_fl.flower.client.app\n"
        "heavy = ('torchvision', 'matplotlib', 'sklearn', 'pandas', 'datasets', 'flwr_datasets', 'ray')\n"
        "assert not [name for name in heavy if name in sys.modules], sys.modules.keys()\n"
        "from ngpd_fl.training import compose\n"
        "from ngpd_fl.config import Config\n"
        "from ngpd_fl.flower.client.node_host import NodeHost\n"
        "NodeHost(compose(Config(strategy='ngpd')), [0, 1]).work(0)\n"
        "assert 'torch._dynamo' not in sys.modules, 'torch.func.grad and vjp load the compiler, which takes seconds'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_client_that_runs_other_code_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun(config())
    monkeypatch.setattr(wire, "code_version", lambda: "else")
    with pytest.raises(Unfit, match="other code"):
        fake.clients.meet(6, 0.1)


class Liar(FakeRun):
    """A run in which client 0 changes its answers of one kind."""

    def __init__(self, config: Config, kind: str, change: Callable[[Any], None], **flower: Any) -> None:
        super().__init__(config, **flower)
        pull = self.grid.pull_messages

        def pull_changed(message_ids: Any) -> list[Any]:
            replies = pull(message_ids)
            for reply in replies:
                if self.grid.client_of[reply.metadata.src_node_id] == 0 and reply.metadata.message_type == kind:
                    change(reply.content)
            return list(replies)

        self.grid.pull_messages = pull_changed


SMALL = config(
    NGPD,
    topology={"name": "path", "nodes": 3},
    training={"rounds": 2, "local_steps": 1},
    network={"message_loss": 0.0},
)


@cache
def without_node_0() -> torch.Tensor:
    """Parameters of that run if all messages of node 0 are lost."""
    return outages(SMALL, {}, mute={0: [0], 1: [0]})


def rewritten(field: str, value: Any) -> Callable[[Any], None]:
    """Replace a field of all messages; None takes it out."""

    def change(content: Any) -> None:
        arrays = dict(content[wire.PAYLOAD])
        for name in [name for name in arrays if f"/{field}/" in name]:
            if value is None:
                del arrays[name]
            else:
                arrays[name] = value if isinstance(value, Array) else Array(np.asarray(value(arrays[name].numpy())))
        content[wire.PAYLOAD] = ArrayRecord(arrays)

    return change


def with_header(place: int, value: int) -> Callable[[Any], None]:
    """Replace a number in the headers of all messages."""

    def change(content: Any) -> None:
        headers = content[wire.HEADERS]
        for edge, header in list(headers.items()):
            headers[edge] = [*header[:place], value, *header[place + 1 :]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(
            rewritten("ratio", lambda value, number=number: np.full_like(value, number))
            for number in (math.nan, math.inf, -math.inf)
        ),
        rewritten("ratio", None),
        rewritten("ratio", lambda value: value.astype(np.int64)),
        rewritten("ratio", lambda value: [value, value]),
        rewritten("ratio", Array("float64", (), "numpy.ndarray", b"no array")),
        rewritten("dual", lambda value: np.full_like(value, math.nan)),
        rewritten("dual", lambda value: value[:-1]),
        with_header(0, 2**62),
        with_header(1, 2**62),
        with_header(2, -1),
        with_header(3, 7),
    ],
    ids="nan inf -inf missing integer list unreadable dual-nan dual-short sequence newest bitmap round".split(),
)
def test_messages_that_no_honest_node_sends_are_lost(change: Callable[[Any], None]) -> None:
    """The others train as if that node had been mute."""
    liar = Liar(SMALL, "train", change).go()
    assert liar.events() == []
    torch.testing.assert_close(liar.params(compose(SMALL).model), without_node_0(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "record", "key", "value", "words"),
    [
        ("train", wire.CONFIG, "worked", "x", "worked should be a whole number"),
        ("train", wire.CONFIG, "retries", "[" * 9000, "nested deeper than 64 levels"),
        ("train", wire.CONFIG, "lost-curvature", None, "KeyError"),
        ("train", wire.METRICS, "loss", [1.0, 2.0], "loss and shrink are not of its 1 nodes"),
        ("train", wire.METRICS, "shrink", None, "KeyError"),
        ("train", wire.HEADERS, "3", [0, -1, 0, 0], "client 0 wrote for directed edge"),
        ("train", wire.HEADERS, "1", [0, -1], "is no header of a message"),
        ("train", wire.HEADERS, "x", [0, -1, 0, 0], "invalid literal"),
        ("evaluate", wire.METRICS, "node", [1.0], "its evaluation is not of its nodes"),
        ("evaluate", wire.METRICS, "value", [7.0], "mean_accuracy"),
        ("evaluate", wire.METRICS, "groups", [0.5], "its evaluation is not of its nodes"),
        ("evaluate", wire.METRICS, "own", None, "KeyError"),
    ],
)
def test_an_answer_that_cannot_be_used_leaves_its_client_out_and_ends_nothing(
    kind: str, record: str, key: str, value: Any, words: str
) -> None:
    def change(content: Any) -> None:
        if value is None:
            del content[record][key]
        else:
            content[record][key] = value

    liar = Liar(SMALL.model_copy(update={"strategy": config("dsgd").strategy}), kind, change).go()
    assert {client for _, client, what in liar.events()} == {0}
    assert all("its answer cannot be used" in what and words in what for _, _, what in liar.events())
    assert liar.recorder.status == "finished" and liar.recorder.round == 2
    last = liar.recorder.metrics[-1]
    assert (last.nodes[0] != last.nodes[0]) == (kind == "evaluate") and all(value >= 0 for value in last.nodes[1:])
