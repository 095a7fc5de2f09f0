"""Fully connected networks differentiated by hand, for many nodes at once.

One matrix product per layer and direction, batched over nodes and written straight into the flat gradient, with
nothing recorded in between. The result is the automatic one up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ngpd_fl.core.batching import over_nodes
from ngpd_fl.models.functional import FlatModel, Segment
from ngpd_fl.models.likelihood import Likelihood


class DenseLayer(NamedTuple):
    """A linear layer: its name, the places of its weight and (perhaps) bias, and whether a ReLU follows."""

    name: str
    weight: Segment
    bias: Segment | None
    relu: bool


def dense_layers(model: FlatModel) -> list[DenseLayer] | None:
    """Return the network's layers, or None unless it is an ``nn.Sequential`` of Flatten, Linear and ReLU.

    Flatten comes first, a ReLU after a Linear, and a Linear last. Subclasses, and modules with hooks, may do more: they
    do not count. Nor does a network that uses a module or a parameter twice.
    """
    module = model.module
    if (
        model.fields is not None
        or type(module) is not nn.Sequential
        or any(has_hooks(part) for part in module.modules())
    ):
        return None
    children, parameters = list(module.children()), list(module.named_parameters(remove_duplicate=False))
    if len(children) < len(module) or len(parameters) > len(model.segments):  # something is shared or frozen
        return None
    parts = [(name, part, type(part)) for name, part in module.named_children()]
    kinds = [kind for _, _, kind in parts]
    if kinds[:1] != [nn.Flatten] or kinds[-1] is not nn.Linear or not set(kinds[1:]) <= {nn.Linear, nn.ReLU}:
        return None
    if any(following is nn.ReLU and kind is not nn.Linear for kind, following in pairwise(kinds)):
        return None
    flatten = parts[0][1]
    if not isinstance(flatten, nn.Flatten) or (flatten.start_dim, flatten.end_dim) != (1, -1):
        return None
    return [
        DenseLayer(name, model.segments[f"{name}.weight"], model.segments.get(f"{name}.bias"), following is nn.ReLU)
        for (name, _, kind), following in zip(parts, [*kinds[1:], None], strict=True)
        if kind is nn.Linear
    ]


class DensePass(NamedTuple):
    """One forward pass of n nodes.

    Attributes:
        layers: the network.
        params: ``[n, P]``.
        inputs: what each layer was given, ``[n, B, d_in]``.
        outputs: the network's outputs, ``[n, B, C]``.
    """

    layers: list[DenseLayer]
    params: Tensor
    inputs: list[Tensor]
    outputs: Tensor

    def backward(self, score: Tensor) -> Iterator[tuple[DenseLayer, Tensor, Tensor]]:
        """Yield each layer with its inputs and its output gradients ``[n, B, d_out]``, the last layer first.

        Args:
            score: gradient with respect to the network's outputs, ``[n, B, C]``.
        """
        for number in reversed(range(len(self.layers))):
            yield self.layers[number], self.inputs[number], score
            if number > 0:
                score = score @ self.layers[number].weight.of(self.params)
                if self.layers[number - 1].relu:
                    score = torch.where(self.inputs[number] > 0, score, 0.0)

    def gradient(self, likelihood: Likelihood, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses ``[n]`` and their gradients ``[n, P]``, for targets ``[n, B, ...]``."""
        score = over_nodes(likelihood.score)(self.outputs, targets) / self.outputs.shape[1]
        gradient = torch.empty(self.params.shape, dtype=self.params.dtype, device=self.params.device)
        for layer, given, gradients in self.backward(score):
            torch.bmm(gradients.transpose(1, 2), given, out=layer.weight.of(gradient))
            if layer.bias is not None:
                torch.sum(gradients, 1, out=layer.bias.of(gradient))
        return over_nodes(likelihood.loss)(self.outputs, targets), gradient


def dense_forward(layers: list[DenseLayer], params: Tensor, inputs: Tensor) -> DensePass:
    """Run n nodes' networks at ``params [n, P]`` on ``inputs [n, B, ...]``."""
    values = [inputs.flatten(2)]
    for layer in layers:
        weight = layer.weight.of(params).transpose(1, 2)
        if layer.bias is None:
            output = torch.bmm(values[-1], weight)
        else:
            output = torch.baddbmm(layer.bias.of(params)[:, None], values[-1], weight)
        values.append(output.relu_() if layer.relu else output)
    return DensePass(layers, params, values[:-1], values[-1])


def dense_gradient(
    layers: list[DenseLayer], likelihood: Likelihood, params: Tensor, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return n nodes' losses ``[n]`` and gradients ``[n, P]``.

    Args:
        layers: the network.
        likelihood: what its outputs mean.
        params: ``[n, P]``.
        inputs: ``[n, B, ...]``.
        targets: ``[n, B, ...]``.
    """
    return dense_forward(layers, params, inputs).gradient(likelihood, targets)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module runs anything besides its ``forward``."""
    of_outputs = module._forward_pre_hooks or module._forward_hooks
    return bool(of_outputs or module._backward_pre_hooks or module._backward_hooks)
