"""Events for all streams of the process: one connection listens, one reader follows each run."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import psycopg

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.async_statements import listen
from tidebase_pg.types import EventRow
from tidebase_pg.values import told_as

logger: Final = logging.getLogger("tidebase_pg.server")
T = TypeVar("T")

CHANNEL: Final = "tide_events"
WATCH: Final = 60.0
LOOK: Final = 5.0
"""Seconds between two looks of a reader that is notified: an event of a transaction that was open
when the watch began is not."""
POLL: Final = 1.0
"""The same where nothing can be notified, as behind PgBouncer."""
PAGE: Final = 100
HEAVY: Final = 1_000_000
"""Bytes; after a page above it the next ones are smaller."""
RECENT: Final = 256
"""Events a reader keeps for the streams that follow it."""


class Read(Protocol):
    """The call that reads events: with what they carry, or without."""

    def __call__(
        self, run_id: UUID, *, after: int | None = None, max_events: int | None = None
    ) -> Call[list[EventRow]]: ...


class Hub:
    """Hands out events of runs; what it keeps is bounded, however slow its readers are."""

    def __init__(
        self, dsn: str, parameters: Callable[[str], dict[str, Any]], own: AsyncClient
    ) -> None:
        self._dsn = dsn
        self._parameters = parameters
        self.own = own
        self._readers: dict[tuple[int, UUID], Reader] = {}
        self._listener: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.hears = False

    async def subscribe(
        self, client: AsyncClient, run_id: UUID, after: int, *, silence: float, read: Read
    ) -> AsyncGenerator[list[EventRow]]:
        """See `Gateway.subscribe`."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        reader = await self._join(client, run_id, read)
        size = PAGE
        try:
            while True:
                if after < reader.last:
                    call = read(run_id, after=after, max_events=size)
                    page = reader.since(after)
                    if not page:
                        page = await self.apart(client.execute(call))
                    heavy = sum(len(event.payload_text) for event in page) > HEAVY
                    size = max(1, size // 4) if heavy else PAGE
                else:
                    page = await reader.wait(after, silence)
                if page:
                    after = page[-1].seq
                yield page
        finally:
            reader.followers -= 1
            if not reader.followers:
                self._readers.pop((id(client), run_id), None)
                reader.stop()

    @property
    def readers(self) -> list[Reader]:
        """Those that follow runs now."""
        return list(self._readers.values())

    async def look_up(self, client: AsyncClient, run_id: UUID, read: Read) -> None:
        """Raises what a stream of this run would be refused with."""
        await self.apart(client.execute(read(run_id, max_events=1)))

    async def apart(self, work: Coroutine[Any, Any, T]) -> T:
        """Await it in a task of our own: a cancelled call would cost its connection."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it, or has gone

    async def close(self) -> None:
        for reader in self.readers:
            reader.stop()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, client: AsyncClient, run_id: UUID, read: Read) -> Reader:
        key = (id(client), run_id)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = Reader(self, client, run_id, read)
        reader.followers += 1
        try:
            await reader.begin()
        except BaseException:
            reader.followers -= 1
            if not reader.followers:
                self._readers.pop(key, None)
                reader.stop()
            raise
        return reader

    async def _listen(self) -> None:
        """Hold one connection that hears of every watched run; come back when it breaks."""
        pause = 0.1
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(**self._parameters(self._dsn))
                async with connection:
                    self.hears = await listen(connection, CHANNEL)
                    if not self.hears:
                        logger.info("event streams poll: notifications do not pass the pooler")
                        return
                    pause = 0.1
                    self._wake()
                    async for note in connection.notifies():
                        self._wake(note.payload)
            except (psycopg.Error, OSError):
                logger.warning("the listener lost the database; event streams poll meanwhile")
            finally:
                self.hears = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _wake(self, told: str | None = None) -> None:
        for (_, watched), reader in self._readers.items():
            if told is None or str(told_as(watched)) == told:
                reader.look()


class Reader:
    """Follows one run for all its streams under one login."""

    def __init__(self, hub: Hub, client: AsyncClient, run_id: UUID, read: Read) -> None:
        self._hub = hub
        self._read = read
        self._client = client
        self._run_id = run_id
        self._recent: deque[EventRow] = deque(maxlen=RECENT)
        self.weight = 0
        self._beginning: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        self._news = asyncio.Event()
        self.followers = 0
        self.last = 0

    async def begin(self) -> None:
        """Watch the run and learn how far it is; once for all followers."""
        if self._beginning is None:
            self._beginning = asyncio.ensure_future(self._hub.apart(self._start()))
        await asyncio.shield(self._beginning)

    async def _start(self) -> None:
        # The login of the role says whether this run may be followed; a role may know less of it.
        await self._client.execute(self._read(self._run_id, max_events=1))
        await self._hub.own.execute(calls.watch_run(self._run_id, duration=WATCH))
        self.last = (await self._hub.own.execute(calls.get_run(self._run_id))).last_seq
        self._task = asyncio.create_task(self._follow())

    def look(self) -> None:
        """Something may have happened."""
        self._told.set()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def since(self, after: int) -> list[EventRow]:
        """What is kept of the events after this one; empty when one of them is not."""
        if not self._recent or self._recent[0].seq > after + 1:
            return []
        return [event for event in self._recent if event.seq > after]

    async def wait(self, after: int, silence: float) -> list[EventRow]:
        """The next events, or nothing after so many seconds."""
        try:
            async with asyncio.timeout(silence):
                while self.last <= after:
                    await self._news.wait()
        except TimeoutError:
            return []
        return self.since(after)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + WATCH / 2
        while True:
            try:
                async with asyncio.timeout(LOOK if self._hub.hears else POLL):
                    await self._told.wait()
            except TimeoutError:
                pass
            self._told.clear()
            try:
                if loop.time() >= renew_at:
                    renew_at = loop.time() + WATCH / 2
                    watch = calls.watch_run(self._run_id, duration=WATCH)
                    await self._hub.apart(self._hub.own.execute(watch))
                page = await self._ask(self._read(self._run_id, after=self.last, max_events=PAGE))
            except Exception as error:
                logger.warning("the events of run %s cannot be read: %s", self._run_id, error)
                continue
            if page:
                self._keep(page)
                if len(page) == PAGE:
                    self._told.set()

    async def _ask(self, call: Call[T]) -> T:
        return await self._hub.apart(self._client.execute(call))

    def _keep(self, page: list[EventRow]) -> None:
        for event in page:
            self._recent.append(event)
        self.weight = sum(len(event.payload_text) for event in self._recent)
        while self.weight > HEAVY and len(self._recent) > 1:
            self.weight -= len(self._recent.popleft().payload_text)
        self.last = page[-1].seq
        self._news.set()
        self._news = asyncio.Event()
