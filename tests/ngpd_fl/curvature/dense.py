"""Oracles for curvature: Fisher matrices of small networks as dense ``[P, P]`` matrices, by brute force.

They share no code with ``ngpd_fl.curvature``: Jacobians come from ``torch.func.jacrev``, one example at a time, and
the parameters' order from ``module.named_parameters()``.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from ngpd_fl.curvature import KFAC, KFACState
from ngpd_fl.curvature.blocks import Diagonal, TokenKronecker
from ngpd_fl.curvature.layer import Layer
from ngpd_fl.models import Categorical, FlatModel, Gaussian, Likelihood
from strategies import Phase
from strategies.parts.natural_gradient import NaturalGradientOptions

BOTH = Phase(refresh_factors=True, refresh_basis=True)


def make_kfac(
    net: nn.Module, input_shape: tuple[int, ...], likelihood: Likelihood | None = None, **options: Any
) -> KFAC:
    """Return the K-FAC of a network in float64 with random parameters of its own seed."""
    weight_decay = options.pop("weight_decay", 0.0)
    net = randomized(net.double())
    chosen = NaturalGradientOptions(name="test", **options)
    return KFAC(FlatModel(net), likelihood or Categorical(), input_shape, chosen, weight_decay)


def randomized(net: nn.Module) -> nn.Module:
    """Give every parameter normal values, so that no affine weight is 1 and no bias is 0."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.7)
    return net


def make_batch(kfac: KFAC, batch_size: int, input_shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return normal inputs and targets that suit the likelihood, float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn((batch_size, *input_shape), generator=generator, dtype=torch.float64)
    width = kfac.model(kfac.model.start(), inputs).shape[1]
    if isinstance(kfac.likelihood, Gaussian):
        return inputs, torch.randn((batch_size, width), generator=generator, dtype=torch.float64)
    return inputs, torch.randint(width, (batch_size,), generator=generator)


def refreshed(kfac: KFAC, batch: tuple[Tensor, Tensor], draws: Tensor | None = None) -> KFACState:
    """Return the state after one refresh at the network's own parameters."""
    draws = torch.full(batch[0].shape[:1], 0.5, dtype=torch.float64) if draws is None else draws
    return kfac.gradient(kfac.init(kfac.model.start()), kfac.model.start(), batch, draws, BOTH)[0]


def output_jacobians(net: nn.Module, inputs: Tensor) -> Tensor:
    """Return each example's Jacobian of the outputs with respect to all parameters, ``[B, C, P]``."""
    params = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def jacobian(example: Tensor) -> Tensor:
        by_name = jacrev(lambda values: functional_call(net, values, (example[None],))[0])(params)
        return torch.cat([part.reshape(len(part), -1) for part in by_name.values()], dim=1)

    return torch.stack([jacobian(example) for example in inputs])


def dense_fisher(kfac: KFAC, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the whole Fisher matrix ``[P, P]``, empirical or exact as the options say, without any factoring."""
    inputs, targets = batch
    net = kfac.model.module
    jacobians = output_jacobians(net, inputs)
    outputs = net(inputs).detach()
    gaussian = isinstance(kfac.likelihood, Gaussian)
    total = jacobians.new_zeros(jacobians.shape[2], jacobians.shape[2])
    for jacobian, output, target in zip(jacobians, outputs, targets, strict=True):
        probabilities = torch.softmax(output, 0)
        if kfac.options.fisher == "exact":
            eye = torch.eye(len(output), dtype=output.dtype)
            share = kfac.options.fisher_smoothing
            smoothing = 0.0 if share == "auto" else share  # no drift is given to the curvature in these tests
            probabilities = (1 - smoothing) * probabilities + smoothing / len(output)
            inner = eye if gaussian else torch.diag(probabilities) - torch.outer(probabilities, probabilities)
            total += jacobian.T @ inner @ jacobian
        else:
            score = output - target if gaussian else probabilities.clone()
            if not gaussian:
                score[target] -= 1
            total += torch.outer(jacobian.T @ score, jacobian.T @ score)
    return total / len(inputs)


def parameter_places(net: nn.Module) -> dict[str, Tensor]:
    """Return the indices of each named parameter in the flat vector, in the parameter's shape."""
    places: dict[str, Tensor] = {}
    start = 0
    for name, parameter in net.named_parameters():
        places[name] = torch.arange(start, start + parameter.numel()).view(parameter.shape)
        start += parameter.numel()
    return places


def layer_places(net: nn.Module, layer: str) -> Tensor:
    """Return a layer's indices in the flat vector: ``[d_out, d_in]`` with the bias as last column; ``[d]`` for norms.

    Weight first, then bias, for a normalization.
    """
    prefix = f"{layer}." if layer else ""
    places = parameter_places(net)
    weight, bias = places[prefix + "weight"], places.get(prefix + "bias")
    if isinstance(net.get_submodule(layer), nn.Linear | nn.Conv2d):
        return weight.flatten(1) if bias is None else torch.cat([weight.flatten(1), bias[:, None]], dim=1)
    return weight.flatten() if bias is None else torch.cat([weight.flatten(), bias.flatten()])


def matrix_places(kfac: KFAC, layer: Layer) -> Tensor:
    """Return a layer's indices in the flat vector in matrix form, ``[groups, d_out, d_in]``."""
    places = torch.arange(kfac.model.num_params, dtype=torch.float64)[None]
    groups, d_out = layer.rule.sizes(layer)[2:] or (1,), layer.rule.sizes(layer)[0]
    pieces = [piece.reshape(groups[0], d_out, -1) for piece in layer.rule.views(layer, places)]
    return torch.cat(pieces, dim=2).long()


def kfac_matrix(kfac: KFAC, state: KFACState) -> Tensor:
    """Return the dense ``[P, P]`` matrix that a state's running averages stand for."""
    total = torch.zeros(kfac.model.num_params, kfac.model.num_params, dtype=torch.float64)
    for name, block in state.blocks.items():
        layer = kfac.capture.layers[name]
        if isinstance(block, Diagonal):
            for segment, values in zip(layer.segments, split(block.running, layer), strict=True):
                places = torch.arange(segment.start, segment.stop)
                total[places, places] = values
            continue
        if isinstance(block, TokenKronecker):
            inputs, outputs = torch.diag(block.frequencies)[None], block.output_factor[None]
        else:
            shapes = (-1, *block.input_factor.shape[-2:]), (-1, *block.output_factor.shape[-2:])
            inputs, outputs = block.input_factor.reshape(shapes[0]), block.output_factor.reshape(shapes[1])
        for places, left, right in zip(matrix_places(kfac, layer), outputs, inputs, strict=True):
            flat = places.flatten()  # row-major [d_out, d_in], so the outputs' factor comes first
            total[flat[:, None], flat] = torch.kron(left, right)
    return total


def split(values: Tensor, layer: Layer) -> list[Tensor]:
    """Return the parts of a diagonal that belong to each of a layer's parameters."""
    return list(values.split([segment.stop - segment.start for segment in layer.segments]))


def relative_error(given: Tensor, expected: Tensor) -> float:
    """Return |given - expected| / |expected| in the Frobenius norm."""
    return float((given - expected).norm() / expected.norm())


def midpoints(probabilities: Tensor) -> Tensor:
    """Return the middle of each outcome's interval in [0, 1), ``[C]``."""
    ends = [0.0, *itertools.accumulate(probabilities.tolist())]
    return torch.tensor([(low + high) / 2 for low, high in itertools.pairwise(ends)], dtype=torch.float64)
