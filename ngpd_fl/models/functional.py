"""A network as a pure function of one flat parameter vector, which is what the algorithms work on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import deepcopy
from itertools import chain
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ngpd_fl.data.fields import Fields


class Segment(NamedTuple):
    """The place of one named parameter in the flat vector: ``params[start:stop].view(shape)``."""

    start: int
    stop: int
    shape: torch.Size


class FlatModel:
    """An ``nn.Module`` seen as ``outputs = model(params, inputs)`` with ``params [P]``.

    Parameters lie in the vector in the order of ``module.named_parameters()``, each once, however many names it and its
    module have. The module itself is never changed.

    Attributes:
        module: the network, in training mode.
        segments: parameter name -> its place in the vector.
        num_params: P.
        fields: the several inputs that lie packed in ``inputs [B, K]``; None for a single one.
    """

    def __init__(self, module: nn.Module, fields: Fields | None = None) -> None:
        """Wrap the network; its present parameters are the start, and ``fields`` its arguments if it has several."""
        self.module = module
        self.fields = fields
        self._owner, self._copies = threading.current_thread(), threading.local()
        self.segments: dict[str, Segment] = {}
        start = 0
        for name, parameter in module.named_parameters():
            stop = start + prod(parameter.shape)
            self.segments[name] = Segment(start, stop, parameter.shape)
            start = stop
        self.num_params = start
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._places = {
            f"{prefix}.{key}" if prefix else key: names[id(parameter)]
            for prefix, part in module.named_modules()  # each once
            for key, parameter in part._parameters.items()
            if parameter is not None
        }

    def __call__(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Return the network's outputs ``[B, C]`` for ``params [P]`` and ``inputs [B, ...]``."""
        return self.apply(self.unflatten(params), inputs)

    def apply(self, named: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the network's outputs ``[B, C]`` for parameters by name, as ``unflatten`` gives them.

        Every place that holds a parameter is filled once: torch's own ``tie_weights`` fills a module that has two names
        twice, and then does not find back what was there.
        """
        placed = {place: named[name] for place, name in self._places.items()}
        args, kwargs = ([inputs], {}) if self.fields is None else self.fields.arguments(inputs)
        outputs: Tensor = functional_call(self.own_module(), placed, tuple(args), kwargs, tie_weights=False)
        return outputs

    def own_module(self) -> nn.Module:
        """Return the module for this thread alone: a pass puts parameters, and may put hooks, into it.

        In the thread that made the model it is the module, in others a copy with the same tensors.
        """
        if threading.current_thread() is self._owner:
            return self.module
        if not hasattr(self._copies, "module"):
            tensors = chain(self.module.parameters(), self.module.buffers())
            self._copies.module = deepcopy(self.module, {id(tensor): tensor for tensor in tensors})
        module: nn.Module = self._copies.module
        return module

    def start(self) -> Tensor:
        """Return the module's own parameters as a flat vector ``[P]``."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.module.parameters()])

    def unflatten(self, params: Tensor) -> dict[str, Tensor]:
        """Return views of ``params [P]`` by parameter name."""
        return {name: params[part.start : part.stop].view(part.shape) for name, part in self.segments.items()}

    def state_dict(self, params: Tensor) -> dict[str, Tensor]:
        """Return what ``module.load_state_dict`` takes, with ``params [P]`` in it.

        Parameters are there under each of their names, and buffers as they are, unless these are not persistent.
        """
        named = self.unflatten(params)
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        return {
            key: named[names[id(value)]] if id(value) in names else value.detach()
            for key, value in self.module.state_dict(keep_vars=True).items()
            if isinstance(value, Tensor)  # a module may keep what is none
        }

    def flatten(self, named: Mapping[str, Tensor]) -> Tensor:
        """Return the vector ``[P]`` of tensors by parameter name: the inverse of ``unflatten``."""
        return torch.cat([named[name].reshape(-1) for name in self.segments])
