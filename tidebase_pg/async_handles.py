"""What an asyncio workflow is handed: `handles` with every method awaited."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, cast, overload

from tidebase_pg import calls, flows
from tidebase_pg.async_waits import AsyncWaits, open_transaction
from tidebase_pg.call import Call
from tidebase_pg.client.execute import AsyncClient
from tidebase_pg.errors import Fail, StepTimeout, Stop
from tidebase_pg.flows import Attempt, Early, Effect, Flow, Invoke, Pause, StepPlan
from tidebase_pg.handles import Contract, Lease, StepOptions
from tidebase_pg.registry import Registry
from tidebase_pg.worker.active_run import Holding, heartbeat
from tidebase_pg.worker.renewal import AsyncHeart
from tidebase_pg.worker.step_batches import AsyncReporter

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.session")


async def drive(flow: Flow[T], perform: Callable[[Effect], Awaitable[Any]]) -> T:
    """Run a flow to its end; only `Exception` reaches it, cancellation goes straight through."""
    send: Callable[[Any], Effect] = flow.send
    answer: Any = None
    try:
        while True:
            effect = send(answer)
            try:
                answer, send = await perform(effect), flow.send
            except Exception as error:
                answer, send = error, flow.throw
    except StopIteration as stop:
        return cast(T, stop.value)


class AsyncDriver:
    """Carries out the effects of flows that concern one held run."""

    __slots__ = ("cancelled", "client", "holding", "registry", "reporter")

    def __init__(
        self,
        holding: Holding,
        client: AsyncClient,
        cancelled: asyncio.Event,
        registry: Registry,
        reporter: AsyncReporter | None = None,
    ) -> None:
        """`reporter` tells of the steps together with those of other runs."""
        self.holding = holding
        self.client = client
        self.cancelled = cancelled
        self.registry = registry
        self.reporter = reporter

    async def drive(self, flow: Flow[T]) -> T:
        return await drive(flow, self.perform)

    async def settle(self) -> None:
        """Let the database know what the run began, before another connection speaks for it."""
        if self.reporter is not None:
            await self.reporter.settle(self.holding)

    async def perform(self, effect: Effect) -> Any:
        holding = self.holding
        holding.check()
        if isinstance(effect, Invoke):
            return await invoke(effect)
        if isinstance(effect, Pause):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.cancelled.wait(), effect.seconds)
            return None
        if isinstance(effect, Attempt):
            child = Holding(flows.leased(effect.row), holding.lease, effect.since, inline=True)
            return await attempt(child, self.client, effect.function, self.registry)
        transaction = open_transaction(holding)
        if isinstance(effect, Early):
            if self.reporter is not None and transaction is None:
                return await self.reporter.begin(holding, effect.call, effect.judge)
            effect = effect.call
        try:
            if self.reporter is not None and transaction is None:
                return await self.reporter.execute(holding, effect)
            return await (transaction or self.client).execute(effect)
        except Stop as stop:
            if "lease_id" in effect.arguments:
                holding.lost(stop)
                self.cancelled.set()
            raise


class AsyncRun(AsyncWaits, Lease):
    """A run, handed to its workflow: `async def report(run: AsyncRun, input: dict) -> dict`.

    When the run is cancelled or its lease lost, the task of the workflow is cancelled; every
    method then raises RunCancelled or LeaseLost: let them pass.
    """

    def __init__(
        self,
        holding: Holding,
        client: AsyncClient,
        registry: Registry,
        reporter: AsyncReporter | None = None,
    ) -> None:
        Lease.__init__(self, holding)
        self.cancelled = asyncio.Event()
        """Set when the run is cancelled or its lease lost."""
        self._driver = AsyncDriver(holding, client, self.cancelled, registry, reporter)
        holding.interrupt = self._interrupt
        self._equip(self._driver)

    @overload
    async def step(
        self, name: str, function: Callable[[], Awaitable[T]], **options: Unpack[StepOptions]
    ) -> T: ...
    @overload
    async def step(
        self, name: str, function: Callable[[], T], **options: Unpack[StepOptions]
    ) -> T: ...
    async def step(
        self, name: str, function: Callable[[], Any], **options: Unpack[StepOptions]
    ) -> Any:
        """Call the function once and keep its answer; a later attempt gets the kept answer.

        The function may return an awaitable, which is cancelled when the timeout is over. A
        blocking function belongs in asyncio.to_thread: here it would hold up the event loop, and
        no timeout could end it. What is kept is JSON: a tuple comes back as a list.

        Raises what the function raised last, StepTimeout, BadPayload, InputMismatch,
        StepInProgress, or a Stop.

        >>> plan = await run.step("plan", lambda: make_plan(topic), retries=2)
        """
        plan = flows.plan_step(name, **options)
        holding = self._holding
        new = holding.open_step(name)
        try:
            flow = flows.step(holding, function, plan, new=new)
            return await self._driver.drive(flow)
        finally:
            holding.close_step(name)

    def begin_step(self, name: str, **contract: Unpack[Contract]) -> AsyncBegunStep:
        """Begin a step whose work stands in the block below, as agent loops need it.

        >>> async with run.begin_step("turn-3") as step:
        ...     if not step.done:
        ...         await step.complete(await model.answer(messages))
        >>> messages.append(step.output)
        """
        return AsyncBegunStep(self._driver, flows.plan_step(name, **contract))

    async def heartbeat(self) -> None:
        """Renew the lease now; workers and sessions do it by themselves every lease/3."""
        self._holding.check()
        sent_at = time.monotonic()
        (beat,) = await self._driver.client.execute(heartbeat([self._holding], self._holding.lease))
        self._holding.judge(beat.state, sent_at)
        self._holding.check()

    def _interrupt(self, stop: Stop) -> None:
        self.cancelled.set()


async def invoke(effect: Invoke) -> Any:
    """Call a function, await what it returns, and cancel that at the time limit."""
    answer = effect.function()
    if not inspect.isawaitable(answer):
        return answer
    if effect.timeout is None:
        return await answer
    limit = asyncio.timeout(effect.timeout)
    try:
        async with limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise
        raise StepTimeout(
            f"{effect.what} took longer than its timeout of {effect.timeout:g} s"
        ) from None


class AsyncBegunStep:
    """A step in the hands of the workflow; `done` means an earlier attempt completed it."""

    def __init__(self, driver: AsyncDriver, plan: StepPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._open = False
        self.name = plan.name
        self.done = False
        self.output: Any = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begin().__await__()

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def _begin(self) -> Self:
        holding = self._driver.holding
        holding.open_step(self.name)
        try:
            self.done, self.output = await self._driver.drive(flows.begin(holding, self._plan))
        except BaseException:
            holding.close_step(self.name)
            raise
        self._open = not self.done
        if self.done:
            holding.close_step(self.name)
        return self

    async def complete(self, output: Any = None) -> None:
        """Keep the output. Raises BadPayload when it is no JSON, Stop when the run is lost."""
        self._close()
        await self._driver.drive(flows.complete(self._driver.holding, self._plan, output))
        self.done, self.output = True, output

    async def fail(self, error: Exception) -> None:
        """Report the failure, then raise it, or the Stop the contract of the step demands."""
        self._close()
        await self._driver.drive(flows.fail(self._driver.holding, self._plan, error, 0))

    def _close(self) -> None:
        if not self._open:
            raise RuntimeError(f"step {self.name!r} is not open: begin it, and end it once")
        self._open = False
        self._driver.holding.close_step(self.name)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        if error is None:
            await self.fail(RuntimeError(f"step {self.name!r} was left without complete(output)"))
        elif isinstance(error, Exception) and self._driver.holding.stop is None:
            await self.fail(error)


class AsyncSession(AsyncRun):
    """A run worked on outside a worker, with its heartbeat in the background.

    Left normally without `complete` or `fail` the run is handed back; left by an error it has
    failed; left by cancellation it is handed back.

    >>> async with await tide.runs.attach("import", input={"file": name}) as session:
    ...     await session.complete({"rows": await load(name)})
    """

    def __init__(
        self,
        holding: Holding,
        client: AsyncClient,
        registry: Registry,
        on_lease_lost: Callable[[Stop], None] | None = None,
    ) -> None:
        super().__init__(holding, client, registry)
        self._on_lease_lost = on_lease_lost
        self._ended = False
        self._heart = AsyncHeart(client, holding.lease)
        self._heart.add(holding)
        self._heart.start()

    @property
    def input(self) -> Any:
        """What the run was created with."""
        return self._holding.leased.input

    async def complete(self, result: Any = None) -> None:
        """Finish the run. Raises BadPayload when the result is no JSON; the run stays held."""
        held = self._holding
        await self._report(calls.complete(held.run_id, held.lease_id, result=result).unread())

    async def fail(self, error: Exception | str) -> None:
        """End the attempt with an error; Retry and Fail say how, as in a workflow."""
        if isinstance(error, str):
            error = Fail(error)
        await self._report(flows.report_failure(self._holding, flows.failure(error)))

    async def close(self) -> None:
        """Stop the heartbeat; hand the run back unless it has ended."""
        if not self._ended and self._holding.stop is None:
            held = self._holding
            with contextlib.suppress(Stop):
                await self._report(calls.release(held.run_id, held.lease_id).unread())
        await self._heart.stop()

    async def _report(self, call: Call[None]) -> None:
        await self._driver.perform(call)
        self._ended = True
        await self._heart.stop()

    def _interrupt(self, stop: Stop) -> None:
        super()._interrupt(stop)
        self._heart.discard(self._holding)
        if self._on_lease_lost is not None and not self._ended:
            try:
                self._on_lease_lost(stop)
            except Exception as error:
                logger.error("on_lease_lost failed: %s", flows.one_line(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, Exception) and not self._ended and self._holding.stop is None:
                await self.fail(error)
        finally:
            await self.close()


async def attempt(
    holding: Holding,
    client: AsyncClient,
    function: Callable[[AsyncRun, Any], Any],
    registry: Registry,
) -> Any:
    """Run a workflow in a task, with its heartbeat beside it, and record how it ended."""
    run = AsyncRun(holding, client, registry)
    heart = AsyncHeart(client, holding.lease)
    heart.add(holding)
    heart.start()
    flow = flows.execute(holding, holding.leased, lambda given: function(run, given))
    task = asyncio.ensure_future(AsyncDriver(holding, client, run.cancelled, registry).drive(flow))

    def interrupt(stop: Stop) -> None:
        run.cancelled.set()
        task.cancel()

    holding.interrupt = interrupt
    try:
        return await task
    except asyncio.CancelledError:
        if holding.stop is not None:
            raise holding.stop from None
        with contextlib.suppress(Exception):
            await client.execute(calls.release(holding.run_id, holding.lease_id).unread())
        raise
    finally:
        await heart.stop()
