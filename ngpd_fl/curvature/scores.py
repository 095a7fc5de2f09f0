"""Scores: gradients in a network's outputs whose second moment is the Fisher matrix of the outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ngpd_fl.models.likelihood import Likelihood, PerPosition


@dataclass(frozen=True)
class Scores:
    """The scores of a minibatch.

    Attributes:
        likelihood: p(y | x; w).
        fisher: the labels, as in ``NaturalGradientOptions``.
        has_others: whether some parameters get an estimated diagonal; then each example's score has a random sign
            unless its label is sampled (see ``other``).
    """

    likelihood: Likelihood
    fisher: str
    has_others: bool

    def __call__(self, outputs: Tensor, targets: Tensor, draws: Tensor, smoothing: Tensor) -> list[Tensor]:
        """Return scores ``[B, ...]``, one or several per example; ``smoothing`` ``[]``: the share of uniform labels.

        With outputs ``[B, T, C]`` the loss is the mean over B and T: an example's matrix is the mean of those of its
        positions, hence the scores of one are divided by sqrt(T). All labels ("exact") come position by position.
        """
        if isinstance(self.likelihood, PerPosition):
            scores = self._of_vectors(outputs, targets, draws, smoothing)
            scores = [self.likelihood.weighted(score, targets) for score in scores]
        elif outputs.dim() > 2:
            positions = outputs.shape[1:-1]
            last = len(positions)
            flat = self._of_vectors(
                outputs.flatten(0, last), targets.flatten(0, last), draws.flatten(0, last), smoothing
            )
            scores = [score.view(outputs.shape) / prod(positions) ** 0.5 for score in flat]
            if self.fisher == "exact":
                scores = [part for score in scores for part in _one_position_each(score)]
        else:
            scores = self._of_vectors(outputs, targets, draws, smoothing)
        if self.has_others and self.fisher != "monte-carlo":
            scores = [_signs(draws, score) * score for score in scores]
        return scores

    def _of_vectors(self, outputs: Tensor, targets: Tensor, draws: Tensor, smoothing: Tensor) -> list[Tensor]:
        """Return the scores of outputs ``[M, C]``, one or several for each."""
        if self.fisher in ("empirical", "foof"):  # foof leaves out what is made of them
            return [self.likelihood.score(outputs, targets)]
        softened = self.likelihood.soften(outputs, smoothing)
        if self.fisher == "monte-carlo":
            return [self.likelihood.sampled_score(softened, draws)]
        return list(self.likelihood.fisher_root(softened))


def _one_position_each(score: Tensor) -> Iterator[Tensor]:
    """Yield ``score [B, T, ..., C]`` at one position after another, 0 at all others."""
    flat = score.flatten(1, -2)
    for position in range(flat.shape[1]):
        alone = torch.zeros_like(flat)
        alone[:, position] = flat[:, position]
        yield alone.view(score.shape)


def _signs(draws: Tensor, like: Tensor) -> Tensor:
    """Return a random sign for each example, ``[B, 1, ...]``; see ``other``."""
    first = draws.flatten(1)[:, 0] if draws.dim() > 1 else draws
    return torch.where(first < 0.5, -1.0, 1.0).to(like).view(-1, *[1] * (like.dim() - 1))
