"""The program around the application: uvicorn with limits for headers, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import socket
import threading
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Final
from weakref import WeakSet

import httptools
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidebase_pg import Tidebase, calls
from tidebase_pg.server.application import app
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.settings import ROLES, Settings

MOST_HEADERS: Final = 32 * 1024
"""Bytes of a request before its body."""
HEADER_TIME: Final = 10.0
"""Seconds for them to arrive."""
KEPT: Final = 75
"""Seconds a silent connection is kept: longer than proxies keep theirs, which would else send a
request into one that was just closed."""
GRACE: Final = 30
"""Seconds for requests to end after SIGTERM."""

LOG: Final = "%(asctime)s %(levelname)s %(message)s"
ROLE_DSN: Final = "TIDEBASE_DSN_{role}"


class Bounded(HttpToolsProtocol):
    """HTTP whose headers may be neither long nor slow."""

    _read: int = 0
    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._read = 0
        self._wait()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._arrived()
        super().on_headers_complete()

    def _count(self, more: int) -> None:
        self._read += more
        if self._read > MOST_HEADERS:
            raise httptools.HttpParserError(f"more than {MOST_HEADERS} bytes of headers")

    def _wait(self) -> None:
        self._arrived()
        self._slow = self.loop.call_later(HEADER_TIME, self._give_up)

    def _arrived(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Ends event streams as soon as it is told to end, so that nobody waits for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for gateway in RUNNING:
            gateway.ending.set()
        super().handle_exit(sig, frame)


RUNNING: Final[WeakSet[Gateway]] = WeakSet()


@dataclass(frozen=True, slots=True)
class Program:
    """What to serve, where; read again by each of several processes."""

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 7373
    workers: int = 1
    reconcile: bool = True
    deliver: bool = True
    studio: bool = True
    base_path: str = ""
    """The path below which a proxy serves all of it, and which it takes off: /tide."""

    def application(self) -> Starlette:
        made = app(
            settings=self.settings,
            reconcile=self.reconcile,
            deliver=self.deliver,
            studio=self.studio,
        )
        RUNNING.add(made.state.gateway)
        return made

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def check(self) -> None:
        """Raises SchemaError where the schema is missing, or does not fit this package."""
        with Tidebase(self.settings.dsn) as tide:
            tide.execute(calls.version())

    def run(self, until: threading.Event) -> None:
        """Serve until SIGTERM or Ctrl-C; with several processes, until the event is set."""
        if self.workers == 1:
            Server(self._config()).run()
            return
        socket = self._config().bind_socket()
        context = multiprocessing.get_context("spawn")
        running: list[SpawnProcess] = []
        while not until.is_set():
            running = [process for process in running if process.is_alive()]
            while len(running) < self.workers:
                process = context.Process(target=serve, args=(self, socket))
                process.start()
                running.append(process)
            until.wait(1.0)
        for process in running:
            process.terminate()
        for process in running:
            process.join(GRACE + 5)
            process.kill()

    def serve(self, socket: socket.socket) -> None:
        """One of several processes."""
        Server(self._config()).run([socket])

    def _config(self) -> uvicorn.Config:
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "http": Bounded,
            "access_log": False,
            "log_config": None,
            "proxy_headers": False,
            "server_header": False,
            "timeout_graceful_shutdown": GRACE,
            "timeout_keep_alive": KEPT,
            "root_path": self.base_path,
        }
        return uvicorn.Config(self.application, factory=True, **options)


def serve(program: Program, socket: socket.socket) -> None:
    """What each of several processes does."""
    logging.basicConfig(level=logging.INFO, format=LOG)
    program.serve(socket)


def role_dsns() -> dict[str, str]:
    """The DSN of each role, where the environment has one: TIDEBASE_DSN_WORKER and its like."""
    found = {role: os.environ.get(ROLE_DSN.format(role=role.upper())) for role in ROLES}
    return {role: dsn for role, dsn in found.items() if dsn}


def lease(milliseconds: str | None) -> timedelta:
    """TIDEBASE_LEASE_MS. Raises ValueError for what is none."""
    if milliseconds is None:
        return timedelta(minutes=5)
    if not milliseconds.isascii() or not milliseconds.isdecimal():
        raise ValueError(f"TIDEBASE_LEASE_MS = {milliseconds[:40]!r} is no number: give 300000")
    if not 1000 <= int(milliseconds) <= 86_400_000:
        raise ValueError(f"TIDEBASE_LEASE_MS = {milliseconds[:40]} is not 1000 to 86400000")
    return timedelta(milliseconds=int(milliseconds))
