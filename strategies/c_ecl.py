"""C-ECL: edge-consensus learning that sends random entries of each message.

Takezawa, Niwa, Yamada, "Communication compression for decentralized learning with operator splitting methods", IEEE
TSIPN 9, 2023, arXiv:2205.03779. The step is that of ``ecl``, the exchange that of ``shared_mask``:

    w_i <- w_i - [ 1/mu + sum_j eta_ij ]^-1 ( g_i + sum_j eta_ij (w_i - a_ij z_i|j) )      (K times a round)
    z_i|j <- z_i|j + theta mask_ij o (y_j|i - z_i|j)                                       (once a round)

without mixing, as in the paper; ``mixing`` > 0 averages the entries that have come. The default eta is the paper's,

    eta_ij = 1 / (mu E (K / keep - 1))

for nodes of E neighbors, with ECL's mean of both degrees where they differ: an entry is exchanged after K / keep local
steps in the mean. It is that of ECL where all is kept.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from strategies.compression.options import RandomK
from strategies.contract import Spec
from strategies.ecl import ECLOptions


class CECLOptions(ECLOptions):
    """Parameters of C-ECL."""

    name: Literal["c-ecl"] = "c-ecl"  # type: ignore[assignment]
    mixing: float = Field(0.0, ge=0, le=1, description=ECLOptions.model_fields["mixing"].description)
    compress: RandomK = Field(RandomK(), description="random-k: the share compress.keep of the entries")

    spec: ClassVar[Spec] = Spec(per_edge=("dual",), compress=("random-k",))
