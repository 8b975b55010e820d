"""What an installation needs beside its requests: upkeep, and webhooks sent."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import TracebackType
from typing import Final, Self

import psycopg

from tidebase_pg import Tidebase, calls
from tidebase_pg.errors import SchemaError
from tidebase_pg.server.gateway import Gateway

logger: Final = logging.getLogger("tidebase_pg.server")

EVERY: Final = 1.0
LONGEST_PAUSE: Final = 30.0


class Background:
    """Runs between the start and the end of the gateway; outlives a database that goes away."""

    def __init__(self, gateway: Gateway, *, reconcile: bool, deliver: bool) -> None:
        self._gateway = gateway
        self._reconciles = reconcile
        self._delivers = deliver
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    async def __aenter__(self) -> Self:
        if self._reconciles:
            self._task = asyncio.create_task(self._reconcile())
        if self._delivers:
            self._thread = threading.Thread(target=self._deliver, name="tide-deliver", daemon=True)
            self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 30)

    async def _reconcile(self) -> None:
        pause = EVERY
        client = self._gateway.upkeep
        while True:
            try:
                await client.execute(calls.reconcile())
                pause = EVERY
            except (psycopg.Error, SchemaError) as error:
                pause = min(pause * 2, LONGEST_PAUSE)
                logger.warning("reconcile: %s", type(error).__name__)
            await asyncio.sleep(pause)

    def _deliver(self) -> None:
        with Tidebase(self._gateway.settings.dsn) as tide:
            try:
                dispatcher = tide.dispatcher()
            except RuntimeError as error:  # a missing package
                logger.warning("webhooks are not sent by this gateway: %s", error)
                return
            dispatcher.run(until=self._ended)
