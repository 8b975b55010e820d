"""Sends one webhook over HTTP: to checked addresses only, and within its time whatever comes back.

Needs httpcore and certifi, the extra `webhooks`.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import certifi
import httpcore

from tidebase_pg.errors import StepTimeout
from tidebase_pg.threads import call_within
from tidebase_pg.version import __version__
from tidebase_pg.webhooks.addresses import Forbidden, Rules

LONGEST_ANSWER: Final = 65_536
"""Bytes read of an answer, headers and all."""
LONGEST_RETRY_AFTER: Final = 86_400.0
MOST_ADDRESSES: Final = 4
CHUNK: Final = 16_384

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: to resolve and connect, between two reads, and in all."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How sending went: what came back, or why nothing did."""

    http_status: int | None = None
    response: str | None = None
    error: str | None = None
    retry_after: float | None = None
    """Seconds for which the receiver asks not to be asked."""


class TookTooLong(Exception):
    """The time of an attempt is over."""


class TooLong(Exception):
    """The receiver sends more than is read."""


class Poster:
    """Posts documents; shared by threads. Each attempt has a connection of its own."""

    def __init__(
        self,
        rules: Rules,
        limits: Limits,
        *,
        ca_file: str | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._resolve = resolve or lookup
        self._tls = ssl.create_default_context(cafile=certifi.where())
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)
        # Before threads share it: httpcore sets it again for each connection.
        self._tls.set_alpn_protocols(["http/1.1"])

    def post(self, url: str, headers: Callable[[], Mapping[str, str]], body: bytes) -> Answer:
        """Never raises: what went wrong, with the headers too, is in the answer."""
        clock = _Clock(self._limits)
        try:
            return self._exchange(url, headers(), body, clock)
        except TookTooLong:
            return Answer(error=clock.complaint())
        except TooLong:
            return Answer(error=f"the headers of the answer are longer than {LONGEST_ANSWER} bytes")
        except Forbidden as error:
            return Answer(error=f"not sent: {error}")
        except Exception as error:
            return Answer(error=f"{type(error).__name__}: {_clean(str(error))[:500]}")

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes, clock: _Clock) -> Answer:
        target = self._rules.target(url)
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        connection = httpcore.HTTPConnection(
            origin,
            ssl_context=self._tls,
            network_backend=_Network(self._addresses, clock),
        )
        try:
            request = httpcore.Request(
                "POST",
                httpcore.URL(
                    scheme=origin.scheme,
                    host=origin.host,
                    port=origin.port,
                    target=target.path.encode(),
                ),
                headers=[
                    ("host", target.authority),
                    ("user-agent", f"tidebase-pg/{__version__}"),
                    ("accept", "*/*"),
                    ("accept-encoding", "identity"),
                    ("connection", "close"),
                    ("content-type", "application/json"),
                    ("content-length", str(len(body))),
                    *headers.items(),
                ],
                content=body,
                extensions={"sni_hostname": target.host.rstrip(".")},
            )
            response = connection.handle_request(request)
            text, complaint = self._read(response.iter_stream(), clock)
        finally:
            connection.close()
        if 300 <= response.status < 400:
            complaint = "a redirect, which is not followed: set the final address"
        wait = None if 200 <= response.status < 300 else _retry_after(response.headers)
        return Answer(response.status, text, complaint, wait)

    def _read(self, stream: Iterable[bytes], clock: _Clock) -> tuple[str, str | None]:
        """What can be read of the body. The status has been given: trouble here is a remark."""
        parts: list[bytes] = []
        complaint: str | None = None
        try:
            parts.extend(stream)
        except TooLong:
            complaint = f"only {LONGEST_ANSWER} bytes of the answer were read"
        except TookTooLong:
            complaint = clock.complaint()
        except Exception as error:
            complaint = f"the answer broke off: {type(error).__name__}"
        return _clean(b"".join(parts).decode(errors="replace")), complaint

    def _addresses(self, host: str, port: int, clock: _Clock) -> list[str]:
        """Where the host is, looked up once and checked. Raises Forbidden."""
        try:
            found = call_within(
                lambda: self._resolve(host, port), clock.left(), f"looking up {host}"
            )
        except StepTimeout:
            raise TookTooLong from None
        except (OSError, UnicodeError) as error:
            raise Forbidden(f"{host} cannot be looked up: {error}") from None
        return self._rules.check(host, found)


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """Retry-After in seconds, at most a day; a date is read by the Date of the same answer."""
    given = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    value = given.get(b"retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(value)
        wait = (until - parsedate_to_datetime(given[b"date"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER)


def lookup(host: str, port: int) -> list[str]:
    """The addresses of a host, by the resolver of the system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


class _Clock:
    """The times of one attempt: by when it has to be connected, and over."""

    def __init__(self, limits: Limits) -> None:
        now = time.monotonic()
        self._limits = limits
        self._connect_by = now + min(limits.connect, limits.total)
        self._end_by = now + limits.total
        self._connected = False

    def connected(self) -> None:
        self._connected = True

    def left(self) -> float:
        """Seconds the next operation may take. Raises TookTooLong when there are none."""
        now = time.monotonic()
        if self._connected:
            left = min(self._end_by - now, self._limits.read)
        else:
            left = self._connect_by - now
        if left <= 0:
            raise TookTooLong
        return left

    def complaint(self) -> str:
        if not self._connected:
            return f"not connected after {self._limits.connect:g} s"
        if time.monotonic() >= self._end_by:
            return f"no complete answer after {self._limits.total:g} s"
        return f"silence for {self._limits.read:g} s"


class _Network(httpcore.NetworkBackend):
    """Connects to an address that was checked, never by name: there is no second lookup."""

    def __init__(
        self, addresses: Callable[[str, int, _Clock], Sequence[str]], clock: _Clock
    ) -> None:
        self._addresses = addresses
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port, self._clock)[:MOST_ADDRESSES]
        trouble = ""
        for place, address in enumerate(addresses):
            # A dead address leaves time for the next.
            share = self._clock.left() / (len(addresses) - place)
            try:
                connected = socket.create_connection((address, port), timeout=share)
            except OSError as error:
                trouble = f"{address} port {port}: {error}"
            else:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Stream(connected, self._clock)
        self._clock.left()
        raise httpcore.ConnectError(trouble)


class _Stream(httpcore.NetworkStream):
    """A socket that keeps to the clock, and to what is read at most."""

    def __init__(self, connected: socket.socket, clock: _Clock) -> None:
        self._socket = connected
        self._clock = clock
        self._read = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._clock.connected()
        if self._read >= LONGEST_ANSWER:
            raise TooLong
        try:
            self._socket.settimeout(self._clock.left())
            data = self._socket.recv(min(max_bytes, LONGEST_ANSWER - self._read))
        except TimeoutError:
            raise TookTooLong from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None
        self._read += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._clock.connected()
        rest = memoryview(buffer)
        while rest:
            try:
                self._socket.settimeout(self._clock.left())
                rest = rest[self._socket.send(rest[:CHUNK]) :]
            except TimeoutError:
                raise TookTooLong from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(self._clock.left())
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError:
            self.close()
            raise TookTooLong from None
        except BaseException:
            self.close()
            raise
        return _Stream(wrapped, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return None


def _clean(text: str) -> str:
    """As Postgres can store it."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
