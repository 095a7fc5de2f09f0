"""SGD with heavy-ball momentum: the local step of several algorithms.

Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Computational Mathematics and
Mathematical Physics 4, 1964, as deep learning writes it:

    v_i <- momentum v_i + g_i,    w_i <- w_i - mu v_i
"""

from __future__ import annotations

from typing import Protocol

from strategies.contract import Objective, Phase, State, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch


class _Options(Protocol):
    @property
    def lr(self) -> float: ...

    @property
    def momentum(self) -> float: ...


class _Owner(Protocol):
    @property
    def options(self) -> _Options: ...

    @property
    def objective(self) -> Objective: ...


def start_velocity(params: Tensor, momentum: float) -> Tensor | tuple[()]:
    """Return the velocity ``[P]`` of a node at rest; without momentum there is none to keep."""
    return torch.zeros_like(params) if momentum else ()


def accelerated(gradient: Tensor, velocity: Tensor, momentum: float) -> Tensor:
    """Return momentum v + g, ``[P]``."""
    return torch.add(gradient, velocity, alpha=momentum)


class HeavyBallStep:
    """The local step of an algorithm whose state has the fields ``params [P]`` and ``velocity``."""

    def local_step(self: _Owner, state: State, view: View, step: Step, phase: Phase) -> tuple[State, StepInfo]:
        """Do one SGD step with momentum."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        lr = self.options.lr * step.lr_scale
        info = StepInfo(loss, torch.ones_like(loss))
        if isinstance(state.velocity, tuple):
            return state._replace(params=torch.addcmul(state.params, gradient, -lr)), info
        velocity = accelerated(gradient, state.velocity, self.options.momentum)
        return state._replace(params=torch.addcmul(state.params, velocity, -lr), velocity=velocity), info
