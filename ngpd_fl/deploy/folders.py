"""Folders of a deployment: one for each device, with everything it needs and no secret of another device.

``ca/`` signs, and stays where it was made. ``superlink/`` and ``node0/``, ``node1/``, ... are copied to their machines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ngpd_fl.deploy import bad_input
from ngpd_fl.deploy.authority import (
    AUTHORITY_DAYS,
    Authority,
    alternative,
    certificate_pem,
    new_key,
    private_openssh,
    private_pem,
    public_openssh,
)

if TYPE_CHECKING:
    from ngpd_fl.peer.transport import Peers

LOOPBACK = ("localhost", "127.0.0.1")
"""Hosts that the SuperLink's certificate always names: its own parts reach it there."""

_CERTIFICATE = re.compile(r"node(\d+)\.crt")


class SuperLinkFolder(NamedTuple):
    """Paths on the SuperLink's machine.

    Attributes:
        authority: the authority's certificate, which everyone trusts (PEM).
        certificate: the SuperLink's own (PEM).
        key: its private key (PEM).
        nodes: folder of the nodes' public keys, which are registered.
    """

    authority: Path
    certificate: Path
    key: Path
    nodes: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return the paths in a folder, which need not exist."""
        return cls(folder / "ca.crt", folder / "superlink.crt", folder / "superlink.key", folder / "nodes")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return the paths in a complete folder; raise ``InputError`` if a file is missing."""
        paths = cls.of(folder.absolute())
        _require(folder, paths, "superlink")
        return paths

    def public_keys(self) -> list[Path]:
        """Return the files of the nodes' public keys, in the order of their numbers."""
        return sorted(self.nodes.glob("node*.pub"), key=lambda path: (len(path.name), path.name))


class NodeFolder(NamedTuple):
    """Number and paths of a node on its machine.

    Attributes:
        number: the node's number.
        authority: the authority's certificate, which everyone trusts (PEM).
        certificate: the node's own, with its name (PEM).
        key: the private key of the certificate (PEM).
        auth_key: the private key by which the SuperLink knows the node (OpenSSH).
    """

    number: int
    authority: Path
    certificate: Path
    key: Path
    auth_key: Path

    @classmethod
    def of(cls, folder: Path, number: int) -> Self:
        """Return the paths in a folder, which need not exist."""
        name = f"node{number}"
        return cls(number, folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key", folder / "auth.key")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return the paths in a complete folder; raise ``InputError`` if a file is missing.

        The node's number comes from its certificate's file name: the folder may have been renamed.
        """
        numbers = [int(match[1]) for path in folder.glob("*") if (match := _CERTIFICATE.fullmatch(path.name))]
        paths = cls.of(folder.absolute(), numbers[0] if numbers else 0)
        _require(folder, (paths.certificate, paths.key, paths.authority, paths.auth_key), "node0")
        return paths


def make_keys(folder: Path, hosts: Sequence[str], nodes: int, days: int) -> list[Path]:
    """Make the missing folders of a deployment, and overwrite nothing.

    Args:
        folder: the parent of these folders. An authority that exists there is used again.
        hosts: names and addresses under which nodes reach the SuperLink.
        nodes: number of nodes in all.
        days: validity of the certificates.

    Returns:
        The folders with new files.

    Raises:
        InputError: an argument or a folder is not as it should be; nothing was written.
    """
    _check_days(days)
    if nodes < 1:
        raise bad_input(f"--nodes {nodes}: should be 1 or more")
    for host in hosts:
        alternative(host)
    authority, files = _authority(folder / "ca")
    link = SuperLinkFolder.of(folder / "superlink")
    trusted = certificate_pem(authority.certificate)
    if not link.certificate.exists():
        if not hosts:
            raise bad_input("--host: say under which names or addresses nodes reach the SuperLink, e.g. 192.168.1.10")
        key, names = new_key(), list(dict.fromkeys((*hosts, *LOOPBACK)))
        certificate = authority.sign("superlink", key.public_key(), names, days)
        files |= {link.certificate: certificate_pem(certificate), link.key: private_pem(key)}
        if not link.authority.exists():
            files[link.authority] = trusted
    elif hosts:
        raise bad_input(
            f"--host: {link.certificate} is there already, and nothing is overwritten; move it and its key away first"
        )
    for number in range(nodes):
        name, own = f"node{number}", NodeFolder.of(folder / f"node{number}", number)
        if own.auth_key.parent.exists():
            continue
        auth = new_key()
        files |= _identity(authority, own.authority.parent, name, days)
        files[own.auth_key] = private_openssh(auth)
        files[link.nodes / f"{name}.pub"] = public_openssh(auth, name)
    return _make(folder, files, f"{nodes} nodes")


def make_peer_keys(folder: Path, peers: Peers, days: int) -> list[Path]:
    """Make a folder for each peer that has none yet. There is no server, and no registration.

    The certificate names the peer and no address, so that a machine may move.

    Args:
        folder: the parent of these folders. An authority that exists there is used again.
        peers: all peers that need a folder.
        days: validity of the certificates.

    Returns:
        The folders with new files.

    Raises:
        InputError: an argument or a folder is not as it should be; nothing was written.
    """
    _check_days(days)
    authority, files = _authority(folder / "ca")
    for name in (peer.name for peer in peers.peers):
        if not (folder / name).exists():
            files |= _identity(authority, folder / name, name, days)
    return _make(folder, files, f"{len(peers.peers)} peers")


def _check_days(days: int) -> None:
    if not 1 <= days < AUTHORITY_DAYS:
        raise bad_input(f"--days {days}: should be from 1 to {AUTHORITY_DAYS - 1}")


def _make(folder: Path, files: dict[Path, bytes], whose: str) -> list[Path]:
    """Write new files, and return their folders."""
    if not files:
        raise bad_input(f"{folder}: has the keys of {whose} already, and nothing is overwritten")
    if there := [path for path in files if path.exists()]:
        raise bad_input(f"{there[0]}: is there already, and nothing is overwritten; move it away first")
    _write(folder, files)
    return sorted({folder / path.relative_to(folder).parts[0] for path in files}, key=lambda path: path.name)


def _authority(folder: Path) -> tuple[Authority, dict[Path, bytes]]:
    """Return the authority of a folder, or a new one with the files to write."""
    key, certificate = folder / "ca.key", folder / "ca.crt"
    if key.exists() and certificate.exists():
        try:
            return Authority.read(key.read_bytes(), certificate.read_bytes()), {}
        except (ValueError, TypeError, OSError) as error:
            raise bad_input(f"{folder}: holds no authority that can be read ({error})") from error
    made = Authority.new()
    return made, {key: private_pem(made.key), certificate: certificate_pem(made.certificate)}


def _identity(authority: Authority, folder: Path, name: str, days: int) -> dict[Path, bytes]:
    """Return the files of a device's identity: a new certificate and key, and the authority that it trusts."""
    key = new_key()
    return {
        folder / "ca.crt": certificate_pem(authority.certificate),
        folder / f"{name}.crt": certificate_pem(authority.sign(name, key.public_key(), [name], days)),
        folder / f"{name}.key": private_pem(key),
    }


def _write(folder: Path, files: dict[Path, bytes]) -> None:
    """Write new files. Private keys, and the folders that hold them, are accessible to their owner only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            for parent in reversed(path.relative_to(folder).parents[:-1]):
                (folder / parent).mkdir(mode=0o700, exist_ok=True)
            mode = 0o600 if path.suffix == ".key" else 0o644
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
    except OSError as error:
        raise bad_input(f"{error.filename or folder}: cannot be written ({error.strerror})") from error


def _require(folder: Path, paths: Iterable[Path], example: str) -> None:
    for path in paths:
        if not path.exists():
            hint = f"name a folder such as {example}/ that `ngpd-fl deploy keys` made"
            raise bad_input(f"{folder}: {path.name} is missing; {hint}")
