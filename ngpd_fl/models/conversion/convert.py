"""Conversion of a network's modules that hide their layers, so that K-FAC sees these and vmap can batch them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import nn

from ngpd_fl.models.conversion.attention import Attention
from ngpd_fl.models.conversion.converted import Converted
from ngpd_fl.models.conversion.recurrent import Recurrent, RecurrentCell
from ngpd_fl.models.dense import has_hooks

CONVERSIONS: dict[type[nn.Module], Callable[[Any], Converted]] = {
    nn.MultiheadAttention: Attention,
    nn.RNN: Recurrent,
    nn.LSTM: Recurrent,
    nn.GRU: Recurrent,
    nn.RNNCell: RecurrentCell,
    nn.LSTMCell: RecurrentCell,
    nn.GRUCell: RecurrentCell,
}
"""torch's module -> the one that takes its place."""


def convert(module: nn.Module) -> None:
    """Put an equal module made of linear layers in the place of each that hides them, anywhere inside ``module``.

    Subclasses, modules with hooks, and those that share a parameter with others stay as they are: they may do more.
    """
    owners = Counter(
        id(parameter) for part in module.modules() for parameter in part._parameters.values() if parameter is not None
    )
    converted: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        if isinstance(parent, nn.TransformerEncoder):
            parent.use_nested_tensor = False  # for nested ones it calls torch's attention kernel, with packed weights
        for name, child in parent._modules.items():
            if child is None or type(child) not in CONVERSIONS or has_hooks(child):
                continue
            if any(owners[id(parameter)] > 1 for parameter in child.parameters(recurse=False)):
                continue
            if child not in converted:
                converted[child] = CONVERSIONS[type(child)](child)
            setattr(parent, name, converted[child])
