"""K-FAC: a Fisher matrix that is block-diagonal over layers, estimated along the way.

Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015. The solve is
``blocks``'; a layer's factors are ``factors``'. The labels that the Fisher matrix is made of are sampled from the
model, the data's own, or all of them (Kunstner, Balles, Hennig, "Limitations of the empirical Fisher approximation for
natural gradient descent", NeurIPS 2019, on the difference).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.curvature.blocks import Block, Diagonal, Kronecker, Ridge
from ngpd_fl.curvature.capture import Capture
from ngpd_fl.curvature.factors import input_factor, layer_inputs, norm_diagonal, output_factor, output_vectors
from ngpd_fl.curvature.layers import KRONECKER_LAYERS, gather, matrix_shape, scatter
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.likelihood import Likelihood
from ngpd_fl.models.objective import SupervisedObjective
from strategies import Phase
from strategies.natural_gradient import NaturalGradientOptions


class KFACState(NamedTuple):
    """The blocks by layer name, and how many factors the running averages hold, float ``[]``."""

    blocks: dict[str, Block]
    updates: Tensor


class KFAC:
    """``strategies.Curvature`` of a network on batches ``(inputs [B, ...], targets [B, ...])``."""

    def __init__(
        self,
        model: FlatModel,
        likelihood: Likelihood,
        input_shape: tuple[int, ...],
        options: NaturalGradientOptions,
        weight_decay: float = 0.0,
    ) -> None:
        """Check that K-FAC can handle every layer of the network; see ``Capture``.

        Args:
            model: the network.
            likelihood: p(y | x; w).
            input_shape: shape of one example.
            options: how the Fisher matrix is estimated, damped and truncated.
            weight_decay: weight of 1/2 |w|^2 in the loss; it enters the gradient, not the Fisher matrix.
        """
        self.model = model
        self.likelihood = likelihood
        self.options = options
        self.objective = SupervisedObjective(model, likelihood, weight_decay)
        self.capture = Capture(model, input_shape)

    def init(self) -> KFACState:
        """Return a state that holds no factor yet; its solve is meaningless before the first refresh."""
        like = self.model.start()
        blocks: dict[str, Block] = {}
        for name, layer in self.capture.layers.items():
            d_out, d_in = matrix_shape(layer)
            if isinstance(layer.module, KRONECKER_LAYERS):
                blocks[name] = Kronecker.empty(d_out, d_in, self.options.rank, like)
            else:
                blocks[name] = Diagonal.empty(d_in, like)
        return KFACState(blocks, like.new_zeros(()))

    def gradient(
        self, state: KFACState, params: Tensor, batch: tuple[Tensor, Tensor], draws: Tensor, phase: Phase
    ) -> tuple[KFACState, Tensor, Tensor]:
        """Return the state, refreshed as ``phase`` says, the loss ``[]`` and its gradient ``[P]``."""
        loss, gradient = self.objective.gradient(params, batch)
        blocks, updates = state
        if phase.refresh_factors:
            # The running average starts at the first factor, which replaces the zeros.
            decay = torch.where(updates == 0, torch.zeros_like(updates), self.options.factor_decay)
            fresh = self._factors(params, batch, draws)
            blocks = {name: block.average(fresh[name], decay) for name, block in blocks.items()}
            updates = updates + 1
        if phase.refresh_basis:
            blocks = {name: block.decompose() for name, block in blocks.items()}
        return KFACState(blocks, updates), loss, gradient

    def solve(self, state: KFACState, force: Tensor, lr: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return step = [(F + damping I) / lr + shift I]^-1 force ``[P]`` and step^T F step ``[]``."""
        ridge = Ridge(lr, self.options.damping, shift)
        layers = self.capture.layers
        solved = {name: block.solve(gather(force, layers[name]), ridge) for name, block in state.blocks.items()}
        quadratic = torch.stack([quadratic for _, quadratic in solved.values()]).sum()
        return scatter({name: step for name, (step, _) in solved.items()}, layers), quadratic

    def quadratic(self, state: KFACState, vector: Tensor) -> Tensor:
        """Return vector^T F vector ``[]``."""
        layers = self.capture.layers
        parts = [block.quadratic(gather(vector, layers[name])) for name, block in state.blocks.items()]
        return torch.stack(parts).sum()

    def _factors(self, params: Tensor, batch: tuple[Tensor, Tensor], draws: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Return each layer's fresh (A, G), or (diagonal,), from the first ``factor_batch`` examples."""
        used = self.options.factor_batch or len(draws)
        inputs, targets, draws = batch[0][:used], batch[1][:used], draws[:used]
        captured = self.capture.forward(params, inputs)
        if self.options.fisher == "empirical":
            scores = [self.likelihood.score(captured.outputs, targets)]
        else:
            softened = self.likelihood.soften(captured.outputs, self.options.fisher_smoothing)
            if self.options.fisher == "monte-carlo":
                scores = [self.likelihood.sampled_score(softened, draws)]
            else:
                scores = list(self.likelihood.fisher_root(softened))
        gradients = [captured.backward(score) for score in scores]
        fresh: dict[str, tuple[Tensor, ...]] = {}
        for name, layer in self.capture.layers.items():
            module, given = layer.module, captured.inputs[name]
            of_layer = [each[name] for each in gradients]
            if isinstance(module, KRONECKER_LAYERS):
                of_outputs = [output_factor(output_vectors(module, each)) for each in of_layer]
                fresh[name] = (input_factor(layer_inputs(module, given)), torch.stack(of_outputs).sum(0))
            else:
                fresh[name] = (torch.stack([norm_diagonal(module, given, each) for each in of_layer]).sum(0),)
        return fresh
