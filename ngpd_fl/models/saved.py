"""Initial parameters from a run's folder, or from a .safetensors file of a run or of the user."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.text_files import expanded
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.records import AVERAGE
from ngpd_fl.records.files import read_tensors

MODELS_FILE = "models.safetensors"
"""The saved models in a run's folder."""

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types that parameters may have."""


def load_start(module: nn.Module, path: Path) -> None:
    """Give the network the parameters (and buffers) in ``path``, in its own dtype.

    Names are those of ``module.state_dict()``; of a tensor that has several, one will do, and all have the same values.
    Buffers may be missing. A run's ``models.safetensors``, which its folder stands for, has them with the model's name
    in front; its averaged model is taken.

    Raises:
        InputError: the file cannot be read, or its tensors are not the network's; the message names the first.
    """
    tensors = _read(path)
    _put(module, path, _of_model(tensors, AVERAGE) or tensors)


def load_starts(model: FlatModel, path: Path, num_nodes: int) -> Tensor:
    """Return the parameters of every node's own model in the run in ``path``, ``[N, P]``, in the network's dtype.

    Raises:
        InputError: it is no run of so many nodes, or as for ``load_start``.
    """
    tensors = _read(path)
    present = {name.partition("/")[0] for name in tensors} - {AVERAGE}
    if present != {f"node{node}" for node in range(num_nodes)}:
        raise InputError(
            f"model.init_per_node: {path} has {len(present)} models, which are not those of {num_nodes} nodes "
            "(topology.nodes); unset it to start from the averaged model"
        )
    module, starts = deepcopy(model.module), []
    for node in range(num_nodes):
        _put(module, path, _of_model(tensors, f"node{node}"))
        starts.append(FlatModel(module).start())
    return torch.stack(starts)


def _put(module: nn.Module, path: Path, saved: Mapping[str, Tensor]) -> None:
    """Give the network tensors by name; see ``load_start``."""
    known = module.state_dict(keep_vars=True)
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
    if not given.to(wanted).isfinite().all() and is_parameter:  # a buffer may be a mask of -inf
        raise InputError(f"model.init: {path}: parameter {name!r} holds values that are nan or infinite")


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, or of the models in a run's folder, by name."""
    file = expanded(path)
    if file.is_dir():
        file /= MODELS_FILE
        if not file.is_file():
            raise InputError(f"model.init: {path} holds no {MODELS_FILE}; expected the folder of a run that has ended")
    try:
        return read_tensors(file).tensors
    except InputError as error:
        hint = "; safetensors.torch.save_file(network.state_dict(), 'm.safetensors') writes one"
        raise InputError(f"model.init: {error}{hint * (file.suffix != '.safetensors' and file.is_file())}") from error


def _of_model(tensors: Mapping[str, Tensor], model: str) -> dict[str, Tensor]:
    """Return the tensors of one of a run's models; none where the file has no such model."""
    prefix = f"{model}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
