"""What a run does besides steps: gates, children, waits, state, usage, transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, TypeVar, Unpack

import psycopg

from tidebase_pg import calls, flows, wait_flows
from tidebase_pg.call import Call
from tidebase_pg.client.connections import Connection
from tidebase_pg.client.execute import Client, is_passing
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
from tidebase_pg.values import Duration, RunId, text, whole
from tidebase_pg.wait_flows import Event, GateDecision, GateOptions
from tidebase_pg.worker.active_run import Holding

if TYPE_CHECKING:
    from decimal import Decimal

    from tidebase_pg.handles import Driver

T = TypeVar("T")

CONCURRENCY: Final = 8
"""Children of a fan-out that run at once in this process, unless told otherwise."""

_transaction: ContextVar[tuple[Holding, Client] | None] = ContextVar("transaction", default=None)


class VersionOptions(TypedDict, total=False):
    """What may be said about a version of the state."""

    stream: str | None
    """Default "run"; streams are independent of each other."""
    reason: str | None
    """For people: why."""
    importance: Literal["transient", "normal", "checkpoint", "milestone"] | None
    """Default "normal", of a save "milestone"."""
    metadata: Mapping[str, Any] | None
    """Free facts about this version."""
    created_by: str | None
    """For people: who or what wrote it."""


class WriteOptions(VersionOptions, total=False):
    """What may be said about a write."""

    label: str | None
    """A labelled version is a snapshot."""
    expected_version: int | None
    """Raises StateConflict at another version; 0 = not written yet."""


class SnapshotOptions(TypedDict, total=False):
    """What may be said about a snapshot."""

    target: Mapping[str, str] | None
    """What it is a picture of, {"type", "id"}; default the run."""
    reason: str | None
    """For people: why."""
    metadata: Mapping[str, Any] | None
    """Free facts about it."""
    created_by: str | None
    """For people: who or what made it."""


class UsageOptions(TypedDict, total=False):
    """What was spent. Amounts are not negative."""

    kind: str
    """Default "custom"; "llm", "tool"…"""
    step: str | None
    """The step it was spent in."""
    provider: str | None
    model: str | None
    label: str | None
    quantity: Decimal | float | None
    """So much of `unit`, for what is not counted in tokens."""
    unit: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    """Default: input and output together."""
    cost_usd: Decimal | float | None
    metadata: Mapping[str, Any] | None
    request_key: str | None
    """The same key counts once per run, whatever attempt records it."""


def open_transaction(holding: Holding) -> Client | None:
    """Where calls about the run go inside `run.transaction`."""
    current = _transaction.get()
    return current[1] if current is not None and current[0] is holding else None


class RunPart:
    """A group of methods of `Run`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._holding = driver.holding

    def _execute(self, call: Call[T]) -> T:
        return self._driver.drive(flows.ask(call))


class RunGates(RunPart):
    """Gates for workflows that do something else meanwhile."""

    def begin(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> OpenGate:
        """Open a gate and go on. The token that resolves it is in the first answer only, and in
        what is sent to its channels.

        >>> opened = run.gates.begin("approve", "Send the report?")
        """
        return self._driver.drive(wait_flows.open_gate(self._holding, name, prompt, options))

    def get(self, gate_id: RunId) -> GateStatus:
        """A gate as it stands: pending, approved, rejected or canceled."""
        return self._execute(calls.get_gate(gate_id))


class RunState(RunPart):
    """The state of the run, for people and programs that follow it; every write is a version."""

    def set(self, value: Any, **options: Unpack[WriteOptions]) -> VersionRow:
        """Replace the value of a stream. Raises StateConflict with a wrong expected_version.

        >>> run.state.set({"status": "writing", "progress": 0.7})
        """
        held = self._holding
        return self._execute(calls.set_state(held.run_id, value, lease_id=held.lease_id, **options))

    def patch(self, patch: Mapping[str, Any], **options: Unpack[WriteOptions]) -> VersionRow:
        """Merge an object into a stream: recursively, None deletes.

        >>> run.state.patch({"progress": 0.8, "status": None})
        """
        held = self._holding
        return self._execute(
            calls.patch_state(held.run_id, patch, lease_id=held.lease_id, **options)
        )

    def save(self, label: str, **options: Unpack[VersionOptions]) -> VersionRow:
        """Label the current value. Raises NotFound when the stream was never written."""
        held = self._holding
        return self._execute(
            calls.save_state(held.run_id, label, lease_id=held.lease_id, **options)
        )

    def get(self, stream: str | None = None) -> StateRow:
        """The current value and version; version 0 = not written yet."""
        return self._execute(calls.get_state(self._holding.run_id, stream=stream))

    def versions(
        self, stream: str | None = None, *, labeled: bool | None = None
    ) -> list[VersionRow]:
        """The versions of a stream or of all, oldest first."""
        run_id = self._holding.run_id
        return self._execute(calls.state_versions(run_id, stream=stream, labeled=labeled))


class RunSnapshots(RunPart):
    """Labelled pictures of things, kept beside the state."""

    def create(self, label: str, state: Any, **options: Unpack[SnapshotOptions]) -> VersionRow:
        """Keep a picture of something.

        >>> run.snapshots.create("draft 1", text, target={"type": "document", "id": "7"})
        """
        held = self._holding
        return self._execute(
            calls.create_snapshot(held.run_id, label, state, lease_id=held.lease_id, **options)
        )

    def list(self) -> list[VersionRow]:
        """Labelled versions of all streams, newest first."""
        return self._execute(calls.list_snapshots(self._holding.run_id))


class RunUsage(RunPart):
    """What the run spends."""

    def record(self, **options: Unpack[UsageOptions]) -> UsageRow:
        """Record what was spent; counted once even when the answer of the database is lost.

        A later attempt that comes by here again records again, unless it is in a step or has a
        `request_key`.

        >>> run.usage.record(kind="llm", input_tokens=812, output_tokens=95, cost_usd=0.0031)
        """
        return self._execute(calls.record_usage(self._holding.run_id, **options))

    def list(self) -> list[UsageRow]:
        """What was spent, oldest first."""
        return self._execute(calls.list_usage(self._holding.run_id))


class Waits:
    """The part of `Run` that waits, spawns and writes."""

    _driver: Driver
    _holding: Holding

    def _equip(self, driver: Driver) -> None:
        self.gates = RunGates(driver)
        self.state = RunState(driver)
        self.snapshots = RunSnapshots(driver)
        self.usage = RunUsage(driver)

    def gate(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> GateDecision:
        """Ask people for a decision, and wait for it however long it takes.

        In a worker the run is parked meanwhile, which costs no worker and no attempt: the
        workflow is left by RunParked and called again once there is a decision. Run inline, it
        waits here.

        >>> if not run.gate("approve", "Send the report?", timeout=86_400).approved:
        ...     return {"sent": False}
        """
        return self._wait(wait_flows.gate(self._holding, name, prompt, options))

    def child(
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

        >>> summary = run.child(summarize, input={"page": 7}, name="page 7")
        """
        child = self._driver.registry.child(workflow, name, queue, options)
        if queue is None:
            return self._wait(wait_flows.inline_child(self._holding, child))
        return self._wait(wait_flows.queued_child(self._holding, child))

    def spawn(
        self,
        workflow: str | Callable[..., Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        **options: Unpack[ChildOptions],
    ) -> Spawned:
        """Enqueue a child and go on; `await_children` waits for it.

        >>> run.spawn("research", input={"topic": "tides"}, name="tides", queue="research")
        """
        registry = self._driver.registry
        child = registry.child(workflow, name, queue or registry.queue_of(workflow), options)
        return self._driver.drive(wait_flows.spawn(self._holding, child))

    def await_children(
        self,
        names: Sequence[str] | None = None,
        *,
        mode: Literal["all", "any", "fail_fast"] = "all",
    ) -> list[AwaitedChild]:
        """Children by name, or all of them, once they have ended, in the order of their making.

        `any` waits for one, `fail_fast` for all unless one fails: then some may still be active.

        >>> [child.result for child in run.await_children(["tides", "moon"])]
        """
        return self._wait(wait_flows.await_children(self._holding, names, mode))

    def fanout(
        self,
        name: str,
        children: Sequence[NewChild],
        *,
        queue: str | None = None,
        concurrency: int = CONCURRENCY,
        on_failure: Literal["fail_fast", "collect"] = "fail_fast",
    ) -> list[Any]:
        """The results of many children, in the order given.

        Without `queue` they run here, `concurrency` at once in threads; with it workers of that
        queue run them, and this run is parked meanwhile. A failure is raised as ChildFailed as
        soon as it is known, other children that have begun go on; with "collect" all end and it
        stands in the list in place of a result.

        >>> run.fanout("pages", [{"workflow": read, "input": {"page": n}} for n in range(20)])
        """
        edges = plan_fanout(self._driver, name, children, queue, on_failure)
        fail_fast = on_failure == "fail_fast"
        if queue is not None:
            mode: Literal["all", "fail_fast"] = "fail_fast" if fail_fast else "all"
            ended = self._wait(wait_flows.queued_children(self._holding, edges, mode))
            return wait_flows.collected(ended, fail_fast=fail_fast)
        threads = whole("concurrency", concurrency, 1, 1000)
        self._refuse_in_transaction()
        failed: list[ChildFailed] = []

        def one(child: NewEdge) -> Any:
            if failed and fail_fast:
                return None
            try:
                return self._driver.drive(wait_flows.inline_child(self._holding, child))
            except ChildFailed as failure:
                failed.append(failure)
                return failure

        with ThreadPoolExecutor(threads, thread_name_prefix="tidebase child") as pool:
            results = list(pool.map(one, edges))
        if failed and fail_fast:
            raise failed[0]
        return results

    def sleep(self, name: str, duration: Duration) -> None:
        """Go on after so many seconds, counted from the first time this sleep is come by.

        In a worker the run is parked meanwhile.

        >>> run.sleep("cool down", timedelta(hours=6))
        """
        self._wait(wait_flows.sleep(self._holding, name, duration))

    def wait_event(self, name: str, timeout: Duration | None = None) -> Event | None:
        """The event of this name sent with `tide.send_event`, or None after `timeout` seconds.

        An event that was sent earlier counts; only the first of a name does. In a worker the run
        is parked meanwhile.

        >>> paid = run.wait_event("paid", timeout=3600)
        >>> if paid is not None: note(paid.payload)
        """
        return self._wait(wait_flows.wait_event(self._holding, name, timeout))

    def transaction(self, name: str, *, input: Any = None) -> Transaction:
        """A step whose writes to this database and whose checkpoint commit together: exactly once.

        Every call of the run inside the block takes part. An error rolls back both. With a pool,
        it takes one connection more.

        >>> with run.transaction("charge") as tx:
        ...     if not tx.done:
        ...         tx.connection.execute("update accounts set balance = balance - 7")
        ...         tx.complete({"charged": 7})
        """
        self._refuse_in_transaction()
        return Transaction(self._driver, flows.plan_step(name, input=input))

    def _wait(self, flow: Flow[T]) -> T:
        self._refuse_in_transaction()
        return self._driver.drive(flow)

    def _refuse_in_transaction(self) -> None:
        if open_transaction(self._holding) is not None:
            raise RuntimeError(
                f"run {self._holding.run_id} is inside run.transaction: a wait or another "
                "transaction would be rolled back with it; do it before or after"
            )


def plan_fanout(
    driver: Any, name: str, children: Sequence[NewChild], queue: str | None, on_failure: str
) -> list[NewEdge]:
    """The edges of a fan-out. Raises ValueError or TypeError naming what is wrong."""
    text("name", name)
    if on_failure not in ("fail_fast", "collect"):
        raise ValueError(f"on_failure = {on_failure!r} is not known: give fail_fast or collect")
    edges: list[NewEdge] = []
    for place, child in enumerate(children):
        options: dict[str, Any] = {"edge_type": "fanout", **child}
        workflow = options.pop("workflow", None)
        options.pop("name", None)
        edge = wait_flows.edge_name(name, child, place)
        edges.append(driver.registry.child(workflow, edge, queue, options))
    if len({edge.edge for edge in edges}) < len(edges):
        raise ValueError(f"two children of fanout {name!r} have the same name")
    return edges


class Transaction:
    """A step in one transaction with the application's own writes; see `run.transaction`."""

    connection: Connection
    """Write here; what is written commits with the step."""

    def __init__(self, driver: Driver, plan: StepPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._stack = ExitStack()
        self.name = plan.name
        self.done = False
        """Whether the step is complete: by an earlier attempt, or by `complete`."""
        self.output: Any = None

    def __enter__(self) -> Self:
        driver, holding = self._driver, self._driver.holding
        driver.settle()
        holding.open_step(self.name)
        with ExitStack() as stack:
            stack.callback(holding.close_step, self.name)
            self.connection = stack.enter_context(driver.client.connection())
            stack.enter_context(self.connection.transaction())
            _transaction.set((holding, Client(self.connection)))
            stack.callback(_transaction.set, None)
            try:
                self.done, self.output = driver.drive(flows.begin(holding, self._plan))
            except (RunParked, StepFailedHard):
                stack.close()  # what the database decided about the run stays
                raise
            self._stack = stack.pop_all()
        return self

    def complete(self, output: Any = None) -> None:
        """Keep the output when the block commits. Raises BadPayload when it is no JSON."""
        if self.done:
            raise RuntimeError(f"step {self.name!r} is complete already")
        held = self._driver.holding
        report = calls.complete_step(held.run_id, held.lease_id, self.name, output=output)
        self._driver.perform(report.unread())
        self.done, self.output = True, output

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if error is None and not self.done:
            error = RuntimeError(f"transaction {self.name!r} was left without complete(output)")
            self._stack.__exit__(type(error), error, None)
            raise error
        try:
            self._stack.__exit__(kind, error, place)
        except psycopg.Error as lost:
            if error is not None or not is_passing(lost):
                raise
            # Whether the commit arrived is not known: the step itself says so.
            committed, _ = self._driver.drive(flows.begin(self._driver.holding, self._plan))
            if not committed:
                raise
