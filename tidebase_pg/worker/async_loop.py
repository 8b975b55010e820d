"""Workers: slots and signals around a WorkerState, which decides everything, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Final, cast

import psycopg

from tidebase_pg import calls, current, flows, tasks
from tidebase_pg.async_driver import AsyncDriver
from tidebase_pg.async_run import AsyncRun
from tidebase_pg.async_session import answers, called, run_child
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.async_connections import AsyncPinnedConnection, AsyncSource
from tidebase_pg.client.thread_sources import threaded
from tidebase_pg.errors import BadPayload, Stop
from tidebase_pg.flows import Outcome
from tidebase_pg.registry import Registry
from tidebase_pg.tasks import ASYNC
from tidebase_pg.webhooks.dispatcher import Dispatcher
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.async_step_reporter import AsyncStepReporter
from tidebase_pg.worker.attempts import (
    Ended,
    answered,
    begins,
    begun_together,
    handed_back,
    raised,
    raised_together,
    returned,
    unrecorded,
)
from tidebase_pg.worker.batches import Batch
from tidebase_pg.worker.endings import (
    SIGNALS,
    cut_off_soon,
    end_dispatcher,
    end_threads,
    takes_signals,
)
from tidebase_pg.worker.listener import AsyncListener, AsyncWaker
from tidebase_pg.worker.renewal import LeaseRenewer
from tidebase_pg.worker.state import Registration, Request, WorkerOptions, WorkerState, WorkReport
from tidebase_pg.worker.ticker import Ticker

if ASYNC:
    from tidebase_pg.worker.task_pool import TaskPool as Pool
else:
    from tidebase_pg.worker.thread_pool import ThreadPool as Pool

logger: Final = logging.getLogger("tidebase_pg.worker")

STEP_LIMIT: Final = 0.5
"""The share of a lease after which a call of a worker is cut off and made again."""


class AsyncWorker:
    """Claims and runs in its slots until stopped; made by `AsyncTidebase.worker`."""

    def __init__(
        self,
        source: AsyncSource,
        registry: Registry,
        options: WorkerOptions,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """`dispatcher` sends webhooks as long as the worker works, in threads."""
        self._registry = registry
        self._dispatcher = dispatcher
        self._options = options
        self._state = WorkerState(options)
        limit = max(options.lease * STEP_LIMIT, 1.0)
        self._pinned = [AsyncPinnedConnection(source) for _ in range(2)]
        self._source = source
        self._claims = AsyncClient(self._pinned[0], patience=0.0, limit=limit)
        self._listener = AsyncListener(self._state.waiter, self._state.session_id, self._pinned[0])
        self._steps = AsyncClient(
            self._pinned[1], patience=options.lease, limit=limit, persistent=True
        )
        self._reporter = AsyncStepReporter(self._steps)
        self._renewer: LeaseRenewer
        self._ticker: Ticker | None = None
        self._slots: Pool[ActiveRun | Batch] = Pool(self._slot, options.concurrency, "slot")
        self._ended: deque[Ended] = deque()
        self._awaited = 1
        self._urgent = False
        self._waker = AsyncWaker(lambda: self._urgent or len(self._ended) >= self._awaited)

    def stop(self) -> None:
        """Claim nothing more and return when the running runs have ended, or after the grace
        handed back; a second call hands them back at once. For any thread or signal handler; in
        asyncio for the thread of the event loop."""
        self._state.stop()
        if self._state.hurried:
            cut_off_soon(self._pinned)
        self._urgent = True
        self._waker.wake()

    async def run(self) -> WorkReport:
        """Work until stopped, drained, or max_runs is reached. Raises what concerns the worker
        itself: no database at first, a schema that does not fit, a pool that was closed.

        In asyncio, when its task is cancelled, it hands back what it holds before it ends.
        """
        state, options = self._state, self._options
        logger.info("worker %s starts on queues %s", options.name, options.queues)
        # Threads of their own: whatever holds up the slots, leases are renewed.
        self._renewer = LeaseRenewer(
            threaded(self._source), lease=options.lease, runs=state.leased.values()
        )
        if options.reconcile is not None:
            self._ticker = Ticker(threaded(self._source), options.reconcile)
        with self._signals():
            try:
                await self._take_connections()
                self._renewer.start()
                if self._ticker is not None:
                    self._ticker.start()
                if self._dispatcher is not None:
                    self._dispatcher.start()
                if ASYNC:
                    await self._shielded()
                else:
                    self._loop()
            finally:
                await self._slots.end()
                self._renewer.stop()
                if self._ticker is not None:
                    self._ticker.stop()
                await self._withdraw()
                await tasks.in_thread(partial(end_threads, self._renewer, self._ticker))
                await tasks.in_thread(
                    partial(end_dispatcher, self._dispatcher, hurried=state.hurried)
                )
                self._waker.close()
                self._reporter.close()
                for source in (*self._pinned, self._source):
                    await source.close()
        logger.info("worker %s ends: %s", options.name, state.report())
        return state.report()

    if ASYNC:

        async def _shielded(self) -> None:
            """To the end also when the task is cancelled: it is stopped twice then."""
            loop = asyncio.create_task(self._loop(), name="tidebase worker")
            try:
                await asyncio.shield(loop)
            except asyncio.CancelledError:
                if not loop.done():
                    self.stop()
                    self.stop()
                    await loop
                raise

    async def _take_connections(self) -> None:
        """What runs later cannot take the last connection from the worker itself."""
        await tasks.in_thread(self._renewer.take_connection)
        for pinned in self._pinned:
            await pinned.release(await pinned.acquire())
        if self._state.polling.listens and not await self._listener.listen():
            self._state.cannot_listen()

    async def _loop(self) -> None:
        state = self._state
        while not state.over():
            if (registration := state.registration()) is not None:
                await self._register(registration)
            elif (request := state.request()) is not None:
                await self._exchange(request)
            else:
                await self._wait(state.pause())
            self._collect()
            self._take_notice()
            if state.impatient():
                state.release_all()
            if state.gives_back():
                # No batch: where there are any, nothing is claimed ahead.
                state.give_back(cast("list[ActiveRun]", self._slots.take_back()))
            if batches := state.batches():
                self._slots.put(batches)

    async def _exchange(self, request: Request) -> None:
        try:
            settlement = await self._claims.execute(request.call)
        except Exception as error:
            self._state.on_error(request, error)
            return
        self._slots.put(self._state.settled(request, settlement))
        for run_id, record in self._state.unrecorded():
            try:
                await self._claims.execute(calls.record_usage(run_id, **record).unread())
            except Exception as error:
                unrecorded(run_id, record, error)

    async def _register(self, registration: Registration) -> None:
        try:
            if not registration.withdraws and not await self._listener.listen():
                self._state.cannot_listen()
                return
            foreseen = await self._claims.execute(registration.call)
        except Exception as error:
            self._state.unregistered(registration, error)
        else:
            self._state.registered(registration, foreseen)

    async def _withdraw(self) -> None:
        """What fails here is forgotten soon anyway."""
        with contextlib.suppress(Exception):
            if (last := self._state.unregister()) is not None and not self._state.hurried:
                await self._claims.execute(last.call)
            await self._listener.close()

    async def _wait(self, pause: float | None) -> None:
        """Until runs end, a run may be ready, or the pause is over."""
        self._rest(self._state.resting)
        self._awaited = self._state.awaited
        if not self._listener.open:
            await self._waker.wait(pause)
            return
        try:
            await self._listener.wait(self._waker, pause)
        except psycopg.OperationalError:
            self._listener.drop()
            self._state.cut_off()

    def _take_notice(self) -> None:
        """Tell the state what came, during whatever was done last."""
        inbox = self._listener.inbox
        if inbox.stopped:
            self._renewer.look_now()
        if inbox.any:
            self._state.notified(alone=inbox.alone)
        inbox.forget()
        if not self._state.resting:
            self._rest(False)

    def _rest(self, resting: bool) -> None:
        """Whether there is nothing to do."""
        self._renewer.rest(resting)
        if self._ticker is not None:
            self._ticker.rest(resting)

    def _collect(self) -> None:
        """Take in the runs that have ended."""
        self._urgent = False
        while self._ended:
            run, outcome = self._ended.popleft()
            self._state.ended(run, outcome)

    def _report(self, run: ActiveRun, outcome: Outcome | None) -> None:
        self._ended.append((run, outcome))
        self._waker.wake()

    async def _slot(self, work: ActiveRun | Batch) -> None:
        if isinstance(work, Batch):
            await self._attend_batch(work)
            return
        run = work
        run.begun_at, run.owner = time.monotonic(), tasks.current()
        # Else it was lost, or handed back, before its turn came.
        outcome = await self._attend(run) if run.stop is None else None
        abandoned = run.abandon is None and run.hopeless
        run.end()
        if not abandoned:
            self._report(run, outcome)

    async def _attend(self, run: ActiveRun) -> Outcome | None:
        leased = run.leased
        try:
            workflow = self._registry.of_run(leased.workflow)
            given = workflow.given(leased, self._registry.codec)
        except BadPayload as error:
            return flows.failed(leased, flows.bad_input(error))
        driver = AsyncDriver(run, self._steps, self._registry, run_child, self._reporter)
        handle = AsyncRun(driver)
        run.on_stop = self._tells(driver, (run,))
        run.abandon = partial(self._abandon, run)
        begins(leased)
        try:
            current.enter(handle)  # in a context of its own
            result = await called(workflow, handle, self._registry, given)
        except BaseException as error:
            return raised(run, error)
        finally:
            driver.handle = None  # each refers to the other
        return returned(run, result, self._registry)

    async def _attend_batch(self, batch: Batch) -> None:
        begun = begun_together(batch, self._registry, self._report)
        if begun is None:
            return
        workflow, runs, inputs = begun
        drivers = [
            AsyncDriver(run, self._steps, self._registry, run_child, self._reporter) for run in runs
        ]
        owner, abandoned = tasks.current(), False

        def abandon() -> None:
            nonlocal abandoned
            if not abandoned:
                abandoned = True
                logger.error("a batch of %s swallows its end: abandoned", workflow.name)
                self._slots.replace(owner)
                for run, outcome in handed_back(runs):
                    self._report(run, outcome)

        for run, driver in zip(runs, drivers, strict=True):
            run.owner = owner
            run.on_stop = self._tells(driver, runs)
            run.abandon = abandon
        handles = [AsyncRun(driver) for driver in drivers]
        try:
            found = await answers(workflow, handles, self._registry, inputs)
        except BaseException as error:
            outcomes = raised_together(runs, error)
        else:
            outcomes = answered(runs, found, self._registry)
        finally:
            for driver in drivers:
                driver.handle = None  # each refers to the other
        for run in runs:
            run.end()
        if not abandoned:
            for run, outcome in outcomes:
                self._report(run, outcome)

    def _tells(self, driver: AsyncDriver, runs: Sequence[ActiveRun]) -> Callable[[Stop], None]:
        """What tells the function of these runs, from any thread, that the driver's has stopped."""
        owner = tasks.current()

        def stopped(_: Stop) -> None:
            driver.stopped()
            if all(run.stop is not None for run in runs):
                tasks.cancel(owner)

        return tasks.from_threads(stopped)

    def _abandon(self, run: ActiveRun) -> None:
        """The code of a run that has stopped cannot be made to end: its slot is left to it."""
        logger.error("run %s of %s swallows its end: abandoned", run.run_id, run.leased.workflow)
        self._slots.replace(run.owner)
        self._report(run, None)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        if not takes_signals(self._options.signals):
            yield
            return
        before: dict[signal.Signals, Any] = {}
        if ASYNC:
            loop = asyncio.get_running_loop()
            for number in SIGNALS:
                handler = signal.getsignal(number)
                with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                    loop.add_signal_handler(number, self.stop)
                    before[number] = handler
        else:

            def stop(number: int, frame: object) -> None:
                self.stop()

            for number in SIGNALS:
                before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                if ASYNC:
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)
