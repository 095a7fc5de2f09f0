"""Construction of the likelihood, hence the loss, that the configuration names: built in, or by import path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from ngpd_fl.config.errors import InputError
from ngpd_fl.config.import_paths import import_object, is_import_path, reason
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.core.isolation import own_randomness
from ngpd_fl.data.task import (
    IGNORE_INDEX,
    Classification,
    MultiLabelClassification,
    Regression,
    Task,
    TokenClassification,
)
from ngpd_fl.models.likelihood import (
    Bernoulli,
    Categorical,
    Gaussian,
    LabelSmoothing,
    Likelihood,
    PerPosition,
    SquaredError,
)

_METHODS = ("draw_shape", "loss", "score", "sampled_score", "fisher_root", "soften", "divergence")

_ALLOWED: dict[type[Task], tuple[str, tuple[str, ...]]] = {
    Classification: ("classes", ("auto", "cross-entropy", "label-smoothing", "squared-error")),
    TokenClassification: ("classes at each position", ("auto", "cross-entropy", "label-smoothing")),
    MultiLabelClassification: ("multi-label targets", ("auto", "binary-cross-entropy")),
    Regression: ("real-valued targets", ("auto", "squared-error")),
}
"""The name of a task's targets, and the losses that suit them."""


def build_likelihood(config: ModelConfig, task: Task) -> Likelihood:
    """Return the likelihood whose -log p is the loss that ``config`` names.

    Args:
        config: names it.
        task: the meaning of the targets.

    Raises:
        InputError: the loss does not suit the targets, or one of the user's own cannot be made or is not consistent;
            one line says why.
    """
    if is_import_path(config.loss):
        likelihood = _custom(config.loss, task)
    else:
        likelihood = _built_in(config, task)
    return PerPosition(likelihood, *task.positions) if task.positions else likelihood


def _built_in(config: ModelConfig, task: Task) -> Likelihood:
    targets, allowed = _ALLOWED[type(task)]
    if config.loss not in allowed:
        raise InputError(
            f"model.loss: {config.loss} is not for {targets}; allowed: {', '.join(allowed)} or package.module:factory"
        )
    if isinstance(task, Regression):
        return Gaussian()
    if isinstance(task, MultiLabelClassification):
        return Bernoulli()
    if config.loss == "squared-error":
        return SquaredError()
    return LabelSmoothing(config.smoothing) if config.loss == "label-smoothing" else Categorical()


def _custom(path: str, task: Task) -> Likelihood:
    """Call the user's ``factory(num_outputs)``."""
    num_outputs = task.num_outputs
    factory = import_object(path, "model.loss")
    try:
        with own_randomness(0):
            likelihood: Likelihood = factory(num_outputs)
    except (Exception, SystemExit) as error:
        raise InputError(f"model.loss: {path}(num_outputs={num_outputs}) failed ({reason(error)})") from error
    if missing := [method for method in _METHODS if not callable(getattr(likelihood, method, None))]:
        raise InputError(
            f"model.loss: {path} returned {type(likelihood).__name__}, which has no method {missing[0]}; expected "
            f"{', '.join(_METHODS)} as in ngpd_fl.models.Likelihood"
        )
    _check(likelihood, path, task)
    return likelihood


def _check(likelihood: Likelihood, path: str, task: Task) -> None:
    """Try every method on 2 nodes with a few examples each.

    The score has to be the loss's gradient, example by example: the network's gradient is made of the loss or of the
    score, whichever is faster. The divergence of a small change has to be half its square in the Fisher matrix.
    """
    generator, num_outputs = torch.Generator().manual_seed(0), task.num_outputs
    size = 2 if num_outputs == 3 else 3  # as many examples as outputs would let labels pass for targets
    outputs = torch.randn((2, size, num_outputs), generator=generator, dtype=torch.float64)
    if isinstance(task, MultiLabelClassification):
        kind, targets = "answers", torch.randint(2, outputs.shape, generator=generator)
    elif isinstance(task, Regression):
        kind, targets = "real-valued targets", torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    else:
        kind, targets = "labels", torch.randint(num_outputs, (2, size), generator=generator)

    def draw_scores(outputs: Tensor) -> Tensor:
        draws = torch.full((size, *likelihood.draw_shape(num_outputs)), 0.3, dtype=outputs.dtype)
        return likelihood.sampled_score(outputs, draws)

    def attempt(method: str, function: Callable[..., Any], *arguments: Tensor) -> Tensor:
        try:
            result: Tensor = vmap(function)(*arguments)
        except Exception as error:
            raise InputError(
                f"model.loss: {path}: {method} fails on outputs ({size}, {num_outputs}) and {kind} "
                f"{tuple(targets.shape[1:])} of several nodes at once by torch.func.vmap ({reason(error)})"
            ) from error
        own = {"loss": (), "divergence": (), "fisher_root": (*result.shape[1:2], size, num_outputs)}
        wanted = own.get(method, (size, num_outputs))
        if result.shape[1:] != wanted or not result.isfinite().all():
            values = "" if result.isfinite().all() else " with values that are nan or infinite"
            raise InputError(
                f"model.loss: {path}: {method} returns shape {tuple(result.shape[1:])}{values}; expected {wanted}"
            )
        return result

    attempt("loss", likelihood.loss, outputs, targets)
    score = attempt("score", likelihood.score, outputs, targets)
    attempt("sampled_score", draw_scores, outputs)
    root = attempt("fisher_root", likelihood.fisher_root, outputs)
    attempt("soften", likelihood.soften, outputs, outputs.new_full((2,), 0.5))
    change = 1e-3 * torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)
    divergence = attempt("divergence", likelihood.divergence, outputs, outputs + change, targets)
    if not torch.allclose(divergence, 0.5 * (root * change[:, None]).sum(-1).square().sum(1).mean(-1), rtol=0.05):
        raise InputError(
            f"model.loss: {path}: divergence of nearby outputs is not, as a Kullback-Leibler divergence is, half the "
            "square of what fisher_root gives for the change"
        )
    if not torch.allclose(score, size * vmap(grad(likelihood.loss))(outputs, targets), rtol=1e-3, atol=1e-5):
        raise InputError(
            f"model.loss: {path}: score is not the gradient of loss, which is the mean over the batch of each "
            "example's -log p"
        )
    if task.positions:
        padded = torch.cat([targets[0, :-1], targets.new_tensor([IGNORE_INDEX])])
        try:
            losses = likelihood.loss(outputs[0], padded), likelihood.loss(outputs[0, :-1], padded[:-1])
        except Exception as error:
            raise InputError(f"model.loss: {path}: loss fails on a target of padding ({reason(error)})") from error
        if not torch.allclose(*losses):
            raise InputError(f"model.loss: {path}: loss must leave targets of {IGNORE_INDEX}, padding, out of its mean")
