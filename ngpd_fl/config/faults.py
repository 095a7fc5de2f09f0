"""Configuration of faults. Times are seconds of the virtual clock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ngpd_fl.config.sections import Section

Node = Annotated[int, Field(ge=0)]


class Period(Section):
    """A period of time: from ``at_s`` until just before ``until_s``."""

    at_s: float = Field(0.0, ge=0, description="when it begins")
    until_s: float | None = Field(None, description="when it is over; unset: never")

    @model_validator(mode="after")
    def _runs_forward(self) -> Period:
        if self.until_s is not None and self.until_s <= self.at_s:
            raise ValueError(f"until_s: must be more than at_s = {self.at_s} (got {self.until_s})")
        return self

    def covers(self, time: float) -> bool:
        """Return whether the period includes ``time``."""
        return self.at_s <= time and (self.until_s is None or time < self.until_s)


class Leave(Period):
    """A node is away in the period. If that begins at time 0, the node joins at ``until_s``."""

    node: Node = Field(description="number or label of the node")


class Slow(Period):
    """A node is slowed down: local steps that begin in the period take longer."""

    node: Node = Field(description="number or label of the node")
    factor: float = Field(gt=0, description="on the time that they take")


class Cut(Period):
    """Edges are cut: messages that are sent over them in the period are lost."""

    edges: tuple[tuple[Node, Node], ...] = Field((), description="these edges, both ways")
    groups: tuple[tuple[Node, ...], ...] = Field(
        (), description="instead: all edges between different groups of nodes; nodes in none are one more group"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Cut:
        if bool(self.edges) == bool(self.groups):
            raise ValueError("edges: give either edges or groups")
        members = [node for group in self.groups for node in group]
        if twice := sorted({node for node in members if members.count(node) > 1}):
            raise ValueError(f"groups: a node is in one group at most (node {twice[0]} is in more)")
        return self


class Corrupt(Period):
    """A node sends corrupt messages, which receivers can recognize."""

    node: Node = Field(description="number or label of the node")
    kind: Literal["nan", "shape", "huge"] = Field(description="not a number, arrays of another shape, or huge numbers")


class Byzantine(Period):
    """A node is Byzantine: it sends well-formed messages that are false."""

    node: Node = Field(description="number or label of the node")
    kind: Literal["sign-flip", "gaussian"] = Field(
        description="sign-flip: times -scale; gaussian: plus scale times a normal draw for each number"
    )
    scale: float = Field(1.0, gt=0, description="how large it is")


class FaultsConfig(Section):
    """Faults by the virtual clock. The same seed and schedule give the same faults.

    ``network.message_loss`` and the devices' ``online_s`` come on top.
    """

    burst_begin: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability, at each message over an edge, that a burst begins: all in it are lost",
    )
    burst_end: float = Field(
        0.25, gt=0, le=1, description="probability, at each message in a burst, that it is over before that message"
    )
    delay_probability: float = Field(0.0, ge=0, le=1, description="probability that a message is delayed")
    duplicate_probability: float = Field(
        0.0, ge=0, le=1, description="probability that a message comes a second time, later"
    )
    delay_s: float | None = Field(
        None,
        gt=0,
        description="mean, exponentially distributed, of a delay, and of the time from a message to its copy",
    )
    leave: tuple[Leave, ...] = Field(
        (),
        description="nodes that are away, and when, e.g. [{node = 3, at_s = 2, until_s = 5}]; overlapping periods join",
    )
    slow: tuple[Slow, ...] = Field(
        (), description="nodes that compute slowly, and when, e.g. [{node = 3, at_s = 2, factor = 4}]; factors multiply"
    )
    cut: tuple[Cut, ...] = Field(
        (),
        description="edges that lose all messages, and when, e.g. [{edges = [[0, 1]]}] or "
        "[{groups = [[0, 1, 2]], until_s = 5}]",
    )
    corrupt: tuple[Corrupt, ...] = Field(
        (), description='nodes whose messages are corrupt, and when, e.g. [{node = 3, kind = "nan"}]'
    )
    byzantine: tuple[Byzantine, ...] = Field(
        (),
        description='Byzantine nodes, and when, e.g. [{node = 3, kind = "sign-flip", scale = 1}]; of several '
        "periods of a node the first counts",
    )
    refuse_above: float = Field(
        100.0,
        ge=1,
        description="with corrupt or byzantine: a node refuses a message whose norm is this many times that of the "
        "last message it sent itself, or that holds anything but numbers",
    )

    @model_validator(mode="after")
    def _delay_is_given(self) -> FaultsConfig:
        if (self.delay_probability or self.duplicate_probability) and self.delay_s is None:
            raise ValueError("delay_s: delay_probability and duplicate_probability need it")
        return self

    def nodes(self) -> dict[str, set[int]]:
        """Return the nodes that each schedule names."""
        named = {
            key: {period.node for period in getattr(self, key)} for key in ("leave", "slow", "corrupt", "byzantine")
        }
        return {**named, "cut": {node for cut in self.cut for ends in (*cut.edges, *cut.groups) for node in ends}}
