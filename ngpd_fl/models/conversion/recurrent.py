"""Recurrent networks made of linear layers: ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` and their cells.

LSTM: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; with projections: Sak, Senior,
Beaufays, Interspeech 2014. GRU: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.core.trace import refuse_trace
from ngpd_fl.models.conversion.converted import Converted, linear
from ngpd_fl.models.dense import has_hooks

State = tuple[Tensor, ...]
"""The hidden state ``[B, H]``; of an LSTM also the cell's ``[B, H]``."""


class Cell(nn.Module):
    """One step of a recurrent layer.

    Attributes:
        mode: as of torch's modules: RNN_TANH, RNN_RELU, LSTM or GRU.
        ih: the layer of the inputs.
        hh: the layer of the hidden state.
        hr: the layer that projects an LSTM's hidden state; None for none.
    """

    def __init__(self, mode: str, ih: nn.Linear, hh: nn.Linear, hr: nn.Linear | None = None) -> None:
        """Make it of its layers."""
        super().__init__()
        self.mode, self.ih, self.hh, self.hr = mode, ih, hh, hr

    def step(self, given: Tensor, state: State) -> State:
        """Return the state after ``given [B, G]``, the output of ``ih``."""
        hidden = state[0]
        if self.mode == "LSTM":
            entry, forget, candidate, out = (given + self.hh(hidden)).chunk(4, -1)
            memory = forget.sigmoid() * state[1] + entry.sigmoid() * candidate.tanh()
            hidden = out.sigmoid() * memory.tanh()
            return (hidden if self.hr is None else self.hr(hidden), memory)
        if self.mode == "GRU":
            reset, update, candidate = given.chunk(3, -1)
            of_reset, of_update, of_candidate = self.hh(hidden).chunk(3, -1)
            candidate = (candidate + (reset + of_reset).sigmoid() * of_candidate).tanh()
            return (candidate + (update + of_update).sigmoid() * (hidden - candidate),)
        total = given + self.hh(hidden)
        return (total.tanh() if self.mode == "RNN_TANH" else total.relu(),)


class RecurrentCell(Converted):
    """``nn.RNNCell``, ``nn.LSTMCell`` or ``nn.GRUCell``: arguments and results are those of torch's module."""

    input_size: int
    hidden_size: int
    bias: bool
    settings = ("input_size", "hidden_size", "bias")

    def __init__(self, source: nn.RNNCellBase) -> None:
        """Take over the parameters of torch's cell."""
        super().__init__(source, _places("", "cell", ["ih", "hh"], source.bias))
        mode = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}.get(type(source)) or f"RNN_{source.nonlinearity}".upper()
        self.cell = Cell(mode, *(_linear(source, f"_{part}") for part in ("ih", "hh")))

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the state after ``input [B, d]`` or ``[d]``."""
        is_batched, has_memory = input.dim() == 2, self.cell.mode == "LSTM"
        inputs = input if is_batched else input[None]
        state = _state(hx, (len(inputs), self.hidden_size), 1 + has_memory, inputs, None if is_batched else 0)
        state = self.cell.step(self.cell.ih(inputs), state)
        results = state if is_batched else tuple(part[0] for part in state)
        return results if has_memory else results[0]


class Recurrent(Converted):
    """``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``: arguments and results are those of torch's module.

    Inside, the batch is the first axis. Where nothing looks at its layers (no hook, no ``torch.func``) it runs torch's
    own kernel on a CPU, which takes the steps several times as fast. Packed sequences are refused.
    """

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    settings = (
        *("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"),
        "proj_size",
    )

    def __init__(self, source: nn.RNNBase) -> None:
        """Take over the parameters of torch's module."""
        parts = ["ih", "hh", "hr"] if source.proj_size else ["ih", "hh"]
        suffixes = [
            f"_l{layer}{direction}"
            for layer in range(source.num_layers)
            for direction in (["", "_reverse"] if source.bidirectional else [""])
        ]
        places = [_places(suffix, f"cells.{number}", parts, source.bias) for number, suffix in enumerate(suffixes)]
        super().__init__(source, {name: place for of_cell in places for name, place in of_cell.items()})
        self.cells = nn.ModuleList(
            Cell(source.mode, *(_linear(source, f"_{part}{suffix}") for part in parts)) for suffix in suffixes
        )

    def flatten_parameters(self) -> None:
        """Do nothing: it concerns memory of torch's module."""

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Return all hidden states of the last layer, and the last state of every layer and direction."""
        if not isinstance(input, Tensor):
            raise TypeError(f"{type(input).__name__}: packed sequences are not supported; give a padded tensor")
        is_batched, has_memory = input.dim() == 3, self.mode == "LSTM"
        batch = 0 if not is_batched or self.batch_first else 1
        values = input.movedim(batch, 0) if is_batched else input[None]
        shape = (len(self.cells), len(values), self.hidden_size)
        state = _state(hx, shape, 1 + has_memory, values, None if is_batched else 1, self.proj_size)
        values, last = self._at_once(values, state) if self._is_unobserved(values) else self._unrolled(values, state)
        if not is_batched:
            values, last = values[0], tuple(part[:, 0] for part in last)
        else:
            values = values.movedim(0, batch)
        return values, last if has_memory else last[0]

    def _is_unobserved(self, values: Tensor) -> bool:
        if values.device.type != "cpu" or torch._C._functorch.maybe_current_level() is not None:
            return False
        return not (self.dropout and self.training) and not any(map(has_hooks, self.cells.modules()))

    def _at_once(self, values: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what ``_unrolled`` does. A kernel that runs for gradients cannot be replayed: it keeps a workspace."""
        refuse_trace()
        layers = [(cell.ih, cell.hh, cell.hr) for cell in self.cells if isinstance(cell, Cell)]
        weights = [
            tensor
            for ih, hh, hr in layers
            for tensor in (ih.weight, hh.weight, ih.bias, hh.bias, None if hr is None else hr.weight)
            if tensor is not None
        ]
        kernel = getattr(torch, self.mode.lower())
        start = state if len(state) > 1 else state[0]
        settings = (self.bias, self.num_layers, 0.0, self.training, self.bidirectional, True)
        outputs, *last = kernel(values, start, weights, *settings)
        return outputs, tuple(last)

    def _unrolled(self, values: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the last layer's hidden states ``[B, T, ...]``, and the last state of every layer and direction."""
        ends: list[State] = []
        directions = 2 if self.bidirectional else 1
        for first in range(0, len(self.cells), directions):
            if first:
                values = F.dropout(values, self.dropout, self.training)
            outputs = []
            for number in range(first, first + directions):
                hidden, end = _unroll(self.cells[number], values, tuple(part[number] for part in state), number > first)
                outputs.append(hidden)
                ends.append(end)
            values = torch.cat(outputs, -1) if directions > 1 else outputs[0]
        return values, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))


def _unroll(cell: nn.Module, values: Tensor, state: State, backwards: bool) -> tuple[Tensor, State]:
    """Return a cell's hidden states ``[B, T, H]`` along ``values [B, T, d]``, and its last state."""
    assert isinstance(cell, Cell)
    steps = cell.ih(values).unbind(1)
    hidden = []
    for given in reversed(steps) if backwards else steps:
        state = cell.step(given, state)
        hidden.append(state[0])
    return torch.stack(hidden[::-1] if backwards else hidden, 1), state


def _state(hx: Any, shape: tuple[int, ...], count: int, like: Tensor, batch: int | None, proj_size: int = 0) -> State:
    """Return the user's start, or zeros.

    Args:
        hx: the start that the user gives: a tensor, or ``count`` of them; or None.
        shape: shape of a state.
        count: of tensors in a state.
        like: a tensor of the same type.
        batch: the axis that a start of the user's has not, since there is no batch.
        proj_size: width of the hidden state where it is projected; else 0.

    Raises:
        ValueError: the start has another shape.
    """
    shapes = [(*shape[:-1], proj_size or shape[-1]), shape][:count]
    if hx is None:
        return tuple(like.new_zeros(shape) for shape in shapes)
    state = tuple(hx) if count > 1 else (hx,)
    if batch is not None:
        state = tuple(part.unsqueeze(batch) for part in state)
    if [tuple(part.shape) for part in state] != shapes:
        raise ValueError(f"the hidden state has shapes {[tuple(part.shape) for part in state]}, expected {shapes}")
    return state


def _linear(source: nn.Module, suffix: str) -> nn.Linear:
    """Return the layer of torch's parameters with this suffix."""
    return linear(getattr(source, f"weight{suffix}"), getattr(source, f"bias{suffix}", None))


def _places(suffix: str, cell: str, parts: list[str], bias: bool) -> dict[str, tuple[str, ...]]:
    """Return where a cell's parameters are; the projection has no bias."""
    kinds = ["weight", "bias"] if bias else ["weight"]
    names = [(kind, part) for part in parts for kind in kinds if (kind, part) != ("bias", "hr")]
    return {f"{kind}_{part}{suffix}": (f"{cell}.{part}.{kind}",) for kind, part in names}
