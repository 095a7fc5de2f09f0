"""Ray clusters on loopback: each machine is a raylet of its own, with a folder for temporary files of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ngpd_fl.flower.launcher.superlink_client import SETTINGS, around_proxies, program
from tests.support.ports import free_port

_MEMORY = 80_000_000
"""Bytes of a machine's object store; the least that Ray takes."""


@dataclass(frozen=True)
class RayMachine:
    """A machine with one core in a cluster.

    Attributes:
        address: of the cluster.
        temporary: its folder for temporary files.
        process: the command `ray start`, whose process group all of the machine's processes are in.
    """

    address: str
    temporary: Path
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Kill all of its processes at once, as a power cut does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def ray_machine(address: str = "") -> Iterator[RayMachine]:
    """Start the first machine of a new cluster, or one more for the cluster at an address; stop it in the end."""
    temporary = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets have short paths
    words = [program("ray"), "start", "--block", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
    words += ["--object-store-memory", str(_MEMORY), "--disable-usage-stats"]
    if address:
        words += ["--address", address]
    else:
        address = f"127.0.0.1:{free_port()}"
        words += ["--head", "--port", address.partition(":")[2], "--ray-client-server-port", str(free_port())]
        words += ["--include-dashboard", "false", "--temp-dir", str(temporary / "ray")]
    environment = around_proxies({**os.environ, **SETTINGS, "TMPDIR": str(temporary)})
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    machine = RayMachine(address, temporary, process)
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield machine
    finally:
        if process.poll() is None:
            machine.kill()
        shutil.rmtree(temporary, ignore_errors=True)
