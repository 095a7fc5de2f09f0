"""f_i of a supervised problem: the mean of -log p(y | x; w) over a minibatch, plus weight decay."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.func import grad_and_value

from ngpd_fl.core.batching import call_stacked
from ngpd_fl.models.dense import dense_gradient, dense_layers
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.likelihood import Likelihood


class SupervisedObjective:
    """``strategies.Objective`` of a network on batches ``(inputs [B, ...], targets [B, ...])``.

    The reported loss leaves the weight decay 1/2 weight_decay |w|^2 out; the gradient holds it.

    Attributes:
        model: the network.
        likelihood: the meaning of its outputs.
        weight_decay: the factor.
        dense_layers: the layers of a network that is differentiated by hand, otherwise None.
    """

    def __init__(self, model: FlatModel, likelihood: Likelihood, weight_decay: float = 0.0) -> None:
        """Combine the network, the likelihood of its outputs and the weight decay."""
        self.model = model
        self.likelihood = likelihood
        self.weight_decay = weight_decay
        self.dense_layers = dense_layers(model)

    def gradient(self, params: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss ``[]`` and the gradient ``[P]``.

        Networks of linear layers are differentiated by hand. All others are on a CPU taken one node after another:
        batched over nodes, convolutions are slower there and their images do not stay in cache.
        """
        if self.dense_layers is not None:
            by_hand = partial(dense_gradient, self.dense_layers, self.likelihood)
            loss, gradient = call_stacked(by_hand, params, *batch)
        elif params.device.type == "cpu":
            loss, gradient = call_stacked(self._one_by_one, params, *batch)
        else:
            loss, gradient = self._batched(params, *batch)
        return loss, self.with_decay(gradient, params)

    def with_decay(self, gradient: Tensor, params: Tensor) -> Tensor:
        """Add the weight decay's gradient."""
        return gradient + self.weight_decay * params if self.weight_decay else gradient

    def _one_by_one(self, params: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return n nodes' losses ``[n]`` and gradients ``[n, P]``."""
        losses, gradients = params.new_empty(len(params)), torch.empty_like(params)
        for node in range(len(params)):
            with torch.enable_grad():
                named = {
                    name: value.detach().requires_grad_() for name, value in self.model.unflatten(params[node]).items()
                }
                loss = self.likelihood.loss(self.model.apply(named, inputs[node]), targets[node])
                parts = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
            losses[node] = loss.detach()
            torch.cat([part.reshape(-1) for part in parts], out=gradients[node])
        return losses, gradients

    def _batched(self, params: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiate by name, not by the flat vector, in operations that vmap can batch.

        The derivative of a slice is a vector of length P that is zero elsewhere; one for each parameter would have to
        be summed.
        """

        def loss(named: dict[str, Tensor], inputs: Tensor) -> Tensor:
            return self.likelihood.loss(self.model.apply(named, inputs), targets)

        # inputs not by closure: a layer may change them in place
        by_name, value = grad_and_value(loss)(self.model.unflatten(params), inputs)
        return value, self.model.flatten(by_name)
