"""One forward pass that also yields every layer's inputs and, on the way back, its output gradients.

Each call of a layer's module gets a zero added to its output; the gradient with respect to that zero is the output
gradient. That is a pure function of (parameters, zeros, inputs), so ``torch.func.vmap`` can batch it over nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ngpd_fl.config.errors import InputError
from ngpd_fl.curvature.layer import Layer, Use
from ngpd_fl.curvature.layers import OTHER
from ngpd_fl.models.functional import FlatModel

Listener = Callable[[str, Tensor, Tensor], Tensor]
"""``(module name, its input, its output) -> the output that the network goes on with``."""


class OtherCallsError(InputError):
    """A layer is called otherwise than when the network was tried: which examples it sees depends on their values.

    Attributes:
        module: the name of its module.
    """

    def __init__(self, module: str, problem: str) -> None:
        """Say what is different, in words that follow the layer's name."""
        super().__init__(
            f"model: layer {module!r} {problem}, unlike for the examples that the network was tried on; K-FAC needs "
            "every example in each call; allowed: a mask in place of a branch, or a first-order strategy such as dsgd"
        )
        self.module = module


class CallShape(NamedTuple):
    """The shape of a module's output in one of its calls.

    Attributes:
        shape: for one example.
        axis: the axis of the batch.
        per_example: the length of that axis for one example; the parts of an example lie together.
    """

    shape: torch.Size
    axis: int
    per_example: int

    @property
    def is_first(self) -> bool:
        """Whether the first axis is the batch and nothing else."""
        return (self.axis, self.per_example) == (0, 1)

    def of_batch(self, size: int) -> list[int]:
        """Return the shape for a batch."""
        return [*self.shape[: self.axis], self.per_example * size, *self.shape[self.axis + 1 :]]

    def batch_first(self, tensor: Tensor) -> Tensor:
        """Return the module's input or output with the batch as first axis."""
        if self.axis > 0:
            tensor = tensor.movedim(self.axis, 0)
        return tensor if self.per_example == 1 else tensor.view(-1, self.per_example, *tensor.shape[1:])


class Gradients(NamedTuple):
    """The gradients of one score of the outputs.

    Attributes:
        outputs: each module's output gradients, call by call, one example's each.
        parameters: of each parameter that no rule covers, the gradient summed over the batch.
    """

    outputs: dict[str, list[Tensor]]
    parameters: dict[str, Tensor]


class Captured(NamedTuple):
    """The results of one forward pass.

    Attributes:
        outputs: the network's outputs, ``[B, ...]``.
        inputs: what each module was given, call by call.
        backward: score ``[B, ...]`` -> gradients.
    """

    outputs: Tensor
    inputs: dict[str, list[Tensor]]
    backward: Callable[[Tensor], Gradients]


class Recorded(NamedTuple):
    """The results of one forward pass that autograd recorded.

    Attributes:
        outputs: the network's outputs, ``[B, ...]``.
        inputs: what each module was given, call by call.
        named: the parameters, by their name.
        others: names of those that no rule covers.
        added: the zeros that were added to each module's outputs, call by call.
    """

    outputs: Tensor
    inputs: dict[str, list[Tensor]]
    named: dict[str, Tensor]
    others: Sequence[str]
    added: dict[str, list[Tensor]]

    def backward(self, score: Tensor) -> Gradients:
        """Return the gradients for a score ``[B, ...]``."""
        leaves = [zero for zeros in self.added.values() for zero in zeros]
        leaves += [self.named[name] for name in self.others]
        if not leaves:
            return Gradients({name: [] for name in self.added}, {})
        gradients = iter(torch.autograd.grad(self.outputs, leaves, score, retain_graph=True, materialize_grads=True))
        outputs = {name: [next(gradients) for _ in zeros] for name, zeros in self.added.items()}
        return Gradients(outputs, dict(zip(self.others, gradients, strict=True)))

    def gradient(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of a loss ``[]`` of the outputs, parameter by parameter."""
        return list(torch.autograd.grad(loss, list(self.named.values()), materialize_grads=True))


class Capture:
    """A network whose layers are known, ready to be captured. The module has hooks during a pass only.

    Attributes:
        layers: by name.
        calls: the outputs' shapes of each of the layers' modules, call by call.
        others: names of the parameters that no rule covers.
    """

    def __init__(self, model: FlatModel, layers: dict[str, Layer], calls: dict[str, list[CallShape]]) -> None:
        """Take layers and the calls of their modules, as ``inspection`` finds them."""
        self._model = model
        self.layers = layers
        self.calls = calls
        self.others = [name for name, layer in layers.items() if layer.rule is OTHER]

    def forward(self, params: Tensor, inputs: Tensor, key: Tensor | None = None) -> Captured:
        """Run the network at ``params [P]`` on ``inputs [B, ...]``, with the dropout of a key."""
        named = self._model.unflatten(params)
        others = {name: named[name] for name in self.others}

        def run(added: dict[str, list[Tensor]], others: dict[str, Tensor]) -> tuple[Tensor, dict[str, list[Tensor]]]:
            return self._run({**named, **others}, inputs, key, added)

        zeros = {
            name: [params.new_zeros(call.of_batch(len(inputs))) for call in calls] for name, calls in self.calls.items()
        }
        pulled: Any = torch.func.vjp(run, zeros, others, has_aux=True)
        outputs, backward, given = pulled
        return Captured(outputs, given, lambda score: Gradients(*backward(score)))

    def record(self, params: Tensor, inputs: Tensor, key: Tensor | None = None) -> Recorded:
        """Run the network as ``forward`` does, for one node, recorded by autograd; far less fixed cost, but no vmap."""
        named = {name: value.detach().requires_grad_() for name, value in self._model.unflatten(params).items()}
        zero = params.new_zeros(())
        added = {
            name: [zero.expand(call.of_batch(len(inputs))).requires_grad_() for call in calls]
            for name, calls in self.calls.items()
        }
        with torch.enable_grad():
            outputs, given = self._run(named, inputs, key, added)
        given = {name: [value.detach() for value in values] for name, values in given.items()}
        return Recorded(outputs, given, named, self.others, added)

    def uses(self, layer: Layer, captured: Captured | Recorded, gradients: Sequence[Gradients]) -> list[Use]:
        """Return the uses of a layer's parameters in a pass, with their gradients for each score."""
        if layer.rule is OTHER:
            return [Use(None, captured.outputs, [of_score.parameters[layer.name] for of_score in gradients])]
        return [
            Use(
                module,
                call.batch_first(captured.inputs[name][number]),
                [call.batch_first(of_score.outputs[name][number]) for of_score in gradients],
            )
            for name, module in layer.modules.items()
            for number, call in enumerate(self.calls[name])
        ]

    def _run(
        self, named: dict[str, Tensor], inputs: Tensor, key: Tensor | None, added: dict[str, list[Tensor]]
    ) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Run the network with ``added`` to its modules' outputs; return its outputs and what each module was given."""
        given: dict[str, list[Tensor]] = {name: [] for name in self.calls}

        def capture(name: str, value: Tensor, output: Tensor) -> Tensor:
            zeros, number = added[name], len(given[name])
            if number == len(zeros):
                raise OtherCallsError(name, f"is called more than {number} times")
            if output.shape != zeros[number].shape:  # a sum might still be possible
                shapes = f"{tuple(output.shape)}, not {tuple(zeros[number].shape)}"
                raise OtherCallsError(name, f"returns shape {shapes}, for {len(inputs)} examples")
            given[name].append(value)
            return output + zeros[number]

        with listening(self._model, self.calls, capture, inputs.device):
            outputs = self._model.apply(named, inputs, key)
        for name, zeros in added.items():
            if len(given[name]) < len(zeros):
                raise OtherCallsError(name, f"is called {len(given[name])} times, not {len(zeros)}")
        return outputs, given


@contextmanager
def listening(model: FlatModel, names: Iterable[str], listener: Listener, device: torch.device) -> Iterator[None]:
    """Send outputs of named modules in a pass on a device through ``listener``, before hooks of the user's see them."""

    def send(name: str, module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Any) -> Any:
        return listener(name, args[0] if args else kwargs["input"], output)

    module = model.own_module(device)
    handles = [
        module.get_submodule(name).register_forward_hook(partial(send, name), prepend=True, with_kwargs=True)
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
