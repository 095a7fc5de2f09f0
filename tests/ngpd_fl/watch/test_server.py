"""What the server answers to whom: only reading, only by its own names, only with the token, only the page's files."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.watch.address import PageAddress
from ngpd_fl.watch.server import _ASSETS, _STREAMS, serve
from tests.ngpd_fl.cli.conftest import Command
from tests.ngpd_fl.cli.test_output import ENVIRONMENT
from tests.ngpd_fl.watch.conftest import Served, served, until
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def page(recorded: Path) -> Iterator[Served]:
    with served(recorded, "--port", str(free_port())) as server:
        yield server


def messages(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the messages of a stream."""
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


@pytest.mark.parametrize("path", _ASSETS)
def test_every_file_of_the_page_has_the_policy(page: Served, path: str) -> None:
    answer = page.get(f"/{path}")
    policy = str(answer.getheader("Content-Security-Policy"))
    assert (answer.status, answer.getheader("X-Content-Type-Options")) == (200, "nosniff")
    assert str(answer.getheader("Content-Type")).startswith(_ASSETS[path][2])
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "eval" not in policy
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.read()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8642", "", "[::2]", "127.0.0.2", "localhost.evil", "169.254.1.1"]
)
def test_another_name_is_refused(page: Served, host: str) -> None:
    """A page of a stranger whose name was bound to this machine sends the stranger's name."""
    for path in ("/", "/stream", "/graph?run=x"):
        assert page.get(path, Host=host).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Origin": "http://localhost:1234"}, 200),
    ],
    ids=str,
)
def test_other_pages_cannot_use_it_but_may_lead_to_it(page: Served, headers: dict[str, str], status: int) -> None:
    assert page.get("/", **headers).status == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1234", "[::1]:8642"])
def test_its_own_names_are_taken(page: Served, host: str) -> None:
    assert page.get("/", Host=host).status == 200


def test_it_can_only_be_read(page: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert page.get("/", method).status == 405
    for path in ("/../../../../etc/passwd", "/config.toml", "/page/page.html", "/graph?run=../..", "/%2e%2e/x", "//x"):
        assert page.get(path).status in (400, 404), path


def test_nothing_is_written_and_no_large_library_is_loaded(recorded: Path, tmp_path: Path) -> None:
    """A stream with all details leaves the folder as it was, to the time of its last change."""
    folder = Path(shutil.copytree(recorded, tmp_path / "run"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = [(path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    with served(folder, "--port", str(free_port())) as server:
        stream = messages(server.get("/stream"))
        detail = next(message for message in stream if message.get("detail") and message["detail"]["timeline"])[
            "detail"
        ]
        layout = json.load(server.get(f"/graph?run={detail['run']}"))
        loaded = Path(f"/proc/{server.process.pid}/maps")
        assert not loaded.exists() or not any(name in loaded.read_text() for name in ("libtorch", "matplotlib"))
    assert [len(layout[name]) for name in ("names", "ends", "edges")] == [4, 4, 4]
    assert [(path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))] == before
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.2 is only there on Linux")
def test_for_others_than_this_machine_the_address_has_a_token(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(recorded, "--host", "0.0.0.0", "--port", str(free_port())) as server:
        *_, token, rest = server.address.split("/")
        assert rest == "" and len(token) >= 32
        assert server.get(f"/{token}/").status == server.get(f"/{token}/live.js").status == 200
        other = token[:-1] + ("x" if token[-1] != "x" else "y")
        for path in ("/", "/stream", f"/{token}", f"/{token[:-1]}/", f"/{token}x/", f"/{other}/", f"//{token}/"):
            assert server.get(path).status == 404, path
        assert server.get(f"/{token}/", Host="10.1.2.3:80").status == 200  # nobody can rebind an IP address
        assert server.get(f"/{token}/", Host=socket.gethostname()).status == 200
        assert server.get(f"/{token}/", Host="evil.example").status == 403
    with served(recorded, "--host", "0.0.0.0", "--port", str(free_port())) as again:
        assert token not in again.address


def test_many_streams_keep_nobody_out_for_long(recorded: Path) -> None:
    """Most are refused; when they are gone, the next one is served, and nothing of them is left."""
    with served(recorded, "--port", str(free_port())) as server:
        assert server.get("/").status == 200
        files = Path(f"/proc/{server.process.pid}/fd")
        before = len([*files.iterdir()]) if files.exists() else 0
        streams = [server.get("/stream") for _ in range(200)]
        statuses = Counter(stream.status for stream in streams)
        assert statuses == {200: _STREAMS, 503: 200 - _STREAMS}
        for stream in streams:
            stream.close()
        until(lambda: server.get("/stream").status == 200)
        until(lambda: not before or len([*files.iterdir()]) <= before + 8)


def test_who_does_not_read_is_cut_off(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that fits into no buffer: the server waits for the browser, which never reads, only for a while."""
    monkeypatch.setattr("ngpd_fl.watch.server._SLOW", 0.5)
    address, is_over = PageAddress.listen(port=0), threading.Event()
    address.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    serving = threading.Thread(target=serve, args=([recorded], address, is_over.wait))
    serving.start()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(address.socket.getsockname())
        client.sendall(b"GET /uPlot.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        got = client.recv(1)
        time.sleep(3)
        with suppress(ConnectionResetError):
            while piece := client.recv(1 << 16):
                got += piece
        assert 0 < len(got) < 100_000  # half of what was asked for
    is_over.set()
    serving.join(20)


@pytest.mark.parametrize(
    ("request_", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n", b"x"),
    ],
)
def test_a_request_in_pieces_keeps_nobody_out(
    request_: bytes, piece: bytes, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a first request nor the next one, or its body, that never ends holds a connection."""
    monkeypatch.setattr("ngpd_fl.watch.server._REQUEST", 1.0)
    address, is_over = PageAddress.listen(port=0), threading.Event()
    serving = threading.Thread(target=serve, args=([recorded], address, is_over.wait))
    serving.start()
    try:
        with socket.create_connection(address.socket.getsockname(), timeout=10) as client:
            client.sendall(request_)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 ")
            client.sendall(piece)
            while client.recv(1 << 16):
                pass
    finally:
        is_over.set()
        serving.join(20)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = PageAddress.listen(), PageAddress.listen()
    with first.socket, second.socket:
        assert str(first) != str(second) and not first.token
        port = first.socket.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port} cannot be used"):
            PageAddress.listen(port=port)
        monkeypatch.setattr("ngpd_fl.watch.address.PORT", port)
        monkeypatch.setattr("ngpd_fl.watch.address._TRIED", 1)
        with pytest.raises(InputError, match=f"the live page: ports {port} to {port} of 127.0.0.1 are all in use"):
            PageAddress.listen()
    for host in ("no such host", "999.1.1.1"):
        with pytest.raises(InputError, match="--host"):
            PageAddress.listen(host)


def test_the_command_says_what_is_wrong(quick: Command, here: Path) -> None:
    assert quick("watch") == (2, "", "ngpd-fl: error: runs: no run in it; name the folder of one\n")
    assert quick("watch", "nowhere") == (2, "", "ngpd-fl: error: nowhere: there is no such folder\n")
    (here / "file").touch()
    assert quick("watch", "file") == (2, "", "ngpd-fl: error: file: is not a folder\n")
    assert quick("watch", "x" * 256) == (2, "", f"ngpd-fl: error: {'x' * 256}: cannot be read (File name too long)\n")


def test_a_second_ctrl_c_changes_nothing(recorded: Path) -> None:
    command = [sys.executable, "-m", "ngpd_fl", "watch", str(recorded), "--port", str(free_port())]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}, **pipes) as process:
        assert Served(process.stdout.readline().split()[0], process).get("/").status == 200  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "") and process.returncode == 0


def test_without_a_folder_the_last_run_is_watched(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "runs" / "one")
    command = [sys.executable, "-m", "ngpd_fl", "watch", "--port", str(free_port())]
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = Served(process.stdout.readline().split()[0], process)
        assert next(message for message in messages(server.get("/stream")) if message.get("title"))["title"] == "one"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


def test_a_sweep_can_be_watched(quick: Command, here: Path) -> None:
    fast = "model = 'softmax'\ntopology.nodes = 4\ntraining = {rounds = 1, local_steps = 1}\n"
    (here / "sweep.toml").write_text(f"{fast}[sweep]\nsampler = 'grid'\n[sweep.keys]\n'strategy.lr' = [0.1]\n")
    said = quick("sweep", "sweep.toml", "--watch")
    assert said.code == 0 and "watch it at http://127.0.0.1:" in said.err


RUN = "run --strategy dsgd --rounds 1500 --nodes 4 --local-steps 1 --out out --watch".split()


@pytest.mark.slow
def test_beside_a_run_the_page_ends_with_it(tmp_path: Path) -> None:
    """A browser sees the end of the run, then the end of the server; no process stays."""
    command = [sys.executable, "-m", "ngpd_fl", *RUN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("watch it at http://127.0.0.1:")
        server = Served(said.split()[-1], process)
        said_to_browser = [*messages(server.get("/stream"))]
        heads = [run for message in said_to_browser for run in message.get("runs", ())]
        process.communicate()
    assert process.returncode == 0 and said_to_browser[-1] == {}
    assert [heads[0]["status"], heads[-1]["status"]] == ["running", "finished"]
    assert len(heads) >= 3 and sum(len(head["points"]) for head in heads) >= 1501
    with pytest.raises(ConnectionRefusedError):
        server.get("/")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_page_ends_however_the_run_ends(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "ngpd_fl", *RUN[:4], "100000", *RUN[5:]]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        server = Served(process.stderr.readline().split()[-1], process)
        try:
            stream = messages(server.get("/stream"))
            assert next(message for message in stream if any(run["points"] for run in message.get("runs", ())))
            process.send_signal(how)
            process.communicate(timeout=60)
        finally:
            process.kill()
        assert [*stream][-1] == {}  # the server says that it ends
    with pytest.raises(ConnectionRefusedError):
        server.get("/")
