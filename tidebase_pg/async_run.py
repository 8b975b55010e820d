"""What a workflow is handed: its run and its steps, for asyncio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar, Unpack, cast, overload

import psycopg

from tidebase_pg import calls, current, flows, tasks, wait_flows
from tidebase_pg.async_driver import AsyncDriver, AsyncOpenTransaction, transaction
from tidebase_pg.async_parts import AsyncRunGates, AsyncRunSnapshots, AsyncRunState, AsyncRunUsage
from tidebase_pg.async_streams import AsyncRunStream
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.failures import is_passing, passed_over
from tidebase_pg.client.limits import limited_by_lease
from tidebase_pg.client.settings import READ_COMMITTED, AsyncConnection
from tidebase_pg.errors import ChildFailed, RunParked, Snooze, StepFailedHard
from tidebase_pg.flows import Flow, StepPlan
from tidebase_pg.names import Use
from tidebase_pg.options import Contract, StepOptions
from tidebase_pg.registry import ChildOptions, NewChild, NewEdge
from tidebase_pg.run_facts import RunFacts
from tidebase_pg.tasks import ASYNC
from tidebase_pg.types import AwaitedChild, Spawned
from tidebase_pg.values import Duration, whole
from tidebase_pg.wait_flows import Event, GateDecision, GateOptions
from tidebase_pg.worker.active_run import heartbeat

T = TypeVar("T")

CONCURRENCY = 8
"""Children of a fan-out that run at once in this process, unless told otherwise."""


class AsyncRun(RunFacts):
    """A run, handed to its workflow: `async def report(run: AsyncRun, input: dict) -> dict`.

    Every method raises RunCancelled or LeaseLost once the run is no longer held. These are no
    Exceptions, so that they pass handlers of errors. In asyncio the task of the workflow is
    cancelled as well.
    """

    def __init__(self, driver: AsyncDriver) -> None:
        super().__init__(driver.run)
        self._driver = driver
        driver.handle = self

    @property
    def cancelled(self) -> tasks.Event:
        """Set when the run is cancelled or its lease lost; watch it in long steps."""
        return self._driver.cancelled

    @property
    def gates(self) -> AsyncRunGates:
        return AsyncRunGates(self._driver)

    @property
    def state(self) -> AsyncRunState:
        return AsyncRunState(self._driver)

    @property
    def snapshots(self) -> AsyncRunSnapshots:
        return AsyncRunSnapshots(self._driver)

    @property
    def usage(self) -> AsyncRunUsage:
        return AsyncRunUsage(self._driver)

    if ASYNC:

        @overload
        def step(
            self, name: str, function: Callable[[], Awaitable[T]], **options: Unpack[StepOptions]
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def step(
            self, name: str, function: Callable[[], T], **options: Unpack[StepOptions]
        ) -> Coroutine[Any, Any, T]: ...
        def step(
            self, name: str, function: Callable[[], Any], **options: Unpack[StepOptions]
        ) -> Coroutine[Any, Any, Any]:
            """Call the function once and keep its answer; a later attempt gets the kept answer.

            The function may return an awaitable, which is cancelled when the timeout is over. A
            blocking function belongs in asyncio.to_thread: here it would hold up the event loop,
            and no timeout could end it.

            What is given is what is kept: JSON, so a tuple comes as a list, a dataclass as a dict
            unless `returns` says its type. A name used again in the same branch is the next step:
            llm, llm:2, llm:3. Branches beside each other tell uses apart by `key` or `input`.

            Raises what the function raised last, StepTimeout, BadPayload, InputMismatch,
            StepInProgress, or a Stop.

            >>> plan = await run.step("plan", lambda: make_plan(topic), retries=2)
            """
            return self._step(name, function, **options)
    else:

        def step(self, name: str, function: Callable[[], T], **options: Unpack[StepOptions]) -> T:
            """Call the function once and keep its answer; a later attempt gets the kept answer.

            With a timeout the function runs in a thread of its own, which is abandoned, not ended,
            when the time is up; whether the step is then repeated follows from its contract.

            What is given is what is kept: JSON, so a tuple comes as a list, a dataclass as a dict
            unless `returns` says its type. A name used again in the same branch is the next step:
            llm, llm:2, llm:3. Branches beside each other tell uses apart by `key` or `input`.

            Raises what the function raised last, StepTimeout, BadPayload, InputMismatch,
            StepInProgress, or a Stop.

            >>> plan = run.step("plan", lambda: make_plan(topic), retries=2)
            """
            return cast(T, self._step(name, function, **options))

    def _plan(self, name: str, **contract: Any) -> flows.StepPlan:
        return flows.plan_step(name, self._driver.registry.codec, **contract)

    @tasks.noticed
    async def _step(
        self, name: str, function: Callable[[], Any], **options: Unpack[StepOptions]
    ) -> Any:
        plan = self._plan(name, **options)
        flow = flows.step(self._run, function, plan, self._driver.registry.codec)
        return await self._driver.drive(flow)

    if ASYNC:

        def begin_step(self, name: str, **contract: Unpack[Contract]) -> AsyncBegunStep:
            """Begin a step whose work stands in the block below, as agent loops need it.

            >>> async with run.begin_step("turn-3") as step:
            ...     if not step.done:
            ...         await step.complete(await model.answer(messages))
            >>> messages.append(step.output)
            """
            return AsyncBegunStep(self._driver, self._plan(name, **contract))
    else:

        def begin_step(self, name: str, **contract: Unpack[Contract]) -> AsyncBegunStep:
            """Begin a step whose work stands in the block below, as agent loops need it.

            >>> with run.begin_step("turn-3") as step:
            ...     if not step.done:
            ...         step.complete(model.answer(messages))
            >>> messages.append(step.output)
            """
            return AsyncBegunStep(self._driver, self._plan(name, **contract)).begun()

    def stream(self, name: str, *, step: str | None = None) -> AsyncRunStream:
        """A stream of the run, for people and programs that follow it while it works: tokens,
        lines of a log, progress.

        What a step writes belongs to it, and is void when the step is executed again; `step`
        names one that `begin_step` began. A process that is killed loses the last tenth of a
        second of what it wrote.

        >>> await run.stream("out").write(token)
        """
        return self._driver.stream(name, step or current.current_step())

    @tasks.noticed
    async def heartbeat(self) -> None:
        """Renew the lease now; workers and sessions do it by themselves every lease/3."""
        run = self._run
        run.check()
        sent_at = time.monotonic()
        (beat,) = await self._driver.client.execute(heartbeat([run], run.lease))
        run.judge(beat.state, sent_at)
        run.check()

    @tasks.noticed
    async def gate(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> GateDecision:
        """Ask people for a decision, and wait for it however long it takes.

        In a worker the run is parked meanwhile, which costs no worker and no attempt: the
        workflow is left by RunParked and called again once there is a decision. Run inline, it
        waits here.

        >>> decision = await run.gate("approve", "Send the report?", timeout=86_400)
        >>> if not decision.approved:
        ...     return {"sent": False}
        """
        return await self._wait(wait_flows.gate(self._run, name, prompt, options))

    @tasks.noticed
    async def child(
        self,
        workflow: str | Callable[..., Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        **options: Unpack[ChildOptions],
    ) -> Any:
        """The result of another workflow, run as a child; a later attempt gets the kept result.

        Without `queue` it runs here and now, and has to be registered here; with it a worker of
        that queue runs it, and this run is parked meanwhile; so it is with `after`, in the queue of
        the workflow. `name` tells children of the same workflow apart.

        Raises ChildFailed, InputMismatch when the name was used with another workflow or input.

        >>> summary = await run.child(summarize, input={"page": 7}, name="page 7")
        """
        child = self._driver.registry.child(workflow, name, queue, options)
        return await self._wait(wait_flows.child(self._run, child))

    @tasks.noticed
    async def spawn(
        self,
        workflow: str | Callable[..., Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        **options: Unpack[ChildOptions],
    ) -> Spawned:
        """Enqueue a child and go on; `await_children` waits for it.

        >>> await run.spawn("research", input={"topic": "tides"}, name="tides", queue="research")
        >>> await run.spawn("review", after=["tides"])
        """
        registry = self._driver.registry
        child = registry.child(workflow, name, queue or registry.queue_of(workflow), options)
        return await self._driver.drive(wait_flows.named_spawn(self._run, child))

    @tasks.noticed
    async def await_children(
        self,
        names: Sequence[str] | None = None,
        *,
        mode: Literal["all", "any", "fail_fast"] = "all",
    ) -> list[AwaitedChild]:
        """Children by name, or all of them, once they have ended, in the order of their making.

        `any` waits for one, `fail_fast` for all unless one fails: then some may still be active.

        >>> [child.result for child in await run.await_children(["tides", "moon"])]
        """
        return await self._wait(wait_flows.await_children(self._run, names, mode))

    @tasks.noticed
    async def fanout(
        self,
        name: str,
        children: Sequence[NewChild],
        *,
        queue: str | None = None,
        concurrency: int = CONCURRENCY,
        on_failure: Literal["fail_fast", "collect"] = "fail_fast",
    ) -> list[Any]:
        """The results of many children, in the order given.

        Without `queue` they run here, `concurrency` at once; with it workers of that
        queue run them, and this run is parked meanwhile; those with `after` run in the queue of
        their workflow. A failure is raised as ChildFailed as soon as it is known, other children
        that have begun go on; with "collect" all end and it stands in the list in place of the
        result.

        >>> await run.fanout("pages", [{"workflow": read, "input": {"page": n}} for n in range(20)])
        """
        flow = wait_flows.plan_fanout(
            self._run, self._driver.registry, name, children, queue, on_failure
        )
        use, edges = await self._driver.drive(flow)
        try:
            results = await self._fanned_out(edges, queue, concurrency, on_failure == "fail_fast")
            use.done = True
            return results
        finally:
            use.open = False

    async def _fanned_out(
        self, edges: Sequence[NewEdge], queue: str | None, concurrency: int, fail_fast: bool
    ) -> list[Any]:
        mode: Literal["all", "fail_fast"] = "fail_fast" if fail_fast else "all"
        if queue is not None:
            return await self._wait(wait_flows.queued_children(self._run, edges, mode))
        most = whole("concurrency", concurrency, 1, 1000)
        self._refuse_in_transaction()
        elsewhere = [child for child in edges if child.queue is not None]
        if elsewhere:
            await self._driver.drive(wait_flows.spawn_all(self._run, edges))
        failed: list[ChildFailed] = []

        async def one(child: NewEdge) -> Any:
            if failed and fail_fast:
                return None
            try:
                return await self._driver.drive(wait_flows.inline_child(self._run, child))
            except ChildFailed as failure:
                failed.append(failure)
                return failure

        here = [child for child in edges if child.queue is None]
        results = await tasks.gather(one, here, most, "child")
        if failed and fail_fast:
            if elsewhere:
                await self._driver.drive(
                    wait_flows.leave_queued(self._run, elsewhere, failed[0].edge)
                )
            raise failed[0]
        if not elsewhere:
            return results
        by_edge = dict(zip([child.edge for child in here], results, strict=True))
        ended = await self._wait(wait_flows.queued_children(self._run, elsewhere, mode))
        by_edge.update(zip([child.edge for child in elsewhere], ended, strict=True))
        return [by_edge[child.edge] for child in edges]

    def snooze(self, after: Duration, reason: str = "") -> NoReturn:
        """End this attempt, which does not count, and run again after so many seconds.

        >>> if not report.is_there(): run.snooze(300)
        """
        raise Snooze(reason, after=after)

    @tasks.noticed
    async def sleep(self, name: str, duration: Duration) -> None:
        """Go on after so many seconds, counted from the first time the run gets here.

        In a worker the run is parked meanwhile.

        >>> await run.sleep("cool down", timedelta(hours=6))
        """
        await self._wait(wait_flows.sleep(self._run, name, duration))

    @tasks.noticed
    async def wait_event(
        self,
        name: str,
        timeout: Duration | None = None,  # noqa: ASYNC109
    ) -> Event | None:
        """The oldest event of this name not yet heard, or None after `timeout` seconds.

        Events sent with `tide.send_event` under one name form a mailbox: each is heard once, in
        the order of sending, also what was sent before the run waited. In a worker the run is
        parked meanwhile.

        >>> paid = await run.wait_event("paid", timeout=3600)
        >>> if paid is not None: note(paid.payload)
        """
        return await self._wait(wait_flows.wait_event(self._run, name, timeout))

    def transaction(self, name: str, *, input: Any = None) -> AsyncTransaction:
        """A step whose writes to this database and whose checkpoint commit together: exactly once.

        Every call of the run inside the block takes part. An error rolls back both. With a pool,
        it takes one connection more.

        >>> async with run.transaction("charge") as tx:
        ...     if not tx.done:
        ...         await tx.connection.execute("update accounts set balance = balance - 7")
        ...         await tx.complete({"charged": 7})
        """
        self._refuse_in_transaction()
        return AsyncTransaction(self._driver, self._plan(name, input=input))

    async def _wait(self, flow: Flow[T]) -> T:
        self._refuse_in_transaction()
        return await self._driver.drive(flow)

    def _refuse_in_transaction(self) -> None:
        if self._driver.transaction() is not None:
            raise RuntimeError(
                f"run {self._run.run_id} is inside run.transaction: a wait or another "
                "transaction would be rolled back with it; do it before or after"
            )


class AsyncBegunStep:
    """A step in the hands of the workflow; `done` means an earlier attempt completed it."""

    def __init__(self, driver: AsyncDriver, plan: StepPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._use: Use | None = None
        self.name = plan.name
        self.done = False
        self.output: Any = None

    async def begun(self) -> Self:
        """Itself, begun."""
        self._use, self._plan, self.done, output = await self._driver.drive(
            flows.open_step(self._driver.run, self._plan)
        )
        self.name = self._plan.name
        if self.done:
            self._close(done=True)
            codec = self._driver.registry.codec
            self.output = codec.load(output, self._plan.returns, f"the output of {self.name!r}")
        return self

    if ASYNC:

        def __await__(self) -> Generator[Any, None, Self]:
            return self.begun().__await__()

    async def complete(self, output: Any = None) -> None:
        """Keep the output; `output` is what is kept. Raises BadPayload, or Stop when the run is
        lost."""
        use = self._close()
        driver = self._driver
        kept = await driver.drive(
            flows.complete(driver.run, self._plan, output, driver.registry.codec)
        )
        use.done = self.done = True
        self.output = driver.registry.codec.load(
            kept, self._plan.returns, f"the output of {self.name!r}"
        )

    async def fail(self, error: Exception) -> None:
        """Report the failure, then raise it, or the Stop the contract of the step demands."""
        self._close()
        await self._driver.drive(flows.fail(self._driver.run, self._plan, error, 0))

    def _close(self, *, done: bool = False) -> Use:
        use = self._use
        if use is None or not use.open:
            raise RuntimeError(f"step {self.name!r} is not open: begin it, and end it once")
        use.open, use.done = False, done
        self._driver.run.under_way.discard(use)
        return use

    async def __aenter__(self) -> Self:
        if ASYNC:
            return await self.begun()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        use = self._use
        if use is None or not use.open:
            return
        if error is None:
            await self.fail(RuntimeError(f"step {self.name!r} was left without complete(output)"))
        elif isinstance(error, Exception) and self._driver.run.stop is None:
            await self.fail(error)
        else:
            self._close()  # given up: this attempt may begin it again


class AsyncTransaction:
    """A step in one transaction with the application's own writes; see `run.transaction`."""

    connection: AsyncConnection
    """Write here; what is written commits with the step."""

    def __init__(self, driver: AsyncDriver, plan: StepPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._stack = AsyncExitStack()
        self._use: Use | None = None
        self.name = plan.name
        self.done = False
        """Whether the step is complete: by an earlier attempt, or by `complete`."""
        self.output: Any = None

    async def __aenter__(self) -> Self:
        driver, run = self._driver, self._driver.run
        await driver.settle()
        use = await driver.drive(flows.claimed(run, "step", self.name, input=self._plan.input))
        self._use = use
        self._plan = replace(self._plan, name=use.assigned)
        async with AsyncExitStack() as stack:
            stack.callback(setattr, use, "open", False)
            self.connection = await stack.enter_async_context(driver.client.connection())
            if driver.client.bound is None:
                stack.enter_context(limited_by_lease(self.connection, run.unrenewed))
                await self.connection.set_isolation_level(READ_COMMITTED)
            await stack.enter_async_context(self.connection.transaction())
            opened = AsyncOpenTransaction(run, AsyncClient(self.connection))
            run.in_transaction = True
            transaction.set(opened)
            stack.callback(self._leave, opened)
            try:
                self.done, self.output = await driver.drive(flows.begin(run, self._plan))
            except (RunParked, StepFailedHard):
                await stack.aclose()  # what the database decided about the run stays
                raise
            self._stack = stack.pop_all()
        return self

    def _leave(self, opened: AsyncOpenTransaction) -> None:
        opened.open = self._driver.run.in_transaction = False
        transaction.set(None)

    async def complete(self, output: Any = None) -> None:
        """Keep the output when the block commits. Raises BadPayload when it is no JSON."""
        if self.done:
            raise RuntimeError(f"step {self.name!r} is complete already")
        run, codec = self._driver.run, self._driver.registry.codec
        what = f"the output of step {self.name!r}"
        report = calls.complete_step(
            run.run_id,
            run.lease_id,
            self._plan.name,
            output=codec.dump(output, what),
            used=run.used.get(self._plan.name),
        )
        await self._driver.perform(report.unread())
        run.used.pop(self._plan.name, None)
        self.done = True
        self.output = flows.kept(report, what)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        problem: Exception | None = None
        if error is None and not self.done:
            problem = RuntimeError(f"transaction {self.name!r} was left without complete(output)")
        elif error is None:
            problem = passed_over(self.connection, self.name)
        if problem is not None:
            await self._stack.__aexit__(type(problem), problem, None)
            raise problem
        try:
            await self._stack.__aexit__(kind, error, place)
        except psycopg.Error as lost:
            if error is not None or not is_passing(lost):
                raise
            # Whether the commit arrived is not known: the step itself says so.
            committed, _ = await self._driver.drive(flows.begin(self._driver.run, self._plan))
            if not committed:
                raise
        if self._use is not None and error is None:
            self._use.done = True
