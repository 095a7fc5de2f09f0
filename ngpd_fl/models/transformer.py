"""A causal transformer that predicts the next token at each position.

Radford et al., "Language models are unsupervised multitask learners", 2019 (GPT-2): normalization before each part,
learned positions, GELU. Made of Embedding, Linear and LayerNorm, without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models.checks import require_sequences


class CausalSelfAttention(nn.Module):
    """Causal self-attention: ``[B, T, width]`` -> the same; a position sees itself and all before it."""

    def __init__(self, width: int, heads: int) -> None:
        """Divide ``width`` among the heads."""
        super().__init__()
        self.heads = heads
        self.queries_keys_values, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Attend."""
        size, length, width = inputs.shape
        heads = self.queries_keys_values(inputs).view(size, length, 3, self.heads, width // self.heads)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # [B, heads, T, width / heads] each
        # not F.scaled_dot_product_attention, which vmap takes apart node by node
        scores = queries @ keys.transpose(-1, -2) * (width // self.heads) ** -0.5
        later = torch.ones((length, length), dtype=torch.bool, device=inputs.device).triu(1)
        attended = scores.masked_fill(later, -torch.inf).softmax(-1) @ values
        mixed: Tensor = self.output(attended.transpose(1, 2).reshape(size, length, width))
        return mixed


class TransformerBlock(nn.Module):
    """Attention, then two Linear layers at each position; each part adds to what it was given."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the parts; the inner width is four times ``width``."""
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), CausalSelfAttention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``[B, T, width]``."""
        inputs = inputs + self.attention(self.attention_norm(inputs))
        outputs: Tensor = inputs + self.narrow(F.gelu(self.wide(self.norm(inputs))))
        return outputs


class Embeddings(nn.Module):
    """The sum of a token's and a position's vector: ids ``[B, T]`` -> ``[B, T, width]``."""

    def __init__(self, num_tokens: int, length: int, width: int) -> None:
        """Start with normal numbers of standard deviation 0.02, as GPT-2."""
        super().__init__()
        self.tokens, self.positions = nn.Embedding(num_tokens, width), nn.Embedding(length, width)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Look both up."""
        places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        embedded: Tensor = self.tokens(ids) + self.positions(places)
        return embedded


def transformer(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network: ``config.layers`` blocks of ``config.width`` with ``config.heads``, output layer."""
    require_sequences("transformer", input_shape)
    if config.width % config.heads:
        raise InputError(f"model.heads: {config.heads} heads do not divide model.width = {config.width} evenly")
    blocks = [TransformerBlock(config.width, config.heads) for _ in range(config.layers)]
    head = nn.Linear(config.width, num_classes)
    return nn.Sequential(
        Embeddings(num_classes, input_shape[0], config.width), *blocks, nn.LayerNorm(config.width), head
    )
