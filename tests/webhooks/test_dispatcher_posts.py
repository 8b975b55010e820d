"""One webhook over HTTP: where it goes, whom it trusts, and that it ends in time."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.webhooks.receivers import (
    BAD,
    HOST,
    NEVER,
    OK,
    Raw,
    Receiver,
    Request,
    drip,
    flood,
    full_listener,
    say,
    silence,
    unused_port,
)
from tests.webhooks.receivers import raw as raw
from tests.webhooks.receivers import receive as receive
from tidebase_pg.version import __version__
from tidebase_pg.webhooks.addresses import Rules, rules
from tidebase_pg.webhooks.http_sender import LONGEST_ANSWER, Answer, Limits, Poster

BODY = b'{"type":"run.completed"}'
USUAL = Limits()
SHORT = Limits(connect=0.5, read=0.6, total=0.6)
SLACK = 5.0
"""Seconds a loaded machine may add to a limit; far below what the receivers would take."""


def local(*ports: int) -> Rules:
    return rules(["127.0.0.0/8", "receiver.example"], ports, http=True)


def post(
    url: str, port: int, *, limits: Limits = USUAL, body: bytes = BODY, **options: Any
) -> Answer:
    return Poster(local(port), limits, **options).post(url, lambda: {"x-more": "yes"}, body)


@contextmanager
def ends_within(limit: float) -> Iterator[None]:
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < limit + SLACK


def test_a_document_is_posted_with_its_headers(receive: Callable[..., Receiver]) -> None:
    receiver = receive(lambda request: (201, {}, "grüß\0 dich".encode() + b"\xff"))
    answer = post(receiver.url, receiver.port)
    assert answer == Answer(201, "grüß\ufffd dich\ufffd", None)
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hook?a=1", BODY)
    assert request.headers == {
        "host": f"{HOST}:{receiver.port}",
        "user-agent": f"tidebase-pg/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "x-more": "yes",
    }


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_any_answer_is_reported_as_it_is(receive: Callable[..., Receiver], status: int) -> None:
    receiver = receive(lambda request: (status, {}, b"no"))
    assert post(receiver.url, receiver.port) == Answer(status, "no", None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receive: Callable[..., Receiver], status: int) -> None:
    other = receive()
    for place in ("http://169.254.169.254/latest/meta-data/", other.url):
        receiver = receive(lambda request, place=place: (status, {"location": place}, b""))
        answer = post(receiver.url, receiver.port)
        assert answer.http_status == status
        assert "a redirect, which is not followed" in (answer.error or "")
    assert other.requests == []


# TLS --------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of this test."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_name_goes_into_host_and_sni_though_the_address_is_connected_to(
    receive: Callable[..., Receiver], authority: Authority
) -> None:
    tls = authority.context("receiver.example")
    names: list[str | None] = []
    tls.sni_callback = lambda connected, name, context: names.append(name)
    receiver = receive(tls=tls)
    url = f"https://receiver.example:{receiver.port}/"
    answer = post(url, receiver.port, ca_file=authority.file, resolve=lambda host, port: [HOST])
    assert answer.http_status == 200
    assert names == ["receiver.example"]
    assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.port}"


def test_an_address_in_the_url_has_to_be_in_the_certificate(
    receive: Callable[..., Receiver], authority: Authority
) -> None:
    right, wrong = receive(tls=authority.context(HOST)), receive(tls=authority.context("127.0.0.9"))
    assert post(right.url, right.port, ca_file=authority.file).http_status == 200
    answer = post(wrong.url, wrong.port, ca_file=authority.file)
    assert answer.http_status is None
    assert "CERTIFICATE_VERIFY_FAILED" in (answer.error or "")


@pytest.mark.parametrize(
    ("name", "trusted"), [("other.example", True), ("receiver.example", False)]
)
def test_a_receiver_that_cannot_prove_its_name_is_told_nothing(
    receive: Callable[..., Receiver],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trusted: bool,
) -> None:
    # What the environment trusts is no business of the dispatcher.
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    receiver = receive(tls=authority.context(name))
    answer = post(
        f"https://receiver.example:{receiver.port}/",
        receiver.port,
        ca_file=authority.file if trusted else None,
        resolve=lambda host, port: [HOST],
    )
    assert answer.http_status is None
    assert "CERTIFICATE_VERIFY_FAILED" in (answer.error or "")
    assert receiver.requests == []


def test_https_is_never_answered_in_clear_text(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    answer = post(receiver.url.replace("http", "https", 1), receiver.port)
    assert answer.http_status is None
    assert "SSL" in (answer.error or "")
    assert receiver.requests == []


# Where it goes ----------------------------------------------------------------------------


def test_a_name_is_looked_up_once_and_only_what_was_checked_is_connected_to(
    receive: Callable[..., Receiver], raw: Callable[..., Raw]
) -> None:
    inside = raw(silence)
    public = rules(["127.0.0.2"], [inside.port], http=True)
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else [HOST]

    with socket.create_server(("127.0.0.2", inside.port)) as allowed:
        poster = Poster(public, SHORT, resolve=rebinding)
        url = f"http://rebinding.example:{inside.port}/"
        answer = poster.post(url, dict, BODY)
        allowed.settimeout(NEVER)
        allowed.accept()[0].close()
        assert "no complete answer" in (answer.error or "")
        assert asked == ["rebinding.example"]
        second = poster.post(url, dict, BODY)
    assert "rebinding.example is at 127.0.0.1, which is not public" in (second.error or "")
    assert inside.accepted == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "127.1"])
def test_this_machine_is_not_connected_to(raw: Callable[..., Raw], host: str) -> None:
    inside = raw(silence)
    poster = Poster(rules(ports=[inside.port], http=True), SHORT)
    answer = poster.post(f"http://{host}:{inside.port}/", dict, BODY)
    assert (answer.http_status, (answer.error or "")[:8]) == (None, "not sent")
    assert inside.accepted == 0


def test_one_private_address_among_public_ones_is_enough_to_refuse(raw: Callable[..., Raw]) -> None:
    inside = raw(silence)
    poster = Poster(
        rules(["127.0.0.1"], [inside.port], http=True),
        SHORT,
        resolve=lambda host, port: [HOST, "169.254.169.254"],
    )
    answer = poster.post(f"http://h.example:{inside.port}/", dict, BODY)
    assert "169.254.169.254, which is not public" in (answer.error or "")
    assert inside.accepted == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_of_the_environment_are_ignored(
    receive: Callable[..., Receiver],
    raw: Callable[..., Raw],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    proxy = raw(silence)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    receiver = receive(tls=authority.context(HOST) if scheme == "https" else None)
    assert post(receiver.url, receiver.port, ca_file=authority.file).http_status == 200
    assert proxy.accepted == 0


def test_a_dead_address_leaves_time_for_the_next(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    with full_listener("127.0.0.2", receiver.port):
        answer = post(
            f"http://h.example:{receiver.port}/",
            receiver.port,
            limits=Limits(connect=2.0),
            resolve=lambda host, port: ["127.0.0.2", HOST],
        )
    assert answer.http_status == 200


# In time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BAD)
def test_a_bad_receiver_costs_no_more_than_the_time_of_an_attempt(
    raw: Callable[..., Raw], how: str
) -> None:
    receiver = raw(BAD[how])
    with ends_within(SHORT.total):
        answer = post(receiver.url, receiver.port, limits=SHORT)
    assert answer.http_status is None
    assert answer.error
    assert receiver.accepted == 1


@pytest.mark.parametrize("length", [b"content-length: 1000000\r\n\r\n", b"\r\n"])
def test_an_answer_that_drips_is_cut_off_and_its_status_counts(
    raw: Callable[..., Raw], length: bytes
) -> None:
    receiver = raw(drip(OK + length))
    with ends_within(SHORT.total):
        answer = post(receiver.url, receiver.port, limits=SHORT)
    assert answer.http_status == 200
    assert set(answer.response or "-") == {"a"}
    assert answer.error == "no complete answer after 0.6 s"


def test_of_a_huge_answer_only_the_beginning_is_read(raw: Callable[..., Raw]) -> None:
    receiver = raw(flood(OK + b"\r\n", b"b" * 4096))
    answer = post(receiver.url, receiver.port)
    assert answer.http_status == 200
    assert len(answer.response or "") == LONGEST_ANSWER - len(OK + b"\r\n")
    assert "only 65536 bytes" in (answer.error or "")


def test_an_answer_that_breaks_off_keeps_its_status(raw: Callable[..., Raw]) -> None:
    receiver = raw(say(b"HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\nhalf"))
    answer = post(receiver.url, receiver.port)
    assert (answer.http_status, answer.response) == (503, "half")
    assert "broke off" in (answer.error or "")


def test_a_receiver_that_never_reads_is_left(raw: Callable[..., Raw]) -> None:
    receiver = raw(silence)
    with ends_within(SHORT.total):
        answer = post(receiver.url, receiver.port, limits=SHORT, body=bytes(32 * 2**20))
    assert answer == Answer(error="no complete answer after 0.6 s")


def test_silence_is_given_up_before_the_whole_time(raw: Callable[..., Raw]) -> None:
    receiver = raw(silence)
    answer = post(receiver.url, receiver.port, limits=Limits(read=0.2, total=NEVER))
    assert answer == Answer(error="silence for 0.2 s")


@pytest.mark.parametrize("how", ["silent in TLS", "lets nobody in", "resolves for ever"])
def test_connecting_has_a_limit_of_its_own(raw: Callable[..., Raw], how: str) -> None:
    limits = Limits(connect=0.3, read=NEVER, total=NEVER)
    ended = threading.Event()
    with ends_within(0.3):
        if how == "silent in TLS":
            receiver = raw(silence)
            answer = post(f"https://{HOST}:{receiver.port}/", receiver.port, limits=limits)
        elif how == "lets nobody in":
            with full_listener(HOST) as port:
                answer = post(f"http://{HOST}:{port}/", port, limits=limits)
        else:

            def resolve(host: str, port: int) -> list[str]:
                ended.wait(NEVER)
                return [HOST]

            answer = post("http://h.example/", 80, limits=limits, resolve=resolve)
    ended.set()
    assert answer.http_status is None
    assert "0.3 s" in (answer.error or "") or "timed out" in (answer.error or "")


def test_what_cannot_be_reached_is_said() -> None:
    port = unused_port()
    assert "Connection refused" in (post(f"http://{HOST}:{port}/", port).error or "")

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer = post("http://no.example/", 80, resolve=unknown)
    assert "no.example cannot be looked up" in (answer.error or "")


def test_headers_that_cannot_be_made_are_an_answer_too(receive: Callable[..., Receiver]) -> None:
    receiver = receive()

    def headers() -> dict[str, str]:
        raise ValueError("no such secret")

    answer = Poster(local(receiver.port), SHORT).post(receiver.url, headers, BODY)
    assert answer == Answer(error="ValueError: no such secret")
    assert receiver.requests == []


def test_a_header_cannot_smuggle_another(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    poster = Poster(local(receiver.port), SHORT)
    answer = poster.post(receiver.url, lambda: {"x": "a\r\nx-evil: b"}, BODY)
    assert answer.http_status is None
    assert receiver.requests == []


def test_json_is_sent_byte_for_byte(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    body = json.dumps({"b": 1, "a": "ü"}, ensure_ascii=False).encode()
    assert post(receiver.url, receiver.port, body=body).http_status == 200
    received: Request = receiver.requests[0]
    assert received.body == body
