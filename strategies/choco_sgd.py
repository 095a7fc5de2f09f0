"""CHOCO-SGD: decentralized SGD with compressed messages and error feedback.

Koloskova, Stich, Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed communication",
ICML 2019, algorithm 2. With Q a contraction and x^_i the public copy of x_i,

    x_i <- x_i - mu g_i                                               (K times a round)
    q_i = Q(x_i - x^_i),   x^_i <- x^_i + q_i                         (once a round, q_i sent to all neighbors)
    x_i <- x_i + gamma sum_j W_ij (x^_j - x^_i)

The step is that of ``dsgd`` (momentum as there, 0 by default as in the paper), the messages are those of
``error_feedback``. It rests where DSGD does with I + gamma (W - I) in the place of W.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from strategies.compression.options import AnyCompression, TopK
from strategies.dsgd import DSGDOptions


class ChocoSGDOptions(DSGDOptions):
    """Parameters of CHOCO-SGD."""

    name: Literal["choco-sgd"] = "choco-sgd"  # type: ignore[assignment]
    momentum: float = Field(0.0, ge=0, lt=1, description="heavy-ball momentum on the local gradient")
    compress: AnyCompression = Field(
        TopK(), discriminator="name", description=DSGDOptions.model_fields["compress"].description
    )
