"""Runs worked on outside a worker: sessions, and whole attempts, for asyncio."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, cast

from tidebase_pg import calls, current, flows, tasks
from tidebase_pg.async_driver import AsyncDriver
from tidebase_pg.async_run import AsyncRun
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.errors import Fail, LeaseLost, Stop, WrongAnswers
from tidebase_pg.flows import Attempt
from tidebase_pg.registry import Registry, SessionObserver, Workflow
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.renewal import LeaseRenewer

logger: Final = logging.getLogger("tidebase_pg.session")


class AsyncSession(AsyncRun):
    """A run worked on outside a worker; its lease is renewed in the background.

    Left normally without `complete` or `fail` the run is handed back; left by an error it has
    failed; left by cancellation or KeyboardInterrupt it is handed back. A session nobody refers to
    any more renews nothing.

    >>> async with await tide.runs.attach("import", input={"file": name}) as session:
    ...     await session.complete({"rows": await load(name)})
    """

    def __init__(
        self,
        run: ActiveRun,
        client: AsyncClient,
        registry: Registry,
        renewer: LeaseRenewer,
        on_lease_lost: Callable[[Stop], None] | None = None,
    ) -> None:
        super().__init__(AsyncDriver(run, client, registry, run_child))
        self._on_lease_lost = on_lease_lost
        self._finished = False
        self._renewer = renewer
        run.on_stop = tasks.from_threads(_told(weakref.ref(self)))
        renewer.add(run)
        weakref.finalize(self, renewer.discard, run)
        self._observers = [observe(self) for observe in registry.on_session]
        self._ending = _Ending(run, self._observers)
        if self._observers:
            weakref.finalize(self, self._ending.given_up).atexit = False

    @property
    def input(self) -> Any:
        """What the run was created with."""
        return self._run.leased.input

    async def complete(self, result: Any = None) -> None:
        """Finish the run. Raises BadPayload when the result is no JSON; the run stays held."""
        run, what = self._run, f"the result of run {self._run.run_id}"
        kept = self._driver.registry.codec.dump(result, what)
        report = calls.complete(run.run_id, run.lease_id, result=kept, used=run.spent)
        await self._report(report.unread())

    async def fail(self, error: Exception | str) -> None:
        """End the attempt with an error; Retry, Snooze and Fail say how, as in a workflow."""
        if isinstance(error, str):
            error = Fail(error)
        await self._driver.drive(flows.record_failure(self._run, error))
        self._end(error)

    async def close(self) -> None:
        """Hand the run back unless it has ended, and renew its lease no more."""
        await self._driver.record_used()
        if not self._finished and self._run.stop is None:
            run = self._run
            with contextlib.suppress(Stop):
                report = calls.release(run.run_id, run.lease_id, used=run.spent)
                await self._report(report.unread(), handed_back=True)
        await self._driver.record_spent()
        self._renewer.discard(self._run)
        self._ending.tell(self._run.stop)

    async def _report(self, call: Call[None], *, handed_back: bool = False) -> None:
        await self._driver.perform(call)
        self._run.spent.clear()
        self._end(handed_back=handed_back)

    def _end(self, error: Exception | None = None, *, handed_back: bool = False) -> None:
        self._finished = True
        self._run.end()
        self._renewer.discard(self._run)
        self._ending.tell(error, handed_back=handed_back)

    def stopped(self, stop: Stop) -> None:
        """Told when the run is cancelled or its lease lost."""
        self._driver.stopped()
        self._renewer.discard(self._run)
        self._ending.tell(stop)
        if self._on_lease_lost is not None and not self._finished:
            try:
                self._on_lease_lost(stop)
            except Exception as error:
                logger.error("on_lease_lost failed: %s", flows.one_line(error))

    async def __aenter__(self) -> Self:
        for observer in self._observers:
            observer.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, Exception) and not self._finished and self._run.stop is None:
                await self.fail(error)
        finally:
            try:
                await self.close()
            finally:
                for observer in reversed(self._observers):
                    observer.leave()


class _Ending:
    """Tells observers of the end of a session, which may come from several threads, once."""

    def __init__(self, run: ActiveRun, observers: Sequence[SessionObserver]) -> None:
        self._run = run
        self._left = list(observers)

    def tell(self, error: Exception | Stop | None, *, handed_back: bool = False) -> None:
        while self._left:
            try:
                observer = self._left.pop()
            except IndexError:
                return  # another thread was faster
            observer.end(error, handed_back=handed_back)

    def given_up(self) -> None:
        self.tell(LeaseLost(f"the session of run {self._run.run_id} was given up"))


def _told(session: weakref.ref[AsyncSession]) -> Callable[[Stop], None]:
    def told(stop: Stop) -> None:
        if (there := session()) is not None:
            there.stopped(stop)

    return told


async def run_child(parent: AsyncDriver, child: Attempt) -> Any:
    """Run a child where its parent runs."""
    run = ActiveRun(
        flows.leased(child.row), parent.run.lease, child.since, inline=parent.run.inline
    )
    return await attempt(
        run, parent.client, child.workflow, parent.registry, LeaseRenewer.of(parent.client)
    )


async def attempt(
    run: ActiveRun,
    client: AsyncClient,
    workflow: Workflow,
    registry: Registry,
    renewer: LeaseRenewer,
) -> Any:
    """Run a workflow here, renew its lease meanwhile, and record how it ended."""
    driver = AsyncDriver(run, client, registry, run_child)
    handle = AsyncRun(driver)
    renewer.add(run)
    try:
        with current.handled(handle):
            flow = flows.execute(
                run,
                lambda given: called(workflow, handle, registry, given),
                lambda: workflow.given(run.leased, registry.codec),
                registry.codec,
            )
            return await tasks.interruptible(driver.drive, flow, run, driver.stopped)
    except (Exception, Stop):
        raise
    except BaseException as error:
        with contextlib.suppress(Exception, Stop):
            if tasks.is_interrupt(error):
                release = calls.release(run.run_id, run.lease_id, used=run.spent)
                await client.execute(release.unread())
                run.spent.clear()
            elif run.stop is None:
                await driver.drive(flows.record_failure(run, error))
        raise
    finally:
        await driver.record_spent()
        run.end()
        renewer.discard(run)


async def called(workflow: Workflow, handle: AsyncRun, registry: Registry, *read: Any) -> Any:
    """What the workflow returns, called within what is around every run; `read` is its input, where
    that has been read already."""
    run = handle._run  # pyright: ignore[reportPrivateUsage]
    given = read[0] if read else workflow.given(run.leased, registry.codec)
    if workflow.batch is not None:
        (answer,) = await answers(workflow, [handle], registry, [given])
        if isinstance(answer, BaseException):
            raise answer
        return answer
    run.names.enter(tasks.current() if run.owner is None else run.owner)

    function: Callable[[], Any] = partial(
        tasks.call_workflow,
        workflow.function,
        handle,
        given,
        handles=(handle,),
        asynchronous=workflow.asynchronous,
    )
    for around in reversed(registry.around_runs):
        function = _within(around, handle, function)
    driver = handle._driver  # pyright: ignore[reportPrivateUsage]
    try:
        answer = await function()
    finally:
        if run.used or run.stop is not None:
            await driver.record_used()
    if driver.streams:
        await driver.flush()
    return answer


async def answers(
    workflow: Workflow, handles: Sequence[AsyncRun], registry: Registry, inputs: Sequence[Any]
) -> list[Any]:
    """What a workflow that takes batches answers for each of these runs, called within what is
    around every run. Raises WrongAnswers for another number."""
    drivers = [handle._driver for handle in handles]  # pyright: ignore[reportPrivateUsage]
    for driver in drivers:
        owner = driver.run.owner
        driver.run.names.enter(tasks.current() if owner is None else owner)

    function: Callable[[], Any] = partial(
        tasks.call_workflow,
        workflow.function,
        list(handles),
        list(inputs),
        handles=handles,
        asynchronous=workflow.asynchronous,
    )
    for handle in reversed(handles):
        for around in reversed(registry.around_runs):
            function = _within(around, handle, function)
    try:
        given: Any = await function()
    finally:
        for driver in drivers:
            await driver.record_used()
    found: list[Any] = []
    said = type(given).__name__
    if isinstance(given, list | tuple):
        found.extend(cast("Sequence[Any]", given))
        said = f"{len(found)} answers"
    if len(found) != len(handles):
        raise WrongAnswers(
            f"workflow {workflow.name!r} was given {len(handles)} runs and returned {said}: return "
            "a list with a result or an exception for each run, in their order"
        )
    for place, driver in enumerate(drivers):
        try:
            await driver.flush()
        except (Exception, Stop) as error:
            found[place] = error
    return found


def _within(around: Callable[..., Any], handle: AsyncRun, function: Callable[[], Any]) -> Any:
    async def within() -> Any:
        return await tasks.invoke(lambda: around(handle, function), "around_run", None)

    return within
