"""The layers of a network and how it uses them, found by running it a few times before training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ngpd_fl.config.errors import InputError
from ngpd_fl.curvature.capture import CallShape, Capture, Gradients, Recorded, listening
from ngpd_fl.curvature.layer import Layer, gather
from ngpd_fl.curvature.layers import OTHER, find_layers, reason
from ngpd_fl.models.functional import FlatModel, Segment

logger = logging.getLogger(__name__)


class Inspection:
    """What the first passes through a network say.

    Attributes:
        capture: the network, ready to be captured.
        unused: places of the parameters that do not enter its outputs.
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
        self.unused: list[Segment] = []
        refused: dict[str, str] = {}
        while True:
            layers = find_layers(model, refused)
            found = self._check(layers)
            if not found:
                break
            refused |= found
        self._tell(refused, other_layers)

    def _check(self, layers: dict[str, Layer]) -> dict[str, str]:
        """Return the modules that are not what their rules say, and why; if there are none, set the attributes."""
        names = dict.fromkeys(name for layer in layers.values() for name in layer.modules)
        by_size = [self._shapes(names, size) for size in (2, 3)]
        calls: dict[str, list[CallShape]] = {}
        refused: dict[str, str] = {}
        for layer in layers.values():
            for name in layer.modules:
                calls[name] = []
                for of_two, of_three in zip(*(shapes.get(name, []) for shapes in by_size), strict=True):
                    call = _call_shape(of_two, of_three)
                    if call is None or ((call.axis, call.per_example) != (0, 1) and not layer.rule.any_batch_axis):
                        refused[name] = (
                            f"returns shape {tuple(of_two)} for 2 examples, {tuple(of_three)} for 3; K-FAC needs the "
                            "batch as the first axis"
                        )
                    else:
                        calls[name].append(call)
        if refused:
            return refused
        capture = Capture(self._model, layers, calls)
        recorded = capture.record(self._params, self._examples)
        if not recorded.outputs.requires_grad:
            raise InputError("model: its outputs depend on none of its parameters")
        score = torch.randn(recorded.outputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
        score = score.to(recorded.outputs)
        backward = recorded.backward(score)
        values = list(recorded.named.values())
        parts: Sequence[Tensor | None] = torch.autograd.grad(recorded.outputs, values, score, allow_unused=True)
        unused = {name for name, part in zip(recorded.named, parts, strict=True) if part is None}
        whole = (torch.zeros_like(value) if part is None else part for value, part in zip(values, parts, strict=True))
        gradient = self._model.flatten(dict(zip(recorded.named, whole, strict=True)))
        used: dict[str, Layer] = {}
        for layer in layers.values():
            if all(name in unused for name, place in self._model.segments.items() if place in layer.segments):
                continue
            used[layer.name] = layer
            if layer.rule is not OTHER and not _fits(capture, layer, recorded, backward, gradient):
                refused |= dict.fromkeys(
                    layer.modules,
                    "does more than multiply by its weight and add its bias, or these are also used apart from it",
                )
        if refused:
            return refused
        self.unused = [place for name, place in self._model.segments.items() if name in unused]
        kept = {name: calls[name] for layer in used.values() for name in layer.modules}
        self.capture = Capture(self._model, used, kept)
        return {}

    def _shapes(self, names: Iterable[str], batch_size: int) -> dict[str, list[torch.Size]]:
        """Return the shapes of the named modules' outputs, call by call."""
        shapes: dict[str, list[torch.Size]] = {}

        def remember(name: str, given: Tensor, output: Tensor) -> Tensor:
            shapes.setdefault(name, []).append(output.shape)
            return output

        with torch.no_grad(), listening(self._model, names, remember, self._examples.device):
            self._model(self._model.start(), self._examples[:batch_size])
        return shapes

    def _tell(self, refused: dict[str, str], other_layers: str) -> None:
        """Name the parameters that no rule covers."""
        if not self.capture.others:
            return
        reasons = {name: self._why(name, refused) for name in self.capture.others}
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


def _fits(capture: Capture, layer: Layer, recorded: Recorded, backward: Gradients, gradient: Tensor) -> bool:
    """Return whether a layer's gradient is the one that its inputs and output gradients say, at a random place.

    They differ where a weight is also used apart from its layer, or a subclass computes something of its own.
    """
    uses = capture.uses(layer, recorded, [backward])
    if not uses:
        return False
    try:
        expected = layer.rule.gradients(layer, uses)
    except RuntimeError:  # shapes do not fit
        return False
    for view, part in zip(gather(gradient[None], layer), expected, strict=True):
        given, told = view.reshape(-1), part.reshape(-1)
        tolerance = 1e-2 * given.norm() + 1e-3 * gradient.norm()  # TF32's rounding, where given may be 0
        if given.shape != told.shape or (given - told).norm() > tolerance:
            return False
    return True
