"""Likelihoods p(y | x; w) of a network's outputs; hence the loss -log p and the Fisher matrix of the outputs.

For outputs f the output Fisher matrix is E_y [s s^T] with the score s = d(-log p(y | f)) / df. Three ways to get it:
the data's own labels (empirical), one sampled label (Monte-Carlo) or all of them: columns r_c with
sum_c r_c r_c^T = E_y [s s^T] (exact; Martens, "New insights and perspectives on the natural gradient method",
JMLR 21, 2020).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ngpd_fl.data.task import IGNORE_INDEX


class Likelihood(Protocol):
    """p(y | x; w) as a function of the outputs ``[B, C]``, or ``[B, T, C]`` with ``PerPosition``."""

    def draw_shape(self, num_outputs: int) -> tuple[int, ...]:
        """Return the shape of the uniform numbers that ``sampled_score`` needs for one example with C outputs."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of -log p over the batch, ``[]`` (constants left out)."""
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each example's score at its target, ``[B, C]``."""
        ...

    def sampled_score(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Return each example's score at a target drawn from the model, ``[B, C]``, by ``uniform [B, *draw_shape]``."""
        ...

    def fisher_root(self, outputs: Tensor) -> Tensor:
        """Return r ``[C, B, C]``: for each example sum_c r_c r_c^T is the Fisher matrix of its outputs."""
        ...

    def soften(self, outputs: Tensor, amount: Tensor) -> Tensor:
        """Return outputs ``[B, C]`` whose p(y | x) is (1 - amount) times the given one plus amount times uniform."""
        ...

    def divergence(self, outputs: Tensor, others: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch of KL( p(y | outputs) || p(y | others) ), ``[]``; targets say what counts."""
        ...


class Categorical:
    """Class labels, ``targets`` int64 ``[B]``, with softmax of the outputs: cross-entropy loss."""

    def draw_shape(self, num_outputs: int) -> tuple[int, ...]:
        """Return (): one number draws a label."""
        return ()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return softmax(f) - onehot(y)."""
        return outputs.softmax(-1) - _one_hot(targets, outputs)

    def sampled_score(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Draw labels by inversion of the cumulative distribution; ``uniform [B]``."""
        cumulative = outputs.softmax(-1).cumsum(-1)
        labels = (cumulative[:, :-1] <= uniform[:, None]).sum(-1)
        return outputs.softmax(-1) - _one_hot(labels, outputs)

    def fisher_root(self, outputs: Tensor) -> Tensor:
        """Return r_c = sqrt(p_c) (p - e_c), one per class."""
        probabilities = outputs.softmax(-1)
        eye = torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)
        return probabilities.t()[:, :, None].sqrt() * (probabilities[None] - eye[:, None, :])

    def soften(self, outputs: Tensor, amount: Tensor) -> Tensor:
        """Return log((1 - amount) p + amount / C)."""
        return ((1 - amount) * outputs.softmax(-1) + amount / outputs.shape[-1]).log()

    def divergence(self, outputs: Tensor, others: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of sum_c p_c log(p_c / q_c)."""
        return _divergence(outputs.log_softmax(-1), others.log_softmax(-1)).mean()


class LabelSmoothing(Categorical):
    """Cross-entropy with targets (1 - a) onehot(y) + a / C (Szegedy et al., "Rethinking the Inception architecture for
    computer vision", CVPR 2016, section 7).

    The targets change, p(y | x; w) does not: sampled scores and Fisher root are those of ``Categorical``, labels being
    drawn from the model and not smoothed. So the Fisher matrix is still the Hessian of the loss in the outputs,
    diag(p) - p p^T. Only the empirical Fisher, made of ``score``, sees the smoothing.
    """  # noqa: D205

    def __init__(self, amount: float) -> None:
        """Set the smoothing a, 0 <= a < 1."""
        self.amount = amount

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy to the smoothed targets."""
        return F.cross_entropy(outputs, targets, label_smoothing=self.amount)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return softmax(f) - (1 - a) onehot(y) - a / C."""
        smoothed = (1 - self.amount) * _one_hot(targets, outputs) + self.amount / outputs.shape[-1]
        return outputs.softmax(-1) - smoothed


class Gaussian:
    """Real targets ``[B, C]`` with unit variance around the outputs: loss = mean over the batch of 1/2 |f - y|^2."""

    def draw_shape(self, num_outputs: int) -> tuple[int, ...]:
        """Return (C,): every output has a number of its own."""
        return (num_outputs,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return half the squared error, summed over outputs, mean over the batch."""
        return 0.5 * (outputs - targets).square().sum(-1).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return f - y."""
        return outputs - targets

    def sampled_score(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Return a standard normal score by inversion; ``uniform [B, C]``, whose ends 0 and 1 count as inside."""
        end = torch.finfo(uniform.dtype).eps
        sample: Tensor = torch.special.ndtri(uniform.clamp(end, 1 - end))
        return sample

    def fisher_root(self, outputs: Tensor) -> Tensor:
        """Return the unit vectors: the Fisher matrix of the outputs is I."""
        eye = torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)
        return eye[:, None, :].expand(-1, outputs.shape[0], -1)

    def soften(self, outputs: Tensor, amount: Tensor) -> Tensor:
        """Return the outputs: their Fisher matrix is I wherever they are."""
        return outputs

    def divergence(self, outputs: Tensor, others: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of 1/2 |f - f'|^2."""
        return 0.5 * (outputs - others).square().sum(-1).mean()


class SquaredError(Gaussian):
    """Class labels, ``targets`` int64 ``[B]``, one-hot, as real targets of ``Gaussian``: a Brier-like loss."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return half the squared error to onehot(y), summed over classes, mean over the batch."""
        return super().loss(outputs, _one_hot(targets, outputs))

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return f - onehot(y)."""
        return super().score(outputs, _one_hot(targets, outputs))


class Bernoulli:
    """Answers ``targets [B, C]`` of 0 and 1, independent, each by sigmoid of its output: binary cross-entropy."""

    def draw_shape(self, num_outputs: int) -> tuple[int, ...]:
        """Return (C,): every answer has a number of its own."""
        return (num_outputs,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy, summed over the answers, mean over the batch."""
        losses = F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
        return losses.sum(-1).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sigmoid(f) - y."""
        return outputs.sigmoid() - targets

    def sampled_score(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Draw each answer, 1 where its number is below sigmoid(f); ``uniform [B, C]``."""
        probabilities = outputs.sigmoid()
        return probabilities - (uniform < probabilities).to(outputs.dtype)

    def fisher_root(self, outputs: Tensor) -> Tensor:
        """Return r_c = sqrt(p_c (1 - p_c)) e_c, one per answer."""
        deviations = (outputs.sigmoid() * (-outputs).sigmoid()).sqrt()
        return torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)[:, None] * deviations

    def soften(self, outputs: Tensor, amount: Tensor) -> Tensor:
        """Return logit((1 - amount) p + amount / 2): every answer alone is mixed with a fair coin."""
        return ((1 - amount) * outputs.sigmoid() + amount / 2).logit()

    def divergence(self, outputs: Tensor, others: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of the answers' divergences, summed."""
        logs = (torch.stack([F.logsigmoid(at), F.logsigmoid(-at)], -1) for at in (outputs, others))
        return _divergence(*logs).sum(-1).mean()


class PerPosition:
    """Targets at each of T positions, ``[B, T]``, independent given the outputs ``[B, T, C]``.

    An example's log-likelihood is the sum over its positions; one whose target is torch's ``ignore_index`` -100
    (padding) adds nothing. The loss is the mean over examples and positions: with V targets that are no padding among
    B examples it is B / V times the mean of -log p. Its Fisher matrix has the same scale, that of the loss's Hessian:

        1/V sum over the B examples of J^T E [s s^T] J,    s = d(-log p) / df  [T, C],    J = df / dw

    The factors of K-FAC are means over examples of what a single score gives (``curvature.moments``), so scores are
    ``weighted`` by sqrt(B / V) before they are sent back. Positions are independent: E [s s^T] has one block each.

    Attributes:
        of_position: the likelihood of one position, whose loss leaves targets of -100 out of its mean.
        length: T.
    """

    def __init__(self, of_position: Likelihood, length: int) -> None:
        """Repeat a likelihood at ``length`` positions."""
        self.of_position = of_position
        self.length = length

    def draw_shape(self, num_outputs: int) -> tuple[int, ...]:
        """Return (T, ...): every position has numbers of its own."""
        return (self.length, *self.of_position.draw_shape(num_outputs))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over all positions that are no padding."""
        return self.of_position.loss(outputs.flatten(0, 1), targets.flatten())

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each example's score at its targets, ``[B, T, C]``; what padding has there, ``weighted`` removes."""
        return self.of_position.score(outputs.flatten(0, 1), targets.flatten()).view_as(outputs)

    def sampled_score(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Return each example's score at targets drawn from the model, ``[B, T, C]``; ``uniform [B, T, ...]``."""
        return self.of_position.sampled_score(outputs.flatten(0, 1), uniform.flatten(0, 1)).view_as(outputs)

    def fisher_root(self, outputs: Tensor) -> Tensor:
        """Return r ``[T C, B, T, C]``: the columns of each position, which are 0 at all others."""
        root = self.of_position.fisher_root(outputs.flatten(0, 1))
        root = root.view(len(root), *outputs.shape)
        own = torch.eye(self.length, dtype=outputs.dtype, device=outputs.device)
        return (own[:, None, None, :, None] * root).flatten(0, 1)

    def soften(self, outputs: Tensor, amount: Tensor) -> Tensor:
        """Return the outputs, softened at each position."""
        return self.of_position.soften(outputs.flatten(0, 1), amount).view_as(outputs)

    def divergence(self, outputs: Tensor, others: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over all positions that are no padding."""
        is_known = targets != IGNORE_INDEX
        others = torch.where(is_known[..., None], others, outputs)
        mean = self.of_position.divergence(outputs.flatten(0, 1), others.flatten(0, 1), targets.flatten())
        return mean * is_known.numel() / is_known.sum()

    def weighted(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return scores ``[B, T, C]`` times sqrt(B / V), and 0 at padding."""
        is_known = targets != IGNORE_INDEX
        weight = (len(targets) / is_known.sum().to(scores.dtype)).sqrt()
        return torch.where(is_known[..., None], weight * scores, 0.0)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return sum_c p_c log(p_c / q_c) over the last axis.

    That is sum_c p_c (exp(-d_c) - 1 + d_c) with d = log(p / q), of which no term is negative: small divergences, of the
    order of d^2, keep their digits. A class that a network rules out, p_c = 0, has the term q_c.
    """
    difference = torch.where(log_p == -torch.inf, 1, log_p - log_q)  # from 1 on the term is p d - p + q
    is_small = difference.abs() < 1
    small = torch.where(is_small, difference, 0)
    bracket = log_p.exp() * torch.where(is_small, torch.expm1(-small) + small, difference - 1)
    return torch.where(is_small, bracket, bracket + log_q.exp()).sum(-1)


def _one_hot(labels: Tensor, outputs: Tensor) -> Tensor:
    """Return labels ``[B]`` as rows of the unit matrix, ``[B, C]``, in the outputs' dtype."""
    classes = torch.arange(outputs.shape[-1], device=labels.device)
    return (labels[:, None] == classes).to(outputs.dtype)  # F.one_hot cannot be differentiated around inside vmap
