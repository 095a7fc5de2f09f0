"""The table of supported layers, made by asking K-FAC and the checks of a network about one of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

from gallery.markdown import table
from ngpd_fl.config import InputError
from ngpd_fl.curvature.capture import Capture
from ngpd_fl.models.checks import check_model
from ngpd_fl.models.conversion import convert
from ngpd_fl.models.functional import FlatModel

_IMAGES, _VECTORS = torch.randn(3, 4, 8, 8), torch.randn(3, 6)


def _head(*layers: nn.Module) -> nn.Module:
    """Return a classifier of 3 classes that begins with some layers on images."""
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


class _Recurrent(nn.Module):
    """An LSTM along the rows of images, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.lstm(inputs.flatten(1, 2))[0][:, -1])
        return outputs


def _networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Return a small network with each kind of layer, and inputs for it."""
    return {
        "`Linear`": (nn.Sequential(nn.Linear(6, 3)), _VECTORS),
        "`Linear` without bias": (nn.Sequential(nn.Linear(6, 3, bias=False)), _VECTORS),
        "`Conv2d`": (_head(nn.Conv2d(4, 4, 3, padding=1)), _IMAGES),
        "`Conv2d`, strided or dilated": (_head(nn.Conv2d(4, 4, 3, stride=2, dilation=2)), _IMAGES),
        "`Conv2d` with groups (depthwise)": (_head(nn.Conv2d(4, 4, 3, groups=4)), _IMAGES),
        "`Conv2d`, padding other than zeros": (_head(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), _IMAGES),
        "`Conv1d`": (nn.Sequential(nn.Unflatten(1, (1, 6)), _head(nn.Conv1d(1, 2, 3))), _VECTORS),
        "`ConvTranspose2d`": (_head(nn.ConvTranspose2d(4, 2, 3)), _IMAGES),
        "`GroupNorm`": (_head(nn.GroupNorm(2, 4)), _IMAGES),
        "`LayerNorm`": (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3)), _VECTORS),
        "`InstanceNorm2d` with weights": (_head(nn.InstanceNorm2d(4, affine=True)), _IMAGES),
        "`PReLU`": (_head(nn.PReLU()), _IMAGES),
        "`BatchNorm2d`": (_head(nn.BatchNorm2d(4)), _IMAGES),
        "`Dropout` of every kind": (_head(nn.Dropout(0.5)), _IMAGES),
        "`MultiheadAttention`, `TransformerEncoderLayer`, `TransformerDecoderLayer`": (
            _head(nn.Flatten(1, 2), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)),
            _IMAGES,
        ),
        "`LSTM`, `GRU`, `RNN`": (_Recurrent(), _IMAGES),
        "one layer used twice": (nn.Sequential(*[nn.Linear(6, 6)] * 2, nn.Linear(6, 3)), _VECTORS),
        "layers without parameters (activations, pooling, ...)": (_head(nn.ReLU(), nn.MaxPool2d(2)), _IMAGES),
    }


def gallery() -> str:
    """Return a table: each layer, what K-FAC makes of it, and whether first-order algorithms train it."""
    rows = [_row(name, *network) for name, network in _networks().items()]
    return table(["layer", "NGPD, K-FAC gossip", "first-order algorithms"], rows)


def _row(name: str, module: nn.Module, inputs: torch.Tensor) -> list[str]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # PyTorch's about lazy layers
        module(inputs)
    convert(module)
    first_order = _refusal(lambda: check_model(module, inputs, 3))
    kfac = first_order or _refusal(
        lambda: Capture(FlatModel(module, check_model(module, inputs, 3)), tuple(inputs.shape[1:]))
    )
    return [name, f"refused: {kfac}" if kfac else "yes", f"refused: {first_order}" if first_order else "yes"]


def _refusal(check: Callable[[], object]) -> str:
    """Return why a check refuses, in its own words; empty where it does not."""
    try:
        check()
    except InputError as error:
        return str(error).removeprefix("model: ")
    return ""
