"""Group normalization (Wu and He, "Group normalization", ECCV 2018) in place of batch normalization.

Batch statistics depend on each node's own data, so that they break when these differ (Hsieh et al., "The non-IID data
quagmire of decentralized machine learning", ICML 2020).
"""

from __future__ import annotations

import torch
from torch import nn

MAX_GROUPS = 32


def group_norm(channels: int, eps: float = 1e-5, affine: bool = True) -> nn.GroupNorm:
    """Return a GroupNorm with as many groups as divide ``channels``, up to 32, of at least two channels each.

    A group of one channel would turn an image of one pixel into zeros.
    """
    groups = max(number for number in range(1, min(MAX_GROUPS, max(channels // 2, 1)) + 1) if channels % number == 0)
    return nn.GroupNorm(groups, channels, eps=eps, affine=affine)


def replace_batch_norm(module: nn.Module) -> None:
    """Put a GroupNorm that starts at the same weight and bias in the place of every BatchNorm2d inside ``module``."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = group_norm(child.num_features, child.eps, child.affine)
            with torch.no_grad():
                for parameter, start in zip(norm.parameters(), child.parameters(), strict=True):
                    parameter.copy_(start)
            setattr(module, name, norm)
        else:
            replace_batch_norm(child)
