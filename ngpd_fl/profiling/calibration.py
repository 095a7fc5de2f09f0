"""Calibration: this machine as a device class, with the time of a local step and the speed of the disk.

Steps are timed as ``ngpd-fl estimate`` times them, on two nodes of the configured run, one after the other because a
device computes one node. Links and power cannot be measured here; the user fills them in.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import networkx as nx

from ngpd_fl.config import Config, InputError
from ngpd_fl.core import machine
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.devices import DeviceClass
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.profiling.memory import message_bytes
from ngpd_fl.profiling.timing import mean_round
from ngpd_fl.training import Job, compose
from strategies import DSGDOptions
from topologies import Topology

_BLOCK_BYTES, _BLOCKS = 2**20, 32
_TURNS = 2


class Calibration(NamedTuple):
    """Measurements of this machine.

    Attributes:
        config: the configured run, with its network and strategy.
        sgd_seconds: seconds of a local step of SGD without momentum, with its share of an exchange.
        strategy_seconds: seconds of a local step of the configured strategy, likewise.
        message_bytes: bytes of one message.
        write_bytes_s: bytes written to the disk per second.
    """

    config: Config
    sgd_seconds: float
    strategy_seconds: float
    message_bytes: int
    write_bytes_s: float

    @property
    def relative_cost(self) -> float:
        """The time of a local step of the strategy over that of SGD."""
        return self.strategy_seconds / self.sgd_seconds

    def device_class(self) -> DeviceClass:
        """Return the device class, with links that take no time and unknown power."""
        config = self.config
        setting = f"{config.model.name} on {config.data.dataset}, batch {config.data.batch_size}"
        threads = f"{config.engine.threads} thread{'s' * (config.engine.threads > 1)}"
        return DeviceClass(
            step_seconds=_rounded(self.sgd_seconds),
            memory_bytes=machine.memory(),
            write_bytes_s=_rounded(self.write_bytes_s),
            source=f"measured by ngpd-fl calibrate: {setting}, {threads}, {machine.processor()}",
        )


def calibrate(config: Config, folder: Path) -> Calibration:
    """Measure this machine, in up to half a minute; nothing stays on the disk.

    Args:
        config: the run that the device will take part in.
        folder: a folder on the disk to time.

    Raises:
        InputError: the configuration cannot be run, or the folder cannot be written to.
    """
    write_bytes_s = write_speed(folder)
    with own_settings(config.engine.threads):
        job = compose(config)
        sgd = compose(config.model_copy(update={"strategy": DSGDOptions(momentum=0.0)}))
        # In turn, and the minimum of each: other programs on the machine can only add to the time.
        turns = [(step_seconds(sgd), step_seconds(job)) for _ in range(_TURNS)]
        sgd_seconds, strategy_seconds = map(min, zip(*turns, strict=True))
        return Calibration(config, sgd_seconds, strategy_seconds, message_bytes(job), write_bytes_s)


def step_seconds(job: Job) -> float:
    """Return the mean seconds of a local step of one node, with its share of an exchange with one neighbor."""
    engine = SynchronousEngine(replace(job.engine_settings, topology=Topology([nx.path_graph(2)]), chunk_size=1))
    for _ in range(2):  # warm up
        engine.run_round()
    return mean_round(job, engine) / (2 * job.config.training.local_steps)


def write_speed(folder: Path) -> float:
    """Return the bytes per second that are written and synchronized to the disk of ``folder``."""
    block = os.urandom(_BLOCK_BYTES)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            began = time.perf_counter()
            for _ in range(_BLOCKS):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            return _BLOCKS * _BLOCK_BYTES / (time.perf_counter() - began)
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written to ({error.strerror})") from error


def _rounded(value: float) -> float:
    """Round a measurement to four significant digits."""
    return float(f"{value:.4g}")
