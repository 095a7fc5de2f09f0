"""K-FAC: a Fisher matrix that is block-diagonal over layers, estimated along the way.

Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015. ``solve``
has the solve; the rule of each layer says what a minibatch adds to its factors (``layer``, ``moments``). The labels
that the Fisher matrix is made of are sampled from the model, the data's own, or all of them (Kunstner, Balles, Hennig,
"Limitations of the empirical Fisher approximation for natural gradient descent", NeurIPS 2019, on the difference).
With ``fisher = "foof"`` no labels are: of each block the input factor is left, A (x) I (Benzing, "Gradient descent on
neurons and its link to approximate second-order optimization", ICML 2022).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.config import InputError
from ngpd_fl.core.batching import call_stacked, over_nodes
from ngpd_fl.core.trace import refuse_trace
from ngpd_fl.curvature.blocks import FisherBlock
from ngpd_fl.curvature.capture import Captured, Gradients, Recorded
from ngpd_fl.curvature.eigen import Retries
from ngpd_fl.curvature.embedding import TiedEmbedding
from ngpd_fl.curvature.inspection import Inspection
from ngpd_fl.curvature.scores import Scores
from ngpd_fl.curvature.solve import Ridge
from ngpd_fl.curvature.weight_matrix import with_one
from ngpd_fl.models.dense import dense_forward
from ngpd_fl.models.functional import FlatModel
from ngpd_fl.models.likelihood import Likelihood
from ngpd_fl.models.objective import Batch, SupervisedObjective
from strategies import Phase
from strategies.parts.natural_gradient import NaturalGradientOptions

logger = logging.getLogger(__name__)

_WIDE = 4000
"""From this width on a factor's eigendecomposition takes most of a minute, and in float32 has been seen to fail."""


class KFACState(NamedTuple):
    """The blocks by layer name, and how many factors the running averages hold, float ``[]``."""

    blocks: dict[str, FisherBlock]
    updates: Tensor


class KFAC:
    """``strategies.Curvature`` of a network on batches ``(inputs [B, ...], targets [B, ...])``.

    Attributes:
        retries: eigendecompositions that failed at first.
    """

    def __init__(
        self,
        model: FlatModel,
        likelihood: Likelihood,
        input_shape: tuple[int, ...],
        options: NaturalGradientOptions,
        weight_decay: float = 0.0,
        examples: Tensor | None = None,
    ) -> None:
        """Check every layer of the network (see ``Inspection``), and warn of very wide ones.

        Args:
            model: the network.
            likelihood: p(y | x; w).
            input_shape: shape of one example.
            options: how the Fisher matrix is estimated, damped and truncated.
            weight_decay: weight of 1/2 |w|^2 in the loss; it enters the gradient, not the Fisher matrix.
            examples: inputs ``[M, ...]`` to check the network on; by default random ones.
        """
        self.model = model
        self.likelihood = likelihood
        self.options = options
        self.objective = SupervisedObjective(model, likelihood, weight_decay)
        self.capture = Inspection(model, input_shape, options.other_layers, examples).capture
        self._scores = Scores(likelihood, options.fisher, bool(self.capture.others))
        self.retries = Retries()
        self._warn_of_width()
        for layer in self.capture.layers.values() if options.fisher == "foof" else ():
            if isinstance(layer.rule, TiedEmbedding):
                raise InputError(
                    f"strategy.fisher: foof has no input factor of layer {layer.name!r}, an embedding whose table the "
                    "output layer has as well; allowed: monte-carlo, empirical, exact"
                )

    def init(self, params: Tensor) -> KFACState:
        """Return a state that holds no factor yet; its solve is meaningless before the first refresh."""
        like = torch.empty(0, dtype=params.dtype, device=params.device)  # under vmap one for all nodes
        blocks = {
            name: layer.rule.block.empty(layer.rule.sizes(layer), self.options.rank, like)
            for name, layer in self.capture.layers.items()
        }
        return KFACState(blocks, like.new_zeros(()))

    def gradient(
        self,
        state: KFACState,
        params: Tensor,
        batch: Batch,
        draws: Tensor,
        phase: Phase,
        smoothing: Tensor | None = None,
    ) -> tuple[KFACState, Tensor, Tensor]:
        """Return the state, refreshed as ``phase`` says, the loss ``[]`` and its gradient ``[P]``.

        ``smoothing`` ``[]`` defaults to that of the options, 0 for auto.
        """
        if phase.refresh_factors:
            if smoothing is None:
                share = self.options.fisher_smoothing
                smoothing = params.new_full((), 0.0 if share == "auto" else share)
            state, loss, gradient = self._refresh(state, params, batch, draws, smoothing)
        else:
            loss, gradient = self.objective.gradient(params, batch)
        if phase.refresh_basis:
            state = state._replace(
                blocks={name: block.decompose(partial(self._retried, name)) for name, block in state.blocks.items()}
            )
        return state, loss, gradient

    def solve(self, state: KFACState, force: Tensor, lr: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return step = [(F + damping I) / lr + shift I]^-1 force ``[P]`` and step^T F step ``[]``."""
        used = (tensor for block in state.blocks.values() for tensor in block.used)
        step, quadratic = call_stacked(self._solve, force, lr, shift, *used)
        return step, quadratic

    def largest(self, state: KFACState) -> Tensor:
        """Return F's largest eigenvalue ``[]``."""
        return torch.stack([block.largest() for block in state.blocks.values()]).amax()

    def quadratic(self, state: KFACState, vector: Tensor) -> Tensor:
        """Return vector^T F vector ``[]``."""
        used = (tensor for block in state.blocks.values() for tensor in block.used)
        return call_stacked(self._quadratic, vector, *used)[0]

    def divergence(self, params: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """Return the KL divergence ``[]`` of the outputs at ``params [P]`` from those before ``step [P]`` led there."""
        return self.objective.divergence(params, step, batch)

    def _retried(self, name: str, factor: str, how: str) -> None:
        """Note a decomposition that failed at first."""
        self.retries.add(name, factor, how, width=self._widths()[name, factor])

    def _widths(self) -> dict[tuple[str, str], int]:
        """Return the width of each layer's factors that are decomposed."""
        return {
            (name, factor): width
            for name, layer in self.capture.layers.items()
            for factor, width in layer.rule.block.widths(layer.rule.sizes(layer)).items()
        }

    def _warn_of_width(self) -> None:
        """Warn of the widest factor that is decomposed whole, where that takes long and may fail."""
        (name, factor), width = max(self._widths().items(), key=lambda item: item[1], default=(("", ""), 0))
        if width >= _WIDE and not 0 < 2 * self.options.rank <= width:
            logger.warning(
                "layer %r: its %s factor is %d wide; each eigendecomposition of it takes long and may fail in float32; "
                "set strategy.rank, e.g. to 64",
                *(name, factor, width),
            )

    def _solve(self, force: Tensor, lr: Tensor, shift: Tensor, *used: Tensor) -> tuple[Tensor, Tensor]:
        """Return n nodes' steps ``[n, P]`` and quadratics ``[n]``; ``used`` is all blocks' ``used`` in turn."""
        ridge = Ridge(lr, self.options.delta, shift)
        step = torch.empty(force.shape, dtype=force.dtype, device=force.device)
        tensors = iter(used)
        for layer in self.capture.layers.values():
            layer.rule.block.solve(tensors, ridge, layer.rule.views(layer, force), layer.rule.views(layer, step))
        return step, ridge.quadratic(force, step)

    def _quadratic(self, vector: Tensor, *used: Tensor) -> tuple[Tensor]:
        """Return n nodes' vector^T F vector ``[n]``, of ``vector [n, P]``."""
        total = torch.zeros_like(vector[:, 0])
        tensors = iter(used)
        for layer in self.capture.layers.values():
            total += layer.rule.block.quadratic(tensors, layer.rule.views(layer, vector))
        return (total,)

    def _refresh(
        self, state: KFACState, params: Tensor, batch: Batch, draws: Tensor, smoothing: Tensor
    ) -> tuple[KFACState, Tensor, Tensor]:
        """Average the factors of the first ``factor_batch`` examples in; return the batch's loss and gradient as well.

        Of a whole batch, gradient and factors come from one forward pass.
        """
        blocks, updates = state
        used = min(self.options.factor_batch or len(draws), len(draws))
        given = (updates, smoothing, params, batch[0][:used], batch[1][:used], draws[:used], *batch[2:])
        running = [average for block in blocks.values() for average in block.averages]
        stacked = self._dense if self.objective.dense_layers is not None else self._one_by_one
        averages: Sequence[Tensor]
        traced = self.objective.dense_layers is not None and self.objective.is_traceable
        if self.objective.dense_layers is None and params.device.type != "cpu" and self.model.batches_nodes:
            if not self.objective.is_traceable:
                refuse_trace()
            loss, gradient = self.objective.gradient(params, batch)
            averages = self._average(*given, *running)
        elif used == len(draws):
            loss, gradient, *averages = call_stacked(partial(stacked, True), *given, *running, traced=traced)
            gradient = self.objective.with_decay(gradient, params)
        else:
            loss, gradient = self.objective.gradient(params, batch)
            averages = call_stacked(partial(stacked, False), *given, *running, traced=traced)
        fresh = iter(averages)
        blocks = {
            name: block.with_averages(tuple(islice(fresh, len(block.averages)))) for name, block in blocks.items()
        }
        if self.options.fisher == "foof":
            blocks = {name: block.without_outputs() for name, block in blocks.items()}
        return KFACState(blocks, updates + 1), loss, gradient

    def _dense(
        self,
        with_gradient: bool,
        updates: Tensor,
        smoothing: Tensor,
        params: Tensor,
        inputs: Tensor,
        targets: Tensor,
        draws: Tensor,
        *running: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the loss and gradient, if asked for, and ``_average`` of n nodes of a fully connected network."""
        assert self.objective.dense_layers is not None
        ran = dense_forward(self.objective.dense_layers, params, inputs)
        first = ran.gradient(self.likelihood, targets) if with_gradient else ()
        scores = over_nodes(self._scores)(ran.outputs, targets, draws, smoothing)
        backward = [{layer.name: gradients for layer, _, gradients in ran.backward(score)} for score in scores]
        vectors = (
            moment
            for (name, layer), given in zip(self.capture.layers.items(), ran.inputs, strict=True)
            for moment in (
                given if layer.bias is None else with_one(given),
                torch.cat([gradients[name] for gradients in backward], dim=1),
            )
        )
        decay = self.options.factor_decay
        weight = (self._share(updates) / inputs.shape[1])[:, None, None]
        return *first, *(
            torch.baddbmm(old, new.transpose(1, 2), weight * new, beta=decay)
            for old, new in zip(running, vectors, strict=True)
        )

    def _one_by_one(
        self, with_gradient: bool, updates: Tensor, smoothing: Tensor, *stacked: Tensor
    ) -> tuple[Tensor, ...]:
        """Do the same for one node after another, which on a CPU is faster for convolutions; see the objective."""
        params, inputs, targets, draws, *rest = stacked
        keys, running = self._keys(rest)
        first = [params.new_empty(len(params)), torch.empty_like(params)] if with_gradient else []
        averages = [torch.empty_like(average) for average in running]
        for node, share in enumerate(self._share(updates).tolist()):
            recorded = self.capture.record(params[node], inputs[node], *(key[node] for key in keys))
            scores = self._scores(recorded.outputs.detach(), targets[node], draws[node], smoothing[node])
            backward = [recorded.backward(score) for score in scores]
            if with_gradient:
                with torch.enable_grad():
                    loss = self.likelihood.loss(recorded.outputs, targets[node])
                first[0][node] = loss.detach()
                torch.cat([part.reshape(-1) for part in recorded.gradient(loss)], out=first[1][node])
            old = [average[node] for average in running]
            for average, fresh in zip(averages, self._averages(recorded, backward, old, share), strict=True):
                average[node] = fresh
        return *first, *averages

    def _average(
        self,
        updates: Tensor,
        smoothing: Tensor,
        params: Tensor,
        inputs: Tensor,
        targets: Tensor,
        draws: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the running averages of all blocks, one after another, with these examples' factors in them."""
        keys, running = self._keys(rest)
        captured = self.capture.forward(params, inputs, *keys)
        backward = [captured.backward(score) for score in self._scores(captured.outputs, targets, draws, smoothing)]
        return tuple(self._averages(captured, backward, running, self._share(updates)))

    def _keys(self, rest: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the key of dropout, if the network has any, and the running averages after it."""
        count = int(self.model.is_random)
        return rest[:count], rest[count:]

    def _averages(
        self,
        captured: Captured | Recorded,
        backward: Sequence[Gradients],
        running: Sequence[Tensor],
        share: float | Tensor,
    ) -> Iterator[Tensor]:
        """Yield the running averages with the layers' moments in them, from one pass and each score's gradients."""
        olds = iter(running)
        for layer in self.capture.layers.values():
            uses = self.capture.uses(layer, captured, backward)
            for moment in layer.rule.moments(layer, uses, self.options.kfac_approx):
                yield moment.average(next(olds), self.options.factor_decay, share)

    def _share(self, updates: Tensor) -> Tensor:
        """Return the weight of new factors in the running averages, which start at the first ones."""
        return 1 - self.options.factor_decay * (updates > 0).to(updates.dtype)
