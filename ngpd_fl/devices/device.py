"""Device classes, which are rows of a table, and the device of one node."""

from __future__ import annotations

from math import inf

from pydantic import Field, field_validator, model_validator

from ngpd_fl.config import Section


class Traits(Section):
    """Fields that a device class and a node's device have in common. Units are part of the names.

    Rates are in kilobits, 1000 bits, a second: 8 kbit/s carry 1000 bytes a second.
    """

    up_kbit_s: float = Field(inf, gt=0, description="rate of the up-link; unset: sending takes no time")
    down_kbit_s: float = Field(inf, gt=0, description="rate of the down-link; unset: receiving takes no time")
    latency_s: float = Field(
        0.0, ge=0, description="delay of a message on this device's access to the network, paid at both ends"
    )
    jitter_s: float = Field(
        0.0, ge=0, description="mean of a further delay, drawn for each message from an exponential distribution"
    )
    online_s: float = Field(inf, gt=0, description="mean seconds, exponentially distributed, that it stays online")
    offline_s: float = Field(
        0.0, ge=0, description="mean seconds, exponentially distributed, until it is back; comes with online_s"
    )
    memory_bytes: int | None = Field(None, ge=1, description="memory that a node may take; unset: no limit is known")
    write_bytes_s: float | None = Field(None, gt=0, description="bytes a second that its disk takes in")
    compute_w: float | None = Field(None, gt=0, description="power of the whole device while it computes")
    idle_w: float = Field(0.0, ge=0, description="power of the whole device while it does not")
    send_w: float = Field(0.0, ge=0, description="power on top of either while its up-link sends")
    source: str = Field(description="where these numbers come from, and which are assumed")

    @field_validator("source")
    @classmethod
    def _says_something(cls, source: str) -> str:
        if not source.strip():
            raise ValueError("must say where the numbers come from, or that they are assumed")
        return source

    @model_validator(mode="after")
    def _fits(self) -> Traits:
        if (self.online_s < inf) != (self.offline_s > 0):
            raise ValueError("offline_s: online_s and offline_s need each other; unset both where it is always online")
        if self.compute_w is None and (self.idle_w or self.send_w):
            raise ValueError("compute_w: idle_w and send_w need it")
        if self.compute_w is not None and self.compute_w < self.idle_w:
            raise ValueError(f"compute_w: must be at least idle_w = {self.idle_w} (got {self.compute_w})")
        return self


class DeviceClass(Traits):
    """A device class: a row of a table. Its speed is given by ``step_seconds`` or by ``step_factor``."""

    step_seconds: float | None = Field(None, gt=0, description="seconds of a local step of SGD on the run's network")
    step_factor: float | None = Field(
        None, gt=0, description="instead: how much longer such a step takes than on the reference device"
    )

    @model_validator(mode="after")
    def _one_speed(self) -> DeviceClass:
        if (self.step_seconds is None) == (self.step_factor is None):
            raise ValueError("step_seconds: give either step_seconds or step_factor")
        return self

    def device(self, name: str, seconds_per_step: float) -> Device:
        """Return a device of this class.

        Args:
            name: the name of the class.
            seconds_per_step: duration of a local step of SGD on the reference device.
        """
        step_seconds = self.step_seconds or (self.step_factor or 1.0) * seconds_per_step
        traits = self.model_dump(exclude_defaults=True, exclude={"step_seconds", "step_factor"})
        return Device(name=name, step_seconds=step_seconds, **traits)


class Device(Traits):
    """The device of one node."""

    name: str = Field(description="of its class")
    step_seconds: float = Field(gt=0, description="seconds of a local step of SGD on the run's network")

    def scaled(self, step_seconds: float, rate: float) -> Device:
        """Return a copy with its step time and the rates of its links multiplied by these factors."""
        return self.model_copy(
            update={
                "step_seconds": self.step_seconds * step_seconds,
                "up_kbit_s": self.up_kbit_s * rate,
                "down_kbit_s": self.down_kbit_s * rate,
            }
        )
