"""Dropout by keyed draws: what a network drops is a function of a key, not of a generator's state.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural networks from
overfitting", JMLR 15, 2014; of whole channels: Tompson et al., CVPR 2015; alpha dropout: Klambauer et al.,
"Self-normalizing neural networks", NIPS 2017; stochastic depth: Huang et al., ECCV 2016.

While ``KeyedDropout`` is active it takes the calls of torch's functions that drop something, wherever a network makes
them: in ``nn.Dropout`` and its relatives, in ``forward``, in a library's layers. So every engine draws the same masks,
and ``torch.func.vmap`` gives each node its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ngpd_fl.core.philox import random_bits

_ALPHA = 1.7580993408473766
"""scale * alpha of SELU: what alpha dropout puts for a dropped value, up to its sign."""


class KeyedDropout(TorchFunctionMode):
    """Takes torch's functions that drop values, in one forward pass.

    Attributes:
        draws: masks drawn so far; the next one is of this number among those of the key.
    """

    def __init__(self, key: Tensor) -> None:
        """Draw by ``key``, two words of 32 bits, int64 ``[2]``."""
        super().__init__()
        self._key = key
        self.draws = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the keyed function of the same arguments, or else torch's."""
        keyed = _KEYED.get(func)
        if keyed is None:
            return func(*args, **(kwargs or {}))
        return keyed(self, *args, **(kwargs or {}))

    def kept(self, shape: tuple[int, ...], p: float) -> Tensor:
        """Return a mask that is False with probability ``p``, bool ``[*shape]``."""
        self.draws += 1
        return random_bits(self._key, self.draws - 1, shape) >= round(p * 2**32)


def _dropped(keyed: KeyedDropout, values: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    """Return values times a mask of ``shape``, divided by 1 - p."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    factors = keyed.kept(shape, p).to(values.dtype) / (1 - p) if p < 1 else values.new_zeros(())
    return values.mul_(factors) if inplace else values * factors


def _dropout(
    keyed: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    return _dropped(keyed, input, tuple(input.shape), p, inplace) if training and p > 0 else input


def _channel_dropout(unbatched: int | None) -> Callable[..., Tensor]:
    """Return the dropout of whole channels; an input of ``unbatched`` dimensions is one example."""

    def dropout(
        keyed: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        axes = 1 if input.dim() == unbatched else 2
        shape = (*input.shape[:axes], *[1] * (input.dim() - axes))
        return _dropped(keyed, input, shape, p, inplace) if training and p > 0 else input

    return dropout


def _alpha_dropout(by_channel: bool) -> Callable[..., Tensor]:
    """Return the dropout that keeps mean and variance behind SELU, of values or of whole channels."""

    def dropout(
        keyed: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        axes = 2 if by_channel else input.dim()
        kept = keyed.kept((*input.shape[:axes], *[1] * (input.dim() - axes)), p)
        scale = 1 / math.sqrt((_ALPHA**2 * p + 1) * (1 - p)) if p < 1 else 0.0
        values = torch.where(kept, input, -_ALPHA) * scale + scale * _ALPHA * p
        return input.copy_(values) if inplace else values

    return dropout


def _attention(
    keyed: KeyedDropout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return ``F.scaled_dot_product_attention``, written out where weights are dropped."""
    if dropout_p == 0:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    scores = query * (query.shape[-1] ** -0.5 if scale is None else scale) @ key.transpose(-1, -2)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        scores = scores.masked_fill(attn_mask.logical_not(), -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return _dropout(keyed, scores.softmax(-1), dropout_p) @ value


def _bernoulli(keyed: KeyedDropout, input: Tensor, p: float | Tensor = 0.5, **more: Any) -> Tensor:
    """Return ones with probability p, as ``Tensor.bernoulli_`` does: stochastic depth draws by it.

    They are written to ``input`` too, but for inside vmap, where a tensor of all nodes cannot hold each one's.
    """
    if isinstance(p, Tensor) or more:
        return input.bernoulli_(p, **more)
    drawn = keyed.kept(tuple(input.shape), 1 - p).to(input.dtype)
    try:
        return input.copy_(drawn)
    except RuntimeError:
        return drawn


_KEYED: dict[Any, Callable[..., Tensor]] = {
    F.dropout: _dropout,
    torch.dropout: lambda keyed, input, p, train: _dropout(keyed, input, p, train),
    F.dropout1d: _channel_dropout(2),
    F.dropout2d: _channel_dropout(None),
    F.dropout3d: _channel_dropout(4),
    F.alpha_dropout: _alpha_dropout(False),
    F.feature_alpha_dropout: _alpha_dropout(True),
    F.scaled_dot_product_attention: _attention,
    Tensor.bernoulli_: _bernoulli,
}
"""torch's functions and what is called for them, with the active ``KeyedDropout`` first."""
