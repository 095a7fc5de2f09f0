"""The states of stacked nodes, and some of them: read as far as needed, written back as far as changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ngpd_fl.engines.state_function import StateFunction
from strategies.contract import State

Rows = slice | Tensor
"""Some of the nodes that are stacked: a range of them, or their numbers, int64 ``[n]``."""


class Stack:
    """The states of nodes, every leaf in memory of its own."""

    def __init__(self, state: State) -> None:
        """Take a state whose every leaf has a leading axis of nodes."""
        leaves, self._structure = tree_flatten(state)
        self._leaves: list[Tensor] = [leaf.clone(memory_format=torch.contiguous_format) for leaf in leaves]
        self._absent = [leaf.new_empty(leaf.shape[1:], device="meta") for leaf in leaves]  # to compute with it fails

    @property
    def state(self) -> State:
        """The states, stacked: to be looked at only."""
        return tree_unflatten(self._leaves, self._structure)

    @property
    def largest(self) -> int:
        """The bytes of one node's largest leaf."""
        return max(int(leaf[0].numel()) * leaf.element_size() for leaf in self._leaves)

    def select(self, rows: Rows) -> Selection:
        """Return the states of some nodes."""
        return Selection(self, rows)


class Selection:
    """The states of some stacked nodes, from when they are first needed."""

    def __init__(self, stack: Stack, rows: Rows) -> None:
        """Take the nodes and which of them."""
        self._stack = stack
        self._rows = rows
        self._found: dict[int, Tensor] = {}
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
        self._found |= changed
        self._changed |= changed.keys()
        return result

    def put_back(self) -> None:
        """Write what has changed to where the nodes are."""
        leaves = self._stack._leaves
        own = {leaf.untyped_storage().data_ptr() for leaf in leaves}
        for number in self._changed:
            # What was another leaf is in memory that is written to here.
            if self._found[number].untyped_storage().data_ptr() in own:
                self._found[number] = self._found[number].clone()
        for number in self._changed:
            if isinstance(self._rows, slice):
                leaves[number][self._rows] = self._found[number]
            else:
                leaves[number].index_copy_(0, self._rows, self._found[number])

    def _leaf(self, number: int) -> Tensor:
        if number not in self._found:
            self._found[number] = rows_of(self._stack._leaves[number], self._rows)
        return self._found[number]


def rows_of(tree: Any, rows: Rows) -> Any:
    """Return a tree with these rows of every tensor in it: views of a range of them, copies of others."""
    if isinstance(rows, slice):
        return tree_map(lambda leaf: leaf[rows], tree)
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)
