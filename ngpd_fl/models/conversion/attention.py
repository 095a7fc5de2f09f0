"""``nn.MultiheadAttention`` made of linear layers (Vaswani et al., "Attention is all you need", NeurIPS 2017, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.models.conversion.converted import Converted, linear

_PROJECTIONS = ("q", "k", "v")


class Attention(Converted):
    """Multi-head attention whose projections ``q``, ``k``, ``v`` and ``out_proj`` are layers.

    Inside, the batch is the first axis. A query whose every key is masked attends to nothing: its output is the bias
    of ``out_proj`` (torch gives nan with ``need_weights``, the same without).
    """

    embed_dim: int
    kdim: int
    vdim: int
    num_heads: int
    head_dim: int
    dropout: float
    batch_first: bool
    add_zero_attn: bool
    settings = ("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "dropout", "batch_first", "add_zero_attn")

    in_proj_bias = None
    """torch's encoder asks for this, and then does not take a path of its own around ``forward``."""

    def __init__(self, source: nn.MultiheadAttention) -> None:
        """Take over the parameters of torch's module; those of a packed projection as views of its rows."""
        packed = source.in_proj_weight is not None
        places = {"in_proj_weight": tuple(f"{name}.weight" for name in _PROJECTIONS)} if packed else {}
        if not packed:
            places |= {f"{name}_proj_weight": (f"{name}.weight",) for name in _PROJECTIONS}
        if source.in_proj_bias is not None:
            places["in_proj_bias"] = tuple(f"{name}.bias" for name in _PROJECTIONS)
        super().__init__(source, places)
        separate = [getattr(source, f"{name}_proj_weight") for name in _PROJECTIONS]
        weights = _rows(source.in_proj_weight) if packed else separate
        biases = [None] * 3 if source.in_proj_bias is None else _rows(source.in_proj_bias)
        self.q, self.k, self.v = (linear(weight, bias) for weight, bias in zip(weights, biases, strict=True))
        self.out_proj = source.out_proj
        self.bias_k, self.bias_v = source.bias_k, source.bias_v

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output, and the weights if asked for: arguments and results are those of torch's module."""
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint about attn_mask, which is missing")
        batch = 0 if query.dim() == 2 or self.batch_first else 1
        queries, keys, values = (
            tensor[None] if tensor.dim() == 2 else tensor.movedim(batch, 0) for tensor in (query, key, value)
        )
        outputs, weights = self._attend(queries, keys, values, self._mask(queries, key_padding_mask, attn_mask))
        weights = weights.mean(1) if average_attn_weights else weights
        if query.dim() == 2:
            outputs, weights = outputs[0], weights[0]
        else:
            outputs = outputs.movedim(0, batch)
        return outputs, weights if need_weights else None

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs ``[B, L, E]`` and weights ``[B, H, L, S]``."""
        q, k, v = self.q(queries), self.k(keys), self.v(values)
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), -1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), -1, -1)], 1)
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        q, k, v = (tensor.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for tensor in (q, k, v))
        scores = q * self.head_dim**-0.5 @ k.transpose(-1, -2)
        if mask is None:
            weights = scores.softmax(-1)
        else:
            nothing = (mask == -torch.inf).all(-1, keepdim=True)
            weights = (scores + mask.masked_fill(nothing, 0.0)).softmax(-1).masked_fill(nothing, 0.0)
        weights = F.dropout(weights, self.dropout, self.training)
        outputs: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return outputs, weights

    def _mask(self, queries: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None) -> Tensor | None:
        """Return what is added to the scores, which broadcasts to ``[B, H, L, S']``; S' has the module's own keys."""
        masks = []
        if attn_mask is not None:
            by_head = (len(queries), self.num_heads, *attn_mask.shape[-2:])
            masks.append(_additive(attn_mask if attn_mask.dim() == 2 else attn_mask.view(by_head), queries))
        if key_padding_mask is not None:
            masks.append(_additive(key_padding_mask.view(len(queries), 1, 1, -1), queries))
        if not masks:
            return None
        return F.pad(sum(masks[1:], masks[0]), (0, (self.bias_k is not None) + self.add_zero_attn))


def _rows(packed: nn.Parameter) -> list[nn.Parameter]:
    """Return the three projections of a packed parameter, in its memory."""
    return [nn.Parameter(rows, packed.requires_grad) for rows in packed.detach().chunk(3)]


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask to add: a boolean one is True where attention is not allowed."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
