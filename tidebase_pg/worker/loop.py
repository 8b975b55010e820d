"""Workers: threads, tasks and signals around a Shift, which decides everything."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import threading
from collections import deque
from collections.abc import Generator
from functools import partial
from typing import Any, Final, cast

import psycopg

from tidebase_pg import flows
from tidebase_pg.async_handles import AsyncRun
from tidebase_pg.client.connections import AsyncKept, AsyncSource, Kept, Source
from tidebase_pg.client.execute import AsyncClient, Client
from tidebase_pg.errors import BadPayload, Stop, TideError
from tidebase_pg.flows import Outcome
from tidebase_pg.handles import Run
from tidebase_pg.registry import Registry
from tidebase_pg.threads import Crew, in_thread
from tidebase_pg.types import LeasedRun
from tidebase_pg.webhooks.dispatcher import Dispatcher
from tidebase_pg.worker.active_run import Holding
from tidebase_pg.worker.listener import AsyncBell, AsyncEar, Bell, Ear
from tidebase_pg.worker.renewal import AsyncHeart, Heart
from tidebase_pg.worker.state import Registration, Request, Shift, Terms, WorkReport
from tidebase_pg.worker.step_batches import AsyncReporter, Reporter

logger: Final = logging.getLogger("tidebase_pg.worker")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
UNWIND: Final = 5.0
"""Seconds the cancelled tasks of an asyncio worker have to unwind at its end."""

LONGEST_WAIT: Final = 0.5
"""Seconds after which a blocked wait looks up: Python notices a signal that arrives just before
the wait begins only at its end."""

Ended = tuple[Holding, Outcome | None, BaseException | None]


class Worker:
    """Claims and runs in slot threads until stopped; made by `Tidebase.worker`."""

    def __init__(
        self,
        source: Source,
        registry: Registry,
        terms: Terms,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """`dispatcher` sends webhooks as long as the worker works."""
        self._registry = registry
        self._dispatcher = dispatcher
        self._shift = Shift(terms)
        sources = [Kept(source) for _ in range(3)]
        self._sources = [*sources, source]
        self._claims = Client(sources[0], patience=0.0)
        self._ear = Ear(self._shift.waiter, sources[0])
        self._steps = Client(sources[1], patience=terms.lease)
        self._reporter = Reporter(self._steps)
        self._heart = Heart(
            Client(sources[2], patience=0.0),
            terms.lease,
            reconcile=terms.reconcile,
            holdings=self._shift.held.values(),
        )
        self._crew = Crew(self._slot, terms.concurrency, "slot")
        self._fresh: list[Holding] = []
        """Claimed, and to be begun as soon as the next call is on its way, if there is one."""
        self._ended: deque[Ended] = deque()
        self._awaited = 1
        self._urgent = False
        self._bell = Bell(lambda: self._urgent or len(self._ended) >= self._awaited)

    def stop(self) -> None:
        """Claim nothing more and return when the running runs have ended, or after the grace
        handed back; a second call hands them back at once. For any thread or signal handler."""
        self._shift.stop()
        self._urgent = True
        self._bell.ring()

    def run(self) -> WorkReport:
        """Work until stopped, drained, or max_runs is reached. Raises what cannot be mended."""
        shift = self._shift
        logger.info("worker %s starts on queues %s", shift.terms.name, shift.terms.queues)
        interrupt: BaseException | None = None
        with self._signals():
            self._heart.start()
            if self._dispatcher is not None:
                self._dispatcher.start()
            try:
                while not shift.over():
                    if (registration := shift.registration()) is not None:
                        self._begin()
                        self._register(registration)
                    elif (request := shift.request()) is not None:
                        self._exchange(request)
                    else:
                        self._begin()
                        self._wait(shift.pause())
                    interrupt = self._collect() or interrupt
                    self._take_notice()
                    if interrupt is not None and not shift.stopping:
                        shift.stop()
                    if shift.impatient():
                        shift.release_all()
            finally:
                self._heart.stop()
                self._crew.end()
                self._withdraw()
                if self._dispatcher is not None:
                    farewell(self._dispatcher, shift)
                self._bell.close()
                self._reporter.close()
                for source in self._sources:
                    source.close()
        logger.info("worker %s ends: %s", shift.terms.name, shift.report())
        if interrupt is not None:
            raise interrupt
        return shift.report()

    def _exchange(self, request: Request) -> None:
        try:
            settlement = self._claims.execute(request.call, self._begin if self._fresh else None)
        except (psycopg.Error, TideError) as error:
            self._shift.troubled(request, error)
            return
        self._begin()
        self._fresh = self._shift.settled(request, settlement)

    def _begin(self) -> None:
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._crew.put(fresh)

    def _register(self, registration: Registration) -> None:
        try:
            if not registration.withdraws and not self._ear.listen():
                self._shift.deaf()
                return
            foreseen = self._claims.execute(registration.call)
        except (psycopg.Error, TideError) as error:
            self._shift.unregistered(registration, error)
        else:
            self._shift.registered(registration, foreseen)

    def _withdraw(self) -> None:
        """What fails here is forgotten soon anyway."""
        with contextlib.suppress(psycopg.Error, TideError):
            if (farewell := self._shift.farewell()) is not None:
                self._claims.execute(farewell.call)
            self._ear.close()

    def _wait(self, pause: float | None) -> None:
        """Until runs end, a run may be ready, or the pause is over."""
        seconds = LONGEST_WAIT if pause is None else min(pause, LONGEST_WAIT)
        self._heart.rest(self._shift.resting)
        self._awaited = self._shift.awaited
        if not self._ear.open:
            self._bell.wait(seconds)
            return
        try:
            self._ear.wait(self._bell, seconds)
        except psycopg.OperationalError:
            self._ear.lose()
            self._shift.cut_off()

    def _take_notice(self) -> None:
        """Tell the shift what was heard, during whatever was done last."""
        heard = self._ear.heard
        if heard.any:
            self._shift.heard(alone=heard.alone)
            heard.forget()
        if not self._shift.resting:
            self._heart.rest(False)

    def _collect(self) -> BaseException | None:
        """Take in the runs that have ended."""
        interrupt: BaseException | None = None
        self._urgent = False
        while self._ended:
            holding, outcome, error = self._ended.popleft()
            self._shift.ended(holding, outcome)
            interrupt = interrupt or error
        return interrupt

    def _slot(self, holding: Holding) -> None:
        outcome, interrupt = None, None
        try:
            outcome = self._attend(holding)
        except BaseException as error:
            # SystemExit and its like end the worker, not the run.
            interrupt = error
            if holding.stop is None:
                outcome = flows.released(holding.leased)
        holding.interrupt = None  # with it, the run would live until the next garbage collection
        self._ended.append((holding, outcome, interrupt))
        if interrupt is not None:
            self._urgent = True
        self._bell.ring()

    def _attend(self, holding: Holding) -> Outcome | None:
        leased = holding.leased
        if holding.stop is not None:
            return None  # lost, or handed back, before its turn came
        try:
            given = leased.input
        except BadPayload as error:
            return flows.failed(leased, flows.bad_input(error))
        function = self._registry.find(leased.workflow).function
        try:
            run = Run(holding, self._steps, self._registry, self._reporter)
            result = function(run, given)
        except Exception as error:
            return raised(holding, error)
        return returned(leased, result)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            self.stop()

        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class AsyncWorker:
    """Claims and runs in tasks until stopped; made by `AsyncTidebase.worker`."""

    def __init__(
        self,
        source: AsyncSource,
        registry: Registry,
        terms: Terms,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """`dispatcher` sends webhooks as long as the worker works, in threads."""
        self._registry = registry
        self._dispatcher = dispatcher
        self._shift = Shift(terms)
        sources = [AsyncKept(source) for _ in range(3)]
        self._sources = [*sources, source]
        self._claims = AsyncClient(sources[0], patience=0.0)
        self._ear = AsyncEar(self._shift.waiter, sources[0])
        self._steps = AsyncClient(sources[1], patience=terms.lease)
        self._reporter = AsyncReporter(self._steps)
        self._heart = AsyncHeart(
            AsyncClient(sources[2], patience=0.0),
            terms.lease,
            reconcile=terms.reconcile,
            holdings=self._shift.held.values(),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell = AsyncBell()
        self._interrupt: BaseException | None = None

    def stop(self) -> None:
        """Claim nothing more and return when the running runs have ended, or after the grace
        handed back; a second call hands them back at once. For the loop's own thread."""
        self._shift.stop()
        self._bell.ring()

    async def run(self) -> WorkReport:
        """Work until stopped, drained, or max_runs is reached. Raises what cannot be mended.

        When its task is cancelled it hands back what it holds before it ends.
        """
        shift = self._shift
        logger.info("worker %s starts on queues %s", shift.terms.name, shift.terms.queues)
        with self._signals():
            self._heart.start()
            if self._dispatcher is not None:
                self._dispatcher.start()
            loop = asyncio.create_task(self._loop(), name="tidebase worker")
            try:
                await asyncio.shield(loop)
            except asyncio.CancelledError:
                if not loop.done():
                    self.stop()
                    self.stop()
                    await loop
                raise
            finally:
                await self._unwind()
                await self._heart.stop()
                await self._withdraw()
                if (dispatcher := self._dispatcher) is not None:
                    await in_thread(lambda: farewell(dispatcher, shift))
                self._reporter.close()
                for source in self._sources:
                    await source.close()
        logger.info("worker %s ends: %s", shift.terms.name, shift.report())
        if self._interrupt is not None:
            raise self._interrupt
        return shift.report()

    async def _loop(self) -> None:
        shift = self._shift
        while not shift.over():
            if (registration := shift.registration()) is not None:
                await self._register(registration)
            elif (request := shift.request()) is not None:
                await self._exchange(request)
            else:
                await self._wait(shift.pause())
            self._bell.hush()
            self._take_notice()
            if shift.impatient():
                shift.release_all()

    async def _exchange(self, request: Request) -> None:
        try:
            settlement = await self._claims.execute(request.call)
        except (psycopg.Error, TideError) as error:
            self._shift.troubled(request, error)
            return
        # Not before the next call is on its way, if there is one to make: then they run beside it.
        started = self._shift.settled(request, settlement)
        asyncio.get_running_loop().call_soon(self._begin, started)

    def _begin(self, started: list[Holding]) -> None:
        loop = asyncio.get_running_loop()
        for holding in started:
            name = f"tidebase {holding.run_id.hex}"
            self._tasks.add(loop.create_task(self._slot(holding), name=name))

    async def _register(self, registration: Registration) -> None:
        try:
            if not registration.withdraws and not await self._ear.listen():
                self._shift.deaf()
                return
            foreseen = await self._claims.execute(registration.call)
        except (psycopg.Error, TideError) as error:
            self._shift.unregistered(registration, error)
        else:
            self._shift.registered(registration, foreseen)

    async def _withdraw(self) -> None:
        """What fails here is forgotten soon anyway."""
        with contextlib.suppress(psycopg.Error, TideError):
            if (farewell := self._shift.farewell()) is not None:
                await self._claims.execute(farewell.call)
            await self._ear.close()

    async def _wait(self, pause: float | None) -> None:
        """Until a run ends, a run may be ready, or the pause is over."""
        self._heart.rest(self._shift.resting)
        if not self._ear.open:
            await self._bell.wait(pause)
            return
        try:
            await self._ear.wait(self._bell, pause)
        except psycopg.OperationalError:
            self._ear.lose()
            self._shift.cut_off()

    def _take_notice(self) -> None:
        """Tell the shift what was heard, during whatever was done last."""
        heard = self._ear.heard
        if heard.any:
            self._shift.heard(alone=heard.alone)
            heard.forget()
        if not self._shift.resting:
            self._heart.rest(False)

    async def _slot(self, holding: Holding) -> None:
        outcome: Outcome | None = None
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            # Only from here on there is something to cancel: a task that has not begun would be
            # gone without a word.
            if holding.stop is None:
                run = AsyncRun(holding, self._steps, self._registry, self._reporter)
                holding.interrupt = partial(_interrupt, run, task)
                outcome = await self._attend(holding, run)
        except asyncio.CancelledError:
            if holding.stop is None:
                error = RuntimeError("the task of the workflow was cancelled from within")
                outcome = raised(holding, error)
        except BaseException as error:
            # SystemExit and its like end the worker, not the run.
            self._interrupt = error
            if holding.stop is None:
                outcome = flows.released(holding.leased)
            self._shift.stop()
        holding.interrupt = None  # with it, the run would live until the next garbage collection
        self._tasks.discard(task)
        self._shift.ended(holding, outcome)
        self._bell.ring()

    async def _attend(self, holding: Holding, run: AsyncRun) -> Outcome | None:
        leased = holding.leased
        try:
            given = leased.input
        except BadPayload as error:
            return flows.failed(leased, flows.bad_input(error))
        function = self._registry.find(leased.workflow).function
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(run, given)
            else:
                result = await in_thread(lambda: function(run, given))
                if inspect.isawaitable(result):
                    result = await result
        except Exception as error:
            return raised(holding, error)
        return returned(leased, result)

    async def _unwind(self) -> None:
        """Give what is still running a moment; a task that ignores its cancellation is left."""
        await asyncio.sleep(0)  # for those about to be made
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=UNWIND)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        handled: list[signal.Signals] = []
        before: dict[signal.Signals, Any] = {}
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                before[number] = signal.getsignal(number)
                loop.add_signal_handler(number, self.stop)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])


def returned(leased: LeasedRun, result: Any) -> Outcome:
    """What to settle for the answer of a workflow."""
    try:
        return flows.completed(leased, result)
    except BadPayload as error:
        logger.warning("run %s of %s failed: %s", leased.run_id, leased.workflow, error)
        return flows.failed(leased, flows.bad_output(error))


def raised(holding: Holding, error: Exception) -> Outcome | None:
    """What to settle for an error of a workflow; nothing when the run is no longer held."""
    leased = holding.leased
    if holding.stop is not None:
        logger.info("run %s of %s dropped: %s", leased.run_id, leased.workflow, holding.stop)
        return None
    failure = flows.failure(error)
    logger.warning(
        "run %s of %s, attempt %d of %d, failed: %s: %s\n%s",
        leased.run_id,
        leased.workflow,
        leased.attempt,
        leased.max_attempts,
        failure.error["type"],
        failure.error["message"],
        failure.error["traceback"],
    )
    return flows.failed(leased, failure)


def farewell(dispatcher: Dispatcher, shift: Shift) -> None:
    """Let what is being sent come to its end, unless there is hurry: then it is sent again."""
    if shift.hurried:
        dispatcher.end()
    else:
        dispatcher.stop()


def _interrupt(run: AsyncRun, task: asyncio.Task[None], stop: Stop) -> None:
    run.cancelled.set()
    task.cancel()
