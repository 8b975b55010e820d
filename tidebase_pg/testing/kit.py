"""The kit that one test works with: enqueue, drain, look, decide, crash."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from tidebase_pg import AsyncTidebase, Tidebase, calls
from tidebase_pg.testing.application import (
    Application,
    Call,
    Journal,
    redirected,
    registry_of,
    watched,
)
from tidebase_pg.testing.clock import Clock, length
from tidebase_pg.testing.crashes import (
    KILLED,
    PLACES,
    Crash,
    CrashReport,
    in_child,
    kill_this_process,
)
from tidebase_pg.testing.databases import KitError
from tidebase_pg.testing.everywhere import Everywhere
from tidebase_pg.testing.reports import Report, attempts, key
from tidebase_pg.types import EventRow, RunRow
from tidebase_pg.values import Duration

LEASE: Final = 60.0
ROUNDS: Final = 1000
"""Drains end after so many looks: a run that is ready again for ever is a fault of the test."""


@dataclass(frozen=True)
class TestedStep:
    """One step of a run under test."""

    __test__ = False

    name: str
    executions: int
    """How often its function was called, in all attempts, killed ones included."""
    status: str | None
    """What the database says of it: running, completed, failed_retryable, manual_review, failed."""
    output: Any


class TestRun:
    """A run of a test; what it says is read from the database each time."""

    __test__ = False

    def __init__(self, kit: TideTest, run_id: UUID) -> None:
        self.id = run_id
        self._kit = kit

    @property
    def row(self) -> RunRow:
        """The run as `tide.runs.get` gives it."""
        return self._kit.tide.execute(calls.get_run(self.id))

    @property
    def status(self) -> str:
        """pending, queued, running, completed, failed or cancelled."""
        return self.row.status

    @property
    def result(self) -> Any:
        """What the workflow returned, None before."""
        return self.row.result

    @property
    def error(self) -> Any:
        """How the last attempt failed, None if it did not."""
        return self.row.error

    @property
    def events(self) -> list[EventRow]:
        """The event log, oldest first."""
        found: list[EventRow] = self._kit.tide.execute(calls.list_events(self.id))
        return found

    @property
    def attempts(self) -> list[str]:
        """How each attempt ended, oldest first: completed, failed, retried, lost, parked …"""
        return attempts(self.events)

    @property
    def steps(self) -> Mapping[str, TestedStep]:
        """Its steps by name, executed or recorded."""
        lines = self._kit.journal.read()
        began = [
            line["step"]
            for line in lines
            if line["kind"] == "began" and line["run"] == str(self.id)
        ]
        described: Any = self._kit.tide.execute(calls.describe_run(self.id))
        recorded = {step["name"]: step for step in described["steps"]}
        names = list(dict.fromkeys([*began, *recorded]))
        return {
            name: TestedStep(
                name, began.count(name),
                recorded.get(name, {}).get("status"), recorded.get(name, {}).get("output"),
            )
            for name in names
        }  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TestRun | UUID) and key(other) == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<TestRun {self.id}>"


class TideTest:
    """A database of its own, an application on it, and what a test does with both.

    A context manager; `TestServer.tide_test` and the fixture `tide_test` make one.

    >>> run = tide_test.enqueue(refund, input={"cents": 5})
    >>> tide_test.drain()
    >>> assert run.status == "completed"
    """

    __test__ = False

    def __init__(self, dsn: str, app: Application) -> None:
        self.dsn = dsn
        """The test's database, for a connection of your own."""
        self.app = app
        """The application under test."""
        self._ending = ExitStack()
        self.stubs: dict[str, Any] = {}
        self._crashes: list[Crash] = []
        self._seen: dict[UUID, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as ending:
            folder = ending.enter_context(tempfile.TemporaryDirectory(prefix="tide-test-"))
            self.journal = Journal(Path(folder) / "journal")
            self.sql: psycopg.Connection[Any] = ending.enter_context(
                psycopg.connect(self.dsn, autocommit=True, row_factory=namedtuple_row)
            )
            row = self.sql.execute("select to_regclass('tide_test.clock') is not null").fetchone()
            if row is None or not row[0]:
                raise KitError(
                    "this database was not made by tidebase_pg.testing, so its clock cannot be "
                    "moved: use TestServer.database, or the fixture tide_test"
                )
            self.clock = Clock(self.sql)
            self.tide = ending.enter_context(Tidebase(self.dsn))
            ending.enter_context(redirected(self.app, self.dsn))
            self._ending = ending.pop_all()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, place: Any) -> None:
        lines = self.journal.read()
        self._ending.close()
        unused = sorted(
            self.stubs.keys() - {one["step"] for one in lines if one["kind"] == "stubbed"}
        )
        if error is None and unused:
            raise KitError(
                f"no step of these names was executed: {', '.join(unused)}. Stubs are for steps; "
                "is the name spelled as in the workflow?"
            )

    # Time

    @contextmanager
    def at(self, moment: datetime | str) -> Generator[Clock]:
        """The clock, stopped at a moment; it runs on from where it stands at the end.

        >>> with tide_test.at("2026-01-01T09:00Z") as clock:
        ...     clock.advance("2m")
        """
        self.clock.set(moment)
        try:
            yield self.clock
        finally:
            self.clock.run()

    # Runs

    def enqueue(self, workflow: str | Callable[..., Any], **options: Any) -> TestRun:
        """Enqueue a run as the application would, with its defaults. Raises KitError for a name or
        a function that the application has not registered."""
        self._known(workflow)
        with Tidebase(self.dsn) as tide:
            call = registry_of(self.app).enqueue(workflow, **options)
            return self.run(tide.execute(call).run_id)

    def run(self, run_id: UUID | str) -> TestRun:
        """A run by its id. Raises NotFound for an unknown one."""
        return TestRun(self, self.tide.execute(calls.get_run(run_id)).run_id)

    def _known(self, workflow: str | Callable[..., Any]) -> str:
        """The name of a workflow the application has registered."""
        registry = registry_of(self.app)
        try:
            return registry.find(workflow).name
        except ValueError:
            names = ", ".join(registry.names()) or "none"
            raise KitError(
                f"the application has no workflow {workflow!r}; it has {names}"
            ) from None

    def drain(self, *, delayed: bool = False, concurrency: int = 1) -> Report:
        """Execute everything that is ready, with its children, until nothing is; what each attempt
        came to. With `delayed` the clock moves on to what is due later, until nothing is.

        A run with a planned crash is executed in a forked process, which is killed there; then the
        clock moves past its lease. Raises KitError when a transaction is open in the database,
        whose locks a worker would wait for, or when runs are ready again and again.
        """
        self._refuse_open_transactions()
        for _ in range(ROUNDS):
            self.reconcile()
            if self._work(concurrency) == KILLED:
                self.outlive_lease()
                continue
            if not self._anything_ready():
                wait = self.next_due() if delayed else None
                if wait is None:
                    return self._report()
                self.clock.advance(wait)
        raise KitError(f"something was still ready after {ROUNDS} rounds: a run that never ends?")

    async def adrain(self, *, delayed: bool = False, concurrency: int = 1) -> Report:
        """`drain` for tests that are coroutines; it runs in a thread beside their loop."""
        return await asyncio.to_thread(self.drain, delayed=delayed, concurrency=concurrency)

    def _work(self, concurrency: int) -> int:
        planned = list(self._crashes)

        def watch(call: Call, place: str) -> None:
            for number, crash in enumerate(planned):
                if crash.meets(call, place):
                    self.journal.write("struck", number=number)
                    kill_this_process()

        if not planned:
            with watched(self.journal, self.stubs, lambda call, place: None):
                self.work_once(concurrency)
            return 0

        def child() -> None:
            with watched(self.journal, self.stubs, watch):
                self.work_once(concurrency)

        status = in_child(child)
        if status != KILLED:
            self._crashes = []
            names = ", ".join(f"{crash.place} of step {crash.step!r}" for crash in planned)
            raise KitError(f"no process came to the planned crash: {names}")
        del self._crashes[self.journal.read()[-1]["number"]]
        return status

    def work_once(self, concurrency: int = 1) -> None:
        """A worker of the application on this database, in this thread or in a loop of its own."""
        options: Any = {
            "queues": self._queues(), "concurrency": concurrency, "drain": True, "lease": LEASE,
            "reconcile": False, "listen": False,
        }  # fmt: skip
        with redirected(self.app, self.dsn):
            if isinstance(self.app, AsyncTidebase):
                app = self.app

                async def work() -> None:
                    await app.work(**options)
                    await app.close()

                outside(lambda: asyncio.run(work()))
            else:
                self.app.work(**options)
                self.app.close()

    def _queues(self) -> list[str]:
        rows = self.sql.execute(
            "select distinct r.queue from tide.runs as r "
            "where r.status = 'queued' and r.queue is not null order by 1"
        ).fetchall()
        registered = list(registry_of(self.app).queues())
        return list(dict.fromkeys([*registered, *(row.queue for row in rows)])) or ["default"]

    def _anything_ready(self) -> bool:
        names = list(registry_of(self.app).names())
        row = self.sql.execute(
            "select exists (select from tide.runs as r where r.status = 'queued' and r.ready "
            "and r.workflow = any (%s))",
            [names],
        ).fetchone()
        assert row is not None
        return bool(row[0]) and self._claimable()

    def _claimable(self) -> bool:
        row = self.sql.execute(
            "select not (select bool_and(q.paused) from tide.queues as q) is true"
        ).fetchone()
        return row is not None and bool(row[0])

    def reconcile(self) -> None:
        """Do what is due by time, as workers and `tidebase-pg reconcile` do."""
        self.sql.execute("call tide.reconcile()")

    def outlive_lease(self) -> None:
        """Move the clock past the leases of a process that was killed."""
        self.clock.advance(LEASE + 1)

    def next_due(self) -> timedelta | None:
        """How long nothing becomes ready by itself; None: nothing ever does."""
        row = self.sql.execute("select (tide.next_wakeup(%s)) as wait", [self._queues()]).fetchone()
        assert row is not None
        found: timedelta | None = row.wait
        return found

    def _refuse_open_transactions(self) -> None:
        rows = self.sql.execute(
            """
            select a.pid, left(a.query, 80) as query
            from pg_stat_activity as a
            where a.datname = current_database() and a.state like 'idle in transaction%'
            order by a.pid
            """
        ).fetchall()
        if rows:
            raise KitError(
                "a transaction is open in the test's database: commit or roll it back before "
                f"drain; its last statement: {rows[0].query!r}"
            )

    def _report(self) -> Report:
        ended: dict[UUID, list[str]] = {}
        statuses: dict[UUID, str] = {}
        for row in self.sql.execute(
            "select r.run_id, r.status, r.waiting_on from tide.runs as r order by r.run_id"
        ).fetchall():
            found = TestRun(self, row.run_id).attempts
            fresh = found[self._seen.get(row.run_id, 0) :]
            self._seen[row.run_id] = len(found)
            if fresh:
                ended[row.run_id] = fresh
                statuses[row.run_id] = "parked" if row.waiting_on else row.status
        return Report(ended, statuses)

    # Stubs and crashes

    def stub_step(self, name: str, answer: Any) -> None:
        """Let the step of this name answer so, in every run, instead of calling its function: the
        value, an exception to be raised, or what a function returns.

        A stub whose step is never executed fails the test at its end.
        """
        self.stubs[name] = answer

    def crash(
        self, run: Any, *, step: str, before: str | None = None, after: str | None = None
    ) -> None:
        """Kill the process that executes this run, once, at a step: `before="effect"` of its
        function, `after="effect"` and before its output is kept, or `after="commit"`.

        The next `drain` does it. Raises KitError for another place.
        """
        given = [(word, place) for word, place in (("before", before), ("after", after)) if place]
        if len(given) != 1 or given[0] not in PLACES:
            known = ", ".join(f"{word}={place!r}" for word, place in PLACES)
            raise KitError(f"no such place for a crash: name one of {known}")
        self._crashes.append(Crash(str(key(run)), step, PLACES[given[0]]))

    # People and events

    def approve(self, run: Any, name: str, *, by: str = "tester", payload: Any = None) -> None:
        """Decide the pending gate of this name: approved. Raises KitError when there is none."""
        self._decide(run, name, "approved", by, payload)

    def reject(self, run: Any, name: str, *, by: str = "tester", payload: Any = None) -> None:
        """Decide the pending gate of this name: rejected. Raises KitError when there is none."""
        self._decide(run, name, "rejected", by, payload)

    def _decide(self, run: Any, name: str, decision: str, by: str, payload: Any) -> None:
        pending = self.tide.execute(calls.pending_gates())
        found = [gate for gate in pending if gate.run_id == key(run) and gate.name == name]
        if not found:
            names = sorted({gate.name for gate in pending if gate.run_id == key(run)})
            raise KitError(
                f"the run has no pending gate {name!r}; pending: {', '.join(names) or 'none'}"
            )
        self.tide.gates.decide(
            found[0].gate_id, decision, by, payload={} if payload is None else payload
        )

    def send_event(self, run: Any, name: str, payload: Any = None) -> None:
        """Send a named event to a run."""
        self.tide.send_event(key(run), name, payload)

    # Assertions

    def assert_waits(self, run: Any, *, on: str, name: str | None = None, data: Any = None) -> None:
        """The run is parked: `on` gate, children, timer, event, budget, review. For a gate also its
        name and what it asks about."""
        row = self.tide.execute(calls.get_run(key(run)))
        if row.waiting_on != on:
            raise AssertionError(
                f"the run waits on {row.waiting_on or 'nothing'} and is {row.status}, not on {on}"
            )
        if name is None and data is None:
            return
        if on == "gate":
            gates = [
                gate
                for gate in self.tide.execute(calls.pending_gates())
                if gate.run_id == row.run_id
            ]
            matching = [gate for gate in gates if name in (None, gate.name)]
            if not matching:
                raise AssertionError(
                    f"it waits on the gates {[gate.name for gate in gates]}, not {name!r}"
                )
            if data is not None and data not in [gate.data for gate in matching]:
                raise AssertionError(f"the gate asks about {matching[0].data!r}, not {data!r}")
        elif name is not None and name not in (found := str(row.waiting_for)):
            raise AssertionError(f"it waits for {found}, not {name!r}")

    def assert_enqueued(
        self, workflow: str | Callable[..., Any], *, queue: str | None = None, input: Any = None,
        within: Duration | str | None = None, count: int | None = None,
    ) -> list[TestRun]:  # fmt: skip
        """Runs of the workflow are queued: in that queue, with at least that input, due within that
        time, so many of them. The runs."""
        found = self._enqueued(workflow, queue, input, within)
        if not found or count not in (None, len(found)):
            wanted = "at least one" if count is None else str(count)
            raise AssertionError(
                f"{len(found)} such runs are queued, not {wanted}:\n{self._overview()}"
            )
        return found

    def refute_enqueued(
        self, workflow: str | Callable[..., Any], *, queue: str | None = None, input: Any = None,
        within: Duration | str | None = None,
    ) -> None:  # fmt: skip
        """No run like that is queued; arguments as of `assert_enqueued`."""
        if found := self._enqueued(workflow, queue, input, within):
            raise AssertionError(f"{len(found)} such runs are queued:\n{self._overview()}")

    def _enqueued(
        self, workflow: str | Callable[..., Any], queue: str | None, input: Any,
        within: Duration | str | None,
    ) -> list[TestRun]:  # fmt: skip
        name = self._known(workflow)
        rows = self.sql.execute(
            """
            select r.run_id
            from tide.runs as r
            where r.workflow = %(workflow)s
              and r.status = 'queued'
              and (%(queue)s::text is null or r.queue = %(queue)s)
              and (%(input)s::jsonb is null or (tide.get_run(r.run_id)).input @> %(input)s)
              and (%(within)s::interval is null or r.run_at <= tide._now() + %(within)s)
            order by r.run_id
            """,
            {
                "workflow": name,
                "queue": queue,
                "input": None if input is None else Jsonb(input),
                "within": None if within is None else timedelta(seconds=length(within)),
            },
        ).fetchall()
        return [TestRun(self, row.run_id) for row in rows]

    def _overview(self) -> str:
        rows = self.sql.execute(
            "select r.workflow, r.queue, r.status, (tide.get_run(r.run_id)).input "
            "from tide.runs as r order by r.run_id limit 20"
        ).fetchall()
        return "\n".join(
            f"  {row.workflow} in {row.queue}: {row.status}, {row.input!r}" for row in rows
        )

    def webhooks(self, run: Any = None) -> list[dict[str, Any]]:
        """What a dispatcher would send now, oldest first, perhaps of one run: type, url and body.
        It counts as delivered, so the next call gives what came since."""
        found: list[dict[str, Any]] = []
        while claimed := self.sql.execute(
            "select * from tide.claim_deliveries(max_deliveries => 100)"
        ).fetchall():
            for row in claimed:
                self.sql.execute(
                    "select tide.finish_delivery(%s, %s, http_status => 200)",
                    [row.delivery_id, row.lease_id],
                )
                found.append(
                    {"type": row.type, "url": row.url, "run_id": row.run_id, "body": row.body}
                )
        return [one for one in found if run is None or one["run_id"] == key(run)]

    # Crashes everywhere

    def crash_everywhere(
        self, workflow: str | Callable[..., Any], *, input: Any = None, keyed: Sequence[str] = (),
        decide: str = "approved", events: Mapping[str, Any] | None = None, max_points: int = 500,
        **options: Any,
    ) -> CrashReport:  # fmt: skip
        """Execute the workflow again and again, each time killing its process at another point:
        before and after each statement it sends to the database, before and after each effect.

        After each kill another process finishes the run. Its result must be that of an undisturbed
        run, its steps the same in the same order, and no function of a step may be called twice,
        save of the steps in `keyed`, whose other side deduplicates. Gates are decided as `decide`
        says, `events` are sent to each run.

        Raises AssertionError with every finding; KitError for more points than `max_points`.

        >>> tide_test.crash_everywhere(refund, input={"cents": 5}, keyed=["charge"])
        """
        given = {"input": input, "max_attempts": 10, **options}
        search = Everywhere(
            self, workflow, given, frozenset(keyed), decide, events or {}, max_points
        )
        return search.search()


def outside(work: Callable[[], Any]) -> None:
    """Do it in a thread of its own, which has no event loop; its error is raised here."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="tide_test drain")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
