"""Group normalization (Wu and He, "Group normalization", ECCV 2018) in place of batch normalization.

Batch statistics depend on each node's own data, so that they break when these differ (Hsieh et al., "The non-IID data
quagmire of decentralized machine learning", ICML 2020).
"""

from __future__ import annotations

import logging
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ngpd_fl.config.errors import InputError

logger = logging.getLogger(__name__)

MAX_GROUPS = 32

_WIDE_GROUP = 16
"""Channels of a group in Wu and He's second rule; of two channels on one pixel only the order would be left."""

_SPATIAL_AXES = {nn.BatchNorm1d: (), nn.BatchNorm2d: (4, 4), nn.BatchNorm3d: (2, 2, 2), nn.SyncBatchNorm: (4, 4)}
"""torch's own batch normalizations, and axes of an image that each takes."""


def group_norm(channels: int, eps: float = 1e-5, affine: bool = True, *, width: int = 2) -> nn.GroupNorm:
    """Return a GroupNorm with as many groups as divide ``channels``, up to 32, of at least ``width`` channels each.

    A group of one channel would turn an image of one pixel into zeros.
    """
    most = min(MAX_GROUPS, max(channels // width, 1))
    groups = max(number for number in range(1, most + 1) if channels % number == 0)
    return nn.GroupNorm(groups, channels, eps=eps, affine=affine)


class FixedBatchNorm(nn.Module):
    """A frozen BatchNorm: it normalizes by the statistics it has, and never changes them."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: _BatchNorm) -> None:
        """Take over the parameters and buffers of ``layer``, with their names."""
        super().__init__()
        self.eps = layer.eps
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in layer.named_buffers(recurse=False):
            self.register_buffer(name, buffer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs, ``[B, C, ...]``."""
        return F.batch_norm(inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def replace_batch_norm(module: nn.Module) -> None:
    """Put a GroupNorm that starts at the same weight and bias in the place of every BatchNorm inside ``module``.

    Its groups have at least 16 channels: networks that end in maps of one pixel would else start with huge gradients.
    Subclasses may go on with layers of their own, as timm's do with an activation; these follow the GroupNorm. A frozen
    layer with statistics keeps them instead. A warning names one that was trained before and is not frozen.

    Raises:
        InputError: a subclass does anything else.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    trained = None
    for name, parent in list(module.named_modules()):
        for key, child in parent._modules.items():
            if isinstance(child, _BatchNorm):
                if child not in replaced:
                    whole = f"{name}.{key}" if name else key
                    replaced[child] = _replacement(whole, child)
                    if not _is_frozen(child) and child.num_batches_tracked:
                        trained = trained or whole
                setattr(parent, key, replaced[child])
    if trained is not None:
        logger.warning(
            f"model: layer {trained!r} was trained with the statistics of batches, which its GroupNorm does not have: "
            "what the network has learned may be lost; a frozen BatchNorm keeps them (requires_grad = False)"
        )


def _is_frozen(layer: _BatchNorm) -> bool:
    """Return whether no parameter of a layer is trained, and it has statistics to go by."""
    trained = any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    return layer.affine and not trained and layer.running_mean is not None


def _replacement(name: str, layer: _BatchNorm) -> nn.Module:
    norm: nn.Module
    if _is_frozen(layer):
        norm = FixedBatchNorm(layer)
    else:
        norm = group_norm(layer.num_features, layer.eps, layer.affine, width=_WIDE_GROUP)
        with torch.no_grad():
            for parameter, start in zip(norm.parameters(), layer.parameters(recurse=False), strict=True):
                parameter.copy_(start).requires_grad_(start.requires_grad)
    if type(layer) in _SPATIAL_AXES:
        return norm
    if not _goes_on_with_children(layer):
        raise InputError(
            f"model: layer {name!r} ({type(layer).__name__}) does more than BatchNorm, which model.batch_norm = group "
            "cannot replace; use GroupNorm there"
        )
    return nn.Sequential(norm, *layer.children()) if list(layer.children()) else norm


def _goes_on_with_children(layer: _BatchNorm) -> bool:
    """Return whether a layer of a subclass gives what BatchNorm followed by the layer's children gives, by trial."""
    layer = deepcopy(layer).float().eval()  # of the children
    layer.training = True
    axes = next((axes for kind, axes in _SPATIAL_AXES.items() if isinstance(layer, kind)), ())
    inputs = torch.randn((3, layer.num_features, *axes))
    with torch.no_grad():
        expected = F.batch_norm(inputs, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
        for child in layer.children():
            expected = child(expected)
        try:
            outputs = layer(inputs)
        except Exception:
            return False
    same_shape = isinstance(outputs, Tensor) and outputs.shape == expected.shape
    return same_shape and torch.allclose(outputs, expected, atol=1e-4)
