"""torchvision's classification models, adapted to decentralized training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ngpd_fl.config.errors import InputError, suggestion
from ngpd_fl.data.vision import text_of, vision_module

_ONE_OUTPUT = dict.fromkeys(("googlenet", "inception_v3"), {"aux_logits": False, "init_weights": True})
"""Arguments with which these models return one tensor, and start without a warning."""


def vision_model(name: str, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Return torchvision's model ``name`` with random weights.

    Where images do not have 3 channels, the first convolution takes theirs.

    Raises:
        InputError: torchvision cannot be imported, does not know the model, or cannot make it.
    """
    models = vision_module("torchvision.models", "model.name", "use a built-in network such as resnet20")
    known = models.list_models(module=models)  # classification; others live in submodules
    if name not in known:
        hint = suggestion(name, known) or "python -m pydoc torchvision.models lists them"
        raise InputError(f"model.name: torchvision has no classification model {name!r}; {hint}")
    try:
        module: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **_ONE_OUTPUT.get(name, {}))
    except Exception as error:
        raise InputError(f"model.name: torchvision cannot make {name!r} ({text_of(error)})") from error
    if input_shape[0] != 3:
        _take_channels(module, input_shape[0])
    return module


def _take_channels(module: nn.Module, channels: int) -> None:
    """Set the number of input channels of the first convolution; the weights of its three channels are repeated."""
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(first.weight.detach()[:, torch.arange(channels) % first.weight.shape[1]])
