"""Adam's direction, made of running averages of a vector and of its square.

Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, for each entry of a direction d, a gradient say:

    m <- beta1 m + (1 - beta1) d,    v <- beta2 v + (1 - beta2) d^2,    m and v at 0 before                      (1)
    step along m / (sqrt(v) + epsilon)                                                                           (2)

with bias correction along the same of m / a and v / b, where a = 1 - beta1^t and b = 1 - beta2^t after t steps. Here a
and b are kept as the averages (1) of the constant 1.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from strategies.contract import StrategyOptions
from strategies.lazy_torch import Tensor, torch


class AdamOptions(StrategyOptions):
    """Parameters of Adam's direction."""

    lr: float = Field(0.001, gt=0, description="mu, the step size", json_schema_extra={"flag": "--lr"})
    beta1: float = Field(0.9, ge=0, lt=1, description="part of Adam's average of directions that stays in a step")
    beta2: float = Field(0.999, ge=0, lt=1, description="part of Adam's average of squares that stays in a step")
    epsilon: float = Field(1e-8, gt=0, description="added to the root of Adam's average of squares")


class Moments(NamedTuple):
    """The averages m and v ``[P]``, and those of the constant 1, a and b ``[]``."""

    first: Tensor
    second: Tensor
    first_weight: Tensor
    second_weight: Tensor


def start_moments(params: Tensor) -> Moments:
    """Return the averages of nothing yet."""
    zeros, zero = torch.zeros_like(params), params.new_zeros(())
    return Moments(zeros, zeros, zero, zero)


def averaged(moments: Moments, direction: Tensor, options: AdamOptions) -> Moments:
    """Return the averages by (1), ``direction [P]`` included."""
    beta1, beta2 = options.beta1, options.beta2
    return Moments(
        beta1 * moments.first + (1 - beta1) * direction,
        beta2 * moments.second + (1 - beta2) * direction**2,
        beta1 * moments.first_weight + (1 - beta1),
        beta2 * moments.second_weight + (1 - beta2),
    )


def adam_direction(moments: Moments, options: AdamOptions, bias_correction: bool) -> Tensor:
    """Return the direction (2), ``[P]``."""
    first, second, first_weight, second_weight = moments
    if bias_correction:
        first, second = first / first_weight, second / second_weight
    return first / (torch.sqrt(second) + options.epsilon)
