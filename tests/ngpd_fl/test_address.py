"""Addresses as people write them."""

from __future__ import annotations

import pytest

from ngpd_fl.core.address import Address, check_host


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.10:7447", "192.168.1.10", 7447),
        ("laptop.local:1", "laptop.local", 1),
        ("1und1.de:65535", "1und1.de", 65535),
        ("[fd00::2]:80", "fd00::2", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[fe80::1%wlan0.12]:80", "fe80::1%wlan0.12", 80),
    ],
)
def test_an_address_is_written_as_it_is_read(text: str, host: str, port: int) -> None:
    assert Address.of(text) == (host, port)
    assert str(Address.of(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("laptop", "should be HOST:PORT"),
        ("laptop:", "should be HOST:PORT"),
        (":80", "should be HOST:PORT"),
        ("laptop:0", "should be HOST:PORT"),
        ("laptop:65536", "should be HOST:PORT"),
        ("laptop:\u0661", "should be HOST:PORT"),
        ("laptop:" + "1" * 5000, "should be HOST:PORT"),
        ("fd00::2:80", "should be HOST:PORT"),
        ("[laptop]:80", "should be HOST:PORT"),
        ("[fd00::g]:80", "should be HOST:PORT, and host 'fd00::g' is no IPv6 address"),
        ("[fd00::1%eth0]:80", "only a link-local address has a zone, such as fe80::1%eth0"),
        ("[fe80::1%]:80", "'fe80::1%' is no IPv6 address"),
        ("[fe80::1%e;h]:80", "only a link-local address has a zone"),
        ("my_board:80", "host 'my_board' has '_'; allowed are letters, digits, - and ."),
        ("my board:80", "host 'my board' has ' '"),
        ("b\u00fcro:80", "host 'b\u00fcro' has '\u00fc'"),
        ("http//x:80", "host 'http//x' has '/'"),
        ("-board:80", "neither begins nor ends with -"),
        ("a..b:80", "between dots are 1 to 63 letters"),
        ("a" * 64 + ":80", "between dots are 1 to 63 letters"),
        ("300.1.1.1:80", "host '300.1.1.1' is no IP address"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        Address.of(text)
    assert said in str(caught.value) and str(caught.value).startswith("should be HOST:PORT")


def test_a_host_may_be_a_name_or_an_address() -> None:
    for host in ("localhost", "board-1.local", "10.0.0.1", "::", "fe80::1%eth0"):
        check_host(host)


def test_loopback() -> None:
    assert [Address(host, 1).is_loopback for host in ("localhost", "127.0.0.2", "::1")] == [True] * 3
    assert not Address("laptop", 1).is_loopback and not Address("10.0.0.1", 1).is_loopback
