"""Access to a SuperLink through Flower's command line, with its own settings and environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomli_w

SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_worker_niceness": "0",
}
"""Variables that stop Flower and Ray from contacting outside hosts and from installing packages, and that give clients
normal priority (Ray's default is a niceness of 15)."""

_PROXY = re.compile(r"(http|https|all|grpc)_proxy", re.IGNORECASE)
_OTHER = re.compile(r"\s*(?!https?:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_EXEMPT = (("no_proxy", "NO_PROXY"), ("no_grpc_proxy", "NO_GRPC_PROXY"))
"""Names of the variables that list hosts without a proxy. gRPC has its own, which takes precedence."""

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class SuperLinkClient:
    """A SuperLink as seen by its users: through the command ``flwr``, with a home for its settings.

    Attributes:
        home: the ``FLWR_HOME``, removed in the end.
        simulates: whether it makes the clients itself.
    """

    simulates = False

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Make the home; ``environment`` holds further variables for all processes that are started."""
        self.home = Path(tempfile.mkdtemp(prefix="ngpd-fl-"))
        self.environment = environment_of(self.home, environment)

    def connect(self, address: str, authority: Path | None) -> None:
        """Set the SuperLink's address, and the authority that signed its certificate; without one there is no TLS."""
        settings: dict[str, Any] = {"address": address}
        settings |= {"root-certificates": str(authority.absolute())} if authority else {"insecure": True}
        content = {"superlink": {"default": "own", "own": settings}}
        (self.home / "config.toml").write_text(tomli_w.dumps(content))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the home."""
        shutil.rmtree(self.home, ignore_errors=True)

    def flwr(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        """Start the command ``flwr`` against it; its output can be read line by line."""
        return subprocess.Popen(
            [program("flwr"), *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **settings,
        )

    def ask(self, *words: str) -> dict[str, Any]:
        """Run a command of ``flwr`` that answers with JSON, and return the answer.

        Raises:
            RuntimeError: the command failed, or its answer is not JSON.
        """
        output, _ = self.flwr(*words, "--format", "json").communicate()
        try:
            answer: dict[str, Any] = json.loads(output[output.index("{") :])
        except ValueError:
            answer = {"success": False, "error-message": output}
        if not answer.get("success", True):
            raise RuntimeError(f"flwr {' '.join(words[:2])}: {' '.join(str(answer['error-message']).split())}")
        return answer

    def log_of(self, run_id: int) -> Generator[str]:
        """Yield the lines of a run's log from its start, until the run ends."""
        stream = self.flwr("log", str(run_id), "own", "--stream")
        assert stream.stdout is not None
        try:
            for line in stream.stdout:
                yield line.strip()
            stream.wait()
        finally:
            stream.kill()
            stream.wait()
            stream.stdout.close()

    def stop(self, run_id: int) -> None:
        """End a run before its time."""
        self.flwr("stop", str(run_id), "own").communicate()

    def runs(self) -> list[dict[str, Any]]:
        """Return its runs, the newest first; ``status`` is e.g. ``finished:completed``."""
        runs: list[dict[str, Any]] = self.ask("list", "own")["runs"]
        return runs


def environment_of(home: Path, extra: Mapping[str, str] | None = None, direct: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment of Flower's processes: with this ``FLWR_HOME``, and all of them found by name.

    Args:
        home: the ``FLWR_HOME``.
        extra: further variables.
        direct: hosts that are reached without a proxy, besides this machine.
    """
    variables = around_proxies({**os.environ, **SETTINGS, **(extra or {}), "FLWR_HOME": str(home)}, direct)
    programs = str(Path(sys.executable).parent)  # Flower's commands start each other by name
    return variables | {"PATH": os.pathsep.join([programs, variables.get("PATH", os.defpath)])}


def around_proxies(environment: Mapping[str, str], direct: Sequence[str] = ()) -> dict[str, str]:
    """Return an environment whose proxies apply only to other machines, for downloads.

    Args:
        environment: the variables, such as ``http_proxy``.
        direct: hosts that are reached without a proxy, besides this machine.
    """
    # A proxy other than HTTP's, e.g. socks5://, stops Flower's client even if it does not apply to this address.
    variables = {
        name: value for name, value in environment.items() if not (_PROXY.fullmatch(name) and _OTHER.match(value))
    }
    for names in _EXEMPT:
        values = [variables[name] for name in names if name in variables]
        exempt = [host.strip() for value in values for host in value.split(",") if host.strip()]
        hosts = "*" if "*" in exempt else ",".join(dict.fromkeys([*exempt, *_THIS_MACHINE, *direct]))
        variables |= dict.fromkeys(names, hosts)
    return variables


def program(name: str) -> str:
    """Return the path of a program in this interpreter's environment, or its name if it is not there."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name
