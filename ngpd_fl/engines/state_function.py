"""A function of a node's state, called for stacked nodes with the leaves alone that it makes use of.

A state may be large and what a function looks at small: K-FAC's factors have no part in an exchange. Which leaves a
function touches is seen once, by watching it on an example. They stay the same: vmap allows no control flow that
depends on values, and of all that is handed to ``call_stacked``, inside which there may be some, a view is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_leaves, tree_unflatten

from ngpd_fl.core.batching import over_nodes
from strategies.contract import State


class StateFunction:
    """One node's pure function ``(state, *arguments) -> (state, result)``, whose states are leaves by number."""

    def __init__(self, function: Callable[..., tuple[State, Any]]) -> None:
        """Take a function that vmap can batch."""
        self._function = function
        self._touched: Set[int] | None = None

    def touched(self, structure: TreeSpec, example: Callable[[], tuple[Sequence[Tensor], tuple[Any, ...]]]) -> Set[int]:
        """Return the numbers of the leaves that it needs.

        Args:
            structure: that of a state.
            example: returns the leaves and the arguments of two nodes; asked once.
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
            structure: that of a state.
            absent: what stands in the place of a node's leaves that are not needed.
            given: the others, each with an axis n.
            arguments: of the function, every tensor with an axis n.
        """

        def of_node(given: Mapping[int, Tensor], *arguments: Any) -> tuple[dict[int, Tensor], Any]:
            before = [given.get(number, other) for number, other in enumerate(absent)]
            return self._of_node(before, structure, arguments)

        found: tuple[dict[int, Tensor], Any] = over_nodes(of_node)(given, *arguments)
        return found

    def _of_node(
        self, before: Sequence[Tensor], structure: TreeSpec, arguments: tuple[Any, ...]
    ) -> tuple[dict[int, Tensor], Any]:
        """Return the leaves that are not what they were, and the result."""
        state, result = self._function(tree_unflatten(before, structure), *arguments)
        pairs = zip(before, tree_leaves(state), strict=True)
        return {number: new for number, (old, new) in enumerate(pairs) if new is not old}, result


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees which of some tensors any operation takes, views included."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.touched: set[int] = set()
        self._numbers = {leaf.untyped_storage()._cdata: number for number, leaf in enumerate(leaves)}

    def see_passed(self, before: Sequence[Tensor], after: Any) -> None:
        """Count what leaves a function as it came in."""
        passed = {id(leaf) for leaf in tree_leaves(after)}
        self.touched |= {number for number, leaf in enumerate(before) if id(leaf) in passed}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = (each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
        keys = (tensor.untyped_storage()._cdata for tensor in tensors)
        self.touched |= {self._numbers[key] for key in keys if key in self._numbers}
        return func(*args, **(kwargs or {}))
