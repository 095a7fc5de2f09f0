"""Who takes part, and what each proves itself by: what is wrong with them is said in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.deploy.authority import Authority, new_key, private_pem
from ngpd_fl.peer.transport import Address, Credentials, HttpTransport, Insecure, Peers, Routes
from tests.support.transports import member

TWO = '[[peers]]\naddress = "192.168.1.10:7447"\nnodes = [0, 3]\n[[peers]]\naddress = "[fd00::2]:7447"\nnodes = [1]\n'


def read(folder: Path, text: str) -> Peers:
    file = folder / "peers.toml"
    file.write_text(text)
    return Peers.read(file)


def test_the_file_says_who_hosts_what_and_where(tmp_path: Path) -> None:
    peers = read(tmp_path, TWO + 'listen = "0.0.0.0:80"\nname = "shelf"\n')
    assert peers.hosts == {0: "node0", 3: "node0", 1: "shelf"}
    assert peers["node0"].listens_at == Address("192.168.1.10", 7447)
    assert Address.of(peers["shelf"].address) == Address("fd00::2", 7447)
    assert peers["shelf"].listens_at == Address("0.0.0.0", 80)
    with pytest.raises(
        InputError, match="peer node1: is not in the peers file; did you mean 'node0'. allowed: node0, shelf"
    ):
        peers["node1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "peers: this key is required"),
        ("peers = []", "peers: should name at least one"),
        (TWO.replace("fd00::2]", "fd00::g]"), "peers.1.address: should be HOST:PORT"),
        (TWO.replace(":7447", ""), "peers.0.address: should be HOST:PORT"),
        (TWO.replace("192.168.1.10", "fd00::1"), "peers.0.address: should be HOST:PORT"),
        (TWO.replace("7447", "70000"), "peers.0.address: should be HOST:PORT"),
        (TWO.replace("[fd00::2]", "192.168.1.10"), "address 192.168.1.10:7447 is there twice"),
        (TWO.replace("[1]", "[3]"), "node 3 is there twice"),
        (TWO.replace("[1]", "[]"), "peers.1.nodes: should name at least one"),
        (TWO + 'name = "node0"', "name node0 is there twice"),
        (TWO + 'name = "../x"', "peers.1.name: should be lower-case letters"),
        (TWO + 'name = "ca"', "peers.1.name: should be lower-case letters, digits, - and ., and not ca"),
        (TWO + "port = 3", "peers.1.port: unknown key; allowed: nodes, address, listen, name"),
    ],
)
def test_a_file_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_nodes_are_those_of_the_topology(tmp_path: Path) -> None:
    peers = read(tmp_path, TWO)
    with pytest.raises(InputError, match="node 2 of the topology is hosted by none"):
        peers.require_nodes(4)
    with pytest.raises(InputError, match="node 3 is not in the topology; allowed: 0 to 2"):
        peers.require_nodes(3)
    read(tmp_path, TWO.replace("[0, 3]", "[0, 2]")).require_nodes(3)


def test_without_tls_only_loopback(tmp_path: Path) -> None:
    peers, routes = read(tmp_path, TWO), Routes({0: "node1"}, {1: "node1"})
    with pytest.raises(InputError, match="192.168.1.10:7447: is not on this machine; without TLS only loopback"):
        HttpTransport(Insecure("node0"), peers, routes)
    HttpTransport(Insecure("node0", forced=True), peers, routes)
    peers = read(tmp_path, TWO.replace("192.168.1.10", "127.0.0.1"))
    with pytest.raises(InputError, match=r"\[fd00::2\]:7447: is not on this machine"):
        HttpTransport(Insecure("node0"), peers, routes)
    HttpTransport(
        Insecure("node0"), read(tmp_path, TWO.replace("192.168.1.10", "localhost").replace("fd00::2", "::1")), routes
    )


def rename(folder: Path) -> None:
    for kind in ("crt", "key"):
        (folder / f"node0.{kind}").rename(folder / f"node1.{kind}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "node0.key").unlink(), "node0.key: cannot be read"),
        (lambda folder: (folder / "ca.crt").unlink(), "ca.crt: cannot be read"),
        (lambda folder: (folder / "node0.crt").unlink(), "should hold one certificate beside ca.crt .got none"),
        (lambda folder: (folder / "node0.crt").write_text("x"), "node0.crt: is no certificate"),
        (lambda folder: (folder / "node0.key").write_text("x"), "node0.key: is no private key"),
        (lambda folder: (folder / "node0.key").chmod(0o640), "node0.key: others can read it .mode 640.; chmod 600"),
        (lambda folder: (folder / "node0.key").write_bytes(private_pem(new_key())), "does not belong to node0.crt"),
        (rename, "node1.crt: is for 'node0'; should be for 'node1'"),
        (
            lambda folder: member(folder, Authority.new(), "other") and (folder / "other.crt").unlink(),
            "not signed by ca",
        ),
        (lambda folder: member(folder, Authority.new(), "other"), "one certificate beside ca.crt .got node0, other"),
    ],
)
def test_credentials_that_are_wrong(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    folder = member(tmp_path / "node0", Authority.new())
    assert Credentials.open(folder).name == "node0"
    spoil(folder)
    with pytest.raises(InputError, match=said):
        Credentials.open(folder)


def test_a_certificate_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="node0.crt: expired at .* UTC; make a new one"):
        Credentials.open(member(tmp_path / "node0", Authority.new(), days=-1.0))
