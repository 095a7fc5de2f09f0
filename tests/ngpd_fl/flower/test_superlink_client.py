"""The environment of Flower's processes, as their clients read it."""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ngpd_fl.flower.launcher.superlink_client import around_proxies, environment_of
from tests.support.deployment import PROXIES

NEAR = ("127.0.0.1", "localhost", "10.1.2.3")


def proxied(urls: Iterable[str]) -> list[str]:
    """Return the addresses for which Flower's client would ask a proxy."""
    client: Any = httpx.Client(verify=False)
    return [url for url in urls if client._transport_for_url(httpx.URL(url)) is not client._transport]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in itertools.chain(PROXIES, ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY")):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(("exempt", "hosts"), [("NO_PROXY", "intern.example"), ("no_proxy", "*")])
@pytest.mark.parametrize(
    "value", ["http://10.9.9.9:3128", "socks5://10.9.9.9:1080", "SOCKS5H://u:p@[::1]:1", "10.9.9.9:1"]
)
def test_this_machine_has_no_proxy(
    value: str, exempt: str, hosts: str, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in PROXIES:
        clean.setenv(name, value)
    clean.setenv(exempt, hosts)
    inherited = environment_of(tmp_path, direct=["10.1.2.3"])
    for name in PROXIES:
        clean.delenv(name)
    for name, each in inherited.items():
        clean.setenv(name, each)
    assert not proxied(f"http{s}://{host}:9092" for s in ("", "s") for host in (*NEAR, "[::1]"))
    for host in NEAR:
        assert urllib.request.proxy_bypass(host), "what other libraries ask"


def test_other_machines_keep_theirs(clean: pytest.MonkeyPatch) -> None:
    for key, value in around_proxies({"https_proxy": "http://10.9.9.9:3128", "NO_PROXY": "intern.example"}).items():
        clean.setenv(key, value)
    assert proxied(["https://example.org", "https://intern.example"]) == ["https://example.org"], (
        "data sets come from there"
    )


def test_who_wants_no_proxy_at_all_gets_none(clean: pytest.MonkeyPatch) -> None:
    for key, value in around_proxies({"https_proxy": "http://10.9.9.9:3128", "no_proxy": "*"}).items():
        clean.setenv(key, value)
    assert proxied(["https://example.org"]) == [] and urllib.request.proxy_bypass("example.org")


def test_grpc_has_names_of_its_own() -> None:
    found = around_proxies(
        {"no_grpc_proxy": "intern.example", "grpc_proxy": "socks5://x:1", "GRPC_PROXY": "http://y:1"}
    )
    assert found["no_grpc_proxy"] == "intern.example,localhost,127.0.0.1,::1"
    assert "grpc_proxy" not in found and found["GRPC_PROXY"] == "http://y:1"
    assert "no_proxy" in found
