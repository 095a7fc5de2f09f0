"""Functions that get the leaves they touch alone give what they give with all of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.engines.blocks import make_blocks
from ngpd_fl.engines.states import Selection, Stack, StateFunction, divide_into, rows_of, to_tensors
from strategies import STRATEGIES, Headers, Phase, RoundView, Step, parse_strategy
from tests.support.quadratic import make_quadratic, quadratic_strategy
from topologies import parse_topology

NODES, DIM = 5, 3
PHASES = [Phase(), Phase(True, False), Phase(True, True)]
ROWS = [slice(None), slice(1, 3), torch.tensor([0, 2, 4]), torch.tensor([3])]


def noise(tree: Any) -> Any:
    """The tree with every number drawn anew, counters within what counters can be."""

    def drawn(leaf: Tensor) -> Tensor:
        return torch.randn_like(leaf) if leaf.is_floating_point() else torch.randint_like(leaf, 0, 4)

    return tree_map(drawn, tree)


class Case:
    """An algorithm on a ring, with any state, and what its functions are called with."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        given = {"damping": 0.5} if STRATEGIES[name][0].second_order else {}
        if name in ("ngpd", "ecl"):
            given |= {"memory": 3, "theta": 0.5}
        self.strategy = quadratic_strategy(parse_strategy({"name": name, "lr": 0.3, **given}), DIM)
        topology = parse_topology({"name": "ring", "nodes": NODES}).build(seed=0)
        (self.block,) = make_blocks(topology, lambda *_: 0.5, None, torch.zeros(0, dtype=torch.float64))
        view, problem = self.block.view, make_quadratic(10, NODES, DIM)
        start = torch.randn(NODES, DIM, dtype=torch.float64)
        state = noise(over_nodes(self.strategy.init)(start, view))
        if hasattr(state, "curvature"):
            state = state._replace(curvature=problem.hessians)
        if hasattr(state, "moments"):  # averages of squares, and of 1
            state = state._replace(moments=tree_map(torch.abs, state.moments))
        self.state = state
        ones = torch.ones(NODES, 2, dtype=torch.float64)
        views = RoundView(torch.arange(NODES), ones.bool(), ones.bool(), ones[:, 0] / 3, ones / 3, ones / 3)
        batch, draws = problem.minibatches(self.block.nodes, [0] * NODES, Phase())
        step = Step(batch, draws, ones[:, 0])
        outbox = over_nodes(self.strategy.outgoing)(state, view, views)
        # Fields that hold a value per neighbor have the slots already.
        per_edge = self.strategy.options.needs.per_edge
        inbox = type(outbox)(
            **{
                name: value if name in per_edge else value[:, None].expand(-1, 2, *value.shape[1:]).clone()
                for name, value in noise(outbox)._asdict().items()
            }
        )
        some = torch.arange(2 * NODES).view(NODES, 2)
        headers = Headers(some % 3 > 0, some % 8, some % 2, some % 5 == 0)
        self.calls: dict[str, tuple[Any, tuple[Any, ...]]] = {
            **{
                f"local_step {tuple(phase)}": (partial(self.strategy.local_step, phase=phase), (view, step))
                for phase in PHASES
            },
            "outgoing": (lambda state, *more: (state, self.strategy.outgoing(state, *more)), (view, views)),
            "incoming": (
                lambda state, *more: (self.strategy.incoming(state, *more), ()),
                (view, views, inbox, outbox, headers),
            ),
            "estimate": (lambda state: (state, self.strategy.estimate(state)), ()),
        }


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12, equal_nan=True)  # states are drawn at random


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_function_of_every_algorithm(name: str, rows: Any) -> None:
    case = Case(name)
    for function, arguments in case.calls.values():
        stack, here = Stack(case.state), rows_of(arguments, rows)
        selection = stack.select(rows)
        result = selection.call(StateFunction(function), *here)
        selection.put_back()
        after, expected = over_nodes(function)(rows_of(case.state, rows), *here)
        assert_equal(result, expected)
        assert_equal(rows_of(stack.state, rows), after)
        others = torch.ones(NODES, dtype=torch.bool)
        others[rows] = False
        assert_equal(rows_of(stack.state, others.nonzero()[:, 0]), rows_of(case.state, others.nonzero()[:, 0]))


@pytest.mark.parametrize("name", STRATEGIES)
def test_leaves_that_are_not_touched_have_no_part(name: str) -> None:
    """Drawn anew, they change neither the result nor the other leaves."""
    case = Case(name)
    leaves = tree_leaves(case.state)
    spared = 0
    for words, (function, arguments) in case.calls.items():
        known = StateFunction(function)
        Stack(case.state).select(slice(None)).call(known, *arguments)
        touched = known._touched or set()
        spared += len(leaves) - len(touched)
        changed = iter(
            leaf if number in touched else noise(leaf) for number, leaf in enumerate(tree_leaves(case.state))
        )
        other = tree_map(lambda leaf, changed=changed: next(changed), case.state)
        before, result = over_nodes(function)(case.state, *arguments)
        after, same = over_nodes(function)(other, *arguments)
        assert_equal(same, result)
        for number, (one, two) in enumerate(zip(tree_leaves(after), tree_leaves(before), strict=True)):
            if number in touched:
                torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True, msg=words)
    assert spared > 0 or name == "dsgd"


def test_a_leaf_that_was_not_seen_to_be_needed_cannot_be_read() -> None:
    """Where a function does what it did not do on the example, it fails; no wrong number comes of it."""
    stack = Stack({"a": torch.ones(3, 2), "b": torch.ones(3, 2)})
    late: list[bool] = []

    def function(state: Any) -> tuple[Any, Any]:
        found = state["a"] + state["b"] if late else state["a"] * 2
        late.append(True)
        return state, found

    known = StateFunction(function)
    with pytest.raises((RuntimeError, NotImplementedError), match=r"meta|Meta|device"):
        stack.select(slice(None)).call(known)


def test_what_is_swapped_is_written_back_as_it_was() -> None:
    """A state whose leaves change places: each is written where the other was read."""
    stack = Stack({"a": torch.tensor([[1.0], [2.0]]), "b": torch.tensor([[3.0], [4.0]])})
    selection: Selection = stack.select(slice(0, 2))
    selection.call(StateFunction(lambda state: ({"a": state["b"], "b": state["a"]}, ())))
    selection.put_back()
    assert stack.state["a"].flatten().tolist() == [3, 4] and stack.state["b"].flatten().tolist() == [1, 2]


@pytest.mark.parametrize("rows", [slice(0, 2), torch.tensor([1, 0])], ids=str)
def test_leaves_stay_where_they_are_and_the_same_leaf_is_not_copied(rows: Any) -> None:
    a, b = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    stack = Stack({"a": a, "b": b, "c": b[:1].expand(2, 1)})
    places = [leaf.data_ptr() for leaf in tree_leaves(stack.state)]
    own = stack.state
    stack.replace({"a": own["b"], "b": own["a"][:1].expand(2, 1), "c": own["c"][:]})
    assert [stack.state[name].flatten().tolist() for name in "abc"] == [[3, 4], [1, 1], [3, 3]]
    stack.write(rows, {0: torch.tensor([[5.0], [6.0]])})
    assert stack.state["a"][rows].flatten().tolist() == [5, 6]
    stack.write(torch.tensor([1, 0]), {1: stack.state["b"], 0: stack.state["a"]})
    assert stack.state["a"].flatten().tolist() == ([6, 5] if isinstance(rows, slice) else [5, 6])
    assert [leaf.data_ptr() for leaf in tree_leaves(stack.state)] == places
    version = stack.state["a"]._version
    stack.replace({name: leaf[:] for name, leaf in stack.state.items()})
    assert stack.state["a"]._version == version


def test_states_are_divided_into_other_blocks() -> None:
    whole = {"a": torch.arange(14.0).view(7, 2), "b": {"c": torch.arange(7)}}

    def blocks(*sizes: int) -> dict[str, torch.Tensor]:
        ends = np.cumsum(sizes)
        rows = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        return to_tensors({"blocks": [rows_of(whole, part) for part in rows], "links": {"sent": torch.ones(3)}})

    for before, after in [((7,), (3, 4)), ((3, 4), (7,)), ((1, 5, 1), (2, 2, 3)), ((2, 5), (2, 5))]:
        found, expected = divide_into(after, blocks(*before)), blocks(*after)
        assert found.keys() == expected.keys()
        assert all(torch.equal(leaf, expected[name]) for name, leaf in found.items())
    kept = blocks(2, 5)
    assert all(leaf.data_ptr() == kept[name].data_ptr() for name, leaf in divide_into((2, 5), kept).items())


def test_blocks_are_in_the_order_of_their_numbers_whatever_that_of_their_names() -> None:
    """A file has its tensors by name: number 10 before number 2."""
    blocks = to_tensors([{"a": torch.tensor([float(number)])} for number in range(12)])
    (joined,) = divide_into([12], dict(sorted(blocks.items()))).values()
    assert joined.tolist() == list(range(12))


def test_nodes_that_do_not_fit_into_a_block_are_refused() -> None:
    stacks = to_tensors([torch.ones(2, 3), torch.ones(3, 4)])
    with pytest.raises(ValueError, match="states of 5 nodes; expected 6"):
        divide_into((2, 4), stacks)
    with pytest.raises(ValueError, match="other numbers of neighbors"):
        divide_into((3, 2), stacks)
