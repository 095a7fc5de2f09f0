"""What answers Prometheus costs the peer next to nothing, whoever connects."""

from __future__ import annotations

import os
import resource
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.peer.prometheus import MetricsServer
from ngpd_fl.peer.transport import Address
from tests.support.ports import free_port
from tests.support.transports import until


def files_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def asks(port: int, host: str = "127.0.0.1") -> int:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        return int(answer.status)


@contextmanager
def few_files(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_silent_connections_use_up_nothing_and_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.prometheus._SILENCE", 600.0)
    port = free_port()
    with closing(MetricsServer(Address("127.0.0.1", port))), ExitStack() as stack:
        before = files_open()
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        until(lambda: files_open() - before <= 300 + 8)  # this side's are open as well
        assert asks(port) == 200


def test_what_may_be_open_bounds_what_is_kept() -> None:
    port = free_port()
    with few_files(max(24, files_open() // 2)), closing(MetricsServer(Address("127.0.0.1", port))) as server:
        assert server._server._most <= 24


def test_a_silent_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngpd_fl.peer.prometheus._SILENCE", 0.3)
    port = free_port()
    with closing(MetricsServer(Address("127.0.0.1", port))):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
            began = time.monotonic()
            assert silent.recv(1) == b"" and time.monotonic() - began < 8


def test_only_the_address_that_is_named_is_listened_at() -> None:
    port = free_port()
    with closing(MetricsServer(Address("127.0.0.1", port))):
        with pytest.raises(OSError):
            asks(port, "127.0.0.2")
    with closing(MetricsServer(Address("0.0.0.0", port))):
        assert asks(port, "127.0.0.2") == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "no..such", "x" * 300])
def test_an_address_that_is_not_this_machines_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="metrics-address, metrics-port: .* cannot be listened at") as refused:
        MetricsServer(Address(host, 9100))
    assert "\n" not in str(refused.value)
