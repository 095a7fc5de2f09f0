"""Services that stay up between runs: the SuperLink on one machine, a SuperNode on each of the others."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tomli_w

from ngpd_fl.core.address import Address, check_host
from ngpd_fl.deploy import bad_input
from ngpd_fl.deploy.folders import NodeFolder, SuperLinkFolder
from ngpd_fl.deploy.supervisor import keep_running, say
from ngpd_fl.flower.launcher.superlink_client import SuperLinkClient, environment_of, program

NODE_PORT = 9094
"""Port at which node 0's SuperNode serves its own processes, on its own machine; node 1's has the next, and so on."""

_QUICK = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
"""Seconds between two polls for work; and only this machine may declare that a request was forwarded."""

_TIMEOUT = 5.0
"""Seconds that a connection may take, and seconds before a failed attempt is repeated."""

_SLOW = 60.0
"""Seconds that a SuperLink may take to start before a message reports that it does not answer."""


def serve_superlink(folder: Path, host: str, port: int) -> None:
    """Keep a SuperLink running, with the nodes of its folder registered, until SIGTERM or Ctrl-C.

    Args:
        folder: the ``superlink/`` that ``make_keys`` made.
        host: address to listen at; ``0.0.0.0`` means every address of the machine. It always listens on 127.0.0.1 too.
        port: the only port, for all requests.

    Raises:
        InputError: the folder is incomplete.
    """
    files = SuperLinkFolder.open(folder)
    try:
        check_host(host)
    except ValueError as error:
        raise bad_input(f"--host {host}: should be an address of this machine; {error}") from error
    command = [sys.executable, "-P", "-m", "ngpd_fl.deploy.access_proxy", host, "--host", "127.0.0.1"]
    command += ["--port", str(port)]
    command += ["--ssl-certfile", str(files.certificate), "--ssl-keyfile", str(files.key)]
    command += ["--ssl-ca-certfile", str(files.authority)]
    command += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    with connect(files, port) as superlink:
        keep_running(
            "superlink",
            command,
            environment_of(_home(folder / "state"), _QUICK),
            make_task=lambda: Registrar(superlink, files, f"127.0.0.1:{port}").update,
        )


def serve_supernode(
    folder: Path,
    superlink: str,
    data_dir: Path | None,
    state_dir: Path | None,
    peer_keys: Path | None,
    port: int | None,
) -> None:
    """Keep a SuperNode running until SIGTERM or Ctrl-C.

    Args:
        folder: a folder such as ``node0/`` that ``make_keys`` made; it determines the node's number.
        superlink: address of the SuperLink, ``HOST:PORT``.
        data_dir: folder of the node's data. Defaults to the one that the run names.
        state_dir: folder for the node's state. Defaults to ``state/`` in ``folder``.
        peer_keys: folder of the certificate and key by which other nodes know it. Defaults to ``folder``.
        port: for the SuperNode's own processes. Defaults to ``NODE_PORT`` plus the node's number.

    Raises:
        InputError: the folder is incomplete, or the address is invalid.
    """
    files = NodeFolder.open(folder)
    there = _address(superlink)
    for option, named in (("--data-dir", data_dir), ("--peer-keys", peer_keys)):
        if named is not None and not named.is_dir():
            raise bad_input(f"{option} {named}: is not a folder")
    state = (state_dir or folder / "state").absolute()
    environment = environment_of(_home(state), _QUICK, direct=(there.host,))
    settings = {"partition-id": files.number, "state-dir": str(state)}
    settings["peer-keys"] = str((peer_keys or folder).absolute())
    if data_dir is not None:
        settings["data-dir"] = str(data_dir.absolute())
    (state / "node.toml").write_text(tomli_w.dumps(settings))
    command = [sys.executable, "-P", "-m", "ngpd_fl.deploy.warm_start", program("flower-supernode")]
    command += ["--superlink", superlink, "--root-certificates", str(files.authority)]
    command += ["--auth-supernode-private-key", str(files.auth_key), "--node-config", str(state / "node.toml")]
    command += ["--port", str(port or NODE_PORT + files.number)]
    keep_running(f"node{files.number}", command, environment, hindrance=lambda: refusal(superlink, files.authority))


def connect(files: SuperLinkFolder, port: int) -> SuperLinkClient:
    """Return a connection to this machine's SuperLink, for runs and registrations."""
    superlink = SuperLinkClient()
    superlink.connect(f"127.0.0.1:{port}", files.authority)
    return superlink


def refusal(address: str, authority: Path) -> str | None:
    """Return the reason why no trusted SuperLink answers at an address, as text; None if one does."""
    try:
        context = ssl.create_default_context(cafile=str(authority))
        there = _address(address)
        with (
            socket.create_connection(there, _TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=there.host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return f"does not trust the SuperLink at {address}: {error.verify_message}"
    except OSError as error:
        return f"cannot reach the SuperLink at {address}: {error.strerror or error}"


class Registrar:
    """Registers the nodes whose public keys lie in the SuperLink's folder, and no others, also while it runs."""

    def __init__(
        self,
        superlink: SuperLinkClient,
        files: SuperLinkFolder,
        address: str,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start without registered nodes.

        Args:
            superlink: connection to a SuperLink that has just been started.
            files: the SuperLink's folder.
            address: the address at which it will answer.
            clock: the time in seconds.
        """
        self._superlink = superlink
        self._files = files
        self._address = address
        self._clock = clock
        self._admitted: dict[str, str] = {}
        self._not_before = 0.0
        self._began = clock()
        self._reported: str | None = None

    def update(self) -> None:
        """Register the nodes that the folder has gained, and unregister those that it has lost."""
        wanted = {path.stem: path for path in self._files.public_keys()}
        if wanted.keys() == self._admitted.keys() or self._clock() < self._not_before:
            return
        if why := refusal(self._address, self._files.authority):
            if self._clock() > self._began + _SLOW and why != self._reported:  # earlier, it may not listen yet
                say(f"superlink registers no nodes yet: this machine {why}")
                self._reported = why
            return
        try:
            for name in wanted.keys() - self._admitted.keys():
                answer = self._superlink.ask("supernode", "register", str(wanted[name]), "own", "--name", name)
                self._admitted[name] = str(answer["node-id"])
            for name in self._admitted.keys() - wanted.keys():
                self._superlink.ask("supernode", "unregister", self._admitted[name], "own")
                del self._admitted[name]
            say(f"superlink takes {len(wanted)} nodes: {', '.join(wanted) or 'none'}")
        except RuntimeError as error:
            say(f"superlink could not register the nodes: {error}")
            self._not_before = self._clock() + _TIMEOUT


def _address(text: str) -> Address:
    try:
        address = Address.of(text)
    except ValueError as error:
        raise bad_input(f"--superlink {text}: {error}") from error
    if address.zone:
        raise bad_input(
            f"--superlink {text}: no certificate can say a zone (%{address.zone}); give a name or another address"
        )
    return address


def _home(state: Path) -> Path:
    """Make a service's state folder with Flower's home in it; return Flower's home."""
    home = state.absolute() / "flower"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise bad_input(f"--state-dir {state}: cannot be made ({error.strerror})") from error
    return home
