"""The table of supported layers, made from K-FAC's rules: K-FAC and the checks of a network are asked about each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gallery.markdown import table
from ngpd_fl.config import InputError
from ngpd_fl.curvature.blocks import Diagonal, FisherBlock, Kronecker, TokenKronecker
from ngpd_fl.curvature.inspection import Inspection
from ngpd_fl.curvature.layers import OTHER
from ngpd_fl.curvature.rules import RULES
from ngpd_fl.models.checks import check_model
from ngpd_fl.models.conversion import convert
from ngpd_fl.models.functional import FlatModel

_SEQUENCES, _IMAGES, _VOLUMES = torch.randn(3, 4, 8), torch.randn(3, 4, 8, 8), torch.randn(3, 4, 4, 4, 4)
_VECTORS, _TOKENS = torch.randn(3, 6), torch.tensor([[0.0, 1, 2], [1, 1, 4], [3, 2, 0]])
_FORMS: dict[type[FisherBlock], str] = {
    Kronecker: "Kronecker factors",
    TokenKronecker: "a Kronecker factor and token frequencies",
    Diagonal: "diagonal",
}


class _Tokens(nn.Module):
    """A classifier of tokens that are given as numbers."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5 if tied else 3)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.embed(inputs.long()).mean(1))[:, :3]
        return outputs


class _Scale(nn.Module):
    """A factor that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * inputs


def _head(*layers: nn.Module) -> nn.Module:
    """Return a classifier of 3 classes that begins with some layers."""
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


class _Recurrent(nn.Module):
    """An LSTM along the rows of images, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.lstm(inputs.flatten(1, 2))[0][:, -1])
        return outputs


def _of_rules() -> dict[type[nn.Module], tuple[nn.Module, Tensor]]:
    """Return a small network with each kind of layer that has a rule, and inputs for it."""
    return {
        nn.Linear: (_head(nn.Linear(8, 3)), _SEQUENCES),
        nn.Conv1d: (_head(nn.Conv1d(4, 4, 3)), _SEQUENCES),
        nn.Conv2d: (_head(nn.Conv2d(4, 4, 3)), _IMAGES),
        nn.Conv3d: (_head(nn.Conv3d(4, 4, 3)), _VOLUMES),
        nn.ConvTranspose1d: (_head(nn.ConvTranspose1d(4, 4, 3)), _SEQUENCES),
        nn.ConvTranspose2d: (_head(nn.ConvTranspose2d(4, 4, 3)), _IMAGES),
        nn.ConvTranspose3d: (_head(nn.ConvTranspose3d(4, 4, 3)), _VOLUMES),
        nn.Embedding: (_Tokens(), _TOKENS),
        nn.GroupNorm: (_head(nn.GroupNorm(2, 4)), _IMAGES),
        nn.LayerNorm: (_head(nn.LayerNorm(8)), _SEQUENCES),
        nn.RMSNorm: (_head(nn.RMSNorm(8)), _SEQUENCES),
        nn.InstanceNorm1d: (_head(nn.InstanceNorm1d(4, affine=True)), _SEQUENCES),
        nn.InstanceNorm2d: (_head(nn.InstanceNorm2d(4, affine=True)), _IMAGES),
        nn.InstanceNorm3d: (_head(nn.InstanceNorm3d(4, affine=True)), _VOLUMES),
        nn.PReLU: (_head(nn.PReLU()), _IMAGES),
    }


def _networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return a small network of each further kind, and inputs for it."""
    return {
        "convolution with groups, depthwise": (_head(nn.Conv2d(4, 8, 3, groups=4)), _IMAGES),
        "convolution with stride, dilation, any padding": (
            _head(nn.Conv2d(4, 4, 3, stride=2, dilation=2, padding=1, padding_mode="reflect")),
            _IMAGES,
        ),
        "one layer used several times": (nn.Sequential(*[nn.Linear(6, 6)] * 2, nn.Linear(6, 3)), _VECTORS),
        "an `Embedding` tied to the output layer": (_Tokens(tied=True), _TOKENS),
        "a bare parameter, or a kind of layer that is not listed": (nn.Sequential(_Scale(), nn.Linear(6, 3)), _VECTORS),
        "a parameter that is not used": (nn.Sequential(_Unused(6, 6), nn.Linear(6, 3)), _VECTORS),
        "`BatchNorm2d`": (_head(nn.BatchNorm2d(4)), _IMAGES),
        "`Dropout` of every kind": (_head(nn.Dropout(0.5)), _IMAGES),
        "`MultiheadAttention`, `TransformerEncoderLayer`, `TransformerDecoderLayer`": (
            _head(nn.Flatten(1, 2), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)),
            _IMAGES,
        ),
        "`LSTM`, `GRU`, `RNN`": (_Recurrent(), _IMAGES),
        "layers without parameters (activations, pooling, ...)": (_head(nn.ReLU(), nn.MaxPool2d(2)), _IMAGES),
    }


class _Unused(nn.Linear):
    """A layer that returns its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def gallery() -> str:
    """Return a table: each layer, what K-FAC makes of it, and whether first-order algorithms train it."""
    of_rules = _of_rules()
    rows = [_row(f"`{kind.__name__}`", *of_rules[kind], RULES[kind].block) for kind in RULES]
    rows += [_row(name, *network) for name, network in _networks().items()]
    return table(["layer", "NGPD, K-FAC gossip", "first-order algorithms"], rows)


def _row(name: str, module: nn.Module, inputs: Tensor, block: type[FisherBlock] | None = None) -> list[str]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # PyTorch's about lazy layers
        module(inputs)
    convert(module)
    first_order = _refusal(lambda: check_model(module, inputs, 3))
    second_order = f"refused: {first_order}" if first_order else _form(module, inputs, block)
    return [name, second_order, f"refused: {first_order}" if first_order else "yes"]


def _form(module: nn.Module, inputs: Tensor, block: type[FisherBlock] | None) -> str:
    """Return the form of a layer's Fisher matrix; if ``block`` is given, it has to be that."""
    logging.getLogger("ngpd_fl.curvature").setLevel(logging.ERROR)
    inspection = Inspection(FlatModel(module), tuple(inputs.shape[1:]), examples=inputs)
    layers = inspection.capture.layers.values()
    assert block is None or block in {layer.rule.block for layer in layers if layer.rule is not OTHER}
    if inspection.unused:
        return "diagonal, 0 until it is used"
    if inspection.capture.others:
        return "estimated diagonal"
    return _FORMS[block] if block else "yes"


def _refusal(check: Callable[[], object]) -> str:
    """Return why a check refuses, in its own words; empty where it does not."""
    try:
        check()
    except InputError as error:
        return str(error).removeprefix("model: ")
    return ""
