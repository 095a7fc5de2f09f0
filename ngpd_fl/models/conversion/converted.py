"""Base of the modules that stand in for torch's: parameters in ``nn.Linear`` layers, a state dict as torch's has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Converted(nn.Module):
    """A module made of ``nn.Linear`` layers that computes what the module that it stands for computes.

    Its ``state_dict`` has the names and shapes of that module, and ``load_state_dict`` takes them: saved models go into
    the plain network and back.

    Attributes:
        settings: attributes of the module that it stands for, which it has too.
    """

    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, source: nn.Module, places: Mapping[str, tuple[str, ...]]) -> None:
        """Take over a module's settings.

        Args:
            source: the module that it stands for.
            places: name of a parameter of ``source`` -> the parameters here that hold its rows, one after another.
        """
        super().__init__()
        for name in self.settings:
            setattr(self, name, getattr(source, name))
        self._places = dict(places)
        self.training = source.training
        self.register_state_dict_post_hook(_joined)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_split)  # type: ignore[no-untyped-call]


def linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """Return the layer with these parameters."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight, layer.bias = weight, bias  # type: ignore[assignment]
    return layer


def _joined(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Put the tensors of a state dict under the names of the module that ``module`` stands for."""
    assert isinstance(module, Converted)
    for name, parts in module._places.items():
        rows = [state.pop(prefix + part) for part in parts]
        state[prefix + name] = rows[0] if len(rows) == 1 else torch.cat(rows)


def _split(module: nn.Module, state: dict[str, Tensor], prefix: str, *ignored: Any) -> None:
    """Do the reverse, before ``module`` reads the state dict."""
    assert isinstance(module, Converted)
    for name, parts in module._places.items():
        if prefix + name in state:
            rows = state.pop(prefix + name).chunk(len(parts))
            state.update({prefix + part: piece for part, piece in zip(parts, rows, strict=True)})
