"""Initial parameters from a .safetensors file, written by a run or by the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.text_files import expanded
from ngpd_fl.records import AVERAGE
from ngpd_fl.records.files import read_tensors

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types that parameters may have."""


def load_start(module: nn.Module, path: Path) -> None:
    """Give the network the parameters (and buffers) in ``path``, in its own dtype.

    Names are those of ``module.state_dict()``; of a tensor that has several, one will do, and all have the same values.
    Buffers may be missing. A run's ``models.safetensors`` has them with the model's name in front;
    its averaged model is taken.

    Raises:
        InputError: the file cannot be read, or its tensors are not the network's; the message names the first.
    """
    saved, known = _read(path), module.state_dict(keep_vars=True)
    if unexpected := [name for name in saved if name not in known]:
        raise InputError(f"model.init: {path} has a parameter {unexpected[0]!r}, which the network has not")
    parameters = parameter_names(module)
    for tensor, names in _by_tensor(known):
        present = [name for name in names if name in saved]
        if not present and names[0] in parameters:
            raise InputError(f"model.init: {path} has no parameter {names[0]!r}, which the network has")
        for name in present:
            _check(path, name, saved[name], tensor, names[0] in parameters)
            if not torch.equal(saved[name].to(tensor), saved[present[0]].to(tensor)):
                raise InputError(
                    f"model.init: {path}: {present[0]!r} and {name!r} are one tensor in the network; "
                    "their values differ"
                )
    module.load_state_dict(saved, strict=False)


def parameter_names(module: nn.Module) -> set[str]:
    """Return the first name of each parameter in ``module.state_dict()``, which may not be the module's own."""
    buffers = {id(buffer) for buffer in module.buffers()}
    known = module.state_dict(keep_vars=True)
    return {names[0] for tensor, names in _by_tensor(known) if id(tensor) not in buffers}


def _by_tensor(known: Mapping[str, Any]) -> list[tuple[Tensor, list[str]]]:
    """Return a module's tensors, each once, with all names that it has."""
    names: dict[int, tuple[Tensor, list[str]]] = {}
    for name, tensor in known.items():
        if isinstance(tensor, Tensor):
            names.setdefault(id(tensor), (tensor, []))[1].append(name)
    return list(names.values())


def _check(path: Path, name: str, given: Tensor, wanted: Tensor, is_parameter: bool) -> None:
    """Raise ``InputError`` unless a saved tensor can take the place of the network's."""
    if given.shape != wanted.shape:
        actual, expected = tuple(given.shape), tuple(wanted.shape)
        raise InputError(f"model.init: {path}: parameter {name!r} has shape {actual}; the network's has {expected}")
    if given.dtype not in _TYPES and is_parameter:
        raise InputError(f"model.init: {path}: parameter {name!r} holds {given.dtype}, should be floating-point")
    if not given.isfinite().all() and is_parameter:  # a buffer may be a mask of -inf
        raise InputError(f"model.init: {path}: parameter {name!r} holds values that are nan or infinite")


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name; of a run's models only the averaged one."""
    try:
        tensors = read_tensors(expanded(path)).tensors
    except InputError as error:
        raise InputError(f"model.init: {error}") from error
    prefix = f"{AVERAGE}/"
    averaged = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return averaged or tensors
