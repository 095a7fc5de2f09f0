"""Parameters that no rule covers, whose Fisher matrix is estimated by its diagonal.

With g_n the gradient of example n's loss for the parameter, and B examples, the diagonal is the mean of g_n^2. The
gradient of a whole batch, sum of e_n g_n, gives it at no more cost: its square over B has that mean where the e_n g_n
are independent and of mean 0, since all products of different examples then vanish on average. For sampled labels
that is so with e_n = 1 (the Gauss-Newton-Bartlett estimator of Liu, Li, Hall, Liang, Ma, "Sophia: a scalable stochastic
second-order optimizer for language model pre-training", ICLR 2024); in other cases the e_n are random signs. One such
estimate has a relative error of about sqrt(2); the running average of the factors is over several.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ngpd_fl.curvature.elementwise import DiagonalRule
from ngpd_fl.curvature.layer import KFACApprox, Layer, Use
from ngpd_fl.curvature.moments import Sum


class Other(DiagonalRule):
    """The rule of a single parameter; its one use has no module, and its gradients are sums over the batch."""

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[Sum]:
        """Return the estimate of the diagonal."""
        (use,) = uses
        return (Sum([gradient.flatten().square() for gradient in use.gradients], 1 / len(use.given)),)

    def gradients(self, layer: Layer, uses: Sequence[Use]) -> list[Tensor]:
        """Return the gradient, ``[1, d]``."""
        return [use.gradients[0].reshape(1, -1) for use in uses]
