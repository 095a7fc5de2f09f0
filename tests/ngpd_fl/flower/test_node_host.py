"""A client's nodes between two messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flwr.app import RecordDict

from ngpd_fl import Config
from ngpd_fl.engines import NodeGroup, SynchronousEngine
from ngpd_fl.flower import messages as wire
from ngpd_fl.flower.client.node_host import NodeHost, from_wire, to_wire
from ngpd_fl.training import compose
from strategies import parse_strategy
from tests.support.quadratic import make_quadratic, quadratic_settings
from topologies import parse_topology


def test_nodes_that_have_missed_the_first_rounds_estimate_their_curvature_all_the_same() -> None:
    """A first round 3 is none that estimates it by the schedule: without, the step is force times lr / damping."""
    rare = {"name": "ngpd", "factor_every": 1000, "basis_every": 1000}
    config = Config(topology={"name": "path", "nodes": 2}, model="softmax", strategy=rare, training={"local_steps": 1})
    late = NodeHost(compose(config), [0])
    late.work(3)
    factors = {name: value for name, value in late.group.state().items() if name.endswith("_factor")}
    assert factors and all(value.any() for value in factors.values())
    known = {name: value.clone() for name, value in factors.items()}
    late.work(4)  # the next one follows, and keeps them
    assert all(bool((late.group.state()[name] == value).all()) for name, value in known.items())


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "c-ecl", "mixing": 1.0},
        {"name": "choco-sgd", "message_dtype": "float16"},
        {"name": "ecl", "theta": 0.5, "compress": "quantize"},
    ],
    ids=lambda strategy: strategy["name"],
)
def test_compressed_messages_go_through_flower_bit_for_bit(strategy: dict[str, Any]) -> None:
    options, graph, problem = (
        parse_strategy(strategy),
        parse_topology("ring").build(seed=0),
        make_quadratic(10, 8, dim=9),
    )
    settings = quadratic_settings(problem, options, graph)
    groups = [NodeGroup(settings, nodes) for nodes in (range(3), range(3, 8))]
    whole = SynchronousEngine(settings)
    for number in range(6):
        sent = []
        for group in groups:
            group.work(number)
            content = RecordDict()
            wire.write_messages(content, to_wire(group.write(number), options.needs.per_edge))
            sent.append(from_wire(wire.read_messages(content)))
        for group, messages in zip(groups, reversed(sent), strict=True):
            group.read(number, messages)
        whole.run_round()
    assert torch.equal(torch.cat([group.params() for group in groups]), whole.params())
