"""Embeddings as layers that multiply unit vectors by a table: the input factor is the diagonal of token frequencies.

With e_t the unit vector of token t, an embedding multiplies e_t by its table, so that A = sum over positions, mean over
the batch, of e_t e_t^T is diagonal. No array is larger than the table. Positions count as examples ("expand"); those of
``padding_idx`` do not count at all.

**Tied.** Where an output layer has the same table W, logits W h, its use has the factors mean of g g^T over rows, of
which the diagonal is kept, and sum of h h^T over columns. The sum of both uses' U_i (x) V_i is not a Kronecker product.
In its place stands the one of the same trace whose factors are means of U_i / tr U_i and V_i / tr V_i, weighted by the
uses' traces tr U_i tr V_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ngpd_fl.curvature.blocks import TokenKronecker
from ngpd_fl.curvature.layer import KFACApprox, Layer, Use
from ngpd_fl.curvature.moments import SecondMoment, Sum, total


class Embedding:
    """The rule of ``nn.Embedding`` on tokens ``[B, ...]``."""

    block = TokenKronecker
    any_batch_axis = True

    def sizes(self, layer: Layer) -> tuple[int, int]:
        """Return (d, V)."""
        assert layer.weight is not None
        rows, width = layer.weight.shape
        return width, rows

    def views(self, layer: Layer, vectors: Tensor) -> list[Tensor]:
        """Return the table with rows as columns, one ``[n, d, V]``."""
        assert layer.weight is not None
        return [layer.weight.of(vectors).mT]

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[Sum, SecondMoment]:
        """Return A's diagonal and G."""
        kept = [_kept(use) for use in uses]
        counts = [_add_rows(layer, use, keep[:, None])[:, 0] for use, keep in zip(uses, kept, strict=True)]
        rows = [
            gradient.flatten(0, -2) * keep[:, None]
            for use, keep in zip(uses, kept, strict=True)
            for gradient in use.gradients
        ]
        number = total(keep.sum() for keep in kept).clamp(min=1)
        return Sum(counts, 1 / len(uses[0].given)), SecondMoment(rows, 1 / number)

    def gradients(self, layer: Layer, uses: Sequence[Use]) -> list[Tensor]:
        """Return the gradient of the table, ``[d, V]``."""
        parts = [
            _add_rows(layer, use, use.gradients[0].flatten(0, -2) * _kept(use)[:, None])
            if isinstance(use.module, nn.Embedding)
            else use.gradients[0].flatten(0, -2).mT @ use.given.flatten(0, -2)
            for use in uses
        ]
        return [total(parts).mT]


class TiedEmbedding(Embedding):
    """The rule of a table that is an ``nn.Embedding``'s and the weight of an ``nn.Linear``."""

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[Sum, SecondMoment]:
        """Return the diagonal over rows, and the factor over columns, whose trace is 1."""
        tables = [use for use in uses if isinstance(use.module, nn.Embedding)]
        heads = [use for use in uses if not isinstance(use.module, nn.Embedding)]
        counts, of_tables = super().moments(layer, tables, approx)
        vectors = [use.given.flatten(0, -2) for use in heads]
        squares = [gradient.flatten(0, -2).square().sum(0) for use in heads for gradient in use.gradients]
        rows = [total(counts.pieces) * counts.weight, total(squares) / sum(map(len, vectors))]
        columns = [
            (list(of_tables.pieces), torch.as_tensor(of_tables.weight)),
            (vectors, torch.as_tensor(1 / len(uses[0].given))),
        ]
        traces = [weight * total(piece.square().sum() for piece in pieces) for pieces, weight in columns]
        whole = total(row.sum() * trace for row, trace in zip(rows, traces, strict=True))
        whole = whole.clamp(min=torch.finfo(whole.dtype).tiny)  # all gradients vanish where every label is certain
        scaled = [
            piece * (row.sum() * weight / whole).sqrt()
            for row, (pieces, weight) in zip(rows, columns, strict=True)
            for piece in pieces
        ]
        return Sum([row * trace for row, trace in zip(rows, traces, strict=True)], 1.0), SecondMoment(scaled, 1.0)


def _kept(use: Use) -> Tensor:
    """Return 1 for each token that counts, 0 for padding, ``[M]``."""
    module: Any = use.module
    tokens = use.given.flatten()
    kept = torch.ones_like(tokens, dtype=use.gradients[0].dtype)
    return kept if module.padding_idx is None else kept * (tokens != module.padding_idx)


def _add_rows(layer: Layer, use: Use, values: Tensor) -> Tensor:
    """Return ``[V, k]``: for each row of the table the sum of the ``values [M, k]`` of its tokens."""
    assert layer.weight is not None
    zeros = values.new_zeros(layer.weight.shape[0], values.shape[1])
    return zeros.index_add(0, use.given.flatten(), values)
