"""Storage of a client's state between two messages.

Parameters, duals and the state of edges lie in Flower's ``context.state``, which travels with every message. If all
processes that may get the next message share a machine, this transfer is unnecessary: the state then lies in a scratch
folder of this machine, and the context identifies it. Curvature is large and can be estimated again, so it is always in
the scratch folder. With a ``state_dir``, everything is also on disk, for a client that is restarted. A process that
already holds the newest state uses it directly.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Set
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from torch import Tensor

from ngpd_fl.config import InputError
from ngpd_fl.core.machine import cores, memory
from ngpd_fl.engines import is_curvature
from ngpd_fl.flower.client.node_host import NodeHost
from ngpd_fl.records import write_tensors
from ngpd_fl.records.files import read_tensors, save_tensors

_TENSORS, _WHERE = "tensors", "where"


class StateLost(Exception):
    """A client no longer has the state of its last answer."""


class _Newest(NamedTuple):
    """A client as this process last left it: the context's token, its state's names, and their size in bytes."""

    token: str
    host: NodeHost
    names: Set[str]
    size: int


_in_process: OrderedDict[tuple[int, int], _Newest] = OrderedDict()
"""Clients whose last message this process handled, the most recent last."""

_UNKNOWN_MEMORY = 4 << 30
"""Assumed memory, in bytes, of a machine that does not report it."""


class StateStore:
    """Keeps the state of one client of one run."""

    def __init__(self, context: Context, client: int, state_dir: Path | None) -> None:
        """Prepare the storage.

        Args:
            context: Flower's context of the run.
            client: the client's number.
            state_dir: folder for its state on disk; None for no copy there.
        """
        self._context = context
        self._client = client
        self._key = (context.run_id, client)
        self._scratch = scratch(context.run_id) / f"client{client}"
        self._checkpoint = state_dir and state_dir / f"run-{context.run_id}" / f"client{client}.safetensors"
        self.lost_curvature = False

    def load(self, make: Callable[[], NodeHost], known: int) -> NodeHost:
        """Return the client in the state of its last answer.

        Args:
            make: returns a client at the start.
            known: the last round whose answer the server has; -1 if none.

        Raises:
            StateLost: the stored state is older than that.
        """
        newest = _in_process.pop(self._key, None)  # until it is kept again: it changes
        where = self._context.state.config_records.get(_WHERE)
        if newest and where and where["token"] == newest.token:
            return newest.host
        state = self._read_state(str(where["token"])) if where and int(str(where["worked"])) >= known else {}
        if where and state:
            worked = int(str(where["worked"]))
            state |= self._read_curvature(worked)
            host = newest.host if newest and newest.names == state.keys() else make()  # a group takes longer to make
            host.worked, host.read = worked, int(str(where["read"]))
            host.group.load(state)
            self.lost_curvature = worked >= 0 and host.group.has_forgotten
            return host
        host = make()
        if not self._read_checkpoint(host, known) and known >= 0:
            there = "a state-dir without it" if self._checkpoint else "no state-dir"
            raise StateLost(f"its state of round {known} is lost ({there}); it stays out")
        return host

    def save(self, host: NodeHost) -> None:
        """Store the client's state."""
        token, state = secrets.token_hex(8), host.group.state()
        before = self._context.state.config_records.get(_WHERE)
        curvature = {name: value for name, value in state.items() if is_curvature(name)}
        small = {name: value for name, value in state.items() if name not in curvature}
        if curvature or _is_one_machine():
            for folder in (self._scratch.parent, self._scratch):
                folder.mkdir(mode=0o700, exist_ok=True)
        if _is_one_machine():
            save_tensors(small, self._state_file(token))  # nobody reads it before the context names it
        else:
            self._context.state[_TENSORS] = ArrayRecord(
                {name: Array(value.cpu().numpy()) for name, value in small.items()}
            )
        if curvature and host.worked >= 0 and not self._curvature_file(host.worked).exists():
            write_tensors(self._curvature_file(host.worked), curvature, sync=False)
        # The previous state stays, in case the message is repeated.
        needed = {self._state_file(token), self._state_file(str(before and before["token"]))}
        needed |= {self._curvature_file(host.worked), self._curvature_file(host.worked - 1)}
        for path in set(self._scratch.glob("*.safetensors")) - needed:
            path.unlink(missing_ok=True)
        self._context.state[_WHERE] = ConfigRecord({"token": token, "worked": host.worked, "read": host.read})
        if self._checkpoint:
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(self._checkpoint, state, {"worked": str(host.worked), "read": str(host.read)})
        _in_process[self._key] = _Newest(token, host, frozenset(state), sum(value.nbytes for value in state.values()))
        _forget_the_oldest()

    def clear(self) -> None:
        """Remove the run's files on this machine, except those in the ``state_dir``."""
        _in_process.pop(self._key, None)
        shutil.rmtree(self._scratch, ignore_errors=True)
        with suppress(OSError):  # another client's lies there, or none ever did
            self._scratch.parent.rmdir()

    def _read_checkpoint(self, host: NodeHost, known: int) -> bool:
        """Load the client from its ``state_dir``; return False if that holds no state, or an older one."""
        if not self._checkpoint or not self._checkpoint.is_file():
            return False
        state, where = read_tensors(self._checkpoint)
        if int(where["worked"]) < known:
            return False
        host.group.load(state)
        host.worked, host.read = int(where["worked"]), int(where["read"])
        return True

    def _read_state(self, token: str) -> dict[str, Tensor]:
        """Return the state without the curvature; empty if it is not found."""
        there = self._context.state.array_records.get(_TENSORS)
        if there is None:
            return self._read(self._state_file(token))
        return {name: torch.from_numpy(array.numpy()) for name, array in there.items()}

    def _read_curvature(self, worked: int) -> dict[str, Tensor]:
        """Return the curvature from this machine, or from a ``state_dir`` that machines share; empty if in neither."""
        curvature = self._read(self._curvature_file(worked))
        if not curvature and self._checkpoint and self._checkpoint.is_file():
            state, where = read_tensors(self._checkpoint)
            if int(where["worked"]) == worked:
                return {name: value for name, value in state.items() if is_curvature(name)}
        return curvature

    def _state_file(self, token: str) -> Path:
        return self._scratch / f"state-{token}.safetensors"

    def _curvature_file(self, worked: int) -> Path:
        return self._scratch / f"curvature-{worked}.safetensors"

    def _read(self, path: Path) -> dict[str, Tensor]:
        """Return the tensors of such a file; empty if it is not on this machine."""
        try:
            return read_tensors(path).tensors if path.stat().st_uid == os.getuid() else {}
        except (OSError, InputError):
            return {}


def scratch(run_id: int) -> Path:
    """Return the scratch folder of a run on this machine."""
    return Path(tempfile.gettempdir()) / f"ngpd-fl-{os.getuid()}-{run_id}"


@cache
def _is_one_machine() -> bool:
    """Return whether every process that may get a client's next message is on this machine: Ray's, alone."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized() and sum(node["Alive"] for node in ray.nodes()) == 1


@cache
def _memory_limit() -> int:
    """Return this process's share of a quarter of the memory, in bytes; there is a process per core."""
    return (memory() or _UNKNOWN_MEMORY) // (4 * cores())


def _forget_the_oldest() -> None:
    """Drop the oldest clients beyond the memory limit."""
    while len(_in_process) > 1 and sum(newest.size for newest in _in_process.values()) > _memory_limit():
        _in_process.popitem(last=False)
