"""All peers of a network as threads of one process, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ngpd_fl import Config
from ngpd_fl.peer import run as running
from ngpd_fl.peer.timeouts import NodeTimeouts
from ngpd_fl.peer.transport import MemoryNetwork, Routes
from ngpd_fl.training import compose
from ngpd_fl.training.callbacks import Callback
from ngpd_fl.training.loop import TrainingLoop

_TIMEOUTS = NodeTimeouts(120, 120)
_lock = threading.Lock()


def _compose(*arguments: Any) -> Any:
    with _lock:  # networks are drawn by torch's only generator
        return compose(*arguments)


running.compose = _compose  # type: ignore[attr-defined]


class OnStart(Callback):
    """Calls a function with a peer's engine and recorder before it waits for its neighbors."""

    def __init__(self, function: Callable[[Any, Any], None]) -> None:
        self._function = function

    def on_start(self, run: TrainingLoop) -> None:
        self._function(run.engine, run.recorder)


class Crowd:
    """The peers of a run, each a thread at a time."""

    def __init__(
        self,
        config: Config,
        out: Path,
        hosted: Sequence[Sequence[int]] | None = None,
        network: MemoryNetwork | None = None,
        timeouts: NodeTimeouts = _TIMEOUTS,
    ) -> None:
        self.config = config
        self.out = out
        self.hosted = hosted or [[node] for node in range(config.topology.nodes)]
        self.network = network or MemoryNetwork()
        self.timeouts = timeouts
        self.summaries: dict[int, dict[str, Any]] = {}
        self.errors: list[BaseException] = []
        self.events: list[str] = []
        hosts = {node: f"peer{number}" for number, nodes in enumerate(self.hosted) for node in nodes}
        self._edges = _compose(config).topology.edges
        self._hosts = hosts

    def routes(self, number: int) -> Routes:
        return Routes.of(f"peer{number}", self._hosts, self._edges)

    def folder(self, number: int) -> Path:
        return self.out / f"peer{number}"

    def start(self, number: int, **options: Any) -> threading.Thread:
        """Start a peer; ``options`` are those of ``run_peer``, and ``on_start`` a function for ``OnStart``."""
        thread = threading.Thread(target=self._be, args=(number, options))
        thread.start()
        return thread

    def run(self, options: Mapping[int, dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Run all to the end and return their summaries."""
        threads = [self.start(number, **(options or {}).get(number, {})) for number in range(len(self.hosted))]
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return [self.summaries[number] for number in range(len(self.hosted))]

    def _be(self, number: int, options: dict[str, Any]) -> None:
        transport = self.network.transport(self.routes(number))
        options = {"timeouts": self.timeouts, "on_event": self.events.append, **options}
        if "on_start" in options:
            options["callbacks"] = [OnStart(options.pop("on_start"))]
        try:
            self.summaries[number] = running.run_peer(
                self.config, self.hosted[number], transport, self.folder(number), **options
            )
        except BaseException as error:
            self.errors.append(error)
