"""Where webhooks may go: the table of addresses and URLs that have fooled others."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from tidebase_pg.webhooks.addresses import Forbidden, Target, is_public, rules, unwrap

REFUSED = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "198.20.0.1",
    "223.255.255.255",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80f::200e",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Forbidden, match="which is not public"):
        rules().check("h", [address])


@pytest.mark.parametrize("address", ALLOWED)
def test_what_is_public_is_connected_to(address: str) -> None:
    assert rules().check("h", [address]) == [address]


def test_one_address_that_is_not_public_spoils_the_others() -> None:
    with pytest.raises(Forbidden, match="h is at ::1"):
        rules().check("h", ["1.1.1.1", "::1"])
    with pytest.raises(Forbidden, match="h has no address"):
        rules().check("h", [])


def test_what_is_allowed_is_allowed_however_it_is_written() -> None:
    inside = rules(["10.1.0.0/16", "fd00::/64", "Vault.internal", "127.0.0.1"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7", "127.0.0.1"):
        assert inside.check("h", [address]) == [address]
    for address in ("10.2.0.1", "fd00:0:0:1::7", "127.0.0.2"):
        with pytest.raises(Forbidden):
            inside.check("h", [address])
    for host in ("vault.internal", "VAULT.internal", "vault.internal."):
        assert inside.check(host, ["10.9.9.9"]) == ["10.9.9.9"]
    for host in ("xvault.internal", "vault.internal.example.com"):
        with pytest.raises(Forbidden):
            inside.check(host, ["10.9.9.9"])


@pytest.mark.parametrize("given", ["10.1.0.1/16", "10.0.0.0/33", "1:2", "", "a b", "127.1", "0x7f"])
def test_what_is_allowed_must_be_a_network_or_a_host(given: str) -> None:
    with pytest.raises(ValueError, match="neither a network nor a host"):
        rules([given])


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0x7f000001", "0"])
def test_numbers_that_resolvers_take_for_addresses_are_refused(host: str) -> None:
    # So it is not by chance that the address they stand for would be refused as well.
    assert socket.gethostbyname(host) in ("127.0.0.1", "0.0.0.0")
    with pytest.raises(Forbidden, match="not an IPv4 address in the usual form"):
        rules().target(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com#@127.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "https://example.com/a b",
        "https://example.com/\r\nhost: x",
        "https://bücher.example/",
        "https://ⓛocalhost/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.a]/",
        "https://example.com:/",
        "https://example.com:123456/",
        "https:///etc/passwd",
        "HTTPS://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        rules(http=True).target(url)


def test_a_url_is_taken_apart() -> None:
    assert rules().target("https://example.com") == Target(
        "https", "example.com", 443, "example.com", "/"
    )
    assert rules(ports=[8443]).target("https://xn--bcher-kva.example:8443?a=%20b&c") == Target(
        "https", "xn--bcher-kva.example", 8443, "xn--bcher-kva.example:8443", "/?a=%20b&c"
    )
    assert rules().target("https://[2606:4700::1]:443/x") == Target(
        "https", "2606:4700::1", 443, "[2606:4700::1]", "/x"
    )
    assert rules(http=True).target("http://1.1.1.1/") == Target(
        "http", "1.1.1.1", 80, "1.1.1.1", "/"
    )


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 8080, 0, 65535])
def test_other_ports_have_to_be_allowed(port: int) -> None:
    with pytest.raises(Forbidden, match=f"port {port} is not allowed"):
        rules().target(f"https://example.com:{port}/")
    if port:
        assert rules(ports=[port]).target(f"https://example.com:{port}/").port == port


def test_http_has_to_be_allowed() -> None:
    with pytest.raises(Forbidden, match="use https, or allow http"):
        rules().target("http://example.com/")
    assert rules(http=True).target("http://example.com/").scheme == "http"


def test_addresses_inside_addresses_are_found() -> None:
    def inside(address: str) -> list[str]:
        return [str(one) for one in unwrap(ip_address(address))]

    assert inside("::ffff:1.2.3.4") == ["1.2.3.4"]
    assert inside("64:ff9b::1.2.3.4") == ["1.2.3.4"]
    assert inside("2002:102:304::9") == ["1.2.3.4"]
    assert inside("::1") == ["::1"]
    assert inside("2001:0:102:304::fbfa:f9f8") == [
        "2001:0:102:304::fbfa:f9f8",
        "1.2.3.4",
        "4.5.6.7",
    ]
    assert is_public(ip_address("2606:4700::1"))
