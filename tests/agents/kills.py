"""Processes that are killed at one statement, whatever connection it is sent on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg

from tests.driver.statements import ANSWERED, STARTED, Boundary, Proxy, hang_up, message, read

__all__ = ["ANSWERED", "STARTED", "Log", "killed", "statements"]


class Machine(Proxy):
    """Counts the statements of all connections and kills the process at the boundary."""

    def __init__(self, dsn: str, boundary: Boundary) -> None:
        super().__init__(dsn)
        self._boundary = boundary
        self._lock = threading.Lock()
        self.count = 0
        self._pid = 0
        self.dead = False
        self.backends: list[int] = []

    def watch(self, pid: int) -> None:
        self._pid = pid
        self._start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client, self._connect() as server:
            (length,) = struct.unpack("!i", read(client, 4))
            server.sendall(struct.pack("!i", length) + read(client, length - 4))
            numbers: list[int] = []
            answering = threading.Thread(
                target=self._answers, args=(server, client, numbers), daemon=True
            )
            answering.start()
            with contextlib.suppress(OSError, EOFError):
                while not self.dead:
                    kind, body = message(client)
                    if kind in (b"Q", b"S"):
                        with self._lock:
                            self.count += 1
                            numbers.append(self.count)
                        if self._boundary == (numbers[-1], STARTED):
                            self._kill()
                            break
                    server.sendall(kind + struct.pack("!i", len(body) + 4) + body)
            hang_up(server)

    def _answers(self, server: socket.socket, client: socket.socket, numbers: list[int]) -> None:
        with contextlib.suppress(OSError, EOFError):
            while not self.dead:
                kind, body = message(server)
                if kind == b"K":
                    self.backends.append(struct.unpack("!i", body[:4])[0])
                if kind == b"Z" and numbers and self._boundary == (numbers.pop(0), ANSWERED):
                    self._kill()
                    break
                client.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        hang_up(client)

    def _kill(self) -> None:
        self.dead = True
        os.kill(self._pid, signal.SIGKILL)


class Log:
    """What happened outside of the database, line by line, in a file that outlives processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def note(self, line: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{line}\n")

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()


Work = Callable[[str], Coroutine[Any, Any, Any]]
NEVER = (0, STARTED)


def killed(dsn: str, boundary: Boundary, work: Work) -> bool:
    """Do the work in a process of its own, and say whether it was killed at the boundary."""
    return _run(dsn, boundary, work).dead


def statements(dsn: str, work: Work) -> int:
    """Do the work in a process of its own, and say how many statements it sent."""
    return _run(dsn, NEVER, work).count


def _run(dsn: str, boundary: Boundary, work: Work) -> Machine:
    machine = Machine(dsn, boundary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(work(machine.dsn))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    machine.watch(pid)
    try:
        _, status = os.waitpid(pid, 0)
    finally:
        machine.close()
    assert machine.dead or status == 0
    _wait_until_gone(dsn, machine.backends)
    return machine


def _wait_until_gone(dsn: str, backends: list[int]) -> None:
    """A server ends a session a moment after its client, and holds its locks until then."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute(
            "select from pg_stat_activity where pid = any (%s)", [backends]
        ).fetchone():
            time.sleep(0.005)
