"""The contract that every decentralized algorithm keeps.

An algorithm is written once, for **one node**: pure functions on tensors without a node axis, no input or output,
no clock, no global state and no random numbers of its own. Engines stack many nodes with ``torch.func.vmap``, ship
one node in a client, or drive it from an event queue; the algorithm cannot tell which.

Engines also trace these functions: from the third call with tensors of the same shapes on, the operations are replayed
and the Python code does not run (``ngpd_fl.core.trace``). What a function does may depend on shapes and options alone.

Notation, shared by every file of this package
(Niwa et al., "Natural Gradient Primal-Dual Method for Decentralized Learning", IEEE TSIPN 10, 2024):

======== ================ =============================================================
symbol   name in code     meaning
======== ================ =============================================================
N        ``num_nodes``    nodes of the network
E_i      ``degree``       neighbors of node i on the union graph
D        slots            places for neighbors at this node; D >= E_i (spare slots are masked)
w_i      ``params``       parameters of node i, a flat vector of P floats
a_ij     ``sign``         +1 if i < j else -1, so a_ij = -a_ji
z_i|j    ``dual``         what node i holds for its edge to j, P floats
mu       ``lr``           step size
eta_ij   ``edge_penalty`` weight of the edge constraint, the same at both ends
K        ``local_steps``  minibatch steps between two exchanges (one round)
======== ================ =============================================================

``[...]`` in docstrings gives a tensor's shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import Field, field_validator, model_validator

from strategies.base import BaseStrategyOptions
from strategies.compression.options import AnyCompression
from strategies.lazy_torch import Tensor

State = Any
"""The memory of a node between calls: a (nested) NamedTuple whose leaves are tensors, so that engines can stack it.

A part that the options leave out is the empty tuple."""

Message = Any
"""A NamedTuple of tensors; a field listed in ``Spec.per_edge`` is ``[D, ...]``, any other is one value for all."""


@dataclass(frozen=True)
class Spec:
    """An algorithm's needs of the network, and the fields of its messages.

    Attributes:
        per_edge: the message's fields that hold one value per neighbor, ``[D, ...]``.
            The others hold one value that every neighbor receives.
        directed: the directed graphs that it works on: none, those with doubly stochastic weights ("balanced"), or any.
        tree: the union graph must be a tree.
        static: the graph must not vary over time.
        reliable: every message must arrive.
        single_step: only ``local_steps = 1`` is meaningful.
        compress: names of the codecs that its theory allows.
    """

    per_edge: tuple[str, ...] = ()
    directed: Literal["none", "balanced", "any"] = "none"
    tree: bool = False
    static: bool = False
    reliable: bool = False
    single_step: bool = False
    compress: tuple[str, ...] = ()


class View(NamedTuple):
    """One node's view of the union graph; it never changes during a run.

    Attributes:
        node: this node's index in the graph, int64 ``[]``.
        num_nodes: N, int64 ``[]``.
        exists: which slots hold a neighbor, bool ``[D]``; False marks padding.
        neighbor: the neighbor's node index, int64 ``[D]`` (own index where padded).
        reverse: this node's slot at that neighbor, int64 ``[D]`` (0 where padded).
        sign: a_ij, float ``[D]``, 0 where padded.
        edge_penalty: eta_ij, float ``[D]``, 0 where padded.
    """

    node: Tensor
    num_nodes: Tensor
    exists: Tensor
    neighbor: Tensor
    reverse: Tensor
    sign: Tensor
    edge_penalty: Tensor


class RoundView(NamedTuple):
    """One node's view of the graph in this round.

    Attributes:
        round: the round's number from 0, int64 ``[]``.
        sends: slots on which this node sends now, bool ``[D]``.
        receives: slots on which the neighbor sends now (its message may still be lost), bool ``[D]``.
        weight_own: W_ii, float ``[]``.
        weight_in: W_ij, what node i gives to neighbor j's value, float ``[D]``.
        weight_out: W_ji, what neighbor j gives to node i's value, float ``[D]``.
    """

    round: Tensor
    sends: Tensor
    receives: Tensor
    weight_own: Tensor
    weight_in: Tensor
    weight_out: Tensor


class Headers(NamedTuple):
    """Headers of the messages that arrived, one for each slot; made by the engine, never by the algorithm.

    Attributes:
        received: slots whose message arrived and is new, bool ``[D]``. Other slots of the inbox hold zeros.
        applied: bitmap, int64 ``[D]``: bit k says that the neighbor, when it sent this message, had applied the
            (k+1)-th last of the messages that this node has sent to it in earlier rounds. 0 for one that was lost,
            dropped, or still on its way when the neighbor sent.
        age: rounds between the message's sending and now, int64 ``[D]``; 0 in a synchronous engine.
        reset: slots on which one end has gone back to an earlier state since the last message that arrived there, bool
            ``[D]``: what the neighbor had applied until then is not known.
    """

    received: Tensor
    applied: Tensor
    age: Tensor
    reset: Tensor


class Step(NamedTuple):
    """One local step's inputs, all made outside the algorithm and keyed by (seed, node, step).

    Attributes:
        batch: what the objective reads, e.g. ``(inputs [B, ...], targets [B])``, and the key of a network's dropout.
        draws: random numbers for the curvature, e.g. uniform ``[B]`` for Monte-Carlo labels.
        lr_scale: the schedule's factor on ``lr`` in this step, float ``[]``.
    """

    batch: Any
    draws: Tensor
    lr_scale: Tensor


class Phase(NamedTuple):
    """The special work of a local step. Static: an engine groups nodes whose phase is the same."""

    refresh_factors: bool = False
    refresh_basis: bool = False


class StepInfo(NamedTuple):
    """The report of a local step: its minibatch's ``loss``, and the trust region's ``shrink`` (1: step kept whole)."""

    loss: Tensor
    shrink: Tensor


class Matrix(NamedTuple):
    """The place of a matrix ``[rows, columns]`` in the flat parameters, row by row from ``start``."""

    start: int
    rows: int
    columns: int


class Objective(Protocol):
    """The function that a node minimizes: f_i on one minibatch, as a pure function of the flat parameters."""

    @property
    def matrices(self) -> Sequence[Matrix]:
        """The weight matrices of hidden layers, in their order in the vector; only algorithms made for these ask."""
        ...

    def gradient(self, params: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        """Return the loss ``[]`` and its gradient ``[P]`` at ``params [P]``."""
        ...


class Curvature(Protocol):
    """A Fisher matrix F_i that a node estimates as it goes, and the solve with it."""

    def init(self, params: Tensor) -> State:
        """Return the curvature state before the first refresh, in the type and on the device of ``params [P]``."""
        ...

    def gradient(
        self, state: State, params: Tensor, batch: Any, draws: Tensor, phase: Phase, smoothing: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Return the state (refreshed as ``phase`` says), the loss ``[]`` and its gradient ``[P]``.

        ``smoothing`` ``[]`` is the share of uniform labels among those that F_i is made of.
        """
        ...

    def solve(self, state: State, force: Tensor, lr: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return step = [(F + damping I) / lr + shift I]^-1 force ``[P]`` and step^T F step ``[]``."""
        ...

    def largest(self, state: State) -> Tensor:
        """Return F's largest eigenvalue ``[]``."""
        ...

    def quadratic(self, state: State, vector: Tensor) -> Tensor:
        """Return vector^T F vector ``[]`` for ``vector [P]``."""
        ...

    def divergence(self, params: Tensor, step: Tensor, batch: Any) -> Tensor:
        """Return the KL divergence ``[]`` of the outputs at ``params [P]`` from those before ``step [P]`` led there."""
        ...


class StrategyOptions(BaseStrategyOptions):
    """Base of every algorithm's options: the one place where its parameters are documented and checked.

    A subclass fixes ``name`` to its own, with a default.
    """

    message_dtype: Literal["float16", "bfloat16", "float32"] | None = Field(
        None, description="type to which the numbers in messages are rounded; unset: they go as they are"
    )
    compress: AnyCompression | None = Field(
        None,
        discriminator="name",
        description="compression of messages: top-k or random-k (the share compress.keep of the entries) or "
        "quantize (compress.bits a number); unset: none",
    )

    second_order: ClassVar[bool] = False
    """Whether the algorithm works with a ``Curvature`` instead of an ``Objective``."""

    spec: ClassVar[Spec]
    """The algorithm's needs of the network, with its messages whole."""

    @field_validator("compress", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        usual = cls.model_fields["compress"].default
        return {"name": usual.name, **value} if usual is not None and isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _compressible(self) -> Self:
        if self.compress is not None and self.compress.name not in self.spec.compress:
            allowed = f"allowed: {', '.join(self.spec.compress)}, or unset" if self.spec.compress else "unset it"
            raise ValueError(f"compress: {self.name} does not work with {self.compress.name}; {allowed}")
        return self

    @property
    def title(self) -> str:
        """The algorithm's name in errors about its needs."""
        return self.name if self.compress is None else f"{self.name} with compress = {self.compress.name}"

    def for_mode(self, mode: str) -> Self:
        """Return the options of a run in ``training.mode``: what is unset gets the value that fits it."""
        return self

    @property
    def shares_mask(self) -> bool:
        """Whether both ends of an edge know which entries travel, so that all others stay as they are."""
        return bool(self.spec.per_edge) and self.compress is not None and self.compress.has_key

    @property
    def needs(self) -> Spec:
        """The algorithm's needs of the network, and its message's fields, as it is compressed."""
        if self.compress is None:
            return self.spec
        parts = self.compress.parts._fields
        per_edge = tuple(f"{field}_{part}" for field in self.spec.per_edge for part in parts)
        if self.shares_mask:
            return replace(self.spec, per_edge=per_edge)
        return replace(self.spec, per_edge=per_edge, static=True, reliable=True)


class Strategy(Protocol):
    """A decentralized algorithm, for one node, made from its options and what it minimizes."""

    @property
    def options(self) -> StrategyOptions:
        """The algorithm's parameters."""
        ...

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return eta_ij, symmetric in the two degrees; 0 for an algorithm without edge constraints."""
        ...

    def phase(self, step: int) -> Phase:
        """Return the special work of local step number ``step`` (counted from 0 over the whole run)."""
        ...

    def init(self, params: Tensor, view: View) -> State:
        """Return the state of a node that starts at ``params [P]``, the same at every node."""
        ...

    def local_step(self, state: State, view: View, step: Step, phase: Phase) -> tuple[State, StepInfo]:
        """Do one step on the node's own data."""
        ...

    def outgoing(self, state: State, view: View, round_view: RoundView) -> Message:
        """Return the message of this node in this round."""
        ...

    def incoming(
        self, state: State, view: View, round_view: RoundView, inbox: Message, outbox: Message, headers: Headers
    ) -> State:
        """Apply the messages of the neighbors.

        ``inbox`` has a slot axis on every field, ``[D, ...]``. ``outbox`` is this node's own message as it went over
        the wire: with a lossy codec the neighbor has seen the decoded value, not the exact one.
        """
        ...

    def estimate(self, state: State) -> Tensor:
        """Return the parameters that evaluation sees, ``[P]``."""
        ...
