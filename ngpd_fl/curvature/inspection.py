"""The layers of a network and how it uses them, found by running it a few times before training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.curvature.capture import CallShape, Capture, OtherCallsError, listening
from ngpd_fl.curvature.layer import Layer, Use
from ngpd_fl.curvature.layers import OTHER, find_layers, reason
from ngpd_fl.models.functional import FlatModel

logger = logging.getLogger(__name__)


class Inspection:
    """The layers of a network, found by a few passes through it.

    Layers that these do not use may still be used for other examples, as the experts of a mixture: their parameters are
    handled by their diagonal, which is 0 until then.

    Attributes:
        capture: the network, ready to be captured.
        unused: names of the parameters that do not enter the outputs of the examples tried.
    """

    def __init__(
        self,
        model: FlatModel,
        input_shape: tuple[int, ...],
        other_layers: str = "diagonal",
        examples: Tensor | None = None,
    ) -> None:
        """Check every layer.

        Args:
            model: the network.
            input_shape: shape of one example.
            other_layers: whether parameters that no rule covers are handled by their "diagonal", or "refuse"d.
            examples: inputs ``[M, ...]`` to run the network on; by default random ones between 0 and 1.

        Raises:
            InputError: a layer that no rule covers, if these are refused; the message names it.
        """
        self._model = model
        generator = torch.Generator().manual_seed(0)
        start = model.start()
        if examples is None or not len(examples):
            examples = torch.rand((3, *input_shape), generator=generator, dtype=torch.float32)
        examples = torch.stack([examples[number % len(examples)] for number in range(3)])
        self._examples = examples.to(start) if examples.is_floating_point() else examples.to(start.device)
        self._params = start + 0.1 * torch.randn(start.shape, generator=generator, dtype=torch.float32).to(start)
        self.unused: set[str] = set()
        refused: dict[str, str] = {}
        while True:
            layers = find_layers(model, refused)
            objections = self._check(layers)
            if not objections:
                break
            refused |= objections
        self._report(refused, other_layers)

    def _check(self, layers: dict[str, Layer]) -> dict[str, str]:
        """Return the modules that are not what their rules say, and why; if there are none, ``capture`` is right."""
        calls, refused = self._calls(layers)
        if refused:
            return refused
        self.capture = Capture(self._model, layers, calls)
        try:
            recorded = self.capture.record(self._params, self._examples)
        except OtherCallsError as error:
            return {error.module: "does not see every example in each call"}
        if not recorded.outputs.requires_grad:
            raise InputError("model: its outputs depend on none of its parameters")
        score = torch.randn(recorded.outputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
        score = score.to(recorded.outputs)
        of_first = torch.cat([score[:1], torch.zeros_like(score[1:])])
        backward = [recorded.backward(weights) for weights in (score, of_first)]
        values = list(recorded.named.values())
        parts: Sequence[Tensor | None] = torch.autograd.grad(recorded.outputs, values, score, allow_unused=True)
        self.unused = {name for name, part in zip(recorded.named, parts, strict=True) if part is None}
        whole = (torch.zeros_like(value) if part is None else part for value, part in zip(values, parts, strict=True))
        gradient = self._model.flatten(dict(zip(recorded.named, whole, strict=True)))
        unused = [self._model.segments[name] for name in self.unused]
        for layer in layers.values():
            if layer.rule is OTHER:
                continue
            if all(part in unused for part in layer.segments):
                why = "is not used"
            else:
                why = _objection(layer, self.capture.uses(layer, recorded, backward), gradient)
            refused |= dict.fromkeys(layer.modules, why) if why else {}
        return refused

    def _calls(self, layers: dict[str, Layer]) -> tuple[dict[str, list[CallShape]], dict[str, str]]:
        """Return the calls of the layers' modules, and the modules in whose outputs no example is found, and why."""
        rules = {name: layer.rule for layer in layers.values() for name in layer.modules}
        of_two, of_three = (self._shapes(rules, size) for size in (2, 3))
        calls: dict[str, list[CallShape]] = {}
        refused: dict[str, str] = {}
        for name, rule in rules.items():
            pairs = list(zip(of_two[name], of_three[name], strict=False))
            shapes = [_call_shape(*pair) for pair in pairs]
            calls[name] = [shape for shape in shapes if shape is not None and (shape.is_first or rule.any_batch_axis)]
            if len(calls[name]) < max(len(of_two[name]), len(of_three[name])):
                refused[name] = (
                    f"returns shapes {', '.join(str(tuple(shape)) for shape in of_two[name])} for 2 examples, "
                    f"{', '.join(str(tuple(shape)) for shape in of_three[name])} for 3; K-FAC needs the batch as the "
                    "first axis"
                )
        return calls, refused

    def _shapes(self, names: Iterable[str], batch_size: int) -> dict[str, list[torch.Size]]:
        """Return the shapes of the named modules' outputs, call by call."""
        shapes: dict[str, list[torch.Size]] = {name: [] for name in names}

        def remember(name: str, given: Tensor, output: Tensor) -> Tensor:
            shapes[name].append(output.shape)
            return output

        with torch.no_grad(), listening(self._model, names, remember, self._examples.device):
            self._model(self._model.start(), self._examples[:batch_size])
        return shapes

    def _report(self, refused: dict[str, str], other_layers: str) -> None:
        """Warn of the parameters that no rule covers, or refuse them."""
        reasons = {name: self._why(name, refused) for name in self.capture.others if name not in self.unused}
        if not reasons:
            return
        name, why = next(iter(reasons.items()))
        if other_layers == "refuse":
            raise InputError(
                f'model: parameter {name!r} {why}; strategy.other_layers = "diagonal" takes the diagonal of its '
                "Fisher matrix, and first-order strategies such as dsgd need none"
            )
        logger.warning(
            "K-FAC takes an estimated diagonal of the Fisher matrix for %s: %s %s",
            ", ".join(map(repr, reasons)),
            "it" if len(reasons) == 1 else f"{name!r}",
            why,
        )

    def _why(self, parameter: str, refused: dict[str, str]) -> str:
        """Return why no rule covers a parameter, in words that follow its name."""
        for name, module in self._model.module.named_modules():
            prefix = f"{name}." if name else ""
            if any(prefix + key == parameter for key, _ in module.named_parameters(recurse=False)):
                if name in refused:
                    return f"belongs to layer {name!r} ({type(module).__name__}), which {refused[name]}"
                return reason(module)
        return "is shared with a layer of another kind"


def _call_shape(of_two: torch.Size, of_three: torch.Size) -> CallShape | None:
    """Return the place of the batch in the shapes for 2 and 3 examples; None where it has none of its own."""
    if len(of_two) != len(of_three):
        return None
    different = [axis for axis, sizes in enumerate(zip(of_two, of_three, strict=True)) if sizes[0] != sizes[1]]
    if len(different) != 1:
        return None
    axis = different[0]
    if of_two[axis] % 2 or of_three[axis] * 2 != of_two[axis] * 3:
        return None
    per_example = of_two[axis] // 2
    return CallShape(torch.Size((*of_two[:axis], per_example, *of_two[axis + 1 :])), axis, per_example)


def _objection(layer: Layer, uses: Sequence[Use], gradient: Tensor) -> str:
    """Return in what a layer differs from its rule at a random place, in words that follow its name; empty if it fits.

    The gradient is another one than its inputs and output gradients say where a weight is also used apart from its
    layer, or a subclass computes something of its own.

    Args:
        layer: the layer.
        uses: with the output gradients of a random score, and of the same for the first example alone.
        gradient: of the random score, ``[P]``.
    """
    apart = "does more than multiply by its weight and add its bias, or these are also used apart from it"
    if not uses:
        return apart
    try:
        expected = layer.rule.gradients(layer, uses)
    except RuntimeError:  # shapes do not fit
        return apart
    for view, part in zip(layer.rule.views(layer, gradient[None]), expected, strict=True):
        measured, predicted = view.reshape(-1), part.reshape(-1)
        tolerance = 1e-2 * measured.norm() + 1e-3 * gradient.norm()  # TF32's rounding, where measured may be 0
        if measured.shape != predicted.shape or (measured - predicted).norm() > tolerance:
            return apart
    if any(use.gradients[1][1:].abs().gt(0).any() for use in uses):
        return "does not keep the parts of an example together; K-FAC needs the batch as the first axis"
    return ""
