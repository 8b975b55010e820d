"""Carries out what flows ask for, for asyncio."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from tidebase_pg import calls, current, flows, tasks
from tidebase_pg.async_streams import AsyncRunStream
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.errors import Stop
from tidebase_pg.flows import Attempt, DeferredBegin, Effect, Flow, Invoke, Now, Park, Pause
from tidebase_pg.registry import Registry
from tidebase_pg.tasks import ASYNC
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.step_batches import AsyncStepReporter

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.driver")


class AsyncOpenTransaction:
    """What `run.transaction` has open: its run, its connection, and who is in it."""

    def __init__(self, run: ActiveRun, client: AsyncClient) -> None:
        self.run = run
        self.client = client
        self.open = True
        self.owner = tasks.current()


transaction: ContextVar[AsyncOpenTransaction | None] = ContextVar("transaction", default=None)


async def drive(flow: Flow[T], perform: Callable[[Effect], Awaitable[Any]]) -> T:
    """Run a flow to its end; errors and stops reach it, interrupts go straight through."""
    send: Callable[[Any], Effect] = flow.send
    answer: Any = None
    try:
        while True:
            effect = send(answer)
            try:
                answer, send = await perform(effect), flow.send
            except (Exception, Stop) as error:
                answer, send = error, flow.throw
    except StopIteration as stop:
        return cast(T, stop.value)


class AsyncDriver:
    """Carries out the effects of flows that concern one held run."""

    __slots__ = (
        "cancelled",
        "client",
        "forgotten",
        "handle",
        "registry",
        "reporter",
        "run",
        "run_child",
        "streams",
    )

    def __init__(
        self,
        run: ActiveRun,
        client: AsyncClient,
        registry: Registry,
        run_child: Callable[[AsyncDriver, Attempt], Awaitable[Any]],
        reporter: AsyncStepReporter | None = None,
    ) -> None:
        """`reporter` reports the steps together with those of other runs."""
        self.run = run
        self.client = client
        self.registry = registry
        self.run_child = run_child
        self.reporter = reporter
        self.cancelled = tasks.Event()
        self.forgotten: set[Any] = set()
        """What was called on the run and not awaited yet."""
        self.handle: Any = None
        """What the workflow is handed."""
        self.streams: dict[tuple[str, str | None], AsyncRunStream] = {}
        """Those it has written to, by name and step."""

    def stream(self, name: str, step: str | None) -> AsyncRunStream:
        key = (name, step)
        if key not in self.streams:
            self.streams[key] = AsyncRunStream(self, name, step)
        return self.streams[key]

    async def flush(self) -> None:
        """Append what was written to streams, before anything else is said of the run."""
        for stream in list(self.streams.values()):
            await stream.flush()

    async def record_used(self) -> None:
        """Record what steps used whose ends were not reported: the run was cancelled or lost."""
        run = self.run
        while run.used:
            step, records = run.used.popitem()
            for record in records:
                call: Call[Any] = calls.record_usage(run.run_id, step=step, **record)
                try:
                    await self.client.execute(call.unread())
                except Exception as error:
                    logger.error(
                        "what step %r of run %s used could not be recorded, %s: %s",
                        step, run.run_id, record, flows.one_line(error),
                    )  # fmt: skip

    async def drive(self, flow: Flow[T]) -> T:
        return await drive(flow, self.perform)

    async def settle(self) -> None:
        """Let the database know what the run began, before another connection speaks for it."""
        if self.reporter is not None:
            await self.reporter.settle(self.run)

    async def perform(self, effect: Effect) -> Any:
        run = self.run
        try:
            run.check()
        except Stop:
            if run.hopeless:
                await self._give_up()
            raise
        match effect:
            case Invoke():
                return await self._invoke(effect)
            case Pause(seconds=seconds):
                return await tasks.wait(self.cancelled, seconds)
            case Now():
                return await self._now()
            case Attempt():
                return await self.run_child(self, effect)
            case Park(call=call):
                await self.flush()
                return await self._park(call)
            case DeferredBegin():
                if self.reporter is not None and self.transaction() is None:
                    return await self.reporter.begin(run, effect.call, effect.judge)
                return await self._execute(effect.call)
            case _:
                if self.streams and effect.name != "append_stream":
                    await self.flush()
                return await self._execute(effect)

    def transaction(self) -> AsyncClient | None:
        """Where calls about the run go inside `run.transaction`.

        Raises RuntimeError in another task or thread than the one that opened it: what it does
        would wait for a lock of that transaction, or be in one that has ended.
        """
        here = transaction.get()
        if (
            here is not None
            and here.open
            and here.run is self.run
            and here.owner is tasks.current()
        ):
            return here.client
        if self.run.in_transaction:
            raise RuntimeError(
                f"run {self.run.run_id} is inside run.transaction: other tasks and threads of it "
                "have to wait until its block ends"
            )
        return None

    async def _execute(self, call: Any) -> Any:
        client = self.transaction()
        try:
            if self.reporter is not None and client is None:
                return await self.reporter.execute(self.run, call)
            return await (client or self.client).execute(call)
        except Stop as stop:
            if "lease_id" in call.arguments:
                self.run.record_stop(stop)
                self.cancelled.set()
            raise

    async def _invoke(self, effect: Invoke) -> Any:
        if effect.step is None:
            return await tasks.invoke(effect.function, effect.what, effect.timeout)
        name, function = effect.step, effect.function
        for around in reversed(self.registry.around_steps):
            function = _wrapped(around, self.handle, name, function)
        with current.step(name):
            return await tasks.invoke(function, effect.what, effect.timeout)

    async def _now(self) -> datetime:
        return await self.client.now()

    async def _park(self, call: Any) -> Any:
        """What other branches have under way ends first, and they begin nothing meanwhile."""
        run = self.run
        run.parking += 1
        try:
            give_up_at = time.monotonic() + self.registry.park_grace
            while run.others_under_way() and time.monotonic() < give_up_at:
                await tasks.sleep(flows.SHORTEST_PAUSE)
                run.check()
            return await self._execute(call)
        finally:
            run.parking -= 1

    async def _give_up(self) -> None:
        """The code swallows every stop: it is left here, and the worker goes on without it."""
        if (abandon := self.run.abandon) is not None:
            self.run.abandon = None
            abandon()
        await tasks.hang()


def _wrapped(
    around: Callable[..., Any], handle: Any, name: str, function: Callable[[], Any]
) -> Callable[[], Any]:
    if ASYNC:

        async def proceed() -> Any:
            return await tasks.invoke(function, f"step {name!r}", None)

        return lambda: around(handle, name, proceed)
    return lambda: around(handle, name, function)
