"""A network as a pure function of one flat parameter vector, which is what the algorithms work on."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ngpd_fl.data.fields import Fields
from ngpd_fl.models.dropout import KeyedDropout


class Segment(NamedTuple):
    """The place of one named parameter in the flat vector: ``params[start:stop].view(shape)``."""

    start: int
    stop: int
    shape: torch.Size

    def of(self, vectors: Tensor) -> Tensor:
        """Return the view ``[..., *shape]`` of the parameter in ``vectors [..., P]``."""
        return vectors[..., self.start : self.stop].view(vectors.shape[:-1] + self.shape)


class FlatModel:
    """An ``nn.Module`` seen as ``outputs = model(params, inputs, key)`` with ``params [P]``.

    The vector holds what is trained: parameters in the order of ``module.named_parameters()``, each once, however many
    names it and its module have. Frozen parameters (``requires_grad`` is False) and buffers are constants that all
    nodes share. The module itself is never changed. The key, int64 ``[2]``, decides what dropout drops; without one it
    drops nothing, as in evaluation.

    Attributes:
        module: the network, in training mode.
        is_random: whether it drops values.
        segments: name of a trained parameter -> its place in the vector.
        num_params: P.
        batches_nodes: whether ``torch.func.vmap`` can batch it; otherwise nodes are computed one after another.
        fields: the several inputs that lie packed in ``inputs [B, K]``; None for a single one.
    """

    batches_nodes = True

    def __init__(self, module: nn.Module, is_random: bool = False, fields: Fields | None = None) -> None:
        """Wrap the network; its present parameters are the start, and ``fields`` its arguments if it has several."""
        self.module = module
        self.is_random = is_random
        self.fields = fields
        self._copies = threading.local()
        self.segments: dict[str, Segment] = {}
        start = 0
        names = {id(parameter): name for name, parameter in _trained(module)}
        for name, parameter in _trained(module):
            stop = start + prod(parameter.shape)
            self.segments[name] = Segment(start, stop, parameter.shape)
            start = stop
        self.num_params = start
        self._places = {
            f"{prefix}.{key}" if prefix else key: names[id(parameter)]
            for prefix, part in module.named_modules()  # each once
            for key, parameter in part._parameters.items()
            if id(parameter) in names
        }

    def __call__(self, params: Tensor, inputs: Tensor, key: Tensor | None = None) -> Tensor:
        """Return the network's outputs ``[B, C]`` for ``params [P]`` and ``inputs [B, ...]``."""
        return self.apply(self.unflatten(params), inputs, key)

    def apply(self, named: Mapping[str, Tensor], inputs: Tensor, key: Tensor | None = None) -> Tensor:
        """Return the network's outputs ``[B, C]`` for parameters by name, as ``unflatten`` gives them.

        Every place that holds a parameter is filled once: torch's own ``tie_weights`` fills a module that has two names
        twice, and then does not find back what was there. The outputs get the parameters' type, whatever the module
        returns: what the algorithms make of them is of one type.
        """
        placed = {place: named[name] for place, name in self._places.items()}
        args, kwargs = ([inputs], {}) if self.fields is None else self.fields.arguments(inputs)
        module = self.own_module(inputs.device)
        if self.is_random:
            module.train(key is not None)
        with nullcontext() if key is None else KeyedDropout(key):
            outputs: Tensor = functional_call(module, placed, tuple(args), kwargs, tie_weights=False)
        return outputs.to(next(iter(named.values())).dtype)

    def own_module(self, device: torch.device) -> nn.Module:
        """Return a copy of the module for this thread alone: a pass puts parameters, and may put hooks, into it.

        It has the same trained parameters, and the same frozen ones and buffers as far as they are on ``device``. What
        a network keeps of a pass, such as attention weights, is in a copy only: it often cannot be copied itself.
        """
        copies: dict[Any, nn.Module] = self._copies.__dict__
        if device not in copies:
            tensors: dict[int, Tensor] = {id(tensor): tensor for _, tensor in _trained(self.module)}
            constants = (tensor for tensor in self.module.parameters() if id(tensor) not in tensors)
            tensors |= {id(tensor): nn.Parameter(tensor.to(device), requires_grad=False) for tensor in constants}
            tensors |= {id(tensor): tensor.to(device) for tensor in self.module.buffers()}
            copies[device] = deepcopy(self.module, tensors)
        return copies[device]

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def start(self) -> Tensor:
        """Return the module's own trained parameters as a flat vector ``[P]``."""
        return self._vector(self.module)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that depend on the module's own trained parameters, and on their names."""
        digest = hashlib.sha256(repr(self.segments).encode())
        digest.update(self.start().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def unflatten(self, params: Tensor) -> dict[str, Tensor]:
        """Return views of ``params [P]`` by the names of the trained parameters."""
        return {name: segment.of(params) for name, segment in self.segments.items()}

    def state_dict(self, params: Tensor) -> dict[str, Tensor]:
        """Return what ``module.load_state_dict`` takes, with ``params [P]`` in it.

        Parameters are there under each of their names, frozen ones and buffers as they are, unless these are not
        persistent.
        """
        named = self.unflatten(params)
        placed = {f"module.{place}": named[name] for place, name in self._places.items()}
        state: dict[str, Any] = functional_call(_State(self.own_module(self._device)), placed, (), tie_weights=False)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}  # it may keep what is none

    def params_of(self, state: Mapping[str, Tensor]) -> Tensor:
        """Return the vector ``[P]`` of a saved model: the inverse of ``state_dict``, in the module's dtype."""
        module = deepcopy(self.module)
        module.load_state_dict(state, strict=False)
        return self._vector(module)

    def _vector(self, module: nn.Module) -> Tensor:
        """Return the trained parameters in this module or a copy of it, ``[P]``."""
        return torch.cat([module.get_parameter(name).detach().reshape(-1) for name in self.segments])

    def constants_fingerprint(self) -> str | None:
        """Return 16 hexadecimal digits that depend on every frozen parameter and buffer; None where there is none."""
        digest, constants = hashlib.sha256(), chain(self.module.named_parameters(), self.module.named_buffers())
        frozen = [(name, tensor) for name, tensor in constants if name not in self.segments]
        for name, tensor in frozen:
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16] if frozen else None

    def flatten(self, named: Mapping[str, Tensor]) -> Tensor:
        """Return the vector ``[P]`` of tensors by parameter name: the inverse of ``unflatten``."""
        return torch.cat([named[name].reshape(-1) for name in self.segments])


class _State(nn.Module):
    """A module whose output is another one's state dict."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self) -> dict[str, Any]:
        return self.module.state_dict()


def _trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that are not frozen, each once, with their names."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
