"""Servers that webhooks are sent to: good ones, and every kind of bad one."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

HOST = "127.0.0.1"
NEVER = 60.0
"""Seconds after which a test that hangs fails."""


@dataclass
class Request:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server; `answer` says what to reply, as status, headers and body."""

    answer: Callable[[Request], tuple[int, dict[str, str], bytes]] = field(
        default=lambda request: (200, {}, b"thanks")
    )
    port: int = 0
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)
    arrived: queue.SimpleQueue[Request] = field(default_factory=queue.SimpleQueue)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}/hook?a=1"


class Held(Receiver):
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        super().__init__(self._hold)

    def _hold(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        assert self.let_go.wait(NEVER)
        return 200, {}, b"at last"


@contextmanager
def serve(receiver: Receiver, tls: ssl.SSLContext | None = None) -> Generator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, body)
            receiver.requests.append(request)
            receiver.arrived.put(request)
            status, extra, text = receiver.answer(request)
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {"content-length": str(len(text)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def get_request(self) -> Any:
            connected, address = super().get_request()
            if tls is None:
                return connected, address
            connected.settimeout(NEVER)
            try:
                return tls.wrap_socket(connected, server_side=True), address
            except OSError:
                connected.close()
                raise

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server((HOST, 0), Handler)
    receiver.port = server.server_address[1]
    receiver.scheme = "http" if tls is None else "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if isinstance(receiver, Held):
            receiver.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join(NEVER)


class Raw:
    """A server that says bytes of its own, once it has read the head of the request."""

    def __init__(self, say: Callable[[socket.socket, threading.Event], None]) -> None:
        self._say = say
        self._ended = threading.Event()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.accepted = 0
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with connected, contextlib.suppress(OSError):
            self._say(connected, self._ended)

    def close(self) -> None:
        self._ended.set()
        self._listener.close()


def drip(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says the start at once, then a byte every now and then, for ever."""

    def say(connected: socket.socket, ended: threading.Event) -> None:
        connected.recv(65536)
        connected.sendall(start)
        while not ended.wait(0.02):
            connected.sendall(b"a")

    return say


def flood(start: bytes, again: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says the start, then the same again and again as fast as it can."""

    def say(connected: socket.socket, ended: threading.Event) -> None:
        connected.recv(65536)
        connected.sendall(start)
        while not ended.is_set():
            connected.sendall(again)

    return say


def say(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Says this and hangs up."""

    def say(connected: socket.socket, ended: threading.Event) -> None:
        connected.recv(65536)
        connected.sendall(answer)

    return say


def silence(connected: socket.socket, ended: threading.Event) -> None:
    """Accepts, and neither reads nor says anything."""
    ended.wait(NEVER)


OK = b"HTTP/1.1 200 OK\r\n"
BAD: dict[str, Callable[[socket.socket, threading.Event], None]] = {
    "silent": silence,
    "drips its headers": drip(OK + b"x: "),
    "drips its status": drip(b"HTTP/1.1 200 "),
    "drips interim answers": drip(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 "),
    "floods its headers": flood(OK + b"x: ", b"a" * 4096),
    "floods interim answers": flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "hangs up": say(b""),
    "talks nonsense": say(b"SSH-2.0-OpenSSH_9.9\r\n"),
}


def unused_port() -> int:
    """A port nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def full_listener(host: str, port: int = 0) -> Iterator[int]:
    """A port that lets nobody in any more: connecting to it hangs."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        place = listener.getsockname()
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(place)
        yield place[1]


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers: `receive(answer)`, `receive(receiver=Held(), tls=…)`; stops them."""
    with ExitStack() as running:

        def receive(
            answer: Callable[[Request], tuple[int, dict[str, str], bytes]] | None = None,
            *,
            receiver: Receiver | None = None,
            tls: ssl.SSLContext | None = None,
        ) -> Receiver:
            made = receiver or (Receiver() if answer is None else Receiver(answer))
            return running.enter_context(serve(made, tls))

        yield receive


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    """Starts servers that say bytes of their own; stops them."""
    with ExitStack() as running:

        def raw(say: Callable[[socket.socket, threading.Event], None]) -> Raw:
            made = Raw(say)
            running.callback(made.close)
            return made

        yield raw
