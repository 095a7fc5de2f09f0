"""Compressed differences: CHOCO's equations by hand, its rest point, both ends' copies, bytes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ngpd_fl.config import Config, InputError
from ngpd_fl.engines import EdgeHeader, SynchronousEngine, check_topology
from ngpd_fl.engines.example import example_payload, message_bytes
from ngpd_fl.peer.frame import HEADER_BYTES, Codec, Head, Kind
from strategies import (
    ChocoSGDOptions,
    DSGDOptions,
    ECLOptions,
    KFACGossipOptions,
    NGPDOptions,
    StrategyOptions,
    make_strategy,
    message_dtype,
    parse_strategy,
)
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import (
    Quadratic,
    make_quadratic,
    quadratic_engine,
    quadratic_strategy,
    run_rounds,
    undamped,
)
from topologies import parse_topology

RING = {"name": "ring", "nodes": 6}
STAR = {"name": "star", "nodes": 5}
CODECS: list[dict[str, Any]] = [
    {"name": "top-k", "keep": 0.25},
    {"name": "quantize", "bits": 2},
]
RANDOM = {"name": "random-k", "keep": 0.25}


def build(topology: dict[str, Any]) -> Any:
    return parse_topology(topology).build(seed=0)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
def test_two_rounds_of_choco_on_three_nodes(engine: Any) -> None:
    """f_i = 1/2 |w - b_i|^2 on the path 0 - 1 - 2, all at 0; one entry of two is sent, W_ij = 1/3, gamma = 1/2."""
    targets = torch.tensor([[4.0, 2.0], [0.0, 0.0], [-2.0, -8.0]], dtype=torch.float64)
    problem = Quadratic(torch.eye(2, dtype=torch.float64).repeat(3, 1, 1), targets)
    options = ChocoSGDOptions(lr=0.5, gossip_step=0.5, compress={"name": "top-k", "keep": 0.5})
    network = quadratic_engine(problem, options, build({"name": "path", "nodes": 3}), engine=engine)
    # Half-way to b: (2, 1), (0, 0), (-1, -4). The copies become (2, 0), (0, 0), (0, -4); a sixth of each difference.
    first = torch.tensor([[2 - 2 / 6, 1], [2 / 6, -4 / 6], [-1, -4 + 4 / 6]], dtype=torch.float64)
    torch.testing.assert_close(run_rounds(network, 1), first)
    half = (first + targets) / 2  # (17/6, 3/2), (1/6, -1/3), (-3/2, -17/3)
    # Off the copies by (5/6, 3/2), (1/6, -1/3), (-3/2, -5/3): the second entry is the larger everywhere.
    copies = torch.tensor([[2, 3 / 2], [0, -1 / 3], [0, -17 / 3]], dtype=torch.float64)
    flow = torch.stack([copies[1] - copies[0], copies[0] + copies[2] - 2 * copies[1], copies[1] - copies[2]])
    torch.testing.assert_close(run_rounds(network, 1), half + flow / 6)


def rest_point(problem: Quadratic, mixing: Tensor, gamma: float, step: Tensor) -> Tensor:
    """At rest copies are exact: w = (I + gamma (W - I)) (w - M (w - b)), for all nodes at once; M ``[N, P, P]``."""
    nodes, dim = problem.targets.shape
    whole = torch.kron(torch.eye(nodes) + gamma * (mixing - torch.eye(nodes)), torch.eye(dim, dtype=torch.float64))
    block = torch.block_diag(*step)
    right = whole @ block @ problem.targets.reshape(-1)
    eye = torch.eye(nodes * dim, dtype=torch.float64)
    return torch.linalg.solve(eye - whole @ (eye - block), right).reshape(nodes, dim)


@pytest.mark.parametrize(
    ("method", "topology", "codec"),
    [
        *((ChocoSGDOptions, RING, codec) for codec in (*CODECS, RANDOM)),
        (ChocoSGDOptions, {**STAR, "weights": "uniform"}, CODECS[0]),
        (DSGDOptions, STAR, CODECS[1]),
        (KFACGossipOptions, RING, CODECS[0]),
    ],
)
def test_it_rests_at_its_closed_form(method: Any, topology: dict[str, Any], codec: dict[str, Any]) -> None:
    problem, graph = make_quadratic(3, topology["nodes"], dim=8), build(topology)
    mixing = torch.tensor(graph.weights(0).matrix().toarray())
    more: dict[str, Any] = {}
    step = 0.5 * problem.hessians
    if method is DSGDOptions:
        more, step = {"momentum": 0.2}, step / 0.8
    if method is KFACGossipOptions:
        more = {"damping": 0.1, "trust_radius": 0, "factor_every": 1, "basis_every": 1}
        step = 0.5 * torch.linalg.solve(problem.hessians + 0.1 * torch.eye(8, dtype=torch.float64), problem.hessians)
    options = method(lr=0.5, compress=codec, gossip_step=0.2, **more)
    params = run_rounds(quadratic_engine(problem, options, graph), 200)
    point = rest_point(problem, mixing, 0.2, step)
    assert (params - point).norm() < 1e-9 * point.norm()
    assert (point - rest_point(problem, mixing, 1.0, step)).norm() > 1e-2 * point.norm()


@pytest.mark.parametrize(
    ("name", "local_steps"), [("d2", 1), ("exact-diffusion", 2), ("gradient-tracking", 2), ("momentum-tracking", 2)]
)
def test_exact_baselines_stay_exact(name: str, local_steps: int) -> None:
    problem = make_quadratic(2, 3, dim=4)
    keys = {"momentum": 0.3} if name == "momentum-tracking" else {}
    options = parse_strategy({"name": name, "lr": 0.1, "compress": {"name": "quantize", "bits": 4}, **keys})
    engine = quadratic_engine(problem, options, build({"name": "path", "nodes": 3}), local_steps)
    assert problem.relative_error(run_rounds(engine, 200)) < 1e-5
    plain = quadratic_engine(problem, DSGDOptions(lr=0.2, momentum=0), build({"name": "path", "nodes": 3}), local_steps)
    assert problem.relative_error(run_rounds(plain, 150)) > 0.01


@pytest.mark.parametrize(("method", "mixing"), [(ECLOptions, 0.0), (undamped, 0.0), (undamped, 1.0)])
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_edge_consensus_reaches_the_minimizer(codec: dict[str, Any], mixing: float, method: Any) -> None:
    topology = STAR if mixing else RING
    problem = make_quadratic(3, topology["nodes"], dim=8)
    options = method(lr=1.0, edge_penalty=0.4, theta=0.5, mixing=mixing, compress=codec)
    assert problem.relative_error(run_rounds(quadratic_engine(problem, options, build(topology)), 200)) < 1e-9


@pytest.mark.parametrize(
    "options",
    [
        DSGDOptions(lr=0.3, gossip_step=1, compress={"name": "top-k", "keep": 1}),
        DSGDOptions(lr=0.3, compress={"name": "random-k", "keep": 1}),
        KFACGossipOptions(lr=0.3, damping=0.1, compress={"name": "top-k", "keep": 1}),
        ECLOptions(lr=0.3, theta=0.5, compress={"name": "top-k", "keep": 1}),
        NGPDOptions(lr=0.3, damping=0.1, edge_penalty=0.4, theta=0.3, compress={"name": "top-k", "keep": 1}),
    ],
    ids=lambda options: f"{options.name}-{options.compress.name}",
)
def test_where_all_is_sent_it_is_the_algorithm_itself(options: StrategyOptions) -> None:
    problem, graph = make_quadratic(10, 6, dim=4), build(RING)
    whole = options.model_copy(update={"compress": None})
    sent, plain = (run_rounds(quadratic_engine(problem, each, graph, 2), 20) for each in (options, whole))
    torch.testing.assert_close(sent, plain, rtol=1e-12, atol=1e-12)


class Still:
    """Nothing to minimize."""

    def gradient(self, params: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        return 0 * params.sum(), torch.zeros_like(params)


@pytest.mark.parametrize("codec", [*CODECS, RANDOM, "quantize", {"name": "quantize", "bits": 8}], ids=str)
def test_averaging_alone_converges_linearly_to_the_mean_at_the_default_gossip_step(codec: Any) -> None:
    options = DSGDOptions(momentum=0, compress=codec)
    nothing = Quadratic(torch.zeros(6, 1, 1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64))
    start = torch.zeros(40, dtype=torch.float64)
    strategy = make_strategy(options, Still())
    network = quadratic_engine(nothing, options, build(RING), engine=NaiveNetwork, strategy=strategy, start=start)
    params = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for node, state in network.states.items():
        network.states[node] = state._replace(inner=state.inner._replace(params=params[node]))
    distances = [float((run_rounds(network, 70) - params.mean(0)).norm()) for _ in range(4)]
    assert all(after < max(0.5 * before, 1e-13) for before, after in zip(distances, distances[1:], strict=False))
    torch.testing.assert_close(network.params().mean(0), params.mean(0))


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("name", ["choco-sgd", "dsgd", "ecl", "ngpd"])
def test_both_ends_of_an_edge_have_the_same_copies(name: str, dtype: str | None) -> None:
    codec = RANDOM if name == "dsgd" else {"name": "quantize", "bits": 4}
    more = {"theta": 0.5, "edge_penalty": 0.4} if name in ("ecl", "ngpd") else {}
    options = parse_strategy({"name": name, "lr": 0.3, "compress": codec, "message_dtype": dtype, **more})
    problem = make_quadratic(10, 5, dim=6)
    start = torch.arange(6, dtype=torch.float64)
    network = quadratic_engine(problem, options, build(STAR), engine=NaiveNetwork, start=start)
    for _ in range(8):
        for node, state in network.states.items():
            for slot, other in enumerate(network.neighbors[node]):
                (told,) = network.states[other].own
                (heard,) = state.heard
                assert torch.equal(heard[slot], told[network.neighbors[other].index(node)] if more else told)
        network.run_round()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ChocoSGDOptions(), 2 * 8 + 2 * 4),  # two of twenty entries and their places
        (ChocoSGDOptions(message_dtype="float16"), 2 * 2 + 2 * 4),
        (DSGDOptions(compress={"name": "random-k", "keep": 0.25}), 5 * 8 + 4),  # and the key
        (DSGDOptions(compress="quantize"), 10 + 8),  # two codes in a byte, and the step between levels
        (ECLOptions(theta=0.5, compress={"name": "quantize", "bits": 2}, message_dtype="bfloat16"), 5 + 2),
        (ECLOptions(compress={"name": "random-k", "keep": 0.25}), 5 * 8 + 4),
        (NGPDOptions(compress={"name": "random-k", "keep": 0.25}, message_dtype="float32"), 5 * 4 + 4),
    ],
    ids=lambda given: given.title if isinstance(given, StrategyOptions) else None,
)
def test_bytes_are_those_that_travel(options: StrategyOptions, expected: int) -> None:
    strategy, start = quadratic_strategy(options), torch.zeros(20, dtype=torch.float64)
    assert sum(message_bytes(strategy, start).values()) == expected
    problem = make_quadratic(10, 6)
    engine, naive = (
        quadratic_engine(problem, options, build(RING), engine=e) for e in (SynchronousEngine, NaiveNetwork)
    )
    naive.run_round()
    assert engine.run_round().bytes_sent == naive.bytes_sent == 12 * expected
    payload = example_payload(strategy, start)
    frames = Codec(bytes(16), payload, message_dtype(options))
    frame = b"".join(frames.write(Head(Kind.MESSAGE, 0, EdgeHeader(0, -1, 0, 0)), payload._asdict()))
    shapes = sum(2 + 4 * value.dim() for value in payload)
    assert len(frame) == HEADER_BYTES + shapes + expected
    for name, value in frames.read(0, memoryview(frame)).fields.items():
        assert torch.equal(value, getattr(payload, name)) and value.dtype == getattr(payload, name).dtype


def refusal(**sections: Any) -> str:
    with pytest.raises(InputError) as error:
        config = Config(**sections)
        check_topology(config.strategy, config.topology.build(config.seed))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_refused_is_said_in_one_line() -> None:
    choco = {"name": "choco-sgd"}
    assert refusal(strategy=choco, network={"message_loss": 0.1}) == (
        "network.message_loss: choco-sgd with compress = top-k needs every message to arrive; allowed: 0"
    )
    assert refusal(strategy=choco, topology={"name": "ring", "schedule": "matching"}) == (
        "topology.schedule: choco-sgd with compress = top-k needs a graph that does not vary over time"
    )
    assert refusal(strategy=choco, training={"mode": "asynchronous"}).startswith("training.mode: choco-sgd with")
    assert refusal(strategy={"name": "ngpd", "compress": "quantize"}) == (
        "strategy.theta: compress = quantize needs theta <= 0.5 (got 1)"
    )
    assert refusal(strategy={"name": "dsgd", "compress": "top-k", "clip": 1.0}) == (
        "strategy.clip: messages that are compressed cannot be clipped; unset it, or compress"
    )
    assert refusal(strategy={"name": "c-ecl", "compress": "top-k"}).startswith("strategy.compress.name: ")
    assert refusal(strategy={"name": "dsgd", "compress": {"name": "top-k", "bits": 4}}) == (
        "strategy.compress.bits: unknown key; allowed: name, keep"
    )
    assert refusal(strategy={"name": "dsgd", "compress": "zip"}) == (
        "strategy.compress.name: 'zip' is not known; allowed: top-k, random-k, quantize"
    )
    assert refusal(strategy={"name": "dsgd", "compress": {"name": "quantize", "bits": 3}}).startswith(
        "strategy.compress.bits: input should be 2, 4 or 8"
    )


def test_an_algorithm_without_a_theory_of_it_sends_its_messages_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from strategies import Spec

    monkeypatch.setattr(DSGDOptions, "spec", Spec())
    assert refusal(strategy={"name": "dsgd", "compress": "top-k"}) == (
        "strategy.compress: dsgd does not work with top-k; unset it"
    )
    monkeypatch.setattr(DSGDOptions, "spec", Spec(compress=("quantize",)))
    assert refusal(strategy={"name": "dsgd", "compress": "top-k"}) == (
        "strategy.compress: dsgd does not work with top-k; allowed: quantize, or unset"
    )


def test_it_is_given_by_name_by_keys_or_in_a_file_and_written_as_it_was() -> None:
    given = {"strategy.compress.keep": 0.2, "strategy.compress.name": "random-k", "strategy.name": "ecl"}
    config = Config.load(overrides=given)
    assert config.strategy == ECLOptions(compress={"name": "random-k", "keep": 0.2})
    import tomllib

    assert Config(**tomllib.loads(config.to_toml())) == config
    assert Config.load(overrides={"strategy.name": "choco-sgd", "strategy.compress.keep": 0.2}).strategy == (
        ChocoSGDOptions(compress={"name": "top-k", "keep": 0.2})
    )
