"""A start from saved parameters: a .safetensors file, be it of a run or of the user's own making."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.reading import expanded
from ngpd_fl.records import AVERAGE
from ngpd_fl.records.tensors import read_tensors

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What parameters may be of."""


def load_start(module: nn.Module, path: Path) -> None:
    """Give the network the parameters (and buffers) in ``path``, in its own dtype.

    Names are those of ``module.state_dict()``. A run's ``models.safetensors`` has them with the model's name in front;
    its averaged model is taken.

    Raises:
        InputError: the file cannot be read, or its tensors are not the network's; the message names the first.
    """
    saved = _read(path)
    parameters, known = dict(module.named_parameters()), module.state_dict()
    for name, parameter in parameters.items():
        if name not in saved:
            raise InputError(f"model.init: {path} has no parameter {name!r}, which the network has")
        if saved[name].shape != parameter.shape:
            found, expected = tuple(saved[name].shape), tuple(parameter.shape)
            raise InputError(f"model.init: {path}: parameter {name!r} has shape {found}; the network's has {expected}")
        if (kind := saved[name].dtype) not in _TYPES:
            raise InputError(f"model.init: {path}: parameter {name!r} holds {kind}, should be floating-point")
        if not saved[name].isfinite().all():
            raise InputError(f"model.init: {path}: parameter {name!r} holds values that are nan or infinite")
    if unexpected := [name for name in saved if name not in known]:
        raise InputError(f"model.init: {path} has a parameter {unexpected[0]!r}, which the network has not")
    with torch.no_grad():
        for name, tensor in (parameters | dict(module.named_buffers())).items():
            if name in saved and saved[name].shape == tensor.shape:
                tensor.copy_(saved[name])


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name; of a run's models only the averaged one."""
    try:
        tensors = read_tensors(expanded(path)).tensors
    except InputError as error:
        raise InputError(f"model.init: {error}") from error
    prefix = f"{AVERAGE}/"
    averaged = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return averaged or tensors
