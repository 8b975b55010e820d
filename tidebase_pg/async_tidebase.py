"""`Tidebase` for asyncio: the same names, awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from tidebase_pg import calls, flows, registry, tasks
from tidebase_pg.async_driver import drive
from tidebase_pg.async_run import AsyncRun
from tidebase_pg.async_session import AsyncSession, attempt
from tidebase_pg.async_streams import follow_stream
from tidebase_pg.async_subscriptions import AsyncFollowing, subscribe
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.async_connections import AsyncSource, new_source
from tidebase_pg.client.async_foreign import connection_of
from tidebase_pg.client.connections import FromDsn
from tidebase_pg.client.failures import PATIENCE
from tidebase_pg.client.limits import CALL_LIMIT
from tidebase_pg.client.settings import MAX_CONNECTIONS, AsyncConnection, AsyncPool, environment
from tidebase_pg.codecs import Codec
from tidebase_pg.errors import NotFound, RunFinished, Stop
from tidebase_pg.options import CreateOptions, WorkOptions
from tidebase_pg.registry import EnqueueOptions, NewRun, Registry, ScheduleOptions
from tidebase_pg.tasks import ASYNC
from tidebase_pg.types import (
    Enqueued,
    EnqueuedMany,
    EventRow,
    Health,
    QueueStats,
    RunRow,
    Schedule,
    SettingChange,
    SettingKind,
    StreamItem,
)
from tidebase_pg.values import Duration, RunId, check_kind, seconds
from tidebase_pg.webhooks import signing as webhooks
from tidebase_pg.webhooks.dispatcher import Dispatcher, DispatchOptions
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.async_loop import AsyncWorker
from tidebase_pg.worker.renewal import LeaseRenewer
from tidebase_pg.worker.state import WorkReport, worker_options

T = TypeVar("T")
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[[AsyncRun, Any], Any])
G = TypeVar("G", bound=Callable[..., Any])

if ASYNC:
    ASYNCHRONOUS = True
    WORKER_CONNECTIONS = 2
else:
    ASYNCHRONOUS = False
    WORKER_CONNECTIONS = 3


class AsyncNamespace:
    """A group of methods of `AsyncTidebase`."""

    def __init__(self, tide: AsyncTidebase) -> None:
        self._tide = tide

    @staticmethod
    def method(
        build: Callable[P, Call[T]],
    ) -> Callable[Concatenate[AsyncNamespace, P], Coroutine[Any, Any, T]]:
        """A method that executes the call `build` makes."""

        @wraps(build)
        async def method(self: AsyncNamespace, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return await self._tide.execute(build(*args, **kwargs))

        return method


class AsyncRuns(AsyncNamespace):
    """Runs of any queue, and plain runs begun by their id."""

    create = AsyncNamespace.method(calls.create_run)
    get = AsyncNamespace.method(calls.get_run)
    list = AsyncNamespace.method(calls.list_runs)
    describe = AsyncNamespace.method(calls.describe_run)
    cancel_many = AsyncNamespace.method(calls.cancel_many)
    retry = AsyncNamespace.method(calls.retry)
    redrive = AsyncNamespace.method(calls.redrive)
    recover = AsyncNamespace.method(calls.recover)
    reschedule = AsyncNamespace.method(calls.reschedule)
    revoke_lease = AsyncNamespace.method(calls.revoke_lease)
    explain_wait = AsyncNamespace.method(calls.explain_wait)
    find = AsyncNamespace.method(calls.find_runs)
    search = AsyncNamespace.method(calls.search_runs)
    count = AsyncNamespace.method(calls.count_runs)
    error_groups = AsyncNamespace.method(calls.error_groups)
    outline = AsyncNamespace.method(calls.outline_run)
    step = AsyncNamespace.method(calls.get_step)
    events = AsyncNamespace.method(calls.list_events)
    resolve_step = AsyncNamespace.method(calls.resolve_step)
    fork = AsyncNamespace.method(calls.fork_run)
    children = AsyncNamespace.method(calls.list_children)
    child_runs = AsyncNamespace.method(calls.list_child_runs)
    set_budget = AsyncNamespace.method(calls.set_budget)
    usage = AsyncNamespace.method(calls.list_usage)
    streams = AsyncNamespace.method(calls.list_streams)
    state = AsyncNamespace.method(calls.get_state)
    state_versions = AsyncNamespace.method(calls.state_versions)
    snapshots = AsyncNamespace.method(calls.list_snapshots)

    async def cancel(
        self,
        run_id: RunId,
        *,
        reason: str | None = None,
        actor: str | None = None,
        cascade: bool = True,
    ) -> RunRow:
        """Cancel an active run at once and for good, and unless `cascade` is false let its children
        follow. Again: the same run, first reason kept. Raises RunFinished when it has completed or
        failed.

        >>> await tide.runs.cancel(run_id, reason="customer asked", actor="support")
        """
        cancelled = flows.cancel(
            run_id, reason, actor, cascade=cascade, at_once=not self._tide.bound
        )
        return await drive(cancelled, self._tide.perform)

    async def subscribe(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[EventRow]:
        """The events of a run with seq greater than `after`, as they come, without a gap; ends
        with the event that ended the run. Raises NotFound for an unknown run.

        Listens on a connection of its own, or polls where that is not possible.

        >>> async for event in tide.runs.subscribe(run_id):
        ...     show(event.type, event.payload)
        """
        async with aclosing(self._tide.follow(run_id, after)) as events:
            async for event in events:
                yield event

    async def stream(
        self, run_id: RunId, stream: str, *, after: int = 0
    ) -> AsyncGenerator[StreamItem]:
        """What a run wrote to one of its streams beyond position `after`, as it comes; ends with
        the item "end" when the run has ended. After an item "restart" what its step wrote before
        is void. Raises NotFound for an unknown run, and for one that ended without this stream.

        >>> async for item in tide.runs.stream(run_id, "out"):
        ...     if item.kind == "chunk": show(item.chunk)
        """
        async with aclosing(self._tide.follow_stream(run_id, stream, after)) as items:
            async for item in items:
                yield item

    async def wait(self, run_id: RunId, *, timeout: Duration | None = None) -> RunRow:  # noqa: ASYNC109
        """The run once it has completed, failed or been cancelled.

        Raises TimeoutError after `timeout` seconds, NotFound for an unknown run.

        >>> (await tide.runs.wait(run_id, timeout=60)).result
        """
        waited = flows.wait(run_id, None if timeout is None else seconds("timeout", timeout))
        return await drive(waited, self._tide.perform)

    async def attach(
        self,
        workflow: str | Callable[..., Any],
        run_id: RunId | None = None,
        *,
        lease: Duration = 60.0,
        on_lease_lost: Callable[[Stop], None] | None = None,
        **options: Unpack[CreateOptions],
    ) -> AsyncSession:
        """Create a run, or take up the one with this id, to work on it outside a worker.

        Raises ValueError when the id is of another workflow, RunFinished when it has completed,
        RunLeased when another worker holds it.
        """
        return await self._tide.attach(workflow, run_id, lease, on_lease_lost, options)


class AsyncGates(AsyncNamespace):
    """Decisions that people make about runs."""

    pending = AsyncNamespace.method(calls.pending_gates)
    get = AsyncNamespace.method(calls.get_gate)
    resolve = AsyncNamespace.method(calls.resolve_gate)
    decide = AsyncNamespace.method(calls.decide_gate)
    tokens = AsyncNamespace.method(calls.gate_tokens)
    describe = AsyncNamespace.method(calls.describe_gate)
    note = AsyncNamespace.method(calls.note_gate)


class AsyncKeys(AsyncNamespace):
    """Keys of the HTTP door, made by whom the database lets."""

    create = AsyncNamespace.method(calls.create_key)
    list = AsyncNamespace.method(calls.list_keys)
    revoke = AsyncNamespace.method(calls.revoke_key)
    authenticate = AsyncNamespace.method(calls.authenticate_key)


class AsyncPrices(AsyncNamespace):
    """What models cost, for usage that is recorded without a cost."""

    set = AsyncNamespace.method(calls.set_price)
    list = AsyncNamespace.method(calls.list_prices)


class AsyncAllowances(AsyncNamespace):
    """What the runs of a scope, such as a tenant or a team, may spend together."""

    set = AsyncNamespace.method(calls.set_allowance)
    drop = AsyncNamespace.method(calls.drop_allowance)
    list = AsyncNamespace.method(calls.list_allowances)


class AsyncQueues(AsyncNamespace):
    """Queues; they need no creation, only settings when the defaults do not fit."""

    configure = AsyncNamespace.method(registry.configure)
    pause = AsyncNamespace.method(registry.pause)
    resume = AsyncNamespace.method(registry.resume)
    list = AsyncNamespace.method(calls.queue_stats)
    survey = AsyncNamespace.method(calls.list_queues)
    throughput = AsyncNamespace.method(calls.throughput)
    times = AsyncNamespace.method(calls.run_times)
    time_buckets = AsyncNamespace.method(calls.run_time_buckets)
    workers = AsyncNamespace.method(calls.list_workers)
    grant = AsyncNamespace.method(calls.grant_queue)
    revoke = AsyncNamespace.method(calls.revoke_queue)

    async def stats(self, queue: str) -> QueueStats:
        """What is in one queue and what it did lately. Raises NotFound for an unknown one."""
        for row in await self.list():
            if row.queue == queue:
                return row
        raise NotFound(f"queue {queue!r} is not known: nothing was enqueued or set there")


class AsyncLanes(AsyncNamespace):
    """Limits that runs of any number of queues share, in total and for each key."""

    set = AsyncNamespace.method(registry.set_lane)
    throttle = AsyncNamespace.method(registry.throttle)
    lift = AsyncNamespace.method(registry.lift)
    drop = AsyncNamespace.method(calls.drop_lane)
    list = AsyncNamespace.method(calls.list_lanes)


class AsyncSchedules(AsyncNamespace):
    """What is enqueued when."""

    list = AsyncNamespace.method(calls.list_schedules)
    delete = AsyncNamespace.method(calls.drop_schedule)
    fire = AsyncNamespace.method(calls.fire_schedule)
    pause = AsyncNamespace.method(calls.pause_schedule)
    resume = AsyncNamespace.method(calls.resume_schedule)
    fires = AsyncNamespace.method(calls.list_fires)
    next_fire = AsyncNamespace.method(calls.next_fire)

    async def set(self, name: str, **options: Unpack[ScheduleOptions]) -> Schedule:
        """Declare a schedule, new or changed; what is left out gets its default. The same again,
        as at every start of an application, changes nothing and loses no due fire.

        Raises InvalidArgument naming what is wrong in `cron`, ValueError or TypeError.

        >>> await tide.schedules.set("daily", cron="0 9 * * *", workflow_name="generate-report")
        """
        return await self._tide.set_schedule(name, options)


class AsyncDeliveries(AsyncNamespace):
    """The outbox: webhooks to be sent, sent and given up."""

    list = AsyncNamespace.method(calls.list_deliveries)
    redeliver = AsyncNamespace.method(calls.redeliver)


class AsyncWebhooks(AsyncNamespace):
    """The secrets that sign webhooks."""

    set_secret = AsyncNamespace.method(calls.set_webhook_secret)
    grant_secret = AsyncNamespace.method(calls.grant_secret)


class AsyncTidebase:
    """Durable workflows in the Postgres behind a DSN, a pool or a connection, for asyncio.

    Without any it reads TIDEBASE_DSN, when first used. Over a connection everything takes part in
    that connection's transaction, and `work` is not available. A call that is not answered for
    `call_limit` seconds is cut off; it is sent again, as while the database cannot be reached, for
    `patience` seconds. `codec` says how values become JSON and are restored; by default pydantic
    models, dataclasses and TypedDicts are. Safe to share between threads and event loops.

    >>> tide = AsyncTidebase("postgresql:///app")
    >>> @tide.workflow("report", queue="reports")
    ... async def report(run: AsyncRun, input: dict) -> dict:
    ...     return {"text": await run.step("write", lambda: write(input["topic"]))}
    >>> await tide.enqueue(report, input={"topic": "tides"}, dedupe_key="report:tides")
    >>> await tide.work(concurrency=16)
    """

    def __init__(
        self,
        source: str | AsyncPool | AsyncConnection | None = None,
        *,
        patience: Duration = PATIENCE,
        call_limit: Duration = CALL_LIMIT,
        codec: Codec | None = None,
    ) -> None:
        self._given = check_kind(
            "source", source, str, AsyncConnectionPool, psycopg.AsyncConnection
        )
        self._patience = seconds("patience", patience)
        self._call_limit = seconds("call_limit", call_limit, least=0.1)
        self._lock = threading.Lock()
        self._source: AsyncSource | None = None
        self._client: AsyncClient | None = None
        self._following: tasks.Homes[AsyncFollowing] | None = None
        self._registry = Registry(asynchronous=ASYNCHRONOUS, codec=codec)
        self.runs = AsyncRuns(self)
        self.queues = AsyncQueues(self)
        self.lanes = AsyncLanes(self)
        self.keys = AsyncKeys(self)
        self.prices = AsyncPrices(self)
        self.allowances = AsyncAllowances(self)
        self.gates = AsyncGates(self)
        self.schedules = AsyncSchedules(self)
        self.deliveries = AsyncDeliveries(self)
        self.webhooks = AsyncWebhooks(self)

    def connect(self, dsn: str) -> None:
        """Use another database than was given or is in TIDEBASE_DSN; before anything is done.

        Raises RuntimeError when something was done already.
        """
        if self._client is not None:
            raise RuntimeError("this Tidebase is connected already: call connect before using it")
        self._given = dsn

    def workflow(
        self,
        name: str,
        *,
        queue: str = registry.DEFAULT_QUEUE,
        max_attempts: int | None = None,
        deadline: Duration | None = None,
        budget: Mapping[str, Any] | None = None,
        version: int | None = None,
        lane: str | None = None,
        lane_key: registry.LaneKey | None = None,
        dedupe_for: Duration | None = None,
        batch: int | None = None,
        batch_wait: Duration | None = None,
        lane_cost: registry.LaneCost | None = None,
        also_lanes: registry.OtherLanes | None = None,
    ) -> Callable[[F], F]:
        """Register a function as a workflow; the function stays as it is.

        With AsyncTidebase a function that is not async is called in a thread of its own. The
        annotation of its input may be a pydantic model, a dataclass or a TypedDict. `queue`,
        `max_attempts`, `deadline` (seconds), `budget` and `lane` are the defaults of `enqueue`;
        `lane_key` is a function that says by the input whom a run counts for within this lane,
        `lane_cost` how many of its units a run is expected to use, or a function of the input, and
        `also_lanes` the further lanes of runs of this lane, or a function of the input.
        `dedupe_for` (seconds) is the default of runs that are given a dedupe_key.

        With `batch` the function is handed up to so many runs at once, a list of them and a list of
        their inputs, and returns a list: for each its result or an exception, such as Retry or
        Fail. `batch_wait` (seconds) is how long the first of them waits for more.

        With `version`, a whole number from 1, its runs are of workflow "report@2", and only workers
        with that version take them. New runs by name get the newest version registered here; a
        former one may stay registered beside it until its runs have ended.

        >>> @tide.workflow("report", queue="reports", max_attempts=3)
        ... async def report(run: AsyncRun, input: dict) -> dict: ...
        """

        def register(function: F) -> F:
            self._registry.register(
                name,
                function,
                queue,
                max_attempts,
                deadline,
                budget,
                version,
                lane,
                lane_key,
                dedupe_for,
                batch,
                batch_wait,
                lane_cost,
                also_lanes,
            )
            return function

        return register

    async def enqueue(
        self,
        workflow: str | Callable[..., Any],
        *,
        connection: Any = None,
        **options: Unpack[EnqueueOptions],
    ) -> Enqueued:
        """Enqueue a run of a workflow, given as its function or by name.

        With `connection` it becomes true when that connection's transaction commits, together
        with everything else written there: one of psycopg, a session or connection of SQLAlchemy,
        Django's connection, or one of asyncpg. Raises ValueError or TypeError naming a wrong
        argument, DuplicateRun with on_conflict="raise", PayloadTooLarge.

        >>> (await tide.enqueue("report", input={"topic": "tides"}, delay=60)).run_id
        """
        return await self._on(connection, self._registry.enqueue(workflow, **options))

    async def enqueue_many(
        self,
        runs: Iterable[NewRun],
        *,
        queue: str | None = None,
        key_hash: bytes | None = None,
        connection: Any = None,
    ) -> list[EnqueuedMany]:
        """Enqueue many runs into one queue, all or none: mappings with the options of `enqueue`,
        save `key_hash`, which is that of all of them.

        >>> await tide.enqueue_many([{"workflow": report, "input": {"page": 1}}])
        """
        bound = connection is not None or isinstance(self._given, psycopg.AsyncConnection)
        call = self._registry.enqueue_many(
            runs, queue=queue, repeatable=not bound, key_hash=key_hash
        )
        return await self._on(connection, call)

    async def run(
        self,
        workflow: str | Callable[..., Any],
        *,
        run_id: RunId | None = None,
        lease: Duration = 60.0,
        **options: Unpack[CreateOptions],
    ) -> Any:
        """Run a workflow here and now, and return its result.

        With the id of a run made before it is taken up where it stands, with the input stored
        then; if it has completed the stored result is returned. An error of the workflow is
        recorded and raised. Raises InputMismatch when that run has another input.

        >>> await tide.run(report, input={"topic": "tides"})
        """
        known = self._registry.find(workflow)
        row, holding = await self._open(known.name, run_id, lease, options)
        if holding is None:
            return row.result
        client = self._clients()
        return await attempt(holding, client, known, self._registry, LeaseRenewer.of(client))

    async def work(self, **options: Unpack[WorkOptions]) -> WorkReport:
        """Run what is enqueued until SIGTERM, SIGINT, or what the options say.

        Uses four connections whatever the concurrency, three without `reconcile`; idle, it is
        notified of new runs where the connection allows it, and asks next to nothing. On the
        first signal nothing more is claimed and running runs may end within `grace`; on the
        second, or after it, or when its task is cancelled, they are handed back for another
        worker.

        >>> await tide.work(queues=["reports"], concurrency=16)
        """
        return await self.worker(**options).run()

    def worker(self, **options: Unpack[WorkOptions]) -> AsyncWorker:
        """A worker not yet running: `worker.run()`, and `worker.stop()`, for threads from any."""
        agreed = worker_options(
            self._registry.queues(),
            self._registry.names(),
            batches=self._registry.batches(),
            **options,
        )
        given = self._given
        if isinstance(given, psycopg.AsyncConnection):
            raise ValueError("a worker needs connections of its own: give a DSN or a pool")
        if ASYNC:
            needed = WORKER_CONNECTIONS
        else:
            needed = WORKER_CONNECTIONS + (agreed.reconcile is not None) + agreed.deliver
        if not isinstance(given, str | None) and given.max_size < needed:
            raise ValueError(f"a worker needs {needed} connections, the pool has {given.max_size}")
        deliver = options.get("deliver")
        chosen = deliver if isinstance(deliver, dict) else DispatchOptions()
        dispatcher = self.dispatcher(**chosen) if agreed.deliver else None
        self._registry.park_grace = agreed.park_grace
        places = max(MAX_CONNECTIONS, agreed.concurrency + WORKER_CONNECTIONS)
        return AsyncWorker(new_source(given, places), self._registry, agreed, dispatcher)

    verify_webhook_signature = staticmethod(webhooks.verify_webhook_signature)

    if ASYNC:

        def dispatcher(self, **options: Unpack[DispatchOptions]) -> Dispatcher:
            """A dispatcher not yet running, which sends webhooks with threads of its own:
            `dispatcher.start()` and `dispatcher.stop()`; see `Tidebase.dispatcher`.

            Raises ValueError over a pool or a connection, which belong to the event loop.
            """
            given = self._given
            if not isinstance(given, str | None):
                raise ValueError("a dispatcher needs a connection of its own: give a DSN")
            source = FromDsn(environment() if given is None else given)
            return Dispatcher(source, shared=False, **options)
    else:

        def dispatcher(self, **options: Unpack[DispatchOptions]) -> Dispatcher:
            """A dispatcher not yet running, which sends webhooks: `dispatcher.run()` here, or
            `dispatcher.start()` beside and `dispatcher.stop()`.

            Sends to public addresses over https only, unless the options allow more. Raises
            RuntimeError without the packages of the extra `webhooks`.

            >>> tide.dispatcher(allow=["10.1.0.0/16"], allow_ports=[8443]).run()
            """
            given = self._given
            if isinstance(given, psycopg.Connection):
                raise ValueError("a dispatcher needs a connection of its own: give a DSN or a pool")
            return Dispatcher(new_source(given), shared=False, **options)

    async def webhook(
        self,
        body: webhooks.Body,
        headers: Mapping[Any, Any],
        *,
        wait: bool = True,
        secrets: webhooks.Secrets | None = None,
        insecure: bool = False,
        lease: Duration = 60.0,
    ) -> webhooks.WebhookAnswer:
        """Handle a webhook of this installation: verify it, and run the run of a run.invoke or
        run.resume here. An event of a channel is handed back as `answer.delivery`.

        `secrets` is one or several, default TIDEBASE_WEBHOOK_SECRET; without any, unsigned
        webhooks are accepted only when `insecure`. With `wait` the answer comes when the attempt
        has ended, however it went; without, the run goes on beside and the answer is 202.
        Workflows that run longer than the dispatcher waits, 15 seconds, want `wait=False`.

        401 not signed by us, 400 no webhook of ours, 404 unknown workflow or run, 409 not to be
        run any more, 200 also when the run has ended or is running. Raises ValueError without a
        secret.

        >>> answer = await tide.webhook(body, request.headers)
        >>> return answer.body, answer.status
        """
        received = webhooks.receive(body, headers, secrets, insecure=insecure)
        if isinstance(received, webhooks.WebhookAnswer):
            return received
        length = seconds("lease", lease, least=0.1)
        since = time.monotonic()
        taken = await drive(
            webhooks.take_up(received, length, self._registry.names()), self.perform
        )
        if isinstance(taken, webhooks.WebhookAnswer):
            return taken
        run = ActiveRun(flows.leased(taken), length, since)
        if wait:
            await self._attend(received, run)
            return webhooks.acceptance(received, 200)
        tasks.in_background(lambda: self._attend(received, run), f"run {taken.run_id}")
        return webhooks.acceptance(received, 202)

    async def _attend(self, delivery: webhooks.Delivery, run: ActiveRun) -> None:
        client, workflow = self._clients(), self._registry.of_run(run.leased.workflow)
        try:
            await attempt(run, client, workflow, self._registry, LeaseRenewer.of(client))
        except (Exception, Stop) as error:
            webhooks.attempted(delivery, error)

    async def send_event(
        self,
        run_id: RunId,
        name: str,
        payload: Any = None,
        *,
        connection: Any = None,
    ) -> bool:
        """Send an active run an event, and return whether it was kept. Events under one name form
        a mailbox: each is heard once, in their order, also what comes before the run waits.

        >>> await tide.send_event(run_id, "paid", {"amount": 7})
        """
        return await self._on(connection, calls.send_event(run_id, name, payload=payload))

    async def send_events(
        self, events: Sequence[Mapping[str, Any]], *, connection: Any = None
    ) -> int:
        """Send events to several runs, all or none, and return how many. Each is run_id, name and,
        if it carries anything, payload. In whatever order they are given, this deadlocks with
        nothing.

        >>> await tide.send_events([{"run_id": run_id, "name": "paid"} for run_id in waiting])
        """
        return await self._on(connection, calls.send_events(events))

    def follow(self, run_id: RunId, after: int) -> AsyncGenerator[EventRow]:
        """See `runs.subscribe`."""
        return subscribe(self._followed(), self._clients(), run_id, after)

    def follow_stream(self, run_id: RunId, stream: str, after: int) -> AsyncGenerator[StreamItem]:
        """See `runs.stream`."""
        return follow_stream(self._followed(), self._clients(), run_id, stream, after)

    def _followed(self) -> AsyncFollowing:
        client = self._clients()
        with self._lock:
            if self._following is None:
                self._following = tasks.Homes(lambda: AsyncFollowing(client))
        return self._following.here()

    def run_metadata(self, function: G) -> G:
        """Facts that the metadata of every run gets which is enqueued, spawned, scheduled or begun
        here; what is given with the run wins. The function is called for each run.

        >>> @tide.run_metadata
        ... def release() -> dict:
        ...     return {"release": "2026-11"}
        """
        self._registry.run_metadata.append(function)
        return function

    def on_usage(self, function: G) -> G:
        """Told of all usage that runs record here: the function gets it as a dict, in the step.

        >>> @tide.on_usage
        ... def count(usage: dict) -> None:
        ...     tokens.inc(usage.get("input_tokens") or 0)
        """
        self._registry.on_usage.append(function)
        return function

    def around_run(self, function: G) -> G:
        """Call a function around every run of a workflow: it is handed the run and what proceeds.

        >>> @tide.around_run
        ... async def timed(run, proceed):
        ...     with timer(run.workflow):
        ...         return await proceed()
        """
        self._registry.around_runs.append(function)
        return function

    def around_step(self, function: G) -> G:
        """Call a function around every execution of a step, not around a replay: it is handed the
        run, the name of the step, and what proceeds.

        >>> @tide.around_step
        ... async def traced(run, name, proceed):
        ...     with tracer.start_span(name):
        ...         return await proceed()
        """
        self._registry.around_steps.append(function)
        return function

    async def reconcile(
        self, *, batch: int | None = None, budget: Duration | None = None
    ) -> dict[str, Any]:
        """Do what has become due: expired leases, deadlines, delayed runs. Workers do it too.

        `batch` is rows at a time, `budget` seconds in all; the answer counts what was done.
        """
        return await self.execute(calls.reconcile(batch=batch, budget=budget))

    async def overview(self) -> dict[str, Any]:
        """What a console shows first, by bounded looks: health, running and failed runs by
        workflow, runs that wait for people, budgets about to end, the oldest decisions, workers.

        >>> (await tide.overview())["gates"]["pending"]
        """
        return await self.execute(calls.overview())

    async def health(self) -> Health:
        """Whether upkeep runs, and the age or number of everything that should be young or none.

        >>> (await tide.health()).oldest_ready_run_age
        """
        return await self.execute(calls.health())

    async def pause(self, *, reason: str | None = None, actor: str | None = None) -> None:
        """Pause the whole installation: nothing is claimed, fired or sent until `resume`. What runs
        goes on; new runs may be enqueued.

        >>> await tide.pause(reason="moving house", actor="ops")
        """
        await self.execute(calls.pause(reason=reason, actor=actor))

    async def resume(self, *, actor: str | None = None) -> None:
        """Let a paused installation go on. Raises IllegalTransition in a copy: see `adopt`."""
        await self.execute(calls.resume(actor=actor))

    async def setting_changes(
        self,
        *,
        kind: SettingKind | None = None,
        name: str | None = None,
        before_change: int | None = None,
        max_changes: int | None = None,
    ) -> list[SettingChange]:
        """Who changed what of queues, lanes, schedules, the installation and prices, newest first.

        >>> [change.actor for change in await tide.setting_changes(kind="queue", name="mail")]
        """
        return await self.execute(
            calls.list_setting_changes(
                kind=kind, name=name, before_change=before_change, max_changes=max_changes
            )
        )

    async def adopt(
        self,
        mode: Literal["resume", "skip_missed", "quarantine"] | None = None,
        *,
        actor: str | None = None,
    ) -> dict[str, Any]:
        """Put a restored copy of an installation to work, which is paused until then.

        "resume", the default: it takes the place of the original. "skip_missed": schedules and
        webhooks due by now are passed over. "quarantine": active runs are cancelled as well, as
        for a staging copy. The answer counts what was done.

        >>> await tide.adopt("quarantine", actor="ops")
        """
        return await self.execute(calls.adopt(mode=mode, actor=actor))

    async def prune(
        self,
        *,
        older_than: Duration | None = None,
        max_runs: int | None = None,
        queue: str | None = None,
    ) -> int:
        """Remove at most `max_runs` (1000) finished runs, and return how many went: those that
        ended more than `older_than` seconds ago, else as the retention of their queues says.

        >>> while await tide.prune(older_than=timedelta(days=90)) == 1000: ...
        """
        return await self.execute(
            calls.prune(older_than=older_than, max_runs=max_runs, queue=queue)
        )

    async def set_retention(self, retention: Duration | None, *, actor: str | None = None) -> None:
        """How many seconds finished runs are kept whose queue says nothing; None = for ever."""
        await self.execute(calls.set_retention(retention, actor=actor))

    async def next_wakeup(self, queues: Sequence[str] | None = None) -> timedelta | None:
        """How long nothing becomes due in these queues by itself; None = never, 0 = now.

        What is enqueued meanwhile is not foreseen. Default: queue "default".
        """
        return await self.execute(calls.next_wakeup(queues=queues))

    async def execute(self, call: Call[T]) -> T:
        """The answer to any call of `tidebase_pg.calls`."""
        return await self._clients().execute(call)

    def client(self) -> AsyncClient:
        """What executes the calls."""
        return self._clients()

    @property
    def bound(self) -> bool:
        """Whether everything takes part in a transaction of the caller."""
        return isinstance(self._given, psycopg.AsyncConnection)

    async def perform(self, effect: flows.Effect) -> Any:
        """Carry out one effect of a flow that holds no run."""
        if isinstance(effect, flows.Pause):
            return await tasks.sleep(effect.seconds)
        assert isinstance(effect, Call)
        return await self.execute(effect)

    async def attach(
        self,
        workflow: str | Callable[..., Any],
        run_id: RunId | None,
        lease: Duration,
        on_lease_lost: Callable[[Stop], None] | None,
        options: CreateOptions,
    ) -> AsyncSession:
        """See `runs.attach`."""
        name = workflow if isinstance(workflow, str) else self._registry.find(workflow).name
        row, holding = await self._open(name, run_id, lease, options)
        if holding is None:
            raise RunFinished(f"run {row.run_id} has completed; there is nothing to attach to")
        client = self._clients()
        renewer = LeaseRenewer.of(client)
        return AsyncSession(holding, client, self._registry, renewer, on_lease_lost)

    async def set_schedule(self, name: str, options: ScheduleOptions) -> Schedule:
        """See `schedules.set`."""
        return await self.execute(self._registry.set_schedule(name, **options))

    async def close(self) -> None:
        """Close the connections opened here; a pool or connection given stays open."""
        if self._source is not None:
            await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        await self.close()

    async def _open(
        self, workflow: str, run_id: RunId | None, lease: Duration, options: CreateOptions
    ) -> tuple[RunRow, ActiveRun | None]:
        length = seconds("lease", lease, least=0.1)
        since = time.monotonic()
        if (handed := options.get("input")) is not None:
            options["input"] = self._registry.codec.dump(handed, "input")
        self._registry.add_metadata(cast("dict[str, Any]", options))
        create = calls.create_run(workflow, run_id=run_id, **options)
        row = await drive(flows.open_run(workflow, run_id, create, length), self.perform)
        if row.lease_id is None:
            return row, None
        return row, ActiveRun(flows.leased(row), length, since, inline=True)

    async def _on(self, connection: Any, call: Call[T]) -> T:
        if connection is None:
            return await self.execute(call)
        return cast(T, await (await connection_of(connection)).execute(call))

    def _clients(self) -> AsyncClient:
        with self._lock:
            if self._client is None:
                given = self._given
                if isinstance(given, psycopg.AsyncConnection):
                    self._client = AsyncClient(given)
                else:
                    self._source = new_source(given)
                    self._client = AsyncClient(
                        self._source, patience=self._patience, limit=self._call_limit
                    )
            return self._client
