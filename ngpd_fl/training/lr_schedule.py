"""The step size over a run, as a factor on the strategy's lr.

The warm-up is that of Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017; the cosine that
of Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from ngpd_fl.config import TrainingConfig


def lr_scale(training: TrainingConfig, step: int) -> float:
    """Return the factor of local step ``step``, which counts from 0; it is never 0 within the run.

    Of W steps of warm-up, step t has (t + 1) / (W + 1). The schedule then starts with 1: cosine falls over the T - W
    steps that remain, by half a period, to 0 at step T, where the run is over; step is multiplied by ``lr_decay`` from
    each milestone on, which counts rounds from the start of the run.
    """
    warmup = training.lr_warmup * training.local_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if training.lr_schedule == "cosine":
        total = training.rounds * training.local_steps
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    passed = bisect_right(training.lr_milestones, step // training.local_steps)  # none where the schedule is constant
    return float(training.lr_decay**passed)
