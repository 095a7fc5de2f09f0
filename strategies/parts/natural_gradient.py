"""Natural-gradient steps: options of the curvature, damping and trust region, for all second-order algorithms.

The damping is adapted by the trust region, as in the method of Levenberg and Marquardt (More, "The Levenberg-Marquardt
algorithm: implementation and theory", Numerical Analysis, 1978): where K-FAC's estimate of a step's divergence is far
within the radius, the damping is larger than needed, and shrinks.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies.contract import Curvature, Phase, State, Step, StrategyOptions
from strategies.lazy_torch import Tensor, torch
from strategies.parts.client_drift import ClientDrift, amount

_DAMPING, _RELATIVE_DAMPING = 0.02, 0.001
"""delta where it is automatic, and as a share of the largest eigenvalue the bound to which it shrinks."""

_LEAST_SHARE = 0.01
"""Least share of delta, so that a Fisher matrix that vanishes does no harm."""

_WITHIN, _CHANGE = 0.05, 0.9
"""Share of the radius within which the estimate of a step counts as far within; the damping's factor after such a step.

The estimate falls short of what is measured, usually by more than this share (``trust_region``).
"""


class NaturalGradientOptions(StrategyOptions):
    """Parameters of a natural-gradient step."""

    damping: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="delta, added to the eigenvalues of the Fisher matrix; auto: 0.02, and less, down to a "
        "thousandth of a node's largest eigenvalue, while steps stay within the trust region",
    )
    trust_radius: float = Field(
        0.1,
        ge=0,
        description="kappa, bound on the KL divergence of the outputs before and after a step, in nats, as measured "
        "on the next minibatch; 0: none",
    )
    fisher: Literal["monte-carlo", "empirical", "exact", "foof"] = Field(
        "monte-carlo",
        description="labels that the Fisher matrix is made of: monte-carlo (sampled from the model), empirical (the "
        "data's) or exact (all); or foof (none: a layer's input factor alone, the identity in place of all else)",
    )
    fisher_smoothing: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of uniform labels among those that the Fisher matrix is made of, where these are not the "
        "data's; keeps it from vanishing where the model is sure; auto: the square of each node's client drift",
    )
    factor_decay: float = Field(0.9, ge=0, lt=1, description="weight of the past in the running average of the factors")
    factor_every: int = Field(4, ge=1, description="local steps between two updates of the factors")
    basis_every: int = Field(8, ge=1, description="local steps between two eigendecompositions of the factors")

    factor_batch: int = Field(0, ge=0, description="examples of a minibatch that the factors are made of; 0: all")
    rank: int = Field(
        64,
        ge=0,
        description="eigenvectors kept of each of a layer's factors that is at least twice as wide, the rest share "
        "their mean value; 0: all",
    )
    kfac_approx: Literal["expand", "reduce"] = Field(
        "expand",
        description="how the positions of an example enter a layer's factors: expand (each counts as an example) or "
        "reduce (inputs are averaged, gradients summed over them first)",
    )
    other_layers: Literal["diagonal", "refuse"] = Field(
        "diagonal",
        description="parameters that K-FAC has no rule for: diagonal (an estimated diagonal of their Fisher matrix) or "
        "refuse",
    )

    second_order: ClassVar[bool] = True

    @property
    def delta(self) -> float:
        """The delta that is given; with auto, the largest that a node may use."""
        return _DAMPING if self.damping == "auto" else self.damping

    @property
    def adapts_damping(self) -> bool:
        """Whether a node adapts delta: with auto, by the trust region, where F has the Fisher matrix's scale."""
        return self.damping == "auto" and self.trust_radius > 0 and self.fisher != "foof"

    def phase(self, step: int) -> Phase:
        """Return what local step ``step`` refreshes. Both fall on step 0, so that the first solve has a curvature."""
        return Phase(refresh_factors=step % self.factor_every == 0, refresh_basis=step % self.basis_every == 0)

    def smoothing(self, drift: ClientDrift) -> Tensor:
        """Return the share of uniform labels ``[]`` at a node: ``fisher_smoothing``, or drift^2.

        A node that has gone far to its own data is sure of them. Its own Fisher matrix then vanishes, and steps would
        change the other outputs freely; see ``docs/explanation/search-for-settings.md`` for the square.
        """
        if self.fisher_smoothing == "auto":
            return amount(drift) ** 2
        return torch.full_like(drift.rounds, self.fisher_smoothing)


def damped_solve(
    options: NaturalGradientOptions,
    curvature: Curvature,
    state: State,
    force: Tensor,
    step: Step,
    share: Tensor,
    shift: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve [(F + share delta I) / mu + shift I] s = force, and adapt the share of delta.

    Recurrent networks, whose Fisher matrix has no eigenvalue above 0.1 at the start, hardly move with a delta that
    suits others; convolutions without normalization leave every bound with the delta that recurrent networks need.

    Args:
        options: the options.
        curvature: the curvature.
        state: its state.
        force: the right-hand side, ``[P]``.
        step: the local step. Its factor of mu does not count for the share: that steps are small at the end of a
            schedule says nothing about the damping.
        share: the share of delta that the step before left, ``[]``; 1 at first.
        shift: what the edges add, ``[]``.

    Returns:
        s ``[P]``, s^T F s ``[]``, and the share for the next step ``[]``.
    """
    lr = options.lr * step.lr_scale
    if options.adapts_damping:
        least = (curvature.largest(state) * (_RELATIVE_DAMPING / options.delta)).clamp(_LEAST_SHARE, 1)
        share = torch.maximum(share, least)
    change, quadratic = curvature.solve(state, force, lr, shift + (share - 1) * options.delta / lr)
    if options.adapts_damping:
        within = quadratic <= 2 * _WITHIN * options.trust_radius * step.lr_scale**2
        share = torch.where(within, share * _CHANGE, share / _CHANGE).clamp(max=1)
    return change, quadratic, share
