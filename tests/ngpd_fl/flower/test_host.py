"""A client's nodes between two messages."""

from __future__ import annotations

from ngpd_fl import Config
from ngpd_fl.composition import compose
from ngpd_fl.flower.host import Host


def test_nodes_that_have_missed_the_first_rounds_estimate_their_curvature_all_the_same() -> None:
    """A first round 3 is none that estimates it by the schedule: without, the step is force times lr / damping."""
    rare = {"name": "ngpd", "factor_every": 1000, "basis_every": 1000}
    config = Config(topology={"name": "path", "nodes": 2}, model="softmax", strategy=rare, training={"local_steps": 1})
    late = Host(compose(config), [0])
    late.work(3)
    factors = {name: value for name, value in late.crew.state().items() if name.endswith("_factor")}
    assert factors and all(value.any() for value in factors.values())
    known = {name: value.clone() for name, value in factors.items()}
    late.work(4)  # the next one follows, and keeps them
    assert all(bool((late.crew.state()[name] == value).all()) for name, value in known.items())
