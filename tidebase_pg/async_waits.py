"""`waits` for asyncio: the same names, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

import psycopg

from tidebase_pg import calls, flows, wait_flows
from tidebase_pg.call import Call
from tidebase_pg.client.connections import AsyncConnection
from tidebase_pg.client.execute import AsyncClient, is_passing
from tidebase_pg.errors import ChildFailed, RunParked, StepFailedHard
from tidebase_pg.flows import Flow, StepPlan
from tidebase_pg.registry import ChildOptions, NewChild, NewEdge
from tidebase_pg.types import (
    AwaitedChild,
    GateStatus,
    OpenGate,
    Spawned,
    StateRow,
    UsageRow,
    VersionRow,
)
from tidebase_pg.values import Duration, RunId, whole
from tidebase_pg.wait_flows import Event, GateDecision, GateOptions
from tidebase_pg.waits import (
    CONCURRENCY,
    SnapshotOptions,
    UsageOptions,
    VersionOptions,
    WriteOptions,
    plan_fanout,
)
from tidebase_pg.worker.active_run import Holding

if TYPE_CHECKING:
    from tidebase_pg.async_handles import AsyncDriver

T = TypeVar("T")

_transaction: ContextVar[tuple[Holding, AsyncClient] | None] = ContextVar(
    "transaction", default=None
)


def open_transaction(holding: Holding) -> AsyncClient | None:
    """Where calls about the run go inside `run.transaction`."""
    current = _transaction.get()
    return current[1] if current is not None and current[0] is holding else None


class AsyncRunPart:
    """A group of methods of `Run`."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self._holding = driver.holding

    async def _execute(self, call: Call[T]) -> T:
        return await self._driver.drive(flows.ask(call))


class AsyncRunGates(AsyncRunPart):
    """Gates for workflows that do something else meanwhile."""

    async def begin(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> OpenGate:
        """Open a gate and go on. The token that resolves it is in the first answer only, and in
        what is sent to its channels.

        >>> opened = await run.gates.begin("approve", "Send the report?")
        """
        return await self._driver.drive(wait_flows.open_gate(self._holding, name, prompt, options))

    async def get(self, gate_id: RunId) -> GateStatus:
        """A gate as it stands: pending, approved, rejected or canceled."""
        return await self._execute(calls.get_gate(gate_id))


class AsyncRunState(AsyncRunPart):
    """The state of the run, for people and programs that follow it; every write is a version."""

    async def set(self, value: Any, **options: Unpack[WriteOptions]) -> VersionRow:
        """Replace the value of a stream. Raises StateConflict with a wrong expected_version.

        >>> await run.state.set({"status": "writing", "progress": 0.7})
        """
        held = self._holding
        return await self._execute(
            calls.set_state(held.run_id, value, lease_id=held.lease_id, **options)
        )

    async def patch(self, patch: Mapping[str, Any], **options: Unpack[WriteOptions]) -> VersionRow:
        """Merge an object into a stream: recursively, None deletes.

        >>> await run.state.patch({"progress": 0.8, "status": None})
        """
        held = self._holding
        return await self._execute(
            calls.patch_state(held.run_id, patch, lease_id=held.lease_id, **options)
        )

    async def save(self, label: str, **options: Unpack[VersionOptions]) -> VersionRow:
        """Label the current value. Raises NotFound when the stream was never written."""
        held = self._holding
        return await self._execute(
            calls.save_state(held.run_id, label, lease_id=held.lease_id, **options)
        )

    async def get(self, stream: str | None = None) -> StateRow:
        """The current value and version; version 0 = not written yet."""
        return await self._execute(calls.get_state(self._holding.run_id, stream=stream))

    async def versions(
        self, stream: str | None = None, *, labeled: bool | None = None
    ) -> list[VersionRow]:
        """The versions of a stream or of all, oldest first."""
        run_id = self._holding.run_id
        return await self._execute(calls.state_versions(run_id, stream=stream, labeled=labeled))


class AsyncRunSnapshots(AsyncRunPart):
    """Labelled pictures of things, kept beside the state."""

    async def create(
        self, label: str, state: Any, **options: Unpack[SnapshotOptions]
    ) -> VersionRow:
        """Keep a picture of something.

        >>> await run.snapshots.create("draft 1", text, target={"type": "document", "id": "7"})
        """
        held = self._holding
        return await self._execute(
            calls.create_snapshot(held.run_id, label, state, lease_id=held.lease_id, **options)
        )

    async def list(self) -> list[VersionRow]:
        """Labelled versions of all streams, newest first."""
        return await self._execute(calls.list_snapshots(self._holding.run_id))


class AsyncRunUsage(AsyncRunPart):
    """What the run spends."""

    async def record(self, **options: Unpack[UsageOptions]) -> UsageRow:
        """Record what was spent; counted once even when the answer of the database is lost.

        A later attempt that comes by here again records again, unless it is in a step or has a
        `request_key`.

        >>> await run.usage.record(kind="llm", input_tokens=812, output_tokens=95, cost_usd=0.0031)
        """
        return await self._execute(calls.record_usage(self._holding.run_id, **options))

    async def list(self) -> list[UsageRow]:
        """What was spent, oldest first."""
        return await self._execute(calls.list_usage(self._holding.run_id))


class AsyncWaits:
    """The part of `Run` that waits, spawns and writes."""

    _driver: AsyncDriver
    _holding: Holding

    def _equip(self, driver: AsyncDriver) -> None:
        self.gates = AsyncRunGates(driver)
        self.state = AsyncRunState(driver)
        self.snapshots = AsyncRunSnapshots(driver)
        self.usage = AsyncRunUsage(driver)

    async def gate(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> GateDecision:
        """Ask people for a decision, and wait for it however long it takes.

        In a worker the run is parked meanwhile, which costs no worker and no attempt: the
        workflow is left by RunParked and called again once there is a decision. Run inline, it
        waits here.

        >>> decision = await run.gate("approve", "Send the report?", timeout=86_400)
        >>> if not decision.approved:
        ...     return {"sent": False}
        """
        return await self._wait(wait_flows.gate(self._holding, name, prompt, options))

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
        that queue runs it, and this run is parked meanwhile. `name` tells children of the same
        workflow apart.

        Raises ChildFailed, InputMismatch when the name was used with another workflow or input.

        >>> summary = await run.child(summarize, input={"page": 7}, name="page 7")
        """
        child = self._driver.registry.child(workflow, name, queue, options)
        if queue is None:
            return await self._wait(wait_flows.inline_child(self._holding, child))
        return await self._wait(wait_flows.queued_child(self._holding, child))

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
        """
        registry = self._driver.registry
        child = registry.child(workflow, name, queue or registry.queue_of(workflow), options)
        return await self._driver.drive(wait_flows.spawn(self._holding, child))

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
        return await self._wait(wait_flows.await_children(self._holding, names, mode))

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

        Without `queue` they run here, `concurrency` at once in tasks; with it workers of that
        queue run them, and this run is parked meanwhile. A failure is raised as ChildFailed as
        soon as it is known, other children that have begun go on; with "collect" all end and it
        stands in the list in place of a result.

        >>> await run.fanout("pages", [{"workflow": read, "input": {"page": n}} for n in range(20)])
        """
        edges = plan_fanout(self._driver, name, children, queue, on_failure)
        fail_fast = on_failure == "fail_fast"
        if queue is not None:
            mode: Literal["all", "fail_fast"] = "fail_fast" if fail_fast else "all"
            ended = await self._wait(wait_flows.queued_children(self._holding, edges, mode))
            return wait_flows.collected(ended, fail_fast=fail_fast)
        places = asyncio.Semaphore(whole("concurrency", concurrency, 1, 1000))
        self._refuse_in_transaction()
        failed: list[ChildFailed] = []

        async def one(child: NewEdge) -> Any:
            async with places:
                if failed and fail_fast:
                    return None
                try:
                    flow = wait_flows.inline_child(self._holding, child)
                    return await self._driver.drive(flow)
                except ChildFailed as failure:
                    failed.append(failure)
                    return failure

        tasks = [asyncio.create_task(one(edge), name=f"tidebase {edge.edge}") for edge in edges]
        try:
            results = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if failed and fail_fast:
            raise failed[0]
        return results

    async def sleep(self, name: str, duration: Duration) -> None:
        """Go on after so many seconds, counted from the first time this sleep is come by.

        In a worker the run is parked meanwhile.

        >>> await run.sleep("cool down", timedelta(hours=6))
        """
        await self._wait(wait_flows.sleep(self._holding, name, duration))

    async def wait_event(self, name: str, timeout: Duration | None = None) -> Event | None:  # noqa: ASYNC109
        """The event of this name sent with `tide.send_event`, or None after `timeout` seconds.

        An event that was sent earlier counts; only the first of a name does. In a worker the run
        is parked meanwhile.

        >>> paid = await run.wait_event("paid", timeout=3600)
        >>> if paid is not None: note(paid.payload)
        """
        return await self._wait(wait_flows.wait_event(self._holding, name, timeout))

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
        return AsyncTransaction(self._driver, flows.plan_step(name, input=input))

    async def _wait(self, flow: Flow[T]) -> T:
        self._refuse_in_transaction()
        return await self._driver.drive(flow)

    def _refuse_in_transaction(self) -> None:
        if open_transaction(self._holding) is not None:
            raise RuntimeError(
                f"run {self._holding.run_id} is inside run.transaction: a wait or another "
                "transaction would be rolled back with it; do it before or after"
            )


class AsyncTransaction:
    """A step in one transaction with the application's own writes; see `run.transaction`."""

    connection: AsyncConnection
    """Write here; what is written commits with the step."""

    def __init__(self, driver: AsyncDriver, plan: StepPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._stack = AsyncExitStack()
        self.name = plan.name
        self.done = False
        """Whether the step is complete: by an earlier attempt, or by `complete`."""
        self.output: Any = None

    async def __aenter__(self) -> Self:
        driver, holding = self._driver, self._driver.holding
        await driver.settle()
        holding.open_step(self.name)
        async with AsyncExitStack() as stack:
            stack.callback(holding.close_step, self.name)
            self.connection = await stack.enter_async_context(driver.client.connection())
            await stack.enter_async_context(self.connection.transaction())
            _transaction.set((holding, AsyncClient(self.connection)))
            stack.callback(_transaction.set, None)
            try:
                self.done, self.output = await driver.drive(flows.begin(holding, self._plan))
            except (RunParked, StepFailedHard):
                await stack.aclose()  # what the database decided about the run stays
                raise
            self._stack = stack.pop_all()
        return self

    async def complete(self, output: Any = None) -> None:
        """Keep the output when the block commits. Raises BadPayload when it is no JSON."""
        if self.done:
            raise RuntimeError(f"step {self.name!r} is complete already")
        held = self._driver.holding
        report = calls.complete_step(held.run_id, held.lease_id, self.name, output=output)
        await self._driver.perform(report.unread())
        self.done, self.output = True, output

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if error is None and not self.done:
            error = RuntimeError(f"transaction {self.name!r} was left without complete(output)")
            await self._stack.__aexit__(type(error), error, None)
            raise error
        try:
            await self._stack.__aexit__(kind, error, place)
        except psycopg.Error as lost:
            if error is not None or not is_passing(lost):
                raise
            # Whether the commit arrived is not known: the step itself says so.
            committed, _ = await self._driver.drive(flows.begin(self._driver.holding, self._plan))
            if not committed:
                raise
