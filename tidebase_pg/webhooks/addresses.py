"""Where webhooks may go: which URLs, ports and addresses, whatever a name resolves to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Not `is_global` of ipaddress: its tables differ between releases of Python, and it takes 6to4,
# NAT64 and site-local addresses for global.
_NOT_PUBLIC: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by providers; metadata of Alibaba
        "127.0.0.0/8",
        "168.63.129.16/32",  # metadata of Azure
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "3fff::/20",
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")

_URL: Final = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?([/?][!-~]*)?"
)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PORTS: Final = {"https": 443, "http": 80}


class Forbidden(ValueError):
    """Nothing is sent there; the message says why, and which option allows it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart; `authority` goes into the header Host."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed beyond https to ports 443 and 80 of public addresses."""

    networks: Sequence[Network] = ()
    hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    http: bool = False

    def target(self, url: str) -> Target:
        """The parts of a URL. Raises Forbidden."""
        found = _URL.fullmatch(url)
        if found is None or "#" in url:
            raise Forbidden(
                "the URL is not one for webhooks: give https://, a host in ASCII (xn-- for other "
                "scripts), perhaps a port and a path; no user name, no fragment"
            )
        scheme, host, port, path = found.groups()
        if scheme == "http" and not self.http:
            raise Forbidden("http is not encrypted: use https, or allow http")
        number = _PORTS[scheme] if port is None else int(port)
        if number not in _PORTS.values() and number not in self.ports:
            raise Forbidden(f"port {port} is not allowed: use 443, or allow the port")
        name = _literal(host[1:-1]) if host[0] == "[" else _name(host)
        if path is None or path[0] == "?":
            path = "/" + (path or "")
        authority = host if number == _PORTS[scheme] else f"{host}:{number}"
        return Target(scheme, name, number, authority, path)

    def check(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses of a host. Raises Forbidden when any of them may not be connected to."""
        found = list(dict.fromkeys(addresses))
        if not found:
            raise Forbidden(f"{host} has no address")
        if host.lower().rstrip(".") not in self.hosts:
            for address in found:
                self.check_address(host, ip_address(address))
        return found

    def check_address(self, host: str, address: Address) -> None:
        """Raises Forbidden unless the address, and every one inside it, is public or allowed."""
        inside = list(unwrap(address))
        if any(one in network for one in inside for network in self.networks):
            return
        for one in inside:
            if not is_public(one):
                raise Forbidden(
                    f"{host} is at {address}, which is not public: allow the host or the network"
                )


def rules(allow: Iterable[str] = (), ports: Iterable[int] = (), *, http: bool = False) -> Rules:
    """Rules from what a user gives: networks such as 10.1.0.0/16, and names of hosts."""
    networks: list[Network] = []
    hosts: set[str] = set()
    for given in allow:
        try:
            networks.append(ip_network(given))
        except ValueError as error:
            if "/" in given or ":" in given or not _HOST.fullmatch(given) or _numeric(given):
                raise ValueError(
                    f"allow = {given[:80]!r} is neither a network nor a host: {error}"
                ) from None
            hosts.add(given.lower().rstrip("."))
    for port in ports:
        if not 1 <= port <= 65535:
            raise ValueError(f"allow_ports = {port} is out of range: give 1 to 65535")
    return Rules(tuple(networks), frozenset(hosts), frozenset(ports), http)


def is_public(address: Address) -> bool:
    """Whether the address itself is one of the public internet; see `unwrap` for those inside."""
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def unwrap(address: Address) -> Iterator[Address]:
    """The address packets for this one end at: of IPv4 inside IPv6 what is inside, else itself."""
    if isinstance(address, IPv4Address):
        yield address
        return
    bits = int(address)
    if address in _MAPPED or address in _NAT64 or (address in _COMPATIBLE and bits > 1):
        yield IPv4Address(bits & 0xFFFFFFFF)
    elif address in _LOCAL_NAT64:
        yield address
        yield IPv4Address(bits & 0xFFFFFFFF)
    elif address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:
        yield address
        yield IPv4Address(bits >> 64 & 0xFFFFFFFF)
        yield IPv4Address(~bits & 0xFFFFFFFF)
    else:
        yield address


def _literal(host: str) -> str:
    try:
        return str(IPv6Address(host))
    except ValueError:
        raise Forbidden(f"[{host}] is not an IPv6 address") from None


def _name(host: str) -> str:
    """A name, or an IPv4 address as everybody reads it; resolvers take 127.1 and 0x7f.1 too."""
    if _numeric(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise Forbidden(f"{host} is not an IPv4 address in the usual form") from None
    return host


def _numeric(host: str) -> bool:
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
