"""Scores, sampled scores and Fisher roots of the outputs, against autograd and the distributions themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F

from ngpd_fl.models import Bernoulli, Categorical, Gaussian, LabelSmoothing, SquaredError

LIKELIHOODS = [Categorical(), LabelSmoothing(0.3), Gaussian(), SquaredError(), Bernoulli()]

outputs_of_batches = st.integers(0, 2**32).flatmap(
    lambda seed: st.sampled_from([0.1, 3.0, 30.0]).map(
        lambda scale: scale * torch.randn((4, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )
)


def targets_for(likelihood: Any, outputs: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if isinstance(likelihood, Categorical | SquaredError):
        return torch.randint(outputs.shape[1], outputs.shape[:1], generator=generator)
    if isinstance(likelihood, Bernoulli):
        return torch.randint(2, outputs.shape, generator=generator)
    return torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)


def negative_log_density(likelihood: Any, output: Tensor, target: Tensor) -> Tensor:
    """Return -log p(y | f) of one example by torch's distributions; smoothed labels are a mean over labels."""
    if isinstance(likelihood, LabelSmoothing):
        weights = torch.full_like(output, likelihood.amount / len(output))
        weights[target] += 1 - likelihood.amount
        labels = torch.arange(len(output))
        return -(weights * torch.distributions.Categorical(logits=output).log_prob(labels)).sum()
    if isinstance(likelihood, Categorical):
        return -torch.distributions.Categorical(logits=output).log_prob(target)
    if isinstance(likelihood, Bernoulli):
        return -torch.distributions.Bernoulli(logits=output).log_prob(target.to(output.dtype)).sum()
    if isinstance(likelihood, SquaredError):
        target = torch.eye(len(output), dtype=output.dtype)[target]
    return -torch.distributions.Normal(output, 1.0).log_prob(target).sum()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@given(outputs=outputs_of_batches)
@settings(max_examples=20, deadline=None)
def test_score_is_the_gradient_of_each_examples_loss(likelihood: Any, outputs: Tensor) -> None:
    targets = targets_for(likelihood, outputs)
    outputs.requires_grad_()
    losses = torch.stack([negative_log_density(likelihood, f, y) for f, y in zip(outputs, targets, strict=True)])
    (expected,) = torch.autograd.grad(losses.sum(), outputs)
    torch.testing.assert_close(likelihood.score(outputs, targets).detach(), expected, rtol=1e-9, atol=1e-14)
    (of_loss,) = torch.autograd.grad(likelihood.loss(outputs, targets), outputs)
    torch.testing.assert_close(of_loss * len(outputs), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_loss_is_the_mean_of_minus_log_p_up_to_a_constant(likelihood: Any) -> None:
    outputs = torch.randn((4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = targets_for(likelihood, outputs)
    constant = (
        0.0 if isinstance(likelihood, Categorical | Bernoulli) else 2.5 * float(torch.log(torch.tensor(2 * torch.pi)))
    )
    terms = [negative_log_density(likelihood, f, y) for f, y in zip(outputs, targets, strict=True)]
    torch.testing.assert_close(likelihood.loss(outputs, targets) + constant, torch.stack(terms).mean())


@given(outputs=outputs_of_batches)
@settings(max_examples=20, deadline=None)
def test_categorical_fisher_root_squares_to_the_fisher_matrix_of_the_outputs(outputs: Tensor) -> None:
    root = Categorical().fisher_root(outputs)
    assert root.shape == (5, 4, 5)
    for example, output in enumerate(outputs):
        p = F.softmax(output, 0)
        given_matrix = sum(torch.outer(column, column) for column in root[:, example])
        torch.testing.assert_close(given_matrix, torch.diag(p) - torch.outer(p, p), rtol=1e-9, atol=1e-15)


def test_categorical_fisher_matrix_is_the_hessian_of_the_loss() -> None:
    output = torch.tensor([[0.3, -1.0, 2.0, 0.0]], dtype=torch.float64)
    root = Categorical().fisher_root(output)[:, 0]
    hessian = torch.func.hessian(lambda f: F.cross_entropy(f[None], torch.tensor([2])))(output[0])
    torch.testing.assert_close(root.T @ root, hessian)


def test_gaussian_fisher_root_squares_to_the_identity() -> None:
    root = Gaussian().fisher_root(torch.randn((3, 4), dtype=torch.float64))
    assert root.shape == (4, 3, 4)
    for example in range(3):
        columns = root[:, example]
        assert torch.equal(columns.T @ columns, torch.eye(4, dtype=torch.float64))


@given(outputs=outputs_of_batches)
@settings(max_examples=20, deadline=None)
def test_bernoulli_fisher_root_squares_to_the_hessian_of_the_loss(outputs: Tensor) -> None:
    root = Bernoulli().fisher_root(outputs)
    assert root.shape == (5, 4, 5)
    for example, output in enumerate(outputs):
        p = output.sigmoid()
        columns = root[:, example]
        torch.testing.assert_close(columns.T @ columns, torch.diag(p * (-output).sigmoid()), rtol=1e-9, atol=1e-15)
        target = torch.tensor([[0, 1, 1, 0, 1]])
        hessian = torch.func.hessian(lambda f, y=target: Bernoulli().loss(f[None], y))(output)
        torch.testing.assert_close(columns.T @ columns, hessian, rtol=1e-9, atol=1e-12)


def test_answers_are_drawn_in_proportion_to_their_probability() -> None:
    """Probabilities k / 10 on a grid of 1000 midpoints: the answer 1 comes 100 k times."""
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    probabilities = torch.arange(1, 10, dtype=torch.float64) / 10
    outputs = probabilities.logit().expand(1000, -1)
    answers = probabilities - Bernoulli().sampled_score(outputs, uniform[:, None].expand(-1, 9))
    torch.testing.assert_close(answers.sum(0), 1000 * probabilities)
    torch.testing.assert_close(answers, answers.round(), rtol=0, atol=1e-12)


def test_the_loss_of_answers_is_torchs_times_their_number() -> None:
    outputs, targets = torch.randn(4, 5), torch.randint(2, (4, 5))
    expected = 5 * torch.nn.BCEWithLogitsLoss()(outputs, targets.float())
    torch.testing.assert_close(Bernoulli().loss(outputs, targets), expected)


def divergence_by_definition(likelihood: Any, outputs: Tensor, others: Tensor) -> Tensor:
    """Return the mean KL divergence; that of torch's Bernoulli distributions overflows."""
    if isinstance(likelihood, Bernoulli):
        signs = torch.tensor([[[1.0]], [[-1.0]]], dtype=outputs.dtype)
        log_p, log_q = F.logsigmoid(signs * outputs), F.logsigmoid(signs * others)
        terms = (log_p.exp() * (log_p - log_q)).sum(0)
    else:
        kind: Any = torch.distributions.Categorical if isinstance(likelihood, Categorical) else None
        make = (lambda f: kind(logits=f)) if kind else (lambda f: torch.distributions.Normal(f, 1.0))
        terms = torch.distributions.kl_divergence(make(outputs), make(others))
    return terms.sum() / len(outputs)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@given(outputs=outputs_of_batches, others=outputs_of_batches)
@settings(max_examples=20, deadline=None)
def test_divergence_is_by_its_definition(likelihood: Any, outputs: Tensor, others: Tensor) -> None:
    targets = targets_for(likelihood, outputs)
    found = likelihood.divergence(outputs, others, targets)
    torch.testing.assert_close(found, divergence_by_definition(likelihood, outputs, others), rtol=1e-9, atol=1e-12)
    stacked = vmap(likelihood.divergence)(outputs[None], others[None], targets[None])
    torch.testing.assert_close(stacked[0], found)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_small_divergences_keep_their_digits(likelihood: Any) -> None:
    """In float32, 1/2 d^T F d of a difference of 1e-4 is not lost in what log p is rounded by, 1e-7."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn((4, 5), generator=generator)
    others = outputs + 1e-4 * torch.randn((4, 5), generator=generator)
    root = likelihood.fisher_root(outputs.double())
    moved = torch.einsum("cbk,bk->cb", root, others.double() - outputs.double())
    expected = 0.5 * moved.square().sum(0).mean()
    found = likelihood.divergence(outputs, others, targets_for(likelihood, outputs))
    torch.testing.assert_close(found.double(), expected, rtol=0.01, atol=0)


def test_certain_outputs_have_a_finite_divergence() -> None:
    outputs, others = torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]])
    assert float(Categorical().divergence(outputs, others, torch.zeros(1))) == 500
    # log 2 of a certain answer against a fair coin, 250 - log 2 of the coin against a certain answer
    assert float(Bernoulli().divergence(outputs, others, torch.zeros(1))) == pytest.approx(250)


@pytest.mark.parametrize("likelihood", [Categorical(), Bernoulli()])
def test_a_class_that_the_network_rules_out_adds_what_the_other_outputs_say_of_it(likelihood: Any) -> None:
    outputs, others = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets, out = torch.zeros(4), torch.full((4, 1), -torch.inf, dtype=torch.float64)
    expected = likelihood.divergence(outputs, others, targets)
    found = likelihood.divergence(torch.cat([outputs, out], 1), torch.cat([others, out], 1), targets)
    torch.testing.assert_close(found, expected)
    # ruled out before: as the limit of ever smaller shares
    before, after = (torch.cat([outputs, out.clamp(min=least)], 1) for least in (-torch.inf, -60))
    later = torch.cat([others, torch.zeros_like(out)], 1)
    found, limit = (likelihood.divergence(at, later, targets) for at in (before, after))
    torch.testing.assert_close(found, limit)
    assert likelihood.divergence(later, before, targets) == torch.inf


def drawn_labels(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return the labels that sampled scores p - onehot stand for."""
    probabilities = logits.softmax(0)
    scores = Categorical().sampled_score(logits.expand(len(uniform), -1), uniform)
    onehot = probabilities - scores
    labels = onehot.argmax(1)
    torch.testing.assert_close(onehot, F.one_hot(labels, len(logits)).to(onehot), rtol=0, atol=1e-12)
    return labels


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(any))
@settings(max_examples=30, deadline=None)
def test_labels_are_drawn_in_proportion_to_their_probability(counts: list[int]) -> None:
    """Probabilities counts / sum on a grid of 4 sum midpoints: every label comes exactly 4 counts times."""
    total = 4 * sum(counts)
    uniform = (torch.arange(total, dtype=torch.float64) + 0.5) / total
    labels = drawn_labels(torch.tensor(counts, dtype=torch.float64).log(), uniform)
    assert torch.bincount(labels, minlength=len(counts)).tolist() == [4 * count for count in counts]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_the_unit_interval_draw_labels_that_are_possible(dtype: torch.dtype) -> None:
    logits = torch.tensor([-torch.inf, 0.0, 1.0], dtype=dtype)
    assert drawn_labels(logits.double(), torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == [1, 2]
    assert Categorical().sampled_score(logits[None], torch.zeros(1, dtype=dtype)).isfinite().all()


def test_gaussian_scores_are_drawn_by_inversion() -> None:
    uniform = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    sample = Gaussian().sampled_score(torch.zeros((1000, 2), dtype=torch.float64), uniform.view(1000, 2))
    torch.testing.assert_close(sample.flatten(), torch.from_numpy(norm.ppf(uniform.numpy())), rtol=1e-9, atol=1e-12)
    assert abs(sample.mean()) < 1e-12 and abs(sample.square().mean() - 1) < 2e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_scores_stay_finite_at_the_ends_of_the_unit_interval(dtype: torch.dtype) -> None:
    """A generator may return 0, and float32 may round what it returns to 1."""
    sample = Gaussian().sampled_score(torch.zeros((1, 2), dtype=dtype), torch.tensor([[0.0, 1.0]], dtype=dtype))
    assert sample.dtype == dtype and sample.isfinite().all()
    torch.testing.assert_close(sample[0, 0], -sample[0, 1], rtol=1e-2, atol=0)
    assert 5 < sample[0, 1] < 9


@pytest.mark.parametrize(
    "likelihood, model", [(LabelSmoothing(0.3), Categorical()), (SquaredError(), Gaussian())], ids=["smooth", "square"]
)
def test_targets_do_not_change_what_the_model_says(likelihood: Any, model: Any) -> None:
    """Sampled scores and Fisher matrix are those of p(y | x; w), which another target leaves alone."""
    outputs = torch.randn((4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert likelihood.draw_shape(5) == model.draw_shape(5)
    uniform = torch.rand((4, *model.draw_shape(5)), dtype=torch.float64)
    assert torch.equal(likelihood.sampled_score(outputs, uniform), model.sampled_score(outputs, uniform))
    assert torch.equal(likelihood.fisher_root(outputs), model.fisher_root(outputs))
    hessian = torch.func.hessian(lambda f: likelihood.loss(f[None], torch.tensor([2])))(outputs[0])
    root = likelihood.fisher_root(outputs)[:, 0]
    torch.testing.assert_close(root.T @ root, hessian)


def test_no_smoothing_is_cross_entropy() -> None:
    outputs, targets = torch.randn(4, 5), torch.tensor([0, 4, 2, 2])
    for method in ("loss", "score"):
        arguments = (outputs, targets)
        torch.testing.assert_close(
            getattr(LabelSmoothing(0.0), method)(*arguments), getattr(Categorical(), method)(*arguments)
        )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_nodes_at_once_are_nodes_one_by_one(likelihood: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn((3, 4, 5), generator=generator, dtype=torch.float64)
    targets = torch.stack([targets_for(likelihood, each) for each in outputs])
    uniform = torch.rand((3, 4, *likelihood.draw_shape(5)), generator=generator, dtype=torch.float64)
    for function, arguments in (
        (likelihood.loss, (outputs, targets)),
        (likelihood.score, (outputs, targets)),
        (likelihood.sampled_score, (outputs, uniform)),
        (likelihood.fisher_root, (outputs,)),
    ):
        one_by_one = torch.stack([function(*each) for each in zip(*arguments, strict=True)])
        torch.testing.assert_close(vmap(function)(*arguments), one_by_one)


@given(outputs=outputs_of_batches, amount=st.sampled_from([0.0, 0.2, 1.0]))
@settings(max_examples=20, deadline=None)
def test_softening_mixes_the_labels_distribution_with_the_uniform_one(outputs: Tensor, amount: float) -> None:
    expected = (1 - amount) * outputs.softmax(-1) + amount / outputs.shape[1]
    torch.testing.assert_close(Categorical().soften(outputs, amount).softmax(-1), expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(Gaussian().soften(outputs, amount), outputs)
    softened = Bernoulli().soften(outputs.clamp(-30, 30), amount).sigmoid()
    expected = (1 - amount) * outputs.clamp(-30, 30).sigmoid() + amount / 2
    torch.testing.assert_close(softened, expected, rtol=1e-12, atol=1e-15)
