"""A proxy before Postgres that counts what a process says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.driver.statements import hang_up, message, read


class Wire:
    """Forwards to a server; `statements` says how many were sent over all its connections."""

    def __init__(self, dsn: str) -> None:
        self._server = conninfo_to_dict(dsn)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(
            dsn, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable",
            gssencmode="disable",
        )  # fmt: skip
        self.statements = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._server["host"]), int(str(self._server.get("port", 5432)))
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        with client, server, contextlib.ExitStack() as ending:
            ending.callback(hang_up, server)
            ending.enter_context(contextlib.suppress(OSError, EOFError))
            (length,) = struct.unpack("!i", read(client, 4))
            server.sendall(struct.pack("!i", length) + read(client, length - 4))
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
            while True:
                kind, body = message(client)
                if kind in (b"Q", b"E"):  # a query, or the execution of a prepared one
                    self.statements += 1
                server.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while answer := server.recv(65536):
                client.sendall(answer)
        hang_up(client)
