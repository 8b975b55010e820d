"""Idle workers: woken by a notification, deaf to those of others, quiet while nothing is due."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests.support import Connection, value
from tests.webhooks.receivers import Receiver, serve
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, WorkReport, calls
from tidebase_pg.worker import polling

PATIENCE = 60
SOON = 20
"""Seconds within which only a notification brings a run to a worker that looks twice a minute."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker looks once when idle and then waits, for a minute, to be told."""
    monkeypatch.setattr(polling, "SHORTEST_STEP", 60.0)
    monkeypatch.setattr(polling, "LONGEST_STEP", 60.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What workers ask of the database: claim, register."""
    made: list[str] = []

    def counted(name: str, build: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            made.append(name)
            return build(*arguments, **options)

        return call

    monkeypatch.setattr(calls, "settle_and_claim", counted("claim", calls.settle_and_claim))
    monkeypatch.setattr(calls, "await_work", counted("register", calls.await_work))
    return made


class Worker(NamedTuple):
    stop: Callable[[], None]
    join: Callable[[], WorkReport]


Start = Callable[..., Worker]


@pytest.fixture(params=["sync", "async"])
def start(request: pytest.FixtureRequest, direct_dsn: str) -> Iterator[Start]:
    """Starts a worker of either colour that runs the workflow w; over a direct session."""
    with ExitStack() as ending:

        def start(**options: Any) -> Worker:
            started = (sync_worker if request.param == "sync" else async_worker)(
                options.pop("dsn", direct_dsn), ending, {"lease": 300, "grace": 0.01, **options}
            )
            ending.callback(started.stop)
            return started

        yield start


def sync_worker(dsn: str, ending: ExitStack, options: dict[str, Any]) -> Worker:
    tide = ending.enter_context(Tidebase(dsn))

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.attempt

    @tide.workflow("long")
    def long(run: Run, input: Any) -> Any:
        run.cancelled.wait(PATIENCE)

    worker = tide.worker(**options)
    reports: list[WorkReport] = []
    thread = threading.Thread(target=lambda: reports.append(worker.run()), daemon=True)
    thread.start()

    def join() -> WorkReport:
        thread.join(PATIENCE)
        return reports[0]

    def stop() -> None:
        worker.stop()
        thread.join(PATIENCE)

    return Worker(stop, join)


def async_worker(dsn: str, ending: ExitStack, options: dict[str, Any]) -> Worker:
    reports: list[WorkReport] = []
    stops: list[Callable[[], object]] = []
    made = threading.Event()

    async def work() -> None:
        async with AsyncTidebase(dsn) as tide:

            @tide.workflow("w")
            async def w(run: AsyncRun, input: Any) -> Any:
                return run.attempt

            @tide.workflow("long")
            async def long(run: AsyncRun, input: Any) -> Any:
                await run.cancelled.wait()

            worker = tide.worker(**options)
            loop = asyncio.get_running_loop()
            stops.append(lambda: thread.is_alive() and loop.call_soon_threadsafe(worker.stop))
            made.set()
            reports.append(await worker.run())

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    assert made.wait(PATIENCE)

    def join() -> WorkReport:
        thread.join(PATIENCE)
        return reports[0]

    def stop() -> None:
        stops[0]()
        thread.join(PATIENCE)

    return Worker(stop, join)


def waiters(connection: Connection) -> list[str]:
    rows = connection.execute("select w.waiter from tide.waiters as w order by w.waiter")
    return [row[0].partition("/")[0] for row in rows.fetchall()]


def settle_down(connection: Connection, *names: str) -> None:
    """Until exactly these workers are registered and their claims have come back empty."""
    busy = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name = 'tidebase-pg' and pid <> pg_backend_pid() "
        "and (state <> 'idle' or query ilike '%await_work%')"
    )
    while waiters(connection) != sorted(names) or value(connection, busy):
        pass


def registered_at(connection: Connection) -> Any:
    return value(connection, "select max(w.since) from tide.waiters as w")


def notify(connection: Connection, payload: str, channel: str = "tide_work") -> None:
    connection.execute("select pg_notify(%s, %s)", (channel, payload))


def completed(tide: Tidebase, run_id: UUID) -> None:
    assert tide.runs.wait(run_id, timeout=SOON).status == "completed"


def until_running(tide: Tidebase, run_id: UUID) -> None:
    while tide.runs.get(run_id).status != "running":
        pass


def test_an_idle_worker_is_woken_by_the_enqueue(
    tide: Tidebase, connection: Connection, patient: None, start: Start
) -> None:
    start(name="one", poll=60)
    for _ in range(3):
        settle_down(connection, "one")
        completed(tide, tide.enqueue("w").run_id)


def test_idle_workers_share_what_comes(
    tide: Tidebase, connection: Connection, patient: None, start: Start
) -> None:
    start(name="one")
    start(name="two")
    settle_down(connection, "one", "two")
    blocked = tide.enqueue("long").run_id
    until_running(tide, blocked)
    for run_id in [tide.enqueue("w").run_id for _ in range(20)]:
        completed(tide, run_id)


def test_workers_of_the_same_name_wait_side_by_side(
    tide: Tidebase, connection: Connection, patient: None, start: Start
) -> None:
    worker = start(name="same")
    start(name="same")
    settle_down(connection, "same", "same")
    worker.stop()
    assert waiters(connection) == ["same"]
    completed(tide, tide.enqueue("w").run_id)


def test_what_is_enqueued_in_a_transaction_is_told_at_its_commit(
    tide: Tidebase, connection: Connection, connect: Any, patient: None, start: Start
) -> None:
    start(name="one")
    settle_down(connection, "one")
    other = connect(autocommit=False)
    run_id = tide.enqueue("w", connection=other).run_id
    assert waiters(connection) == ["one"]
    other.commit()
    completed(tide, run_id)


def test_a_run_of_a_transaction_that_was_open_before_the_worker_waited_is_found(
    tide: Tidebase, connection: Connection, connect: Any, start: Start
) -> None:
    other = connect(autocommit=False)
    run_id = tide.enqueue("w", connection=other).run_id
    start(name="one")
    settle_down(connection, "one")
    other.commit()
    completed(tide, run_id)


def test_a_notification_of_others_wakes_nobody(
    connection: Connection, connect: Any, direct_dsn: str, patient: None, start: Start,
    asked: list[str],
) -> None:  # fmt: skip
    start(name="one")
    settle_down(connection, "one")
    since = registered_at(connection)
    waiter = value(connection, "select w.waiter from tide.waiters as w")
    asked.clear()
    speaker = connect(direct_dsn)
    for number in range(200):
        notify(speaker, f"one {number}")
        notify(speaker, waiter, "another_channel")
    notify(speaker, "*")
    while registered_at(connection) == since:
        pass
    settle_down(connection, "one")
    assert asked == ["claim", "register", "claim"]


def test_runs_of_other_queues_wake_nobody(
    tide: Tidebase, connection: Connection, patient: None, start: Start, asked: list[str]
) -> None:
    start(name="one", queues=["q"])
    settle_down(connection, "one")
    asked.clear()
    for _ in range(100):
        tide.enqueue("w", queue="another")
    assert asked == []
    completed(tide, tide.enqueue("w", queue="q").run_id)


def test_a_busy_worker_is_not_notified(
    tide: Tidebase, connection: Connection, connect: Any, direct_dsn: str, start: Start
) -> None:
    run_id = tide.enqueue("long").run_id
    start(name="one")
    until_running(tide, run_id)
    listener = connect(direct_dsn)
    listener.execute("listen tide_work")
    for _ in range(200):
        tide.enqueue("w")
    tide.enqueue_many([{"workflow": "w"} for _ in range(800)])
    notify(connection, "the end")
    heard = [note.payload for note in listener.notifies(timeout=PATIENCE, stop_after=1)]
    assert heard == ["the end"]


def test_a_worker_that_became_busy_is_not_told_in_place_of_another(
    tide: Tidebase, connection: Connection, patient: None, start: Start
) -> None:
    start(name="one")
    settle_down(connection, "one")
    connection.execute("update tide.waiters set until = clock_timestamp() - interval '1 hour'")
    tide.enqueue("long")
    assert waiters(connection) == ["one"]  # too old to be told
    notify(connection, "*")
    while waiters(connection):
        pass


def test_a_stopped_worker_is_not_told_in_place_of_another(
    connection: Connection, patient: None, start: Start
) -> None:
    worker = start(name="one")
    settle_down(connection, "one")
    worker.stop()
    worker.join()
    assert waiters(connection) == []


def test_a_dead_worker_is_not_told_in_place_of_another(
    tide: Tidebase, connection: Connection, patient: None, start: Start
) -> None:
    start(name="one")
    settle_down(connection, "one")
    connection.execute(
        "insert into tide.waiters select w.queue, 'dead', w.since - interval '2 h', "
        "w.since - interval '1 h' from tide.waiters as w"
    )
    completed(tide, tide.enqueue("w").run_id)


def test_a_worker_whose_connections_were_cut_listens_again(
    tide: Tidebase, connection: Connection, connect: Any, direct_dsn: str, patient: None,
    start: Start,
) -> None:  # fmt: skip
    start(name="one")
    settle_down(connection, "one")
    since = registered_at(connection)
    connect(direct_dsn).execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and application_name = 'tidebase-pg'"
    )
    while registered_at(connection) == since:
        pass
    settle_down(connection, "one")
    completed(tide, tide.enqueue("w").run_id)


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_a_run_due_shortly_is_started_in_time_by_a_worker_that_waits(
    tide: Tidebase, connection: Connection, patient: None, start: Start, seconds: float
) -> None:
    start(name="one")
    settle_down(connection, "one")
    run_id = tide.enqueue("w", delay=seconds).run_id
    completed(tide, run_id)
    run = tide.runs.get(run_id)
    assert run.started_at is not None and run.run_at is not None
    assert run.started_at >= run.run_at


def test_an_expired_lease_is_taken_over_by_a_worker_that_waits(
    tide: Tidebase, connection: Connection, connect: Any, start: Start
) -> None:
    start(name="one", lease=1, reconcile=False)
    settle_down(connection, "one")
    dead = connect(autocommit=False)
    run_id = tide.enqueue(
        "w", max_attempts=2, backoff={"base": 0, "jitter": 0}, connection=dead
    ).run_id
    dead.execute("select from tide.claim(lease => '1 s', worker => 'dead')")
    dead.commit()
    ends = tide.runs.get(run_id).leased_until
    completed(tide, run_id)
    run = tide.runs.get(run_id)
    assert run.started_at is not None and ends is not None
    assert (run.result, run.started_at >= ends) == (2, True)


def test_a_worker_told_not_to_listen_polls(tide: Tidebase, start: Start, asked: list[str]) -> None:
    start(name="one", listen=False, poll=0.01)
    while len(asked) < 30:
        pass
    completed(tide, tide.enqueue("w").run_id)
    assert set(asked) == {"claim"}


@pytest.mark.skipif("os.environ.get('TIDE_TEST_PGBOUNCER') != '1'")
def test_a_worker_behind_a_pooler_polls(
    tide: Tidebase, connection: Connection, dsn: str, start: Start, asked: list[str]
) -> None:
    start(name="one", poll=0.01, dsn=dsn)
    while len(asked) < 100:
        pass
    completed(tide, tide.enqueue("w").run_id)
    assert asked.count("register") <= 1  # it finds out when it is about to
    assert waiters(connection) == []


def test_a_connection_goes_back_to_its_pool_as_it_was(direct_dsn: str, patient: None) -> None:
    with ConnectionPool(direct_dsn, min_size=0, max_size=4, open=True) as pool:
        tide = Tidebase(pool)
        tide.workflow("w")(lambda run, given: None)
        worker = tide.worker(name="one")
        thread = threading.Thread(target=worker.run)
        thread.start()
        with pool.connection() as one:
            while not one.execute("select from tide.waiters").fetchall():
                one.rollback()
        worker.stop()
        thread.join(PATIENCE)
        with pool.connection() as one, pool.connection() as two, pool.connection() as three:
            for connection in (one, two, three):
                assert connection.execute("select pg_listening_channels()").fetchall() == []


async def test_a_connection_goes_back_to_its_async_pool_as_it_was(
    direct_dsn: str, patient: None
) -> None:
    async with AsyncConnectionPool(direct_dsn, min_size=0, max_size=4, open=False) as pool:
        tide = AsyncTidebase(pool)

        @tide.workflow("w")
        async def w(run: AsyncRun, input: Any) -> Any:
            return None

        worker = tide.worker(name="one")
        working = asyncio.create_task(worker.run())
        async with pool.connection() as one:
            while not await (await one.execute("select from tide.waiters")).fetchall():
                await one.rollback()
        worker.stop()
        await working
        async with pool.connection() as one, pool.connection() as two, pool.connection() as three:
            for connection in (one, two, three):
                rows = await connection.execute("select pg_listening_channels()")
                assert await rows.fetchall() == []


def attempts(tide: Tidebase, run_id: UUID) -> int:
    return sum(delivery.attempts for delivery in tide.deliveries.list(run_id=run_id))


def test_a_worker_may_send_webhooks_too_over_one_more_connection(
    tide: Tidebase, connection: Connection, start: Start
) -> None:
    channel = {"type": "webhook", "url": "https://127.0.0.1/refused", "events": ["run.completed"]}
    worker = start(name="one", concurrency=16, deliver=True)
    run_id = tide.enqueue("w", channels=[channel]).run_id
    while attempts(tide, run_id) == 0:
        pass
    used = value(
        connection,
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and application_name = 'tidebase-pg'",
    )
    assert used <= 4 + 1  # and that of the test
    worker.stop()
    assert worker.join().completed == 1
    assert not [one for one in threading.enumerate() if one.name == "tidebase dispatcher"]


def test_a_worker_sends_webhooks_with_the_options_of_its_dispatcher(
    tide: Tidebase, start: Start
) -> None:
    with serve(Receiver()) as receiver:
        channel = {"type": "webhook", "url": receiver.url, "events": ["run.completed"]}
        worker = start(
            name="one",
            deliver={"allow": ["127.0.0.1/32"], "allow_ports": [receiver.port], "allow_http": True},
        )
        run_id = tide.enqueue("w", channels=[channel]).run_id
        assert str(run_id).encode() in receiver.arrived.get(timeout=30).body
        worker.stop()


def test_a_pool_too_small_for_sending_webhooks_is_refused(dsn: str) -> None:
    with ConnectionPool(dsn, min_size=0, max_size=4, open=True) as pool:
        tide = Tidebase(pool)
        tide.workflow("w")(lambda run, given: None)
        with pytest.raises(ValueError, match="needs 5 connections, the pool has 4"):
            tide.worker(deliver=True)
