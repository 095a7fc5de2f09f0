"""The gallery of algorithms: the head of each module, its needs, rest point and options."""

from __future__ import annotations

import sys
from typing import NamedTuple

from gallery.markdown import doc_text, folded, options_table, table
from strategies import STRATEGIES, Spec, StrategyOptions, parse_strategy
from strategies.parts.adam import AdamOptions
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

_DIRECTED = {
    "none": "undirected",
    "balanced": "undirected, or directed with doubly stochastic weights",
    "any": "undirected or directed",
}

_ROUNDS, _EXACT = 100, 0.02
"""Bound on an exact algorithm's error after the rounds of the small problem below, and on what it still moves."""


class Rest(NamedTuple):
    """The end point of an algorithm.

    Attributes:
        error: largest distance of a node from the minimizer, relative to the minimizer's norm.
        movement: the same of a node from where it was a round before.
    """

    error: float
    movement: float

    def words(self, exact: str) -> str:
        """Return this in words, ``exact`` for the minimizer."""
        if self.movement > _EXACT:
            return "no point: its steps keep their length"
        return exact if self.error < _EXACT else f"a biased point, {100 * self.error:.0f} % away from the minimizer"


def gallery() -> str:
    """Return a table of all algorithms, and a section on each to unfold."""
    rests = {name: _rest(name) for name in STRATEGIES}
    usual = {name: parse_strategy(name) for name in STRATEGIES}
    overview = table(
        ["name", "graphs", "messages", "second order", "rests at"],
        (
            [
                f"[`{name}`](#{name})",
                _graphs(options.needs),
                "must all arrive" if options.needs.reliable else "may be lost",
                "yes" if options.second_order else "no",
                rests[name].words("the minimizer"),
            ]
            for name, options in usual.items()
        ),
    )
    return "\n\n".join(
        [overview, *(folded(name, _section(usual[name], rests[name]), _title(usual[name])) for name in usual)]
    )


def _section(options: StrategyOptions, rest: Rest) -> str:
    _, _, body = doc_text(sys.modules[type(options).__module__]).partition("\n")
    return "\n\n".join(
        [
            body.strip("\n"),
            _needs(options, rest),
            "**Options**",
            options_table("strategy", type(options)),
        ]
    )


def _title(options: StrategyOptions) -> str:
    """Return the first line of an algorithm's module."""
    return doc_text(sys.modules[type(options).__module__]).partition("\n")[0]


def _graphs(spec: Spec) -> str:
    """Return the graphs that an algorithm accepts."""
    kind = "trees" if spec.tree else _DIRECTED[spec.directed]
    return kind + ("; static" if spec.static else "; static or varying")


def _needs(options: StrategyOptions, rest: Rest) -> str:
    """Return the needs of an algorithm with its default options, and its rest point, in words."""
    spec = options.needs
    lines = {
        "Graphs": _graphs(spec),
        "Local steps": "one a round" if spec.single_step else "any number a round",
        "Messages": f"{'all must arrive' if spec.reliable else 'may be lost'}; "
        + ("one for each neighbor" if spec.per_edge else "the same for all neighbors"),
        "Compression": ", ".join(spec.compress) or "none",
        "Works with": "gradients and the Fisher matrix" if options.second_order else "gradients",
        "Rests at": rest.words("the exact minimizer of the sum"),
    }
    return "\n".join(f"* {what}: {value}" for what, value in lines.items())


def _rest(name: str) -> Rest:
    """Return where an algorithm is after many rounds with exact gradients.

    The problem is the quadratic one of the tests: three nodes on a path, data that differ.
    """
    kind, plain = STRATEGIES[name][0], {}
    if kind.second_order:
        plain = {"damping": 0.1, "trust_radius": 0, "factor_every": 1, "basis_every": 1}
    elif issubclass(kind, AdamOptions):
        plain = {"epsilon": 1.0}
    options = parse_strategy({"name": name, "lr": 0.3, **plain})
    problem = make_quadratic(4, nodes=3, dim=4)
    topology = parse_topology({"name": "path", "nodes": 3}).build(seed=0)
    engine = quadratic_engine(problem, options, topology, engine=NaiveNetwork)
    params = run_rounds(engine, _ROUNDS)
    movement = (run_rounds(engine, 1) - params).norm(dim=1).max() / problem.minimizer.norm()
    return Rest(problem.relative_error(params), float(movement))
