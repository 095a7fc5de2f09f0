"""What the services know before and while Flower's processes run."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.cli import main
from ngpd_fl.deploy import services
from ngpd_fl.deploy.folders import SuperLinkFolder, make_keys
from ngpd_fl.deploy.services import Registrar, refusal
from tests.support.deployment import ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("services")
    make_keys(folder, ["127.0.0.1"], 2, 30)
    return folder


@pytest.fixture(scope="module")
def address(made: Path) -> Iterator[str]:
    """A TLS server with the SuperLink's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = SuperLinkFolder.open(made / "superlink")
    context.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_superlink_is_trusted_or_there_is_a_reason(made: Path, address: str, tmp_path: Path) -> None:
    authority = made / "node1" / "ca.crt"
    assert refusal(address, authority) is None
    make_keys(tmp_path, ["127.0.0.1"], 1, 30)
    found = refusal(address, tmp_path / "node0" / "ca.crt")
    assert found is not None and found.startswith(f"does not trust the SuperLink at {address}: unable to get local")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert (
        refusal(f"127.0.0.1:{port}", authority) == f"cannot reach the SuperLink at 127.0.0.1:{port}: Connection refused"
    )


class FakeSuperLinkClient:
    """Remembers what it is asked, and refuses the keys that it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()

    def ask(self, *words: str) -> dict[str, Any]:
        self.asked.append(tuple(Path(word).name for word in words))
        if Path(words[2]).stem in self.refuses:
            raise RuntimeError("it is not to be")
        return {"success": True, "node-id": str(100 + len(self.asked))}


def test_the_registrar_follows_the_folder(made: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    link: Any = FakeSuperLinkClient()
    now = 0.0
    files = SuperLinkFolder.open(made / "superlink")
    registrar = Registrar(link, files, address, lambda: now)
    link.refuses = {"node1"}
    registrar.update()
    assert "superlink could not register the nodes: it is not to be" in capsys.readouterr().err
    link.refuses, asked = set(), len(link.asked)
    registrar.update()
    assert len(link.asked) == asked, "it waits before it tries again"
    now += 5.1
    registrar.update()
    assert capsys.readouterr().err == "ngpd-fl: superlink takes 2 nodes: node0, node1\n"
    assert {words[2:] for words in link.asked} == {(f"node{n}.pub", "own", "--name", f"node{n}") for n in range(2)}
    registrar.update()
    moved = (files.nodes / "node0.pub").rename(made / "node0.pub")
    link.asked.clear()
    registrar.update()
    ((*words, node_id, name),) = link.asked
    assert (words, name) == (["supernode", "unregister"], "own") and node_id.isdecimal()
    assert capsys.readouterr().err == "ngpd-fl: superlink takes 1 nodes: node1\n"
    moved.rename(files.nodes / "node0.pub")


def test_nobody_is_registered_before_the_superlink_answers(made: Path) -> None:
    link: Any = FakeSuperLinkClient()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    Registrar(link, SuperLinkFolder.open(made / "superlink"), f"127.0.0.1:{port}").update()
    assert link.asked == []


def test_it_is_said_where_a_superlink_does_not_answer(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link: Any = FakeSuperLinkClient()
    now = 0.0
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = f"127.0.0.1:{free.getsockname()[1]}"
    registrar = Registrar(link, SuperLinkFolder.open(made / "superlink"), where, lambda: now)
    registrar.update()
    assert capsys.readouterr().err == "", "it may be starting"
    now = 61.0
    registrar.update()
    registrar.update()
    words = f"this machine cannot reach the SuperLink at {where}: Connection refused"
    assert capsys.readouterr().err == f"ngpd-fl: superlink registers no nodes yet: {words}\n", "once"


def test_a_supernode_is_told_who_it_is_and_where_its_things_are(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flwr.common.config import parse_config_args

    seen: dict[str, Any] = {}

    def keep_running(name: str, command: list[str], environment: dict[str, str], **rest: Any) -> None:
        seen.update(name=name, command=command, environment=environment)

    monkeypatch.setattr(services, "keep_running", keep_running)
    data, state = tmp_path / "my 'data'", tmp_path / 'my "state"'
    data.mkdir()
    services.serve_supernode(made / "node1", "10.0.0.1:9092", data, state, None, None)
    words = dict(zip(seen["command"][5::2], seen["command"][6::2], strict=True))
    assert parse_config_args([words["--node-config"]]) == {
        "partition-id": 1,
        "data-dir": str(data),
        "state-dir": str(state),
        "peer-keys": str(made / "node1"),
    }
    assert (seen["name"], words["--port"], words["--superlink"]) == ("node1", "9095", "10.0.0.1:9092")
    assert seen["environment"]["FLWR_HOME"] == str(state / "flower")
    assert "10.0.0.1" in seen["environment"]["no_proxy"].split(","), "nor does it go through a proxy to the SuperLink"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["supernode", "NODE", "--superlink", "laptop"], "--superlink laptop: should be HOST:PORT"),
        (["supernode", "NODE", "--superlink", "my_laptop:1"], "host 'my_laptop' has '_'; allowed are letters, digits"),
        (
            ["supernode", "NODE", "--superlink", "[fe80::1%eth0]:1"],
            "no certificate can say a zone (%eth0)",
        ),
        (["superlink", "LINK", "--host", "my_laptop"], "--host my_laptop: should be an address of this machine; host"),
        (["supernode", "NODE", "--superlink", "laptop:0"], "--superlink laptop:0: should be HOST:PORT"),
        (["supernode", "NODE", "--superlink", "a:1", "--data-dir", "nowhere"], "--data-dir nowhere: is not a folder"),
        (["supernode", "NODE", "--superlink", "a:1", "--peer-keys", "nowhere"], "--peer-keys nowhere: is not a folder"),
        (["supernode", "nowhere", "--superlink", "a:1"], "nowhere: node0.crt is missing; name a folder such as node0/"),
        (["superlink", "NODE"], "superlink.crt is missing; name a folder such as superlink/"),
        (["run", "NODE", "--nodes", "2"], "superlink.crt is missing; name a folder such as superlink/"),
        (["run", "LINK", "--rounds", "0"], "training.rounds: input should be greater"),
        (["run", "LINK", "--data-plane", "direct"], "peers: data-plane direct needs to know where the nodes are"),
        (["run", "LINK", "--peers", "nowhere"], "peers file nowhere: cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"NODE": str(made / "node0"), "LINK": str(made / "superlink")}
    assert main(["deploy", *(names.get(word, word) for word in words)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("ngpd_fl.cli, ngpd_fl.deploy.services", {"torch", "networkx", "scipy", "flwr"}),
        (
            "ngpd_fl.deploy.access_proxy, ngpd_fl.flower.launcher.superlink_client",
            {"torch", "networkx", "scipy", "pydantic", "strategies", "ngpd_fl.config.config"},
        ),
    ],
)
def test_what_stays_for_weeks_is_small(modules: str, heavy: set[str]) -> None:
    """The services come without torch; the SuperLink behind the proxy also without the configuration."""
    source = f"import sys, {modules}; print(sorted(sys.modules.keys() & {heavy!r}))"
    ran = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
