"""One layer of a network as K-FAC sees it: its parameters, their places, and the rule of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from ngpd_fl.curvature.blocks import FisherBlock
from ngpd_fl.curvature.moments import Moment
from ngpd_fl.models.functional import Segment

KFACApprox = Literal["expand", "reduce"]
"""Treatment of an example's positions in the factors; see ``weight_matrix``."""


class Use(NamedTuple):
    """One call of a module in a forward pass, or all its calls seen as one.

    Attributes:
        module: the module; None of a parameter that no rule covers.
        given: what it was given, ``[B, ...]``.
        gradients: the output gradients ``[B, ...]``, once for each score of an example.
    """

    module: Any
    given: Tensor
    gradients: Sequence[Tensor]


class Layer(NamedTuple):
    """A weight and (perhaps) a bias, or either alone, that belong to one block of the Fisher matrix.

    Attributes:
        name: of the layer.
        modules: the modules that use these parameters, by name; several where they are tied.
        rule: that of the layer's kind.
        weight: the weight's place in the flat vector; None where it is not trained, or belongs to another layer.
        bias: the bias's place, or None likewise.
    """

    name: str
    modules: dict[str, nn.Module]
    rule: Rule
    weight: Segment | None
    bias: Segment | None

    @property
    def module(self) -> nn.Module:
        """The first of the modules."""
        return next(iter(self.modules.values()))

    @property
    def segments(self) -> list[Segment]:
        """The places of the layer's parameters."""
        return [segment for segment in (self.weight, self.bias) if segment is not None]


class Rule(Protocol):
    """The rule of one kind of layer: the form of its block, and what a minibatch adds to it."""

    @property
    def block(self) -> type[FisherBlock]:
        """The form of the layer's Fisher matrix."""
        ...

    @property
    def any_batch_axis(self) -> bool:
        """Whether it takes inputs ``[B, any axes, features]``, so that any axis but the last may be the batch."""
        ...

    def sizes(self, layer: Layer) -> tuple[int, ...]:
        """Return the sizes that ``block.empty`` takes."""
        ...

    def views(self, layer: Layer, vectors: Tensor) -> list[Tensor]:
        """Return views of the layer's part of ``vectors [n, P]`` in matrix form, by columns: weight, then bias."""
        ...

    def moments(self, layer: Layer, uses: Sequence[Use], approx: KFACApprox) -> tuple[Moment, ...]:
        """Return what the batch adds to each of the block's averages."""
        ...

    def gradients(self, layer: Layer, uses: Sequence[Use]) -> list[Tensor]:
        """Return the batch's gradient, summed over examples, in the shapes of ``views`` of one vector.

        That of the first score.
        """
        ...
