"""An LSTM that predicts the next token at each position, made of Embedding and Linear layers.

Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997, with forget gates; by default as in
Caldas et al., "LEAF: A benchmark for federated settings", arXiv 1812.01097: embedding 8, two layers of 256. It has
the outputs of ``nn.LSTM`` with the same parameters, whose two biases it holds as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models.checks import require_sequences


class LSTMLayer(nn.Module):
    """One layer: ``[B, T, d_in]`` -> ``[B, T, width]``; its gates are in the order input, forget, cell, output."""

    def __init__(self, d_in: int, width: int) -> None:
        """Start all parameters uniformly in +-1/sqrt(width)."""
        super().__init__()
        self.inputs = nn.Linear(d_in, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Read the sequences from a state of zeros on."""
        given = self.inputs(inputs)
        hidden = cell = given.new_zeros(len(given), self.recurrent.in_features)
        outputs = []
        for of_step in given.unbind(1):
            i, f, g, o = (of_step + self.recurrent(hidden)).chunk(4, dim=-1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


def lstm(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Return the network: embedding of ``config.embedding``, ``config.layers`` of ``config.width``, output layer."""
    require_sequences("lstm", input_shape)
    widths = [config.embedding, *[config.width] * config.layers]
    layers = [LSTMLayer(d_in, width) for d_in, width in zip(widths, widths[1:], strict=False)]
    return nn.Sequential(nn.Embedding(num_classes, config.embedding), *layers, nn.Linear(widths[-1], num_classes))
