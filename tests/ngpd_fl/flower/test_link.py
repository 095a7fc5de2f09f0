"""The environment of Flower's processes, as their clients read it."""

from __future__ import annotations

import itertools
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest

from ngpd_fl.flower.link import around_proxies, environment_of
from tests.deployment import PROXIES


def goes_to_a_proxy(url: str) -> bool:
    """Whether Flower's client would ask a proxy for this address."""
    client: Any = httpx.Client()
    return client._transport_for_url(httpx.URL(url)) is not client._transport


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in itertools.chain(PROXIES, ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY")):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize(
    "value", ["http://10.9.9.9:3128", "socks5://10.9.9.9:1080", "socks5h://u:p@[::1]:1", "10.9.9.9:3128"]
)
@pytest.mark.parametrize("exempt", [{}, {"NO_PROXY": "intern.example"}, {"no_proxy": "*"}])
def test_this_machine_has_no_proxy(
    name: str, value: str, exempt: dict[str, str], clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, each in (exempt | {name: value}).items():
        clean.setenv(key, each)
    for key, each in environment_of(tmp_path, direct=["10.1.2.3"]).items():
        clean.setenv(key, each)
    for scheme, host in itertools.product(("http", "https"), ("127.0.0.1", "localhost", "[::1]", "10.1.2.3")):
        assert not goes_to_a_proxy(f"{scheme}://{host}:9092/health")
    for host in ("127.0.0.1", "localhost", "10.1.2.3"):
        assert urllib.request.proxy_bypass(host), "what other libraries ask"


def test_other_machines_keep_theirs(clean: pytest.MonkeyPatch) -> None:
    for key, value in around_proxies({"https_proxy": "http://10.9.9.9:3128", "NO_PROXY": "intern.example"}).items():
        clean.setenv(key, value)
    assert goes_to_a_proxy("https://example.org"), "data sets come from there"
    assert not goes_to_a_proxy("https://intern.example")


def test_grpc_has_names_of_its_own() -> None:
    found = around_proxies(
        {"no_grpc_proxy": "intern.example", "grpc_proxy": "socks5://x:1", "GRPC_PROXY": "http://y:1"}
    )
    assert found["no_grpc_proxy"] == "intern.example,localhost,127.0.0.1,::1"
    assert "grpc_proxy" not in found and found["GRPC_PROXY"] == "http://y:1"
    assert "no_proxy" in found
