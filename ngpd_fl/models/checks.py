"""Checks before a run that a network can be trained in a decentralized way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import reason
from ngpd_fl.data.fields import Fields
from ngpd_fl.models.dropout import KeyedDropout
from ngpd_fl.models.functional import FlatModel


def require_images(name: str, input_shape: Sequence[int]) -> None:
    """Raise ``InputError`` where the inputs of a convolutional network are no images."""
    if len(input_shape) != 3:
        raise InputError(
            f"model.name: {name} needs images [C, H, W], but inputs have shape {tuple(input_shape)}; allowed: "
            "softmax, mlp or package.module:factory"
        )


def require_sequences(name: str, input_shape: Sequence[int]) -> None:
    """Raise ``InputError`` where the inputs of a language model are no sequences."""
    if len(input_shape) != 1:
        raise InputError(
            f"model.name: {name} needs sequences of token ids [T], but inputs have shape {tuple(input_shape)}"
        )


def check_tensors(module: nn.Module) -> None:
    """Raise ``InputError`` with one line that names the parameter or buffer that no node can train, share or save."""
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    for kind, tensors in (("parameter", parameters), ("buffer", buffers)):
        for name, tensor in tensors.items():
            if is_lazy(tensor):
                raise InputError(f"model: {kind} {name!r} has no shape before the first use; give its layer's sizes")
            if tensor.is_meta:
                raise InputError(f"model: {kind} {name!r} is on the device meta, without values; allowed: cpu")
            if tensor.layout is not torch.strided or tensor.is_quantized:
                stored = "quantized" if tensor.is_quantized else "sparse"
                raise InputError(
                    f"model: {kind} {name!r} is {stored}; allowed: what its to_dense() or dequantize() returns"
                )
    if not any(parameter.numel() for parameter in parameters.values()):
        raise InputError("model: the network has no parameters")
    if not any(parameter.requires_grad and parameter.numel() for parameter in parameters.values()):
        raise InputError("model: every parameter is frozen; leave requires_grad = True where the network is to learn")
    if complex_ones := [name for name, parameter in parameters.items() if parameter.is_complex()]:
        raise InputError(f"model: parameter {complex_ones[0]!r} is complex; only real ones are trained")
    if odd := [name for name, parameter in parameters.items() if not parameter.isfinite().all()]:
        raise InputError(f"model: parameter {odd[0]!r} holds values that are nan or infinite")
    if wide := [name for name, buffer in buffers.items() if buffer.dtype is torch.complex128]:
        raise InputError(f"model: buffer {wide[0]!r} is complex128, which no .safetensors file holds; use complex64")


def check_model(
    module: nn.Module, examples: Tensor, num_classes: int, positions: tuple[int, ...] = (), fields: Fields | None = None
) -> bool:
    """Raise ``InputError`` with one line that names the layer where the network cannot be used.

    Returns whether it drops values.

    Args:
        module: the network.
        examples: three inputs such as it will get, ``[3, ...]``, in the parameters' type or token ids.
        num_classes: width of the output.
        positions: the output's axes between examples and classes.
        fields: several inputs, packed in ``examples``.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            raise InputError(
                f"model: layer {name!r} is a {type(layer).__name__}: its statistics depend on each node's own data and "
                "break when these differ; use GroupNorm, or set model.batch_norm = group, which puts it in its place "
                "and leaves frozen layers their statistics"
            )
    return check_forward(module, examples, num_classes, positions, fields)


def check_forward(
    module: nn.Module, examples: Tensor, num_classes: int, positions: tuple[int, ...] = (), fields: Fields | None = None
) -> bool:
    """Raise ``InputError`` where the network refuses such inputs in batches of 1, 2 and 3, or keeps or mixes any.

    Args and result as of ``check_model``.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    random_state = torch.get_rng_state()
    keyed = KeyedDropout(torch.zeros(2, dtype=torch.int64))
    with keyed:
        by_size = _outputs(module, examples, (*positions, num_classes), fields)
    if keyed.draws:  # masks may differ from size to size
        by_size = _outputs(module.eval(), examples, (*positions, num_classes), fields)
        module.train()
    if not torch.equal(torch.get_rng_state(), random_state):
        raise InputError(
            "model: its forward pass draws random numbers that cannot be keyed by node and step; allowed: dropout that "
            "is off in evaluation"
        )
    rounding = 1e-4 * float(by_size[-1].nan_to_num(0, 0, 0).abs().max())
    for outputs in by_size[:-1]:
        if not torch.allclose(outputs, by_size[-1][: len(outputs)], rtol=1e-2, atol=rounding, equal_nan=True):
            raise InputError(
                "model: an example's output depends on the others of its batch, as with BatchNorm, or on earlier calls"
            )
    for name, buffer in module.named_buffers():
        if name in buffers and not torch.equal(buffer, buffers[name]):
            raise InputError(f"model: its forward pass changes the buffer {name!r}, which all nodes would share")
    return keyed.draws > 0


def _outputs(module: nn.Module, examples: Tensor, output_shape: tuple[int, ...], fields: Fields | None) -> list[Tensor]:
    """Return the outputs, ``[size, *output_shape]`` each, for batches of 1, 2 and 3."""
    by_size: list[Tensor] = []
    arguments = _one if fields is None else fields.arguments
    for size in (1, 2, 3):
        try:
            args, kwargs = arguments(examples[:size].clone())
            with torch.no_grad():
                outputs = module(*args, **kwargs)
        except (Exception, SystemExit) as error:  # a script may end the process
            hint = "; give token ids as int64 (uint8 is divided by 255)" * ("argument #1 'indices'" in str(error))
            raise InputError(
                f"model: it fails on {_described(examples, fields)}, {size} at once ({reason(error)}){hint}"
            ) from error
        expected = (size, *output_shape)
        if not isinstance(outputs, Tensor):
            raise InputError(f"model: it returns a {type(outputs).__name__}; expected a tensor {expected}")
        if outputs.shape != expected:
            raise InputError(
                f"model: for a batch of {size} it returns shape {tuple(outputs.shape)}; expected {expected}"
            )
        if not outputs.is_floating_point():
            kind = str(outputs.dtype).removeprefix("torch.")
            raise InputError(f"model: it returns numbers of the type {kind}; expected floating-point ones")
        by_size.append(outputs)
    return by_size


def _one(inputs: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the arguments of a network with one input."""
    return [inputs], {}


def _described(examples: Tensor, fields: Fields | None) -> str:
    """Describe inputs, so that integers that are no token ids are noticed."""
    shape = tuple(examples.shape[1:]) if fields is None else fields.shapes
    if fields is not None or examples.is_floating_point():
        return f"inputs of shape {shape}"
    return f"token ids of shape {shape}, up to {int(examples.max())} (measurements need a floating-point type)"


def check_gradient(model: FlatModel, examples: Tensor) -> None:
    """Raise ``InputError`` where the network cannot be copied for each thread, or learn by gradients.

    Args:
        model: the network.
        examples: some inputs.
    """
    try:
        model.own_module(examples.device)
    except Exception as error:
        raise InputError(f"model: it cannot be copied, as each thread needs ({reason(error)})") from error
    try:
        start = model.start().requires_grad_()
        outputs = model(start, examples)
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), start)
    except Exception as error:
        raise InputError(f"model: it cannot be differentiated by its parameters ({reason(error)})") from error
    if not outputs.requires_grad:
        raise InputError("model: its outputs depend on none of the parameters that are trained")


def can_batch(model: FlatModel, examples: Tensor) -> bool:
    """Return whether ``torch.func.vmap`` can batch the network's gradient over nodes.

    Args:
        model: the network.
        examples: three inputs.

    Raises:
        InputError: batched, it drops something else than one node does.
    """
    keys = [torch.arange(4).view(2, 2)] if model.is_random else []

    def gradient(params: Tensor, inputs: Tensor, *key: Tensor) -> dict[str, Tensor]:
        """Differentiate by name: slices of one vector would each have a derivative as long as that."""
        by_name: dict[str, Tensor] = grad(lambda named, inputs: model.apply(named, inputs, *key).sum())(
            model.unflatten(params), inputs
        )
        return by_name

    inputs = torch.stack([examples[:2], examples[1:]])
    try:
        stacked = vmap(gradient)(model.start().repeat(2, 1), inputs, *keys)
    except Exception:
        return False
    if model.is_random:
        batched = model.flatten({name: values[1] for name, values in stacked.items()})
        expected = model.flatten(gradient(model.start(), inputs[1], *(key[1] for key in keys)))
        if not torch.allclose(batched, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()), equal_nan=True):
            raise InputError(
                "model: it drops something else at several nodes at once than at one; take what bernoulli_ returns, "
                "not the tensor that it changes, or use nn.Dropout"
            )
    return True
