"""Certificates, keys and folders, evaluated by other code: a path validation, OpenSSL, and Flower's loaders."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from flwr.cli.supernode.register import try_load_public_key
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from ngpd_fl.cli import main
from ngpd_fl.config import InputError
from ngpd_fl.deploy.authority import Authority, new_key
from ngpd_fl.deploy.folders import NodeFolder, SuperLinkFolder, make_keys
from ngpd_fl.peer.transport import Credentials

HOSTS = ["laptop.local", "192.168.1.10", "fd00::2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "deployment"
    make_keys(folder, HOSTS, 3, 30)
    return folder


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def policy(folder: Path, days: float = 0) -> verification.PolicyBuilder:
    store = verification.Store([certificate(folder / "ca" / "ca.crt")])
    return verification.PolicyBuilder().store(store).time(datetime.now(UTC) + timedelta(days=days))


def subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@pytest.mark.parametrize("host", [*HOSTS, "localhost", "127.0.0.1"])
def test_the_superlink_is_trusted_under_its_names_and_no_other(made: Path, host: str) -> None:
    leaf = certificate(made / "superlink" / "superlink.crt")
    assert len(policy(made).build_server_verifier(subject(host)).verify(leaf, [])) == 2
    with pytest.raises(verification.VerificationError):
        policy(made).build_server_verifier(x509.DNSName("other.local")).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        policy(made, days=31).build_server_verifier(subject(host)).verify(leaf, [])


def test_nodes_are_trusted_at_both_ends(made: Path) -> None:
    for number in range(3):
        leaf = certificate(made / f"node{number}" / f"node{number}.crt")
        found = policy(made).build_client_verifier().verify(leaf, [])
        assert found.subjects == [x509.DNSName(f"node{number}")]
        policy(made).build_server_verifier(x509.DNSName(f"node{number}")).verify(leaf, [])
        assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == f"node{number}"


def test_another_authority_is_not_trusted(made: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "other", HOSTS, 1, 30)
    leaf = certificate(tmp_path / "other" / "superlink" / "superlink.crt")
    with pytest.raises(verification.VerificationError):
        policy(made).build_server_verifier(x509.DNSName("laptop.local")).verify(leaf, [])


def test_extensions(made: Path) -> None:
    root, leaf = certificate(made / "ca" / "ca.crt"), certificate(made / "superlink" / "superlink.crt")
    ours, theirs = leaf.extensions, root.extensions
    assert (theirs.get_extension_for_class(x509.BasicConstraints).value.ca, root.version) == (True, x509.Version.v3)
    assert not ours.get_extension_for_class(x509.BasicConstraints).value.ca
    usage, of_root = (each.get_extension_for_class(x509.KeyUsage).value for each in (ours, theirs))
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert (of_root.digital_signature, of_root.key_cert_sign) == (False, True)
    extended = ours.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    key_id = theirs.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert ours.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    names = ours.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["laptop.local", "localhost"]
    addresses = [ipaddress.ip_address(each) for each in ("192.168.1.10", "fd00::2", "127.0.0.1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses


def test_openssl_takes_them_strictly(made: Path) -> None:
    """A handshake in memory, each side showing its certificate to the other."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, name in ((server, "superlink/superlink"), (client, "node2/node2")):
        context.load_verify_locations(made / "ca" / "ca.crt")
        context.load_cert_chain(made / f"{name}.crt", made / f"{name}.key")
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_mode = ssl.CERT_REQUIRED
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="192.168.1.10"), server.wrap_bio(there, back, True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = ends[1].getpeercert()
    assert peer is not None and ((("commonName", "node2"),),) == peer["subject"]


def test_flower_takes_the_keys(made: Path) -> None:
    for number in range(3):
        content = (made / f"node{number}" / "auth.key").read_bytes()
        private = serialization.load_ssh_private_key(content, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        registered = try_load_public_key(made / "superlink" / "nodes" / f"node{number}.pub")
        assert registered == public_key_to_bytes(private.public_key())


def test_each_device_has_its_own_secrets_only(made: Path) -> None:
    secret = {path: path.read_bytes() for path in made.rglob("*.key")}
    assert len(set(secret.values())) == len(secret) == 1 + 1 + 2 * 3
    for path in made.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600 if path.suffix == ".key" else 0o644), path
    everywhere = {path.read_bytes() for path in made.rglob("ca.crt")}
    assert len(everywhere) == 1
    assert {path.name for path in (made / "node1").iterdir()} == {"ca.crt", "node1.crt", "node1.key", "auth.key"}
    assert {path.name for path in (made / "superlink").iterdir()} == {
        "ca.crt",
        "superlink.crt",
        "superlink.key",
        "nodes",
    }


def test_nodes_are_added_and_certificates_renewed(tmp_path: Path) -> None:
    make_keys(tmp_path, ["a.local"], 2, 30)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path.name for path in make_keys(tmp_path, [], 3, 30)] == ["node2", "superlink"]
    assert all(path.read_bytes() == content for path, content in before.items())
    policy(tmp_path).build_client_verifier().verify(certificate(tmp_path / "node2" / "node2.crt"), [])
    link = SuperLinkFolder.open(tmp_path / "superlink")
    assert [path.stem for path in link.public_keys()] == ["node0", "node1", "node2"]
    link.certificate.unlink()
    link.key.unlink()
    assert [path.name for path in make_keys(tmp_path, ["b.local"], 3, 30)] == ["superlink"]
    policy(tmp_path).build_server_verifier(x509.DNSName("b.local")).verify(certificate(link.certificate), [])


def test_which_node_a_folder_is(made: Path, tmp_path: Path) -> None:
    assert NodeFolder.open(made / "node2").number == 2
    copied = tmp_path / "copied"
    (made / "node2").rename(copied)
    assert NodeFolder.open(copied).number == 2
    copied.rename(made / "node2")


@pytest.mark.parametrize(
    ("hosts", "nodes", "days", "words"),
    [
        ([], 2, 30, "--host: say under which names"),
        (["http://laptop"], 2, 30, "--host http://laptop: should be a name"),
        (["300.1.1.1"], 2, 30, "--host 300.1.1.1: should be"),
        (["a.local"], 0, 30, "--nodes 0: should be 1 or more"),
        (["a.local"], 2, 0, "--days 0: should be from 1 to 3649"),
        (["a.local"], 2, 3650, "--days 3650"),
    ],
)
def test_bad_input_writes_nothing(hosts: list[str], nodes: int, days: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        make_keys(tmp_path / "made", hosts, nodes, days)
    assert not (tmp_path / "made").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["deploy", "keys", str(tmp_path), "--nodes", "1"]
    assert main([*words, "--host", "a.local"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("has the keys of 1 nodes already, and nothing is overwritten\n")
    assert main([*words, "--host", "b.local"]) == 2
    assert "superlink.crt is there already" in capsys.readouterr().err
    for path in (tmp_path / "node0").iterdir():
        path.unlink()
    (tmp_path / "node0").rmdir()
    assert main(words) == 2, "the SuperLink still has the lost key's public half"
    assert "node0.pub: is there already" in capsys.readouterr().err
    kept = {path: content for path, content in before.items() if path.parent.name != "node0"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="node0.crt is missing; name a folder such as node0/"):
        NodeFolder.open(tmp_path)
    with pytest.raises(InputError, match="ca.crt is missing; name a folder such as superlink/"):
        SuperLinkFolder.open(tmp_path)


def test_a_certificate_can_have_ended(made: Path) -> None:
    authority = Authority.read((made / "ca" / "ca.key").read_bytes(), (made / "ca" / "ca.crt").read_bytes())
    minute = 1 / 1440
    leaf = authority.sign("superlink", new_key().public_key(), ["a.local"], days=-minute)
    policy(made, days=-2 * minute).build_server_verifier(x509.DNSName("a.local")).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        policy(made).build_server_verifier(x509.DNSName("a.local")).verify(leaf, [])


PEERS = """
[[peers]]
address = "192.168.1.10:7447"
nodes = [0]

[[peers]]
address = "board1.local:7447"
nodes = [1, 2]
name = "shelf"
"""


def test_peers_have_keys_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "peers.toml", tmp_path / "fleet"
    file.write_text(PEERS)
    assert main(["deploy", "keys", str(folder), "--peers", str(file)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / each) for each in ("ca", "node0", "shelf")]
    for name in ("node0", "shelf"):
        assert sorted(path.name for path in (folder / name).iterdir()) == ["ca.crt", f"{name}.crt", f"{name}.key"]
        leaf = certificate(folder / name / f"{name}.crt")
        assert policy(folder).build_client_verifier().verify(leaf, []).subjects == [x509.DNSName(name)]
        policy(folder).build_server_verifier(x509.DNSName(name)).verify(leaf, [])
        assert Credentials.open(folder / name).name == name
    before = (folder / "shelf" / "shelf.key").read_bytes()
    file.write_text(PEERS + '[[peers]]\naddress = "board2.local:7447"\nnodes = [3]\n')
    assert main(["deploy", "keys", str(folder), "--peers", str(file)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "node3")]
    assert (folder / "shelf" / "shelf.key").read_bytes() == before
    assert main(["deploy", "keys", str(folder), "--peers", str(file)]) == 2
    assert "has the keys of 3 peers already" in capsys.readouterr().err


def test_a_supernodes_folder_is_a_peers_too(made: Path) -> None:
    assert Credentials.open(made / "node1").name == "node1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --nodes or --peers"),
        (["--nodes", "2", "--peers", "peers.toml"], "give either --nodes or --peers"),
        (["--peers", "none.toml"], "peers file none.toml: cannot be read"),
        (["--peers", "none.toml", "--host", "a.local"], "--host: is for the SuperLink"),
    ],
)
def test_keys_are_for_nodes_or_for_peers(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "keys", str(tmp_path / "fleet"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "fleet").exists()
