"""Trackio. Its own environment variables apply, such as ``TRACKIO_DIR``; runs are stored on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any
from uuid import uuid4

from ngpd_fl.training.trackers.wandb import WandB


class Trackio(WandB):
    """Sends a run to Trackio, whose histograms and artifacts have the interface of Weights & Biases."""

    name = "trackio"

    def open(self, run: str | None, title: str, config: Mapping[str, Any]) -> str:
        """Begin or resume a run. Trackio knows runs by their names: a new one gets a number behind its title."""
        self._module = import_module("trackio")
        name = run or f"{title}-{uuid4().hex[:8]}"
        resume = "allow" if run else "never"
        with redirect_stdout(sys.stderr):  # results alone go to stdout
            self._tracked = self._module.init(self.project, name, config=dict(config), resume=resume, embed=False)
        return str(self._tracked.name)

    def log(self, values: dict[str, Any], round: int) -> None:
        """Log numbers and histograms by their tags."""
        self._tracked.log(values, step=round)

    def close(self, status: str) -> None:
        """Wait until everything is stored."""
        with redirect_stdout(sys.stderr):
            self._tracked.finish()
