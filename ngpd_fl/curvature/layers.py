"""The layers of a network that K-FAC can handle, and one-line errors about all others."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.models.functional import FlatModel, Segment

KRONECKER_LAYERS = (nn.Linear, nn.Conv2d)
DIAGONAL_LAYERS = (nn.GroupNorm, nn.LayerNorm)


class Layer(NamedTuple):
    """One layer with parameters: its name, module, and the places of its weight and (perhaps) bias."""

    name: str
    module: nn.Module
    weight: Segment
    bias: Segment | None


def find_layers(model: FlatModel) -> dict[str, Layer]:
    """Return the layers with trained parameters, by name; together they hold each of these once.

    Raises:
        InputError: a parameter that K-FAC cannot handle; the message names it.
    """
    layers: dict[str, Layer] = {}
    for name, module in model.module.named_modules():
        prefix = f"{name}." if name else ""
        parameters = dict(module.named_parameters(recurse=False))
        own = [key for key, parameter in parameters.items() if parameter.requires_grad]
        if not own:
            continue
        if frozen := parameters.keys() - set(own):
            raise InputError(
                f"model: parameter {prefix + min(frozen)!r} is frozen and others of its layer are not; K-FAC needs a "
                "layer whole, first-order strategies such as dsgd do not"
            )
        _check_kind(name, module, prefix + own[0])
        if set(own) not in ({"weight"}, {"weight", "bias"}):
            raise InputError(
                f"model: layer {name!r} ({type(module).__name__}) has the parameters {', '.join(own)}; "
                "K-FAC handles a weight and a bias, as they are"
            )
        if missing := [prefix + key for key in own if prefix + key not in model.segments]:
            raise InputError(
                f"model: parameter {missing[0]!r} is shared with another layer; K-FAC needs its own, first-order "
                "strategies such as dsgd do not"
            )
        layers[name] = Layer(name, module, model.segments[prefix + "weight"], model.segments.get(prefix + "bias"))
    return layers


def matrix_shape(layer: Layer) -> tuple[int, int]:
    """Return (d_out, d_in) of a layer's matrix form; a normalization is one row: weight, then bias."""
    has_bias = layer.bias is not None
    d_out = layer.weight.shape[0] if isinstance(layer.module, KRONECKER_LAYERS) else 1
    width = (layer.weight.stop - layer.weight.start) // d_out
    return d_out, width + has_bias * (1 if isinstance(layer.module, KRONECKER_LAYERS) else width)


def gather(vectors: Tensor, layer: Layer) -> list[Tensor]:
    """Return views of the layer's part of ``vectors [n, P]`` in matrix form, by columns: the weight, then the bias."""
    segments = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    rows = matrix_shape(layer)[0]
    return [vectors[:, part.start : part.stop].view(len(vectors), rows, -1) for part in segments]


def _check_kind(name: str, module: nn.Module, parameter: str) -> None:
    kind = type(module).__name__
    if not isinstance(module, KRONECKER_LAYERS + DIAGONAL_LAYERS):
        allowed = ", ".join(layer.__name__ for layer in KRONECKER_LAYERS + DIAGONAL_LAYERS)
        raise InputError(
            f"model: parameter {parameter!r} belongs to a {kind}, which K-FAC cannot handle; allowed: {allowed}"
        )
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        raise InputError(f"model: layer {name!r} (Conv2d) has groups = {module.groups}; K-FAC handles groups = 1")
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise InputError(
            f"model: layer {name!r} (Conv2d) has padding_mode = {module.padding_mode!r}; K-FAC handles 'zeros'"
        )
