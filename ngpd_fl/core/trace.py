"""Functions of tensors, traced once and replayed: the same operations without the cost of finding out which.

``torch.func.vmap``, ``torch.func.grad`` and the code of an algorithm decide in each call which operations to run, which
takes longer than the operations where networks are small. For tensors of the same shapes they decide the same. So a
trace holds the operations as PyTorch's dispatcher sees them, below vmap and autograd, as ``torch.fx`` does; a replay
runs them one after another, hence gives the same result bit for bit.

A trace must not freeze what may differ in the next call. A function that reads a value from a tensor (``item``), or
whose shapes depend on values, is never replayed. What runs a user's code, or has side effects, is called anew in each
replay (``untraced``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_CALLS_BEFORE = 2
"""Calls with tensors of the same shapes before a trace: some shapes never come again."""

_MOST_TRACES = 256
"""Traces that a function keeps; with tensors of further shapes it is called as it is."""

_Replay = Callable[[Sequence[Tensor]], Any]

_active = threading.local()


class Traced:
    """A pure function of tensors in nested tuples, lists and dictionaries that is traced when it is called often.

    It may be called from several threads at once.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Wrap a function that does the same operations for all tensors of the same shapes."""
        self._function = function
        self._calls: dict[Hashable, int] = {}
        self._replays: dict[Hashable, _Replay | None] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's result."""
        leaves: list[Tensor] = []
        structure = _flatten(arguments, leaves)
        key = (structure, _layout(leaves))
        replay = self._replays.get(key)
        if replay is not None:
            with torch.no_grad():
                return replay(leaves)
        if key in self._replays or not self._is_due(key):
            return self._function(*arguments)
        tracer = _Tracer(leaves)
        with tracer:
            result = tracer.run(self._function, arguments)
        self._replays[key] = tracer.replay(result)
        return result

    def _is_due(self, key: Hashable) -> bool:
        """Count a call; return whether it is to be traced."""
        self._calls[key] = calls = self._calls.get(key, 0) + 1
        return calls > _CALLS_BEFORE and len(self._replays) < _MOST_TRACES


def untraced(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return ``function(*tensors)``; a trace that is being made calls it in each replay."""
    tracer: _Tracer | None = getattr(_active, "tracer", None)
    return function(*tensors) if tracer is None else tracer.call(function, tensors)


def refuse_trace() -> None:
    """Note that what runs now may do something else in the next call: a trace that is being made is given up."""
    tracer: _Tracer | None = getattr(_active, "tracer", None)
    if tracer is not None:
        tracer.give_up()


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes the operations that run as lines of Python over numbered values."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names: Any = WeakIdKeyDictionary()  # an intermediate result is freed as it is without a trace
        self._numbers = count()
        self._inputs = [self._define(tensor) for tensor in inputs]
        self._lines: list[tuple[str, set[str], list[str]]] = []  # each with the values that it uses and defines
        self._constants: dict[str, Any] = {}
        self._is_complete = True
        self._is_paused = False

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return the function's result."""
        outer = getattr(_active, "tracer", None)
        _active.tracer = self
        try:
            return function(*arguments)
        finally:
            _active.tracer = outer

    def call(self, function: Callable[..., tuple[Tensor, ...]], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Call a function whose operations are not traced, but which is called itself in a replay."""
        if self._is_paused:
            return function(*tensors)
        self._is_paused = True
        try:
            outputs = function(*tensors)
        finally:
            self._is_paused = False
        self._write(function, tensors, {}, tuple(outputs))
        return outputs

    def give_up(self) -> None:
        """Make no replay."""
        self._is_complete = self._is_complete and self._is_paused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        if not self._is_paused:
            if torch.Tag.dynamic_output_shape in func.tags or torch.Tag.data_dependent_output in func.tags:
                self._is_complete = False
            self._write(func, args, kwargs, outputs)
        return outputs

    def replay(self, result: Any) -> _Replay | None:
        """Return the function that does again what was traced; None where that might differ from call to call."""
        if not self._is_complete:
            return None
        used: set[str] = set()
        returned = self._text(result, used)
        body = [f"    return {returned}"]
        alive = set(used)
        for text, takes, makes in reversed(self._lines):
            dead = sorted((takes | set(makes)) - alive)
            if dead:
                body.append(f"    del {', '.join(dead)}")
            body.append(f"    {text}")
            alive = (alive | takes) - set(makes)
        inputs = "".join(f"{name}, " for name in self._inputs)
        source = "\n".join([f"def replay(leaves):\n    {inputs or '_'}= leaves", *reversed(body)])
        namespace = dict(self._constants)
        exec(source, namespace)  # only names and literals that were made here
        replay: _Replay = namespace["replay"]
        return replay

    def _write(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], outputs: Any) -> None:
        """Write one call; what it returns is a tensor, several of them, or nothing."""
        takes: set[str] = set()
        given = [self._text(value, takes) for value in args]
        given += [f"{name}={self._text(value, takes)}" for name, value in kwargs.items()]
        call = f"{self._constant(function)}({', '.join(given)})"
        values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        if not all(value is None or isinstance(value, Tensor) for value in values):
            self._is_complete = False
            return
        makes = ["_" if value is None or value in self._names else self._define(value) for value in values]
        if any(name != "_" for name in makes):
            target = f"{', '.join(makes)}{',' if isinstance(outputs, (tuple, list)) else ''}"
            call = f"{target} = {call}"
        self._lines.append((call, takes, [name for name in makes if name != "_"]))

    def _define(self, tensor: Tensor) -> str:
        self._names[tensor] = name = f"t{next(self._numbers)}"
        return name

    def _text(self, tree: Any, used: set[str]) -> str:
        """Return an expression of a tree; add the values that it uses."""
        if isinstance(tree, Tensor):
            if tree not in self._names:
                return self._constant(tree)
            used.add(self._names[tree])
            return str(self._names[tree])
        if isinstance(tree, dict):
            return f"{{{', '.join(f'{key!r}: {self._text(value, used)}' for key, value in tree.items())}}}"
        if isinstance(tree, (tuple, list)):
            parts = "".join(f"{self._text(value, used)}, " for value in tree)
            if isinstance(tree, list):
                return f"[{parts}]"
            return f"{self._constant(type(tree))}({parts})" if hasattr(tree, "_make") else f"({parts})"
        return repr(tree) if tree is None or type(tree) in (bool, int) else self._constant(tree)

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name


def _layout(leaves: Sequence[Tensor]) -> Hashable:
    """Return what decides on the operations: shapes, strides, types, and which tensors are one and the same."""
    ids = [id(leaf) for leaf in leaves]
    same = () if len(set(ids)) == len(ids) else tuple(map(ids.index, ids))
    return same, *((leaf.shape, leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves)


def _flatten(tree: Any, leaves: list[Tensor]) -> Hashable:
    """Add a tree's tensors to ``leaves``; return its structure."""
    if isinstance(tree, Tensor):
        leaves.append(tree)
        return None
    if isinstance(tree, dict):
        return dict, tuple(tree), tuple(_flatten(value, leaves) for value in tree.values())
    return type(tree), tuple(_flatten(value, leaves) for value in tree)
