"""Likelihoods of targets at each position: against torch's loss, its Hessian, and dense Fisher matrices at T = 3."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

from ngpd_fl.curvature import KFAC
from ngpd_fl.models import Categorical, FlatModel, LabelSmoothing, PerPosition
from strategies import Phase
from strategies.ngpd import NGPDOptions

B, T, C = 4, 3, 5
PADDED = torch.tensor([[0, 1, 4], [2, -100, -100], [3, 3, -100], [-100, 0, 2]])
WHOLE = torch.where(PADDED < 0, 1, PADDED)
KINDS = {"cross-entropy": Categorical(), "label-smoothing": LabelSmoothing(0.3)}


def some_outputs(seed: int = 0) -> Tensor:
    return torch.randn((B, T, C), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_torchs(kind: str, targets: Tensor) -> None:
    likelihood, outputs = PerPosition(KINDS[kind], T), some_outputs()
    smoothing = 0.3 if kind == "label-smoothing" else 0.0
    expected = nn.CrossEntropyLoss(ignore_index=-100, label_smoothing=smoothing)(outputs.mT, targets)
    torch.testing.assert_close(likelihood.loss(outputs, targets), expected)


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_scores_are_the_gradient_of_the_loss(kind: str, targets: Tensor) -> None:
    """V tokens in B examples: the gradient is sqrt(B / V) / B of the weighted scores."""
    likelihood, outputs = PerPosition(KINDS[kind], T), some_outputs()
    tokens = int((targets >= 0).sum())
    gradient = torch.func.grad(likelihood.loss)(outputs, targets)
    scores = likelihood.weighted(likelihood.score(outputs, targets), targets)
    torch.testing.assert_close((B / tokens) ** 0.5 / B * scores, gradient)
    assert not scores[targets < 0].any()


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
def test_the_divergence_is_the_mean_over_what_is_no_padding(targets: Tensor) -> None:
    outputs, others = some_outputs(), some_outputs(1)
    of: Any = torch.distributions.Categorical
    terms = torch.distributions.kl_divergence(of(logits=outputs), of(logits=others))
    found = PerPosition(Categorical(), T).divergence(outputs, others, targets)
    torch.testing.assert_close(found, terms[targets >= 0].mean())


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
def test_the_fisher_matrix_of_the_outputs_is_the_hessian_of_the_loss(targets: Tensor) -> None:
    likelihood, outputs = PerPosition(Categorical(), T), some_outputs()
    root = likelihood.weighted(likelihood.fisher_root(outputs), targets)
    assert root.shape == (T * C, B, T, C)
    hessian: Any = torch.func.hessian(likelihood.loss)(outputs, targets)
    for example in range(B):
        columns = root[:, example].flatten(1)
        expected = hessian[example, :, :, example].reshape(T * C, T * C)
        torch.testing.assert_close(columns.T @ columns / B, expected, rtol=1e-10, atol=1e-14)


def test_sampled_scores_have_the_fisher_matrix_in_the_mean() -> None:
    """Over a grid of numbers for one position: the mean of s s^T is diag(p) - p p^T; numbers are a position's own."""
    likelihood = PerPosition(Categorical(), T)
    assert likelihood.draw_shape(C) == (T,)
    uniform = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    output = some_outputs()[:1]
    draws = torch.stack([uniform, uniform.flip(0), uniform.roll(7)], dim=1)
    scores = likelihood.sampled_score(output.expand(len(uniform), -1, -1), draws)
    for position in range(T):
        p = output[0, position].softmax(-1)
        of_position = scores[:, position]
        expected = torch.diag(p) - torch.outer(p, p)
        torch.testing.assert_close(of_position.T @ of_position / len(uniform), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_at_once_are_nodes_one_by_one(kind: str) -> None:
    likelihood = PerPosition(KINDS[kind], T)
    outputs, targets = torch.stack([some_outputs(1), some_outputs(2)]), torch.stack([WHOLE, PADDED])
    uniform = torch.rand((2, B, T), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for function, arguments in (
        (likelihood.loss, (outputs, targets)),
        (likelihood.score, (outputs, targets)),
        (likelihood.sampled_score, (outputs, uniform)),
        (likelihood.fisher_root, (outputs,)),
        (likelihood.weighted, (outputs, targets)),
    ):
        one_by_one = torch.stack([function(*of_node) for of_node in zip(*arguments, strict=True)])
        torch.testing.assert_close(vmap(function)(*arguments), one_by_one)


class Mixing(nn.Module):
    """A small network whose every output depends on all earlier positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(2, 4), nn.Linear(4, C)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.embed(inputs).cumsum(1).tanh())  # type: ignore[no-any-return]


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
def test_the_dense_fisher_matrix_of_a_network(targets: Tensor) -> None:
    """J^T (mean of r r^T) J is 1/V sum over tokens of J_t^T (diag(p) - p p^T) J_t, each token on its own."""
    torch.manual_seed(0)
    module, likelihood = Mixing().double(), PerPosition(Categorical(), T)
    inputs = torch.randn((B, T, 2), dtype=torch.float64)
    named = dict(module.named_parameters())
    jacobians: Any = jacrev(lambda params: functional_call(module, params, (inputs,)))(named)
    jacobian = torch.cat([part.reshape(B, T, C, -1) for part in jacobians.values()], dim=-1).detach()
    outputs = module(inputs).detach()
    expected = torch.zeros((jacobian.shape[-1],) * 2, dtype=torch.float64)
    for example, position in (targets >= 0).nonzero().tolist():
        p, of_token = outputs[example, position].softmax(-1), jacobian[example, position]
        expected += of_token.T @ (torch.diag(p) - torch.outer(p, p)) @ of_token / int((targets >= 0).sum())
    root = likelihood.weighted(likelihood.fisher_root(outputs), targets)
    columns = torch.einsum("kbtc,btcp->kbp", root, jacobian).flatten(0, 1)
    torch.testing.assert_close(columns.T @ columns / B, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("targets", [WHOLE, PADDED], ids=["whole", "padded"])
def test_kfac_is_exact_where_theory_says_so(targets: Tensor) -> None:
    """A linear layer whose inputs are all a or -a: the Kronecker product is the Hessian of the loss."""
    torch.manual_seed(0)
    model, likelihood = FlatModel(nn.Linear(2, C, bias=False).double()), PerPosition(Categorical(), T)
    sign = torch.randint(2, (B, T, 1)) * 2 - 1
    inputs = sign * torch.tensor([0.5, -2.0], dtype=torch.float64)
    kfac = KFAC(model, likelihood, (T, 2), NGPDOptions(fisher="exact", fisher_smoothing=0.0, rank=0))
    draws = torch.zeros((B, T), dtype=torch.float64)
    state, loss, _ = kfac.gradient(kfac.init(model.start()), model.start(), (inputs, targets), draws, Phase(True, True))
    torch.testing.assert_close(loss, F.cross_entropy(model(model.start(), inputs).mT, targets))
    hessian: Any = torch.func.hessian(lambda params: likelihood.loss(model(params, inputs), targets))(model.start())
    for direction in torch.eye(model.num_params, dtype=torch.float64):
        torch.testing.assert_close(kfac.quadratic(state, direction), direction @ hessian @ direction)
