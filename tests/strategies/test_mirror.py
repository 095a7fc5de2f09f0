"""Parameters that are decoded from a neighbor's message are those it had, whenever the mirror says that it is right.

The oracle is the network itself: what ``gossip`` is handed, slot by slot, is compared with the true parameters of the
sender when it sent. A mirror that claims too much fails the comparison; one that claims too little fails the count.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import strategies.parts.edge_consensus as edge_consensus
from strategies import ECLOptions, Headers, RoundView
from strategies.contract import View
from strategies.parts.edge_consensus import start_edges
from strategies.parts.mirror import Mirror, catch_up, error_bound, messages_to_forget, moved, remember
from tests.support.clocks import Script, Table, by_the_clock
from tests.support.naive import NaiveNetwork, Pair
from tests.support.naive_events import NaiveEvents
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds, undamped
from topologies import parse_topology

PAIR = {"name": "path", "nodes": 2}


class Witness(NaiveNetwork):
    """A naive network that notes, for every message that arrives, whether its edge was mixed and how wrong it was.

    Of a masked message it notes that entry by entry.
    """

    used: list[bool]
    errors: list[float]

    def incoming(self, node: int, round_view: RoundView, arrived: Any, outbox: Any, headers: Headers) -> Any:
        if not hasattr(self, "used"):
            self.used, self.errors = [], []
        truth = {other: self.sent_params(node, other) for other in arrived}

        def observe(params: Tensor, neighbors: Tensor, weights: Tensor, at_hand: Tensor, clip: float | None) -> Tensor:
            for slot, other in enumerate(self.neighbors[node]):
                here = at_hand[slot].expand(params.shape)  # of a masked message entry by entry
                if here.any():
                    self.errors.append(float((neighbors[slot] - truth[other])[here].norm() / truth[other].norm()))
                if other in arrived:
                    whole = at_hand[slot].dim() == 0
                    self.used += [bool(at_hand[slot])] if whole else here[~neighbors[slot].isnan()].tolist()
            return self.gossip(params, neighbors, weights, at_hand, clip)

        edge_consensus.gossip = observe
        try:
            return super().incoming(node, round_view, arrived, outbox, headers)
        finally:
            edge_consensus.gossip = self.gossip

    gossip = staticmethod(edge_consensus.gossip)

    def sent_params(self, node: int, other: int) -> Tensor:
        """The parameters of ``other`` when it sent what ``node`` gets now."""
        return self.states[other].params


NETWORKS: dict[str, tuple[dict[str, Any], float]] = {
    "losses": ({"name": "ring", "nodes": 4}, 0.3),
    "heavy losses": ({"name": "star", "nodes": 4}, 0.6),
    "matchings and losses": ({"name": "ring", "nodes": 5, "schedule": "matching"}, 0.3),
    "failing edges": ({"name": "circulant", "nodes": 5, "schedule": {"name": "failing", "probability": 0.5}}, 0.0),
    "sequence and losses": (
        {"name": "sequence", "nodes": 4, "graphs": [[[0, 1], [2, 3]], [[1, 2], [0, 3]], [[0, 1], [1, 3]]]},
        0.3,
    ),
}


CLIP = 0.5
"""Messages in these networks change a dual by more than this at first, by less later."""

MASK = {"name": "random-k", "keep": 0.67}
"""Two entries of three, or one of two."""


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("method", "theta", "more"),
    [
        *((method, theta, {}) for method in (ECLOptions, undamped) for theta in (1.0, 0.9, 0.5)),
        (ECLOptions, 1.0, {"clip": CLIP}),
        (undamped, 0.5, {"clip": CLIP}),
        (ECLOptions, 0.5, {"compress": MASK}),
        (undamped, 1.0, {"compress": MASK, "memory": 4, "message_dtype": "float16"}),
    ],
)
def test_decoded_parameters_are_the_true_ones(method: Any, theta: float, network: str, more: dict[str, Any]) -> None:
    topology, message_loss = NETWORKS[network]
    graph = parse_topology(topology).build(seed=0)
    problem = make_quadratic(10, graph.num_nodes, dim=3)
    options = method(lr=0.5, edge_penalty=0.5, theta=theta, mixing=0.5, **more)
    witness = quadratic_engine(
        problem,
        options,
        graph,
        engine=Witness,
        message_loss=message_loss,
        seed=2,
        local_steps=2,
        start=torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64),
    )
    run_rounds(witness, 90)
    assert max(witness.errors) < (2e-3 if "message_dtype" in more else 1e-12)
    share = sum(witness.used) / len(witness.used)
    expected = {(1.0, 0.3): 0.85, (0.9, 0.3): 0.75, (0.5, 0.3): 0.6, (1.0, 0.6): 0.55}
    wanted = expected.get((theta, message_loss), 0) * (0.3 if more.get("compress") and "memory" not in more else 1)
    assert share > wanted and (share == 1 or message_loss > 0)


# Any pattern of losses, hence more unresolved messages than are remembered, one end deaf for long, and idle rounds.


class Scripted(Witness):
    """Two nodes and a script: for every round whether 0 -> 1 arrives, whether 1 -> 0 does, or None: idle."""

    script: list[tuple[bool, bool] | None]

    def sends(self) -> set[Pair]:
        return {(0, 1), (1, 0)} if self.script[self.round] is not None else set()

    def arrives(self) -> set[Pair]:
        now = self.script[self.round]
        return {pair for pair, arrives in zip([(0, 1), (1, 0)], now or (False, False), strict=True) if arrives}


def scripted(
    script: list[tuple[bool, bool] | None], theta: float, clip: float | None = None, compress: Any = None
) -> Scripted:
    graph = parse_topology(PAIR).build(seed=0)
    options = ECLOptions(lr=0.5, edge_penalty=0.5, theta=theta, mixing=0.5, clip=clip, compress=compress)
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    network = quadratic_engine(make_quadratic(10, 2, dim=2), options, graph, engine=Scripted, start=start)
    network.script = script
    run_rounds(network, len(script))
    return network


rounds = st.sampled_from([(True, True), (True, False), (False, True), (False, False), None])
stretches = st.lists(st.tuples(rounds, st.sampled_from([1, 1, 2, 3, 5, 9])), max_size=12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(stretches, st.sampled_from([1.0, 0.9, 0.5]), st.sampled_from([None, CLIP]))
def test_no_pattern_of_losses_makes_a_mirror_wrong(pattern: Any, theta: float, clip: float | None) -> None:
    script = [each for each, count in pattern for _ in range(count)]
    # A quiet end: however bad it was, everything is right again after the messages that it takes to forget.
    quiet = messages_to_forget(theta, torch.float64) + 2
    if clip is not None:
        quiet += len(script) + 20  # what one that is forgotten has done at most, one that is hardly clipped makes good
    network = scripted([*script, *[(True, True)] * quiet], theta, clip)
    assert all(network.used[-2:])
    assert max(network.errors) < 1e-11


@settings(max_examples=12, deadline=None, derandomize=True)
@given(stretches, st.sampled_from([1.0, 0.9]))
def test_no_pattern_of_losses_makes_an_entry_of_a_mirror_wrong(pattern: Any, theta: float) -> None:
    """An entry is right again once it has traveled as often as it takes to forget; half of them do in a round."""
    script = [each for each, count in pattern for _ in range(count)]
    quiet = 4 * messages_to_forget(theta, torch.float64) + 30
    network = scripted([*script, *[(True, True)] * quiet], theta, compress={"name": "random-k", "keep": 0.5})
    assert all(network.used[-2:])
    assert max(network.errors) < 1e-11


@pytest.mark.parametrize("theta", [1.0, 0.5])
@pytest.mark.parametrize(
    ("deaf", "clip"), [*((deaf, None) for deaf in (2, 5, 61, 62, 63, 64, 130)), (5, CLIP), (64, CLIP)]
)
def test_a_neighbor_that_is_not_heard_for_long(deaf: int, theta: float, clip: float | None) -> None:
    """Node 0 hears nothing for a while but is heard itself; then the other way round."""
    quiet = messages_to_forget(theta, torch.float64) + 2
    quiet += 0 if clip is None else deaf + 20
    for silent in [(True, False), (False, True)]:
        network = scripted([*[(True, True)] * 3, *[silent] * deaf, *[(True, True)] * quiet], theta, clip)
        assert max(network.errors) < 1e-11
        assert all(network.used[-2:])


@pytest.mark.parametrize("theta", [1.0, 0.5])
@pytest.mark.parametrize("lost", [3, 61, 62, 63, 80])
def test_what_was_applied_before_a_header_can_tell(lost: int, theta: float) -> None:
    """Node 1 applies a message unheard of, then loses so many that its header no longer shows that one."""
    quiet = messages_to_forget(theta, torch.float64) + 2
    script = [
        *[(True, True)] * 2,
        (True, False),
        *[(False, False)] * lost,
        *[(False, True)] * 3,
        *[(True, True)] * quiet,
    ]
    network = scripted(script, theta)
    assert max(network.errors) < 1e-11
    assert all(network.used[-2:])


def test_while_the_mirror_may_be_wrong_its_edge_is_left_out() -> None:
    """With theta = 1/2, five messages that were applied unheard of are one more than are remembered."""
    script = [*[(True, True)] * 2, *[(True, False)] * 5, *[(True, True)] * 2]
    used = iter(scripted(script, 0.5).used)
    # Node 1 hears 0 in every round; node 0 hears 1 in the first two and the last two.
    of_zero = []
    for now in script:
        heard = [now[1], now[0]]
        flags = [next(used) for arrives in heard if arrives]
        of_zero += flags[:1] if now[1] else []
    assert of_zero == [True, True, False, False]


# Messages that take several rounds: the newest is used, an older one dropped.


class Posted(NamedTuple):
    """A message on its way: its number on its edge, when it arrives, and what the sender knew and was when it sent."""

    number: int
    arrives: int
    content: Any
    applied: frozenset[int]
    params: Tensor


class Delayed(Witness):
    """A naive network whose messages take a random number of rounds; at the end of a round the newest is taken in."""

    delays: tuple[int, ...]

    def run_round(self) -> None:
        if self.round == 0:
            self.random = torch.Generator().manual_seed(self.settings.seed)
            self.post: dict[Pair, list[Posted]] = {pair: [] for pair in self.fates}
            self.taken: dict[Pair, list[int]] = {pair: [] for pair in self.fates}
        for node in self.nodes:
            for step in range(self.round * self.local_steps, (self.round + 1) * self.local_steps):
                self.local_step(node, step)
        sends, kept = self.sends(), self.arrives()
        views = {node: self.round_view(node, sends) for node in self.nodes}
        out = {node: self.strategy.outgoing(self.states[node], self.views[node], views[node]) for node in self.nodes}
        for i, j in sorted(kept):
            delay = self.delays[int(torch.randint(len(self.delays), (), generator=self.random))]
            message = self.addressed(out[i], self.neighbors[i].index(j))
            known = frozenset(self.taken[j, i])
            posted = Posted(self.round, self.round + delay, message, known, self.states[i].params)
            self.post[i, j].append(posted)
        states = {}
        for node in self.nodes:
            self.news = {other: self.newest(other, node) for other in self.neighbors[node]}
            arrived = {other: posted.content for other, posted in self.news.items() if posted is not None}
            states[node] = self.incoming(node, views[node], arrived, out[node], self.delayed_headers())
        self.states = states
        self.round += 1

    def newest(self, sender: int, receiver: int) -> Posted | None:
        """Take the newest message that has arrived, unless a newer one was taken before."""
        pair = sender, receiver
        newer = [
            posted
            for posted in self.post[pair]
            if posted.arrives <= self.round and posted.number > max(self.taken[pair], default=-1)
        ]
        if not newer:
            return None
        best = max(newer, key=lambda posted: posted.number)
        self.taken[pair].append(best.number)
        return best

    def delayed_headers(self) -> Headers:
        """Bit k: the sender had applied what this node sent k + 1 rounds ago, when it sent what has arrived now."""
        news = list(self.news.values())
        bitmaps = [
            0
            if posted is None
            else sum(1 << (self.round - 1 - number) for number in posted.applied if number > self.round - 64)
            for posted in news
        ]
        return Headers(
            received=torch.tensor([posted is not None for posted in news]),
            applied=torch.tensor(bitmaps, dtype=torch.int64),
            age=torch.tensor([0 if posted is None else self.round - posted.number for posted in news]),
            reset=torch.zeros(len(news), dtype=torch.bool),
        )

    def sent_params(self, node: int, other: int) -> Tensor:
        return self.news[other].params


DELAYS = ((0,), (0, 1), (0, 0, 0, 5), (1, 2, 3))


@pytest.mark.parametrize(
    ("theta", "clip", "delays", "message_loss"),
    [
        *itertools.product((1.0, 0.9, 0.5), (None,), DELAYS, (0.0, 0.3)),
        *itertools.product((1.0, 0.5), (CLIP,), DELAYS[2:], (0.3,)),
    ],
)
def test_delayed_messages_never_make_a_mirror_wrong(
    theta: float, clip: float | None, delays: tuple[int, ...], message_loss: float
) -> None:
    """A message that the neighbor had not applied when it sent may still arrive there: its fate is not known yet."""
    graph = parse_topology({"name": "ring", "nodes": 4}).build(seed=0)
    options = ECLOptions(lr=0.3, edge_penalty=0.3, theta=theta, mixing=0.5, clip=clip)
    network = quadratic_engine(
        make_quadratic(10, 4, dim=2), options, graph, engine=Delayed, message_loss=message_loss, seed=4
    )
    network.delays = delays
    params = run_rounds(network, 100)
    assert torch.isfinite(params).all()
    assert max(network.errors, default=0.0) < 1e-11
    if delays == (0,):
        assert sum(network.used) > 0.85 * len(network.used)
    elif 0 in delays:
        assert any(network.used)


@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_with_delays_and_losses_the_rest_point_is_still_exact(theta: float) -> None:
    graph, problem = parse_topology({"name": "ring", "nodes": 4}).build(seed=0), make_quadratic(10, 4, dim=3)
    options = undamped(lr=1.0, edge_penalty=0.4, theta=theta)
    network = quadratic_engine(problem, options, graph, engine=Delayed, message_loss=0.3, seed=7)
    network.delays = (0, 1, 2)
    assert problem.relative_error(run_rounds(network, 180)) < 1e-4
    assert problem.relative_error(run_rounds(network, 120)) < 1e-7


def test_without_delay_the_delayed_network_is_the_naive_one() -> None:
    graph = parse_topology({"name": "ring", "nodes": 4}).build(seed=0)
    options = ECLOptions(lr=0.3, edge_penalty=0.3, mixing=0.5)
    make: Any = lambda engine: quadratic_engine(  # noqa: E731
        make_quadratic(10, 4, dim=2), options, graph, engine=engine, message_loss=0.3, seed=4
    )
    delayed = make(Delayed)
    delayed.delays = (0,)
    assert torch.equal(run_rounds(delayed, 20), run_rounds(make(NaiveNetwork), 20))


# Nodes that leave by the clock, while they compute or while they wait.


class Clocked(NaiveEvents, Witness):
    """A naive network by the clock, observed."""


@pytest.mark.parametrize("theta", [1.0, 0.5])
@pytest.mark.parametrize("mode", ["synchronous", "neighbor-synchronous"])
def test_a_node_that_leaves_while_it_waits_still_knows_what_it_has_sent(mode: str, theta: float) -> None:
    """Node 0 has sent at 5.1 and is gone at 5.3, before the others have; later headers count that message."""
    graph = parse_topology({"name": "ring", "nodes": 3}).build(seed=0)
    options = ECLOptions(lr=0.5, edge_penalty=0.5, theta=theta, mixing=0.5)
    conditions = Script(comings=[(5.3, 0, False), (8.2, 0, True)])
    costs = Table({0: 1.0, 1: 2.0, 2: 2.0}, default=0.1)
    start = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    make = by_the_clock(mode, costs, conditions, rounds=12, engine=Clocked)
    network = quadratic_engine(make_quadratic(10, 3, dim=3), options, graph, engine=make, start=start)
    while not network.events.is_over:
        network.run_round()
    assert max(network.errors) < 1e-12
    assert sum(network.used) > 0.8 * len(network.used)


# The bookkeeping by hand.


def mirror_of(value: float, theta: float) -> Mirror:
    history = 1 if theta == 1 else 4
    none = torch.zeros(1, dtype=torch.int64)
    return Mirror(torch.tensor([[value]]), torch.zeros(1, history, 1), none, none)


def hear(mirror: Mirror, theta: float, applied: int) -> Mirror:
    zeros = torch.zeros(1, dtype=torch.int64)
    return catch_up(mirror, theta, Headers(torch.tensor([True]), torch.tensor([applied]), zeros, zeros.bool()))


def send(mirror: Mirror, value: float) -> Mirror:
    return remember(mirror, torch.tensor([[value]]), torch.tensor([True]))


def test_only_what_was_applied_moves_the_mirror() -> None:
    mirror = mirror_of(1.0, 0.5)
    for value in (10.0, 20.0, 30.0):
        mirror = send(mirror, value)
    mirror = hear(mirror, 0.5, 0b101)  # the second was lost
    expected = 0.5 * (0.5 * 1.0 + 0.5 * 10.0) + 0.5 * 30.0
    assert mirror.value.item() == expected and mirror.stale.item() == 0
    mirror = hear(mirror, 0.5, 0b101)  # told once more: nothing new
    assert mirror.value.item() == expected
    mirror = hear(send(mirror, 40.0), 0.5, 0b1011)
    assert mirror.value.item() == 0.5 * expected + 20.0


def test_a_message_on_its_way_is_applied_when_the_header_says_so() -> None:
    mirror = send(send(mirror_of(1.0, 0.5), 10.0), 20.0)
    mirror = hear(mirror, 0.5, 0b10)  # the newer one is lost or on its way
    assert mirror.value.item() == 5.5 and mirror.unresolved.item() == 0b01
    mirror = hear(mirror, 0.5, 0b11)
    assert mirror.value.item() == 0.5 * 5.5 + 10.0 and mirror.unresolved.item() == 0


def test_an_idle_round_shifts_nothing() -> None:
    mirror = send(mirror_of(1.0, 0.5), 10.0)
    idle = remember(mirror, torch.tensor([[99.0]]), torch.tensor([False]))
    for before, after in zip(mirror, idle, strict=True):
        assert torch.equal(before, after)


def test_peaceman_rachford_needs_the_newest_applied_message_only() -> None:
    mirror = send(send(mirror_of(1.0, 1.0), 10.0), 20.0)
    assert hear(mirror, 1.0, 0b11).value.item() == 20.0 and hear(mirror, 1.0, 0b11).stale.item() == 0
    assert hear(mirror, 1.0, 0b01).value.item() == 20.0 and hear(mirror, 1.0, 0b01).stale.item() == 0
    assert hear(mirror, 1.0, 0b00).value.item() == 1.0 and hear(mirror, 1.0, 0b00).stale.item() == 0
    wrong = hear(mirror, 1.0, 0b10)  # the first was applied, but it is forgotten
    assert wrong.stale.item() == 1
    right = hear(send(wrong, 30.0), 1.0, 0b101)
    assert right.value.item() == 30.0 and right.stale.item() == 0


# Clipped messages: an error in a mirror is bounded, and forgotten only where that is certain.


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    st.sampled_from([1.0, 0.9, 0.5, 0.1]),
    st.floats(0.1, 3),
    st.floats(0, 1),
)
def test_a_mirror_is_never_further_from_the_dual_than_its_bound(
    numbers: list[float], theta: float, clip: float, more: float
) -> None:
    mirror, dual, message = torch.tensor(numbers, dtype=torch.float64).view(3, 1, 3)
    bound = (mirror - dual).norm(dim=1) + more
    after = error_bound(bound, (message - mirror).norm(dim=1), theta, clip)
    there = [moved(value, message, theta, clip) for value in (mirror, dual)]
    assert (there[0] - there[1]).norm() <= after + 1e-12
    assert after <= bound + 1e-12


def test_a_clipped_message_forgets_nothing_and_others_do_in_time() -> None:
    """With theta = 1, clip 2: a message at distance 5 leaves e = 3 as it is, one at 0.5 takes 1.5 of it, by (2)."""
    error = torch.tensor([3.0])
    expected = [(5.0, 3.0), (0.5, 1.5), (0.25, 0.0)]
    for distance, wanted in expected:
        error = error_bound(error, torch.tensor([distance]), 1.0, 2.0)
        assert error.item() == wanted
    # theta = 1/2: within reach of the clip, 0.5 (1 + 2.5) <= 2, half of it is forgotten.
    assert error_bound(torch.tensor([2.5]), torch.tensor([1.0]), 0.5, 2.0).item() == 1.25


def test_a_forgotten_message_may_have_moved_the_dual_by_the_clip() -> None:
    options = ECLOptions(clip=2.0, memory=1)
    view = View(*(torch.zeros(1),) * 2, *(torch.ones(1, dtype=torch.int64),) * 3, torch.ones(1), torch.ones(1))
    mirror: Any = start_edges(options, torch.tensor([1.0]), view).mirror
    for value in (-1.5, -1.75, -2.0):
        mirror = remember(mirror, torch.tensor([[value]]), torch.tensor([True]), 2.0)
    none = torch.zeros(1, dtype=torch.int64)
    header = Headers(torch.tensor([True]), torch.tensor([0b101]), none, none.bool())
    mirror = catch_up(mirror, 1.0, header, 2.0)
    # The first is forgotten: e = 2; the third is at distance 1, which leaves (1 + 2 - 2) = 1.
    assert mirror.value.item() == -2.0 and mirror.stale.item() == 1.0
    for _ in range(63):
        mirror = remember(mirror, torch.tensor([[-2.0]]), torch.tensor([True]), 2.0)
    assert mirror.stale.item() == 1.0 + 2.0  # nobody knows of the first of these, and no header will tell


def test_the_edge_of_a_neighbor_at_which_all_is_clipped_stays_out_of_the_mixing() -> None:
    """What was applied unheard of is not made good by messages that are all shortened."""
    script: list[Any] = [*[(True, True)] * 2, *[(True, False)] * 5, *[(True, True)] * 80]
    assert not any(scripted(script, 1.0, 1e-4).used[-2:-1])
    assert all(scripted(script, 1.0, CLIP).used[-2:])
