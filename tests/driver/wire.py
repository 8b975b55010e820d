"""A proxy before Postgres that counts what a process says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.driver.statements import Proxy, hang_up, message, read


class Wire(Proxy):
    """Forwards to a server; `statements` says how many were sent over all its connections."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.statements = 0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self._listener.close()

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
