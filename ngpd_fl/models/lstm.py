"""An LSTM that predicts the next token at each position.

Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997, with forget gates; by default as in
Caldas et al., "LEAF: A benchmark for federated settings", arXiv 1812.01097: embedding 8, two layers of 256.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models.checks import require_sequences


class LSTM(nn.Module):
    """Embedding, LSTM, and an output layer at each position: token ids ``[B, T]`` -> ``[B, T, C]``."""

    def __init__(self, config: ModelConfig, num_tokens: int) -> None:
        """Start all parameters as torch does.

        Args:
            config: the widths, and the number of layers.
            num_tokens: C, the size of the vocabulary.
        """
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.width, config.layers, batch_first=True)
        self.output = nn.Linear(config.width, num_tokens)

    def forward(self, ids: Tensor) -> Tensor:
        """Read the sequences from a state of zeros on."""
        outputs: Tensor = self.output(self.lstm(self.embedding(ids))[0])
        return outputs


def lstm(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> LSTM:
    """Return the network that ``config`` describes."""
    require_sequences("lstm", input_shape)
    return LSTM(config, num_classes)
