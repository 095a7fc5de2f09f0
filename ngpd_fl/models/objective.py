"""f_i of a supervised problem: the mean of -log p(y | x; w) over a minibatch, plus weight decay."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from ngpd_fl.core.batching import call_stacked, over_nodes
from ngpd_fl.core.trace import Traced, refuse_trace
from ngpd_fl.models.dense import dense_forward, dense_gradient, dense_layers, has_hooks
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.hidden_matrices import hidden_matrices
from ngpd_fl.models.likelihood import Likelihood, PerPosition

Batch = tuple[Tensor, ...]
"""Inputs ``[B, ...]``, targets ``[B, ...]`` and, for a network with dropout, the key of its masks, int64 ``[2]``."""


class SupervisedObjective:
    """``strategies.Objective`` of a network on batches ``(inputs [B, ...], targets [B, ...])``.

    The reported loss leaves the weight decay 1/2 weight_decay |w|^2 out; the gradient holds it.

    Attributes:
        model: the network.
        likelihood: the meaning of its outputs.
        weight_decay: the factor.
        matrices: the weight matrices of hidden layers, by their places in the vector.
        dense_layers: the layers of a network that is differentiated by hand, otherwise None.
        is_traceable: whether network and likelihood are known to do the same in every call; a user's may not.
    """

    def __init__(self, model: FlatModel, likelihood: Likelihood, weight_decay: float = 0.0) -> None:
        """Combine the network, the likelihood of its outputs and the weight decay."""
        self.model = model
        self.likelihood = likelihood
        self.weight_decay = weight_decay
        self.matrices = hidden_matrices(model)
        self.dense_layers = dense_layers(model)
        self.is_traceable = _is_known(likelihood) and all(map(_is_known, model.module.modules()))
        self._of_node = Traced(self._differentiate) if self.is_traceable else self._differentiate

    def gradient(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss ``[]`` and the gradient ``[P]``.

        Networks of linear layers are differentiated by hand. All others are on a CPU taken one node after another:
        batched over nodes, convolutions are slower there and their images do not stay in cache. So are those that vmap
        cannot batch, on any device.
        """
        if self.dense_layers is not None:
            by_hand = partial(dense_gradient, self.dense_layers, self.likelihood)
            loss, gradient = call_stacked(by_hand, params, *batch, traced=self.is_traceable)
        elif params.device.type == "cpu" or not self.model.batches_nodes:
            loss, gradient = call_stacked(self._one_by_one, params, *batch, traced=False)
        else:
            if not self.is_traceable:
                refuse_trace()
            loss, gradient = self._batched(params, *batch)
        return loss, self.with_decay(gradient, params)

    def divergence(self, params: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """Return the KL divergence ``[]`` of the outputs at ``params [P]`` from those before ``step [P]`` led there.

        It is the mean over the first quarter of the examples, which is enough for a running mean over steps.
        """
        used = -(-len(batch[0]) // 4)
        given = (params, step, batch[0][:used], batch[1][:used], *batch[2:])
        if self.dense_layers is not None:
            (divergence,) = call_stacked(self._dense_divergence, *given, traced=self.is_traceable)
        elif params.device.type == "cpu" or not self.model.batches_nodes:
            (divergence,) = call_stacked(self._divergences, *given, traced=False)
        else:
            if not self.is_traceable:
                refuse_trace()
            divergence = self._divergence(*given)
        return divergence

    def with_decay(self, gradient: Tensor, params: Tensor) -> Tensor:
        """Add the weight decay's gradient."""
        return gradient + self.weight_decay * params if self.weight_decay else gradient

    def _dense_divergence(self, params: Tensor, step: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor]:
        """Return n nodes' divergences ``[n]`` by hand."""
        assert self.dense_layers is not None
        before, after = (dense_forward(self.dense_layers, at, inputs).outputs for at in (params - step, params))
        return (over_nodes(self.likelihood.divergence)(before, after, targets),)

    def _divergences(self, *stacked: Tensor) -> tuple[Tensor]:
        """Return n nodes' divergences ``[n]``, one after another."""
        return (torch.stack([self._divergence(*of_node) for of_node in zip(*stacked, strict=True)]),)

    @torch.no_grad()
    def _divergence(
        self, params: Tensor, step: Tensor, inputs: Tensor, targets: Tensor, key: Tensor | None = None
    ) -> Tensor:
        """Return one node's divergence ``[]``."""
        before, after = (self.model(at, inputs, key) for at in (params - step, params))
        return self.likelihood.divergence(before, after, targets)

    def _one_by_one(self, params: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return n nodes' losses ``[n]`` and gradients ``[n, P]``."""
        losses, gradients = params.new_empty(len(params)), torch.empty_like(params)
        for node in range(len(params)):
            losses[node], parts = self._of_node(params[node], *(part[node] for part in batch))
            torch.cat(parts, out=gradients[node])
        return losses, gradients

    def _differentiate(
        self, params: Tensor, inputs: Tensor, targets: Tensor, key: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return one node's loss ``[]`` and its gradient in flat pieces, parameter by parameter."""
        with torch.enable_grad():
            named = {name: value.detach().requires_grad_() for name, value in self.model.unflatten(params).items()}
            loss = self.likelihood.loss(self.model.apply(named, inputs, key), targets)
            parts = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
        return loss.detach(), [part.reshape(-1) for part in parts]

    def _batched(
        self, params: Tensor, inputs: Tensor, targets: Tensor, key: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Differentiate by name, not by the flat vector, in operations that vmap can batch.

        The derivative of a slice is a vector of length P that is zero elsewhere; one for each parameter would have to
        be summed.
        """

        def loss(named: dict[str, Tensor], inputs: Tensor) -> Tensor:
            return self.likelihood.loss(self.model.apply(named, inputs, key), targets)

        # inputs not by closure: a layer may change them in place
        by_name, value = grad_and_value(loss)(self.model.unflatten(params), inputs)
        return value, self.model.flatten(by_name)


def _is_known(part: Any) -> bool:
    """Return whether a module or a likelihood is a library's or ours, without hooks, and so free of Python's state."""
    part = part.of_position if isinstance(part, PerPosition) else part
    is_hooked = isinstance(part, nn.Module) and has_hooks(part)
    return not is_hooked and type(part).__module__.startswith(("torch.nn.", "torchvision.", "ngpd_fl.models."))
