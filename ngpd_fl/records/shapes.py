"""Required shapes of a run's JSON files. Further keys are allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]
"""A number in [0, 1]; a mean may exceed 1 by rounding."""

Age = Annotated[str, StringConstraints(pattern=r"^\d{1,18}$")]


class Shape(BaseModel):
    """Base of all shapes: values have their types and are finite, and nothing is converted."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class ClockUsage(Shape):
    """Usage of a run by the virtual clock, as ``clock.Usage.record`` returns it."""

    mode: str
    virtual_seconds: Amount
    joules: Amount | None
    node_device: list[str]
    node_rounds: list[Count] = Field(min_length=1)
    messages_sent: Count
    messages_taken: Count
    messages_dropped: dict[str, Count]
    messages_on_their_way: Count
    staleness: dict[Age, Count]


class PeerRecord(Shape):
    """A peer in a summary, with the nodes that it hosts."""

    nodes: list[Count] = Field(min_length=1)
    rounds_skipped: Count = 0


class PeerStart(PeerRecord):
    """``peer.json``: the nodes of a peer, the number of its starts, and its last incarnation."""

    starts: Count
    incarnation: Count


class Target(Shape):
    """The target accuracy of a run, and its cost."""

    mean_accuracy: float
    reached: bool
    round: Count | None = None


class Summary(Shape):
    """``summary.json``, as ``RunRecorder.summary`` makes it."""

    status: Literal["finished", "diverged", "failed", "interrupted"]
    nodes: Count = 0
    rounds: Count = 0
    rounds_planned: Count = 0
    node_steps: Count = 0
    bytes_sent: Count = 0
    train_seconds: Amount = 0.0
    evaluation_seconds: Amount = 0.0
    parameters: Count = 0
    unused_classes: list[Count] = []
    evaluated_on: Literal["common", "own"] = "common"
    skew: dict[str, float | None] | None = None
    final: dict[str, float | None] | None = None
    target: Target | None = None
    decomposition_retries: dict[str, dict[str, Count]] = {}
    clock: ClockUsage | None = None
    peer: PeerRecord | None = None
    peers: list[PeerRecord] = []


class Resumption(Shape):
    """A resumption of a run in another environment."""

    round: Count
    changes: list[str]


class Environment(Shape):
    """``environment.json``, as ``describe_environment`` makes it."""

    packages: dict[str, str | None] = {}
    resumed: list[Resumption] = []


class CheckpointPlan(Shape):
    """``plan.json``: the number of rounds from one checkpoint to the next."""

    every: int = Field(ge=1, lt=2**63)


class CheckpointContent(Shape):
    """All of a checkpoint except its tensors, as ``Checkpoints.write`` makes it."""

    format: int
    round: Count
    tensors: str
    metrics: Annotated[tuple[Count, str], Field(strict=False)]
    values: dict[str, Any]


class CheckpointNotes(Shape):
    """A checkpoint's JSON file. The checksum is checked first: content that does not match it may be anything."""

    sha256: str
    content: dict[str, Any]
