"""Construction of the network that the configuration names: built in, from torchvision, or by import path."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import inf
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import TORCHVISION, reason
from ngpd_fl.config.installed import own_object
from ngpd_fl.config.sections import MODELS, ModelConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.core.randomness import Purpose, torch_seed
from ngpd_fl.data.fields import Fields
from ngpd_fl.models.checks import can_batch, check_forward, check_gradient, check_model, check_tensors, require_images
from ngpd_fl.models.conversion import convert
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.norm import replace_batch_norm
from ngpd_fl.models.saved import load_start
from ngpd_fl.models.vision_models import vision_model


def build_model(
    config: ModelConfig,
    input_shape: Sequence[int],
    num_classes: int,
    seed: int,
    dtype: torch.dtype,
    example_inputs: Tensor | None = None,
    *,
    positions: tuple[int, ...] = (),
    fields: Fields | None = None,
) -> FlatModel:
    """Return the network, started by ``seed`` or a file: the same at every node, in every dtype up to rounding.

    Args:
        config: the network's name, sizes and start.
        input_shape: shape of one example.
        num_classes: width of the output: classes, or targets where these are real-valued.
        seed: the run's seed.
        dtype: the parameters' type.
        example_inputs: three inputs to try the network on, ``[3, ...]``. Defaults to random ones.
        positions: the output's axes between examples and classes, ``(T,)`` where each position has a class.
        fields: several inputs, packed in ``example_inputs``; the network is made for all of their shapes.

    Raises:
        InputError: the network cannot be made, or cannot be trained this way; one line says why.
    """
    with own_randomness(torch_seed(seed, Purpose.MODEL)):
        module = _module(config, tuple(input_shape), num_classes, fields).train()
        is_ours = config.name in MODELS
        if config.batch_norm == "group" or (config.batch_norm is None and config.name.startswith(TORCHVISION)):
            replace_batch_norm(module)
        convert(module)
        # not module.to(dtype), which takes the imaginary part from complex buffers
        module._apply(  # type: ignore[no-untyped-call]
            lambda tensor: tensor.to("cpu", dtype if tensor.is_floating_point() else None)
        )
        # The whole check loads torch's compiler, which takes seconds: of our own networks the tests know it.
        check = check_forward if is_ours else check_model
        if example_inputs is None:
            example_inputs = torch.randn(
                (3, *input_shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64
            )
        examples = example_inputs.to(dtype) if example_inputs.is_floating_point() else example_inputs
        is_random = check(module, examples, num_classes, positions, fields)
        model = FlatModel(module, is_random, fields)
        if not is_ours:
            check_gradient(model, examples)
        model.batches_nodes = is_ours or can_batch(model, examples)
    if config.init is not None:
        load_start(module, config.init)
    return model


def count_parameters(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> float:
    """Return the number of parameters of a built-in network, which is not made; infinite where torch cannot count them.

    Of any other network return 0: what it has, only its own code knows.
    """
    if config.name not in MODELS:
        return 0
    try:
        with torch.device("meta"):
            module: nn.Module = resolve_name(MODELS[config.name])(config, tuple(input_shape), num_classes)
            return sum(parameter.numel() for parameter in module.parameters())
    except RuntimeError:  # a product of widths has more than 63 bits
        return inf


def _module(config: ModelConfig, input_shape: Sequence[int], num_classes: int, fields: Fields | None) -> nn.Module:
    """Make the network of a built-in name, of torchvision, or of the user."""
    if fields is not None:
        if config.name in MODELS or config.name.startswith(TORCHVISION):
            raise InputError(
                f"model.name: {config.name} takes one input, but the data have {len(fields.fields)}; allowed: "
                "package.module:factory"
            )
        return _custom(config, fields.shapes, num_classes)
    if config.name in MODELS:
        try:
            module: nn.Module = resolve_name(MODELS[config.name])(config, input_shape, num_classes)
        except RuntimeError as error:  # of memory
            raise InputError(f"model.name: {config.name} of these widths cannot be made ({reason(error)})") from error
        return module
    if config.name.startswith(TORCHVISION):
        require_images(config.name, input_shape)
        return vision_model(config.name.removeprefix(TORCHVISION), input_shape, num_classes)
    return _custom(config, input_shape, num_classes)


def _custom(config: ModelConfig, input_shape: Any, num_classes: int) -> nn.Module:
    """Return a copy of the user's network, or of what ``factory(input_shape, num_classes)`` returns.

    A copy, since another run may get the same module.
    """
    path = config.name
    module = own_object(path, "models", "model.name", config.held)
    if not isinstance(module, nn.Module):
        if not callable(module):
            raise InputError(
                f"model.name: {path} is no network but {type(module).__name__}; expected a torch.nn.Module or a "
                "factory(input_shape, num_classes); a name goes into Config(model=...)"
            )
        try:
            module = module(input_shape, num_classes)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"model.name: {path}(input_shape={input_shape}, num_classes={num_classes}) failed ({reason(error)})"
            ) from error
        if not isinstance(module, nn.Module):
            raise InputError(f"model.name: {path} returned {type(module).__name__}; expected a torch.nn.Module")
    check_tensors(module)
    try:
        return deepcopy(module)
    except Exception as error:
        raise InputError(f"model.name: {path} cannot be copied, as each thread needs ({reason(error)})") from error
