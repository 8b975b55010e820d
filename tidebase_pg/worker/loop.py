"""Workers: threads, tasks and signals around a WorkerState, which decides everything."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

import psycopg

from tidebase_pg import calls, current, flows
from tidebase_pg.async_driver import AsyncDriver
from tidebase_pg.async_run import AsyncRun
from tidebase_pg.async_session import answers as async_answers
from tidebase_pg.async_session import called as async_called
from tidebase_pg.async_session import run_child as async_run_child
from tidebase_pg.client import AsyncClient, Client
from tidebase_pg.client.async_connections import AsyncPinnedConnection, AsyncSource
from tidebase_pg.client.connections import PinnedConnection, Source
from tidebase_pg.client.limits import cut
from tidebase_pg.client.thread_sources import threaded
from tidebase_pg.driver import Driver
from tidebase_pg.errors import BadPayload, Snooze, Stop
from tidebase_pg.flows import Outcome
from tidebase_pg.registry import Registry, Workflow
from tidebase_pg.run import Run
from tidebase_pg.session import answers, called, run_child
from tidebase_pg.tasks import from_threads, in_thread
from tidebase_pg.types import LeasedRun
from tidebase_pg.webhooks.dispatcher import Dispatcher
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.batches import Batch
from tidebase_pg.worker.listener import AsyncListener, AsyncWaker, Listener, Waker
from tidebase_pg.worker.renewal import LeaseRenewer
from tidebase_pg.worker.state import Registration, Request, WorkerOptions, WorkerState, WorkReport
from tidebase_pg.worker.step_batches import AsyncStepReporter, StepReporter
from tidebase_pg.worker.thread_pool import ThreadPool
from tidebase_pg.worker.ticker import Ticker

logger: Final = logging.getLogger("tidebase_pg.worker")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
UNWIND: Final = 5.0
"""Seconds the cancelled tasks of an asyncio worker have to unwind at its end."""

LONGEST_WAIT: Final = 0.5
"""Seconds after which a blocked wait looks up: Python notices a signal that arrives just before
the wait begins only at its end."""

ENDING: Final = 1.0
"""Seconds the threads beside a worker have at its end."""
LAST_REPORTS: Final = 2.0
"""Seconds a worker that was stopped twice waits for the server."""
STEP_LIMIT: Final = 0.5
"""The share of a lease after which a call of a worker is cut off and made again."""

Ended = tuple[ActiveRun, Outcome | None]


class Worker:
    """Claims and runs in slot threads until stopped; made by `Tidebase.worker`."""

    def __init__(
        self,
        source: Source,
        registry: Registry,
        options: WorkerOptions,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """`dispatcher` sends webhooks as long as the worker works."""
        self._registry = registry
        self._dispatcher = dispatcher
        self._options = options
        self._state = WorkerState(options)
        limit = max(options.lease * STEP_LIMIT, 1.0)
        self._pinned = [PinnedConnection(source) for _ in range(2)]
        self._source = source
        self._claims = Client(self._pinned[0], patience=0.0, limit=limit)
        self._listener = Listener(self._state.waiter, self._state.session_id, self._pinned[0])
        self._steps = Client(self._pinned[1], patience=options.lease, limit=limit, persistent=True)
        self._reporter = StepReporter(self._steps)
        self._renewer = LeaseRenewer(
            threaded(source), lease=options.lease, runs=self._state.leased.values()
        )
        self._ticker = (
            None if options.reconcile is None else Ticker(threaded(source), options.reconcile)
        )
        self._threads: ThreadPool[ActiveRun | Batch] = ThreadPool(
            self._slot, options.concurrency, "slot"
        )
        self._ended: deque[Ended] = deque()
        self._awaited = 1
        self._urgent = False
        self._waker = Waker(lambda: self._urgent or len(self._ended) >= self._awaited)

    def stop(self) -> None:
        """Claim nothing more and return when the running runs have ended, or after the grace
        handed back; a second call hands them back at once. For any thread or signal handler."""
        self._state.stop()
        if self._state.hurried:
            cut_off_soon(self._pinned)
        self._urgent = True
        self._waker.wake()

    def run(self) -> WorkReport:
        """Work until stopped, drained, or max_runs is reached. Raises what concerns the worker
        itself: no database at first, a schema that does not fit, a pool that was closed."""
        state = self._state
        logger.info("worker %s starts on queues %s", state.options.name, state.options.queues)
        with self._signals():
            try:
                self._take_connections()
                self._renewer.start()
                if self._ticker is not None:
                    self._ticker.start()
                if self._dispatcher is not None:
                    self._dispatcher.start()
                while not state.over():
                    if (registration := state.registration()) is not None:
                        self._register(registration)
                    elif (request := state.request()) is not None:
                        self._exchange(request)
                    else:
                        self._wait(state.pause())
                    self._collect()
                    self._take_notice()
                    if state.impatient():
                        state.release_all()
                    if state.gives_back():
                        # No batch: where there are any, nothing is claimed ahead.
                        unbegun = cast("list[ActiveRun]", self._threads.take_back())
                        state.give_back(unbegun)
                    if batches := state.batches():
                        self._threads.put(batches)
            finally:
                self._renewer.stop()
                if self._ticker is not None:
                    self._ticker.stop()
                self._threads.end()
                self._withdraw()
                end_threads(self._renewer, self._ticker)
                if self._dispatcher is not None:
                    end_dispatcher(self._dispatcher, state)
                self._waker.close()
                self._reporter.close()
                for source in (*self._pinned, self._source):
                    source.close()
        logger.info("worker %s ends: %s", state.options.name, state.report())
        return state.report()

    def _take_connections(self) -> None:
        """What runs later cannot take the last connection from the worker itself."""
        self._renewer.take_connection()
        for pinned in self._pinned:
            pinned.release(pinned.acquire())
        if self._state.polling.listens and not self._listener.listen():
            self._state.cannot_listen()

    def _exchange(self, request: Request) -> None:
        try:
            settlement = self._claims.execute(request.call)
        except Exception as error:
            self._state.on_error(request, error)
            return
        self._threads.put(self._state.settled(request, settlement))
        for run_id, record in self._state.unrecorded():
            try:
                self._claims.execute(calls.record_usage(run_id, **record).unread())
            except Exception as error:
                unrecorded(run_id, record, error)

    def _register(self, registration: Registration) -> None:
        try:
            if not registration.withdraws and not self._listener.listen():
                self._state.cannot_listen()
                return
            foreseen = self._claims.execute(registration.call)
        except Exception as error:
            self._state.unregistered(registration, error)
        else:
            self._state.registered(registration, foreseen)

    def _withdraw(self) -> None:
        """What fails here is forgotten soon anyway."""
        with contextlib.suppress(Exception):
            if (last := self._state.unregister()) is not None and not self._state.hurried:
                self._claims.execute(last.call)
            self._listener.close()

    def _wait(self, pause: float | None) -> None:
        """Until runs end, a run may be ready, or the pause is over."""
        seconds = LONGEST_WAIT if pause is None else min(pause, LONGEST_WAIT)
        self._rest(self._state.resting)
        self._awaited = self._state.awaited
        if not self._listener.open:
            self._waker.wait(seconds)
            return
        try:
            self._listener.wait(self._waker, seconds)
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

    def _slot(self, work: ActiveRun | Batch) -> None:
        if isinstance(work, Batch):
            contextvars.copy_context().run(self._attend_batch, work)
        else:
            self._attend_run(work)

    def _attend_run(self, run: ActiveRun) -> None:
        run.begun_at = time.monotonic()
        outcome = contextvars.copy_context().run(self._attend, run)
        abandoned = run.abandon is None and run.hopeless
        run.end()
        if abandoned:
            return
        self._report(run, outcome)

    def _report(self, run: ActiveRun, outcome: Outcome | None) -> None:
        self._ended.append((run, outcome))
        self._waker.wake()

    def _attend(self, run: ActiveRun) -> Outcome | None:
        leased = run.leased
        if run.stop is not None:
            return None  # lost, or handed back, before its turn came
        codec = self._registry.codec
        try:
            workflow = self._registry.of_run(leased.workflow)
            given = workflow.given(leased, codec)
        except BadPayload as error:
            return flows.failed(leased, flows.bad_input(error))
        driver = Driver(run, self._steps, self._registry, run_child, self._reporter)
        handle = Run(driver)
        run.on_stop = lambda stop: driver.stopped()
        run.abandon = lambda: self._abandon(run)
        begins(leased)
        try:
            current.enter(handle)  # in a context of its own
            result = called(workflow, handle, self._registry, given)
        except BaseException as error:
            return raised(run, error)
        finally:
            driver.handle = None  # each refers to the other
        return returned(run, result, self._registry)

    def _attend_batch(self, batch: Batch) -> None:
        begun = begun_together(batch, self._registry, self._report)
        if begun is None:
            return
        workflow, runs, inputs = begun
        drivers = [
            Driver(run, self._steps, self._registry, run_child, self._reporter) for run in runs
        ]
        abandoned = False

        def abandon() -> None:
            nonlocal abandoned
            if not abandoned:
                abandoned = True
                logger.error("a batch of %s swallows its end: abandoned", workflow.name)
                self._threads.replace()
                for run, outcome in handed_back(runs):
                    self._report(run, outcome)

        for run, driver in zip(runs, drivers, strict=True):
            run.on_stop = partial(stops, driver)
            run.abandon = abandon
        try:
            found = answers(workflow, [Run(driver) for driver in drivers], self._registry, inputs)
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

    def _abandon(self, run: ActiveRun) -> None:
        """The code of a run that has stopped cannot be made to end: its thread is left to it."""
        logger.error("run %s of %s swallows its end: abandoned", run.run_id, run.leased.workflow)
        self._threads.replace()
        self._report(run, None)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        if not takes_signals(self._options.signals):
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
        self._waiting: deque[ActiveRun] = deque()
        """What no slot has begun."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._waker = AsyncWaker()

    def stop(self) -> None:
        """Claim nothing more and return when the running runs have ended, or after the grace
        handed back; a second call hands them back at once. For the loop's own thread."""
        self._state.stop()
        if self._state.hurried:
            cut_off_soon(self._pinned)
        self._waker.wake()

    async def run(self) -> WorkReport:
        """Work until stopped, drained, or max_runs is reached. Raises what concerns the worker
        itself: no database at first, a schema that does not fit, a pool that was closed.

        When its task is cancelled it hands back what it holds before it ends.
        """
        state = self._state
        logger.info("worker %s starts on queues %s", state.options.name, state.options.queues)
        # Threads of their own: whatever holds up the event loop, leases are renewed.
        self._renewer = LeaseRenewer(
            threaded(self._source), lease=state.options.lease, runs=state.leased.values()
        )
        if state.options.reconcile is not None:
            self._ticker = Ticker(threaded(self._source), state.options.reconcile)
        with self._signals():
            loop: asyncio.Task[None] | None = None
            try:
                await self._take_connections()
                self._renewer.start()
                if self._ticker is not None:
                    self._ticker.start()
                if self._dispatcher is not None:
                    self._dispatcher.start()
                loop = asyncio.create_task(self._loop(), name="tidebase worker")
                await asyncio.shield(loop)
            except asyncio.CancelledError:
                if loop is not None and not loop.done():
                    self.stop()
                    self.stop()
                    await loop
                raise
            finally:
                self._waiting.clear()
                await self._unwind()
                self._renewer.stop()
                if self._ticker is not None:
                    self._ticker.stop()
                await self._withdraw()
                await in_thread(lambda: end_threads(self._renewer, self._ticker))
                if (dispatcher := self._dispatcher) is not None:
                    await in_thread(lambda: end_dispatcher(dispatcher, state))
                self._reporter.close()
                for source in (*self._pinned, self._source):
                    await source.close()
        logger.info("worker %s ends: %s", state.options.name, state.report())
        return state.report()

    async def _take_connections(self) -> None:
        """What runs later cannot take the last connection from the worker itself."""
        await in_thread(self._renewer.take_connection)
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
            self._waker.reset()
            self._take_notice()
            if state.impatient():
                state.release_all()
            if state.gives_back():
                unbegun, self._waiting = self._waiting, deque()
                state.give_back(unbegun)
            for batch in state.batches():
                self._begin_batch(batch)

    async def _exchange(self, request: Request) -> None:
        try:
            settlement = await self._claims.execute(request.call)
        except Exception as error:
            self._state.on_error(request, error)
            return
        # Not before the next call is on its way, if there is one to make: then they run beside it.
        self._waiting.extend(self._state.settled(request, settlement))
        asyncio.get_running_loop().call_soon(self._begin)
        for run_id, record in self._state.unrecorded():
            try:
                await self._claims.execute(calls.record_usage(run_id, **record).unread())
            except Exception as error:
                unrecorded(run_id, record, error)

    def _begin(self) -> None:
        """As many as there are slots for; whatever ends begins the next."""
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._tasks) < self._options.concurrency:
            run = self._waiting.popleft()
            run.begun_at = time.monotonic()
            name = f"tidebase {run.run_id.hex}"
            run.owner = task = loop.create_task(self._slot(run, loop), name=name)
            self._tasks.add(task)

    def _begin_batch(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        name = f"tidebase {batch.runs[0].run_id.hex} and others"
        task = loop.create_task(self._attend_batch(batch, loop), name=name)
        for run in batch.runs:
            run.owner = task
        self._tasks.add(task)

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
        """Until a run ends, a run may be ready, or the pause is over."""
        self._rest(self._state.resting)
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

    async def _slot(self, run: ActiveRun, loop: asyncio.AbstractEventLoop) -> None:
        task = cast("asyncio.Task[None]", run.owner)
        outcome: Outcome | None = None
        try:
            # Only from here on there is something to cancel: a task that has not begun would be
            # gone without a word.
            if run.stop is None:
                outcome = await self._attend(run, task, loop)
        except asyncio.CancelledError:
            if run.stop is None:
                error = RuntimeError("the task of the workflow was cancelled from within")
                outcome = raised(run, error)
        abandoned = run.abandon is None and run.hopeless
        run.end()
        self._free(task)
        if not abandoned:
            self._report(run, outcome)

    def _report(self, run: ActiveRun, outcome: Outcome | None) -> None:
        self._state.ended(run, outcome)
        self._waker.wake()

    async def _attend(
        self, run: ActiveRun, task: asyncio.Task[None], loop: asyncio.AbstractEventLoop
    ) -> Outcome | None:
        leased = run.leased
        codec = self._registry.codec
        try:
            workflow = self._registry.of_run(leased.workflow)
            given = workflow.given(leased, codec)
        except BadPayload as error:
            return flows.failed(leased, flows.bad_input(error))
        driver = AsyncDriver(run, self._steps, self._registry, async_run_child, self._reporter)
        handle = AsyncRun(driver)

        def stopped(_: Stop) -> None:
            driver.stopped()
            task.cancel()

        run.on_stop = from_threads(stopped, loop)
        run.abandon = lambda: self._abandon(run, task)
        begins(leased)
        try:
            current.enter(handle)  # in the context of its task
            result = await async_called(workflow, handle, self._registry, given)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return raised(run, error)
        finally:
            driver.handle = None  # each refers to the other
        return returned(run, result, self._registry)

    async def _attend_batch(self, batch: Batch, loop: asyncio.AbstractEventLoop) -> None:
        task = cast("asyncio.Task[None]", batch.runs[0].owner)
        begun = begun_together(batch, self._registry, self._report)
        if begun is None:
            self._tasks.discard(task)
            return
        workflow, runs, inputs = begun
        drivers = [
            AsyncDriver(run, self._steps, self._registry, async_run_child, self._reporter)
            for run in runs
        ]
        abandoned = False

        def stopped(driver: AsyncDriver, _: Stop) -> None:
            driver.stopped()
            if all(run.stop is not None for run in runs):
                task.cancel()

        def abandon() -> None:
            nonlocal abandoned
            if not abandoned:
                abandoned = True
                logger.error("a batch of %s swallows its end: abandoned", workflow.name)
                self._tasks.discard(task)
                for run, outcome in handed_back(runs):
                    self._report(run, outcome)

        for run, driver in zip(runs, drivers, strict=True):
            run.on_stop = from_threads(partial(stopped, driver), loop)
            run.abandon = abandon
        handles = [AsyncRun(driver) for driver in drivers]
        try:
            found = await async_answers(workflow, handles, self._registry, inputs)
        except BaseException as error:
            outcomes = raised_together(runs, error)
        else:
            outcomes = answered(runs, found, self._registry)
        finally:
            for driver in drivers:
                driver.handle = None  # each refers to the other
        for run in runs:
            run.end()
        self._tasks.discard(task)
        if not abandoned:
            for run, outcome in outcomes:
                self._report(run, outcome)

    def _abandon(self, run: ActiveRun, task: asyncio.Task[None]) -> None:
        """The code of a run that has stopped cannot be made to end: its task is left to it."""
        logger.error("run %s of %s swallows its end: abandoned", run.run_id, run.leased.workflow)
        self._free(task)
        self._report(run, None)

    def _free(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting:
            self._begin()

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
        if not takes_signals(self._options.signals):
            yield
            return
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


def takes_signals(asked: bool | None) -> bool:
    """Whether a worker stops at signals: in the main thread, where nothing else waits for them
    unless it was asked to."""
    if asked is False or threading.current_thread() is not threading.main_thread():
        return False
    return asked is True or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def begins(leased: LeasedRun) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    logger.info(
        "run %s of %s, attempt %d of %d, begins",
        leased.run_id,
        leased.workflow,
        leased.attempt,
        leased.max_attempts,
        extra=facts(leased),
    )


def facts(leased: LeasedRun) -> dict[str, object]:
    """What structured logs say of a run."""
    return {
        "run_id": str(leased.run_id),
        "workflow": leased.workflow,
        "attempt": leased.attempt,
    }


def unrecorded(run_id: UUID, record: Mapping[str, Any], error: Exception) -> None:
    """What a run used is in the log at least."""
    logger.error(
        "what run %s used could not be recorded, %s: %s", run_id, record, flows.one_line(error)
    )


def returned(run: ActiveRun, result: Any, registry: Registry) -> Outcome | None:
    """What to settle for the answer of a workflow."""
    leased = run.leased
    if run.stop is not None:
        logger.info(
            "run %s of %s dropped: %s",
            leased.run_id,
            leased.workflow,
            run.stop,
            extra=facts(leased),
        )
        return None
    try:
        outcome = flows.completed(leased, result, registry.codec)
    except BadPayload as error:
        logger.warning(
            "run %s of %s failed: %s", leased.run_id, leased.workflow, error, extra=facts(leased)
        )
        return flows.failed(leased, flows.bad_output(error))
    if logger.isEnabledFor(logging.INFO):
        logger.info("run %s of %s completed", leased.run_id, leased.workflow, extra=facts(leased))
    return outcome


def raised(run: ActiveRun, error: BaseException) -> Outcome | None:
    """What to settle for an error of a workflow; nothing when the run is no longer held."""
    leased = run.leased
    if run.stop is not None:
        logger.info(
            "run %s of %s dropped: %s",
            leased.run_id,
            leased.workflow,
            run.stop,
            extra=facts(leased),
        )
        return None
    said = flows.verdict_of(error)
    if isinstance(said, Snooze):
        logger.info(
            "run %s of %s runs again after %s: %s",
            leased.run_id,
            leased.workflow,
            said.after,
            said,
            extra=facts(leased),
        )
        return flows.released(leased, said)
    failure = flows.failure(error)
    logger.warning(
        "run %s of %s, attempt %d of %d, failed: %s: %s\n%s",
        leased.run_id,
        leased.workflow,
        leased.attempt,
        leased.max_attempts,
        failure.error["type"],
        failure.error["message"],
        flows.account(error),
        extra=facts(leased),
    )
    return flows.failed(leased, failure)


def begun_together(
    batch: Batch, registry: Registry, report: Callable[[ActiveRun, Outcome | None], None]
) -> tuple[Workflow, list[ActiveRun], list[Any]] | None:
    """The runs of a batch that begin, and their inputs; those that stopped meanwhile, or whose
    input does not fit, are reported. None when no run is left."""
    runs: list[ActiveRun] = []
    inputs: list[Any] = []
    workflow = registry.of_run(batch.runs[0].leased.workflow)
    for run in batch.runs:
        if run.stop is None:
            try:
                inputs.append(workflow.given(run.leased, registry.codec))
            except BadPayload as error:
                run.end()
                report(run, flows.failed(run.leased, flows.bad_input(error)))
            else:
                runs.append(run)
                begins(run.leased)
        else:
            run.end()
            report(run, None)
    return (workflow, runs, inputs) if runs else None


def answered(
    runs: Sequence[ActiveRun], found: Sequence[Any], registry: Registry
) -> list[tuple[ActiveRun, Outcome | None]]:
    """What to settle for the answers a workflow gave for a batch."""
    return [
        (
            run,
            raised(run, answer)
            if isinstance(answer, BaseException)
            else returned(run, answer, registry),
        )
        for run, answer in zip(runs, found, strict=True)
    ]


def raised_together(
    runs: Sequence[ActiveRun], error: BaseException
) -> list[tuple[ActiveRun, Outcome | None]]:
    """What to settle when a workflow answered nothing for a batch: an error is that of every run,
    but the end of some hands the others back, for another batch."""
    if not isinstance(error, Exception):
        if any(run.stop is not None for run in runs):
            return handed_back(runs)
        if isinstance(error, asyncio.CancelledError):
            error = RuntimeError("the task of the workflow was cancelled from within")
    return [(run, raised(run, error)) for run in runs]


def handed_back(runs: Sequence[ActiveRun]) -> list[tuple[ActiveRun, Outcome | None]]:
    """Those that are still held come again, and the attempt does not count."""
    return [(run, None if run.stop is not None else flows.released(run.leased)) for run in runs]


def stops(driver: Driver, _: Stop) -> None:
    driver.stopped()


def end_dispatcher(dispatcher: Dispatcher, state: WorkerState) -> None:
    """Let what is being sent come to its end, unless there is hurry: then it is sent again."""
    if state.hurried:
        dispatcher.end()
    else:
        dispatcher.stop()


def end_threads(renewer: LeaseRenewer, ticker: Ticker | None) -> None:
    """Give the threads beside the worker a moment to give their connections back."""
    renewer.join(ENDING)
    if ticker is not None:
        ticker.join(ENDING)


def cut_off_soon(pinned: Sequence[PinnedConnection | AsyncPinnedConnection]) -> None:
    """A server that does not take the last reports within a moment is not waited for."""

    def cut_off() -> None:
        for one in pinned:
            if (connection := one.pinned) is not None:
                cut(connection)

    for seconds in (LAST_REPORTS, 2 * LAST_REPORTS):
        timer = threading.Timer(seconds, cut_off)
        timer.daemon = True
        timer.start()
