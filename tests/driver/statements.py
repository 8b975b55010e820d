"""A proxy before Postgres that does something at one statement of a process's transaction."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from psycopg.conninfo import conninfo_to_dict, make_conninfo

STARTED, ANSWERED = "before it reaches the server", "after the server has answered"
Boundary = tuple[int, str]


class Proxy:
    """Takes connections and gives each to `_serve`, in a thread of its own."""

    def __init__(self, dsn: str) -> None:
        self._server = conninfo_to_dict(dsn)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(
            dsn, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable",
            gssencmode="disable",
        )  # fmt: skip

    def _start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _connect(self) -> socket.socket:
        host, port = str(self._server["host"]), int(str(self._server.get("port", 5432)))
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


class Statements(Proxy):
    """Forwards to a server. From the first `begin` on, it counts the statements of that connection,
    and at the boundary it calls `strike`, then ends that connection; nothing goes either way on the
    others."""

    def __init__(self, dsn: str, boundary: Boundary, strike: Callable[[], None]) -> None:
        super().__init__(dsn)
        self._boundary = boundary
        self._strike = strike
        self._dead = threading.Event()
        self.struck = False
        self._start()

    def close(self) -> None:
        self._dead.set()
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        count = Count()
        with client, server, contextlib.ExitStack() as ending:
            ending.callback(
                hang_up, server
            )  # a close alone goes unnoticed while another thread reads
            ending.enter_context(contextlib.suppress(OSError, EOFError))
            (length,) = struct.unpack("!i", read(client, 4))
            server.sendall(struct.pack("!i", length) + read(client, length - 4))
            threading.Thread(
                target=self._answers, args=(server, client, count), daemon=True
            ).start()
            while not self._dead.is_set():
                kind, body = message(client)
                if kind == b"Q" and body.lower().startswith(b"begin"):
                    count.counting = True
                if count.counting and kind in (b"Q", b"S"):
                    count.number += 1
                    if self._boundary == (count.number, STARTED):
                        self._hit()
                        return
                if kind == b"Q" and body.lower().startswith(b"commit"):
                    count.committing = True
                server.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _answers(self, server: socket.socket, client: socket.socket, count: Count) -> None:
        with contextlib.suppress(OSError, EOFError):
            while not self._dead.is_set():
                kind, body = message(server)
                if kind == b"Z" and count.counting:
                    if self._boundary == (count.number, ANSWERED):
                        self._hit()
                        break
                    count.counting = not count.committing
                client.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        hang_up(client)

    def _hit(self) -> None:
        self._dead.set()
        self.struck = True
        self._strike()


def hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Count:
    """Of one connection."""

    counting = False
    committing = False
    number = 0


def read(source: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = source.recv(length - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = read(source, 1)
    (length,) = struct.unpack("!i", read(source, 4))
    return kind, read(source, length - 4)
