"""The weight matrices of a network's hidden layers: what algorithms of the Muon family orthogonalize.

As Muon is used (Jordan et al. 2024): the weights of linear layers and convolutions, but not of the output layer, nor
one that an embedding has as well. The output layer is the last linear layer or convolution in the order of
``module.modules()``. Frozen weights are not in the vector, hence none of its matrices.
"""

from __future__ import annotations

from math import prod

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ngpd_fl.models.functional import FlatModel
from strategies.contract import Matrix


def hidden_matrices(model: FlatModel) -> tuple[Matrix, ...]:
    """Return the places of the hidden layers' weights in the flat vector, a convolution's as [out, in x kernel]."""
    module = model.module
    layers = [
        part for part in module.modules() if isinstance(part, nn.Linear | _ConvNd) and "weight" in part._parameters
    ]
    tables = [part for part in module.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag)]
    hidden = {id(part.weight) for part in layers} - {id(part.weight) for part in (*layers[-1:], *tables)}
    names = [name for name, parameter in module.named_parameters() if id(parameter) in hidden]
    return tuple(
        Matrix(segment.start, segment.shape[0], prod(segment.shape[1:]))
        for name, segment in model.segments.items()
        if name in names
    )
