"""Configuration of the nodes' devices, for the virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ngpd_fl.config.sections import Section


class DevicesConfig(Section):
    """Devices of the nodes, for the virtual clock. Nothing here depends on the machine that computes the run."""

    seconds_per_step: float = Field(
        0.01,
        gt=0,
        description="seconds of a local step of SGD on the reference device, which a class's step_factor multiplies; "
        "ngpd-fl calibrate measures it",
    )
    relative_cost: float | None = Field(
        None, gt=0, description="a local step of the strategy over one of SGD; unset: as docs/how-to/devices.md lists"
    )
    table: Path | None = Field(
        None, description="device classes of your own, .toml or .csv; they come before shipped ones of the same name"
    )
    mix: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None,
        description="shares of device classes, e.g. {jetson-nano = 3, raspberry-pi-4 = 1}; each node's class is drawn; "
        "unset: all are the reference device, whose links take no time",
    )
    classes: tuple[str, ...] = Field((), description="instead of mix: the class of every node, from node 0 on")
    step_sigma: float = Field(
        0.0,
        ge=0,
        le=5,
        description="a node's step time is its class's times a log-normal draw of median 1 with this sigma",
    )
    link_sigma: float = Field(0.0, ge=0, le=5, description="the same for its links' rates, one draw for both ways")
    replay: Path | None = Field(
        None, description="event log of a run on the same graph, whose events happen again; unset: they are computed"
    )
    slow: dict[Annotated[int, Field(ge=0)], Annotated[float, Field(gt=0)]] | None = Field(
        None, description="stragglers: node and the factor on its step time, e.g. {3 = 10}"
    )

    @model_validator(mode="after")
    def _one_choice(self) -> DevicesConfig:
        if self.mix == {}:
            raise ValueError("mix: needs at least one class; leave it unset for the reference device")
        if self.mix is not None and self.classes:
            raise ValueError("classes: mix draws the classes already; give one of the two")
        return self
