"""One forward pass that also yields every layer's inputs and, on the way back, its output gradients.

Each layer's output gets a zero added to it; the gradient with respect to that zero is the layer's output gradient.
That is a pure function of (parameters, zeros, inputs), so ``torch.func.vmap`` can batch it over nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.curvature.factors import parameter_gradients
from ngpd_fl.curvature.layers import find_layers
from ngpd_fl.models.functional import FlatModel

Listener = Callable[[str, Tensor, Tensor], Tensor]
"""``(layer name, its input, its output) -> the output that the network goes on with``."""


class Captured(NamedTuple):
    """The results of one forward pass; dictionaries are keyed by layer name.

    Attributes:
        outputs: the network's outputs, ``[B, C]``.
        inputs: what each layer was given.
        backward: score ``[B, C]`` -> each layer's output gradients, one example's each.
    """

    outputs: Tensor
    inputs: dict[str, Tensor]
    backward: Callable[[Tensor], dict[str, Tensor]]


class Recorded(NamedTuple):
    """The results of one forward pass that autograd recorded; dictionaries are keyed by layer name, but for ``named``.

    Attributes:
        outputs: the network's outputs, ``[B, C]``.
        inputs: what each layer was given.
        named: the parameters, by their name.
        added: the zeros that were added to each layer's output.
    """

    outputs: Tensor
    inputs: dict[str, Tensor]
    named: dict[str, Tensor]
    added: dict[str, Tensor]

    def backward(self, score: Tensor) -> dict[str, Tensor]:
        """Return each layer's output gradients, one example's each, for a score ``[B, C]``."""
        leaves = list(self.added.values())
        gradients = torch.autograd.grad(self.outputs, leaves, score, retain_graph=True, materialize_grads=True)
        return dict(zip(self.added, gradients, strict=True))

    def gradient(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of a loss ``[]`` of the outputs, parameter by parameter."""
        return list(torch.autograd.grad(loss, list(self.named.values()), materialize_grads=True))


class Capture:
    """A network whose layers K-FAC can handle, ready to be captured. The module has hooks during a pass only.

    Attributes:
        layers: the layers with parameters, by name.
    """

    def __init__(self, model: FlatModel, input_shape: tuple[int, ...], examples: Tensor | None = None) -> None:
        """Check every layer and run the network a few times on ``examples [3, ...]``, random ones by default.

        Raises:
            InputError: a layer that K-FAC cannot handle; the message names it.
        """
        self._model = model
        self.layers = find_layers(model)
        if examples is None:
            generator = torch.Generator().manual_seed(0)
            examples = torch.randn((3, *input_shape), generator=generator, dtype=torch.float32).to(model.start())
        self._output_shapes = self._find_output_shapes(examples)
        self._check_gradients(examples)

    def forward(self, params: Tensor, inputs: Tensor) -> Captured:
        """Run the network at ``params [P]`` on ``inputs [B, ...]``."""
        run = partial(self._run, self._model.unflatten(params), inputs)
        pulled: Any = torch.func.vjp(run, self._zeros(params, len(inputs)), has_aux=True)
        outputs, backward, layer_inputs = pulled
        return Captured(outputs, layer_inputs, lambda score: backward(score)[0])

    def record(self, params: Tensor, inputs: Tensor) -> Recorded:
        """Run the network as ``forward`` does, for one node, recorded by autograd; far less fixed cost, but no vmap."""
        named = {name: value.detach().requires_grad_() for name, value in self._model.unflatten(params).items()}
        zero = params.new_zeros(())
        added = {name: zero.expand(len(inputs), *shape).requires_grad_() for name, shape in self._output_shapes.items()}
        with torch.enable_grad():
            outputs, layer_inputs = self._run(named, inputs, added)
        return Recorded(outputs, {name: value.detach() for name, value in layer_inputs.items()}, named, added)

    def _zeros(self, params: Tensor, batch_size: int) -> dict[str, Tensor]:
        """Return what is added to each layer's output, ``[B, ...]``."""
        return {name: params.new_zeros((batch_size, *shape)) for name, shape in self._output_shapes.items()}

    def _run(
        self, named: dict[str, Tensor], inputs: Tensor, added: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the network with ``added`` to its layers' outputs; return its outputs and what each layer was given."""
        layer_inputs: dict[str, Tensor] = {}

        def capture(name: str, layer_input: Tensor, output: Tensor) -> Tensor:
            layer_inputs[name] = layer_input
            return output + added[name]

        with self._listening(capture):
            return self._model.apply(named, inputs), layer_inputs

    @contextmanager
    def _listening(self, listener: Listener) -> Iterator[None]:
        """Send every layer's output through ``listener``, before hooks of the user's own see it."""

        def hook(name: str) -> Callable[..., Tensor]:
            def send(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
                return listener(name, args[0] if args else kwargs["input"], output)

            return send

        module = self._model.own_module()
        handles = [
            module.get_submodule(name).register_forward_hook(hook(name), prepend=True, with_kwargs=True)
            for name in self.layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _find_output_shapes(self, examples: Tensor) -> dict[str, torch.Size]:
        """Return the shape of each layer's output without the batch axis, which has to be the first one."""
        of_two, of_three = self._trial(examples[:2]), self._trial(examples)
        for name in self.layers:
            if name not in of_two:
                raise InputError(f"model: layer {name!r} is never used in a forward pass; remove it")
            if of_two[name] != (2, *of_three[name][1:]) or of_three[name][0] != 3:
                raise InputError(
                    f"model: layer {name!r} returns shape {tuple(of_two[name])} for 2 examples, {tuple(of_three[name])}"
                    " for 3; K-FAC needs the batch as the first axis"
                )
        return {name: shape[1:] for name, shape in of_two.items()}

    def _trial(self, inputs: Tensor) -> dict[str, torch.Size]:
        """Return the shape of each layer's output in one run."""
        shapes: dict[str, torch.Size] = {}

        def remember(name: str, layer_input: Tensor, output: Tensor) -> Tensor:
            if name in shapes:
                raise InputError(
                    f"model: layer {name!r} is used more than once in a forward pass; K-FAC needs it once, first-order "
                    "strategies such as dsgd do not"
                )
            shapes[name] = output.shape
            return output

        start = self._model.start()
        with torch.no_grad(), self._listening(remember):
            self._model(start, inputs)
        return shapes

    def _check_gradients(self, examples: Tensor) -> None:
        """Compare the gradient with the one that each layer's inputs and output gradients say, at a random place.

        They differ where a weight is also used apart from its layer, or a subclass computes something of its own.
        """
        start = self._model.start()
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float32).to(start)

        params = start + 0.1 * normal(*start.shape)
        recorded = self.record(params, examples)
        score = normal(*recorded.outputs.shape)
        output_gradients = recorded.backward(score)
        with torch.enable_grad():
            gradients = recorded.gradient((recorded.outputs * score).sum())
        gradient = self._model.flatten(dict(zip(recorded.named, gradients, strict=True)))
        for name, layer in self.layers.items():
            expected = parameter_gradients(layer.module, recorded.inputs[name], output_gradients[name])
            segments = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
            for segment, part in zip(segments, expected, strict=True):
                given = gradient[segment.start : segment.stop]
                tolerance = 1e-2 * given.norm() + 1e-3 * gradient.norm()  # TF32's rounding, where given may be 0
                if (given - part.reshape(-1)).norm() > tolerance:
                    raise InputError(
                        f"model: layer {name!r} ({type(layer.module).__name__}) does more than multiply by its weight "
                        "and add its bias, or these are also used apart from it; K-FAC cannot handle that"
                    )
