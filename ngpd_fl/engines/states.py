"""The states of stacked nodes: some of them read as far as needed and written back as far as changed; stored by name.

A state may be large and what a function looks at small: K-FAC's factors have no part in an exchange. The leaves that a
function touches are found once, by running it on an example. They stay the same: vmap allows no control flow that
depends on values, and of all that is handed to ``call_stacked``, inside which there may be some, a view is taken.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import (
    TreeSpec,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.core.trace import Traced
from strategies.contract import State

_OF_BLOCK = re.compile(r"(.*?\[)(\d+)(\].*)", re.DOTALL)
"""The name of a leaf of a block's states: what comes before the block's number, the number, and the rest."""

Rows = slice | Tensor
"""Some of the nodes that are stacked: a range of them, or their numbers, int64 ``[n]``."""


class Stack:
    """The states of nodes, every leaf in memory of its own, where it stays.

    What lives long would otherwise come to lie between what does not, and the heap could not use that memory again.
    """

    def __init__(self, state: State) -> None:
        """Copy a state whose every leaf has a leading axis of nodes."""
        leaves, self._structure = tree_flatten(state)
        self._leaves: list[Tensor] = [leaf.clone(memory_format=torch.contiguous_format) for leaf in leaves]
        self._absent = [leaf.new_empty(leaf.shape[1:], device="meta") for leaf in leaves]  # to compute with it fails

    @property
    def state(self) -> State:
        """The states, stacked; not to be written to, and others after the next change."""
        return tree_unflatten(self._leaves, self._structure)

    @property
    def largest(self) -> int:
        """The bytes of one node's largest leaf."""
        return max(int(leaf[0].numel()) * leaf.element_size() for leaf in self._leaves)

    def select(self, rows: Rows) -> Selection:
        """Return the states of some nodes."""
        return Selection(self, rows)

    def replace(self, state: State) -> None:
        """Copy other states of the same nodes to where theirs are."""
        self.write(slice(None), dict(enumerate(tree_leaves(state))))

    def write(self, rows: Rows, leaves: Mapping[int, Tensor]) -> None:
        """Copy leaves, by number, of some nodes to where theirs are."""
        changed = {
            number: leaf
            for number, leaf in leaves.items()
            if isinstance(rows, Tensor) or not leaf.is_set_to(self._leaves[number][rows])
        }
        own = {leaf.untyped_storage().data_ptr() for leaf in self._leaves}
        # What was another leaf is in memory that is written to here.
        new = {k: leaf.clone() if leaf.untyped_storage().data_ptr() in own else leaf for k, leaf in changed.items()}
        for number, leaf in new.items():
            if isinstance(rows, slice):
                self._leaves[number][rows] = leaf
            else:
                self._leaves[number].index_copy_(0, rows, leaf)


class Selection:
    """The states of some stacked nodes, from when they are first needed."""

    def __init__(self, stack: Stack, rows: Rows) -> None:
        """Select rows of a stack."""
        self._stack = stack
        self._rows = rows
        self._leaves_read: dict[int, Tensor] = {}
        self._changed: set[int] = set()

    def call(self, function: StateFunction, *arguments: Any) -> Any:
        """Let the function change these states; return its result."""
        structure = self._stack._structure

        def example() -> tuple[list[Tensor], tuple[Any, ...]]:
            twice = torch.zeros(2, dtype=torch.int64, device=self._stack._leaves[0].device)
            return rows_of(self._stack._leaves, twice), rows_of(arguments, twice)

        needed = function.touched(structure, example)
        given = {number: self._leaf(number) for number in needed}
        changed, result = function(structure, self._stack._absent, given, arguments)
        self._leaves_read |= changed
        self._changed |= changed.keys()
        return result

    def put_back(self) -> None:
        """Write what has changed to where the nodes are."""
        self._stack.write(self._rows, {number: self._leaves_read[number] for number in self._changed})

    def _leaf(self, number: int) -> Tensor:
        if number not in self._leaves_read:
            self._leaves_read[number] = rows_of(self._stack._leaves[number], self._rows)
        return self._leaves_read[number]


def rows_of(tree: Any, rows: Rows) -> Any:
    """Return a tree with these rows of every tensor in it: views of a range of them, copies of others."""
    if isinstance(rows, slice):
        return tree_map(lambda leaf: leaf[rows], tree)
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)


class StateFunction:
    """One node's pure function ``(state, *arguments) -> (state, result)``, whose states are leaves by number."""

    def __init__(self, function: Callable[..., tuple[State, Any]]) -> None:
        """Wrap a function that vmap can batch."""
        self._function = function
        self._touched: Set[int] | None = None
        self._stacked: Traced | None = None

    def touched(self, structure: TreeSpec, example: Callable[[], tuple[Sequence[Tensor], tuple[Any, ...]]]) -> Set[int]:
        """Return the numbers of the leaves that it needs.

        Args:
            structure: that of a state.
            example: returns the leaves and the arguments of two nodes; called once.
        """
        if self._touched is None:
            leaves, arguments = example()
            watch = _Watch(leaves)

            def watched(before: Sequence[Tensor], *arguments: Any) -> Any:
                changed, result = self._of_node(before, structure, arguments)
                watch.see_passed(before, (changed, result))
                return changed, result

            with watch:
                over_nodes(watched)(leaves, *arguments)
            self._touched = watch.touched
        return self._touched

    def __call__(
        self, structure: TreeSpec, absent: Sequence[Tensor], given: Mapping[int, Tensor], arguments: tuple[Any, ...]
    ) -> tuple[dict[int, Tensor], Any]:
        """Return the leaves of n nodes that have changed, and the result.

        Args:
            structure: that of a state; the same in every call.
            absent: what stands in the place of a node's leaves that are not needed; the same in every call.
            given: the others, each with an axis n.
            arguments: of the function, every tensor with an axis n.
        """
        if self._stacked is None:

            def of_node(given: Mapping[int, Tensor], *arguments: Any) -> tuple[dict[int, Tensor], Any]:
                before = [given.get(number, other) for number, other in enumerate(absent)]
                return self._of_node(before, structure, arguments)

            self._stacked = Traced(over_nodes(of_node))
        changed: tuple[dict[int, Tensor], Any] = self._stacked(given, *arguments)
        return changed

    def _of_node(
        self, before: Sequence[Tensor], structure: TreeSpec, arguments: tuple[Any, ...]
    ) -> tuple[dict[int, Tensor], Any]:
        """Return the leaves that are not what they were, and the result."""
        state, result = self._function(tree_unflatten(before, structure), *arguments)
        pairs = zip(before, tree_leaves(state), strict=True)
        return {number: new for number, (old, new) in enumerate(pairs) if new is not old}, result


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds the tensors that any operation takes, views included."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing here is compiled, and torch would load its compiler to skip it, which takes seconds."""
        return False

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.touched: set[int] = set()
        self._numbers = {leaf.untyped_storage()._cdata: number for number, leaf in enumerate(leaves)}

    def see_passed(self, before: Sequence[Tensor], after: Any) -> None:
        """Count what leaves a function as it came in."""
        passed = {id(leaf) for leaf in tree_leaves(after)}
        self.touched |= {number for number, leaf in enumerate(before) if id(leaf) in passed}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        keys = (tensor.untyped_storage()._cdata for tensor in tensors)
        self.touched |= {self._numbers[key] for key in keys if key in self._numbers}
        return func(*args, **(kwargs or {}))


def to_tensors(tree: Any) -> dict[str, Tensor]:
    """Return the leaves of nested tuples, lists and dictionaries by their path, e.g. ``"['blocks'][0].params"``."""
    leaves, _ = tree_flatten_with_path(tree)
    return {keystr(path): leaf for path, leaf in leaves}


def is_curvature(name: str) -> bool:
    """Return whether a leaf belongs to a node's curvature: large, and a node can estimate it again."""
    return ".curvature" in name


def divide_into(sizes: Sequence[int], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what ``to_tensors`` named, with the stacks of nodes in blocks of other ``sizes``.

    A name's first number is that of its block, whatever the order of names: a file has its own. What has none stays as
    it is. The nodes keep their order.

    Raises:
        ValueError: the nodes are not as many, or one of the new blocks would hold nodes whose leaves differ in shape.
    """
    stacks: dict[tuple[str, str], dict[int, Tensor]] = {}
    divided: dict[str, Tensor] = {}
    for name, leaf in tensors.items():
        if match := _OF_BLOCK.fullmatch(name):
            stacks.setdefault((match[1], match[3]), {})[int(match[2])] = leaf
        else:
            divided[name] = leaf
    for (before, after), stack in stacks.items():
        parts = [stack[number] for number in sorted(stack)]
        divided |= {f"{before}{number}{after}": part for number, part in enumerate(_divided(parts, sizes))}
    return divided


def _divided(parts: Sequence[Tensor], sizes: Sequence[int]) -> Iterator[Tensor]:
    """Yield the rows of ``parts`` in tensors of ``sizes``; those that have their size already are not copied."""
    if sum(map(len, parts)) != sum(sizes):
        raise ValueError(f"the states of {sum(map(len, parts))} nodes; expected {sum(sizes)}")
    rest = deque(parts)
    for size in sizes:
        taken: list[Tensor] = []
        while size > 0:
            part = rest.popleft()
            if len(part) > size:
                rest.appendleft(part[size:])
            taken.append(part[:size])
            size -= len(taken[-1])
        if len({part.shape[1:] for part in taken}) > 1:
            raise ValueError("nodes with other numbers of neighbors")
        yield taken[0] if len(taken) == 1 else torch.cat(taken)


def from_tensors(like: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return ``like`` with its leaves replaced by those in ``tensors``: the inverse of ``to_tensors``.

    Raises:
        ValueError: a leaf is missing, spare, or has another shape or type than that of ``like``.
    """
    leaves, structure = tree_flatten_with_path(like)
    expected = {keystr(path): leaf for path, leaf in leaves}
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())[0]
        raise ValueError(f"{odd} is {'missing' if odd in expected else 'not known'}")
    for name, leaf in expected.items():
        if leaf.shape != tensors[name].shape or leaf.dtype != tensors[name].dtype:
            raise ValueError(
                f"{name} has shape {tuple(tensors[name].shape)} and type {tensors[name].dtype}; "
                f"expected {tuple(leaf.shape)} and {leaf.dtype}"
            )
    return tree_unflatten([tensors[name].to(leaf.device) for name, leaf in expected.items()], structure)
