"""Workers: what they claim, how runs end, and what a worker survives."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from tests.driver.conftest import Background
from tests.support import Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    Fail,
    LeaseLost,
    Retry,
    Run,
    RunCancelled,
    RunFinished,
    Stop,
    Tidebase,
    calls,
)

PATIENCE = 60


def test_a_result_is_kept_and_every_run_is_run_once(tide: Tidebase) -> None:
    seen: list[int] = []

    @tide.workflow("double", queue="q")
    def double(run: Run, input: Any) -> Any:
        seen.append(input["n"])
        return input["n"] * 2

    made = tide.enqueue_many([{"workflow": double, "input": {"n": n}} for n in range(50)])
    report = tide.work(concurrency=8, drain=True)
    assert (report.claimed, report.completed) == (50, 50)
    assert sorted(seen) == list(range(50))
    assert [tide.runs.get(one.run_id).result for one in made] == [n * 2 for n in range(50)]


def test_an_unknown_workflow_is_left_alone_at_no_cost(tide: Tidebase) -> None:
    @tide.workflow("known")
    def known(run: Run, input: Any) -> Any:
        return None

    run_id = tide.enqueue("unknown").run_id
    assert tide.work(drain=True).claimed == 0
    assert (tide.runs.get(run_id).status, tide.runs.get(run_id).attempt) == ("queued", 0)


def test_an_error_is_recorded_and_tried_again_until_the_attempts_are_spent(
    tide: Tidebase,
) -> None:
    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        raise LookupError("no \0 such \ud800 thing")

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    tide.work(drain=True)
    run = tide.runs.get(run_id)
    assert (run.status, run.attempt, run.failure_class) == ("failed", 2, "max_retries")
    assert run.error["type"] == "LookupError"
    assert "such" in run.error["message"]
    assert "raise LookupError" in run.error["traceback"]


def test_fail_ends_a_run_whatever_attempts_are_left(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=5)
    def w(run: Run, input: Any) -> Any:
        raise Fail("no such customer", failure_class="unknown_customer")

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    run = tide.runs.get(run_id)
    assert (run.status, run.attempt, run.failure_class) == ("failed", 1, "unknown_customer")


def test_retry_puts_the_run_off_as_long_as_it_says(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        raise Retry("busy", after=3600)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    run = tide.runs.get(run_id)
    assert run.status == "queued"
    assert run.run_at is not None
    assert run.started_at is not None
    assert 3500 < (run.run_at - run.started_at).total_seconds() < 3600 * 1.1 + 100


def test_a_poison_input_fails_its_run_and_no_other(tide: Tidebase, connection: Connection) -> None:
    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        return input

    runs = [tide.enqueue(w, input={"n": n}).run_id for n in range(3)]
    connection.execute(
        "update tide.runs_active set input = '[1e100000]' where run_id = %s", (runs[1],)
    )
    report = tide.work(concurrency=3, drain=True)
    assert (report.completed, report.failed) == (2, 1)
    poisoned = tide.runs.get(runs[1])
    assert (poisoned.status, poisoned.failure_class) == ("failed", "bad_input")
    assert str(runs[1]) in poisoned.error["message"]
    assert tide.runs.get(runs[2]).result == {"n": 2}


@pytest.mark.parametrize(
    "result",
    [
        {"when": object()},
        float("inf"),
        "x" * 2_000_000,
        10**1000,
        {"a": "\0"},
        {(1, 2): 3},
    ],
    ids=["object", "infinity", "too large", "too many digits", "nul", "key"],
)
def test_a_result_that_cannot_be_kept_fails_its_run_and_no_other(
    tide: Tidebase, result: Any
) -> None:
    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        return result if input["bad"] else "good"

    runs = [tide.enqueue(w, input={"bad": n == 1}).run_id for n in range(3)]
    report = tide.work(concurrency=3, drain=True)
    assert (report.completed, report.failed) == (2, 1)
    bad = tide.runs.get(runs[1])
    assert (bad.status, bad.failure_class) == ("failed", "bad_output")
    assert str(runs[1]) in bad.error["message"]


def test_a_report_the_database_refuses_spoils_no_other(tide: Tidebase) -> None:
    together = threading.Barrier(3)

    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        together.wait(PATIENCE)
        if input["bad"]:
            retry = Retry("later")
            retry.after = timedelta(days=1000)
            raise retry
        return "good"

    runs = [tide.enqueue(w, input={"bad": n == 1}).run_id for n in range(3)]
    report = tide.work(concurrency=3, drain=True)
    assert (report.completed, report.failed) == (2, 1)
    assert "retry_after that is out of range" in tide.runs.get(runs[1]).error["message"]


def test_a_cancelled_run_learns_of_it_in_the_middle_of_a_step(
    tide: Tidebase, background: Background
) -> None:
    started, stopped = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def long() -> None:
            started.set()
            assert run.cancelled.wait(PATIENCE)

        try:
            run.step("long", long)
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            stopped.set()

    run_id = tide.enqueue(w).run_id
    stop = background.start(tide, lease=3)
    assert started.wait(PATIENCE)
    tide.runs.cancel(run_id, reason="asked to")
    assert stopped.wait(PATIENCE)
    assert stop().dropped == 1
    assert isinstance(raised[0], RunCancelled)
    run = tide.runs.get(run_id)
    assert (run.status, run.cancel_reason) == ("cancelled", "asked to")


def test_heartbeats_keep_a_long_run(tide: Tidebase, background: Background) -> None:
    started, enough = threading.Event(), threading.Event()

    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        started.set()
        assert enough.wait(PATIENCE)
        return run.attempt

    run_id = tide.enqueue(w).run_id
    stop = background.start(tide, lease=3)
    assert started.wait(PATIENCE)
    renewals = {tide.runs.get(run_id).leased_until}
    while len(renewals) < 4:
        renewals.add(tide.runs.get(run_id).leased_until)
    enough.set()
    assert tide.runs.wait(run_id, timeout=PATIENCE).result == 1
    assert stop().completed == 1


def test_a_lost_lease_stops_the_workflow_and_nothing_is_recorded(
    tide: Tidebase, background: Background, connection: Connection
) -> None:
    started = threading.Event()
    reasons: list[Exception] = []

    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        if run.attempt > 1:
            return "second"
        started.set()
        run.cancelled.wait(PATIENCE)
        try:
            run.step("late", lambda: 1)
        except Stop as stop:
            reasons.append(stop)
            raise

    run_id = tide.enqueue(w).run_id
    background.start(tide, lease=3, concurrency=2)
    assert started.wait(PATIENCE)
    # As another worker's claim would: a new lease for a new attempt.
    connection.execute(
        "update tide.runs_active set lease_id = gen_random_uuid(), leased_until = now() "
        "where run_id = %s",
        (run_id,),
    )
    assert tide.runs.wait(run_id, timeout=PATIENCE).result == "second"
    assert isinstance(reasons[0], LeaseLost)


def test_a_stop_of_another_run_is_an_ordinary_error(tide: Tidebase) -> None:
    other = tide.runs.create("other").run_id
    tide.execute(calls.cancel(other))

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("look", lambda: tide.execute(calls.begin_run(other)))

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    run = tide.runs.get(run_id)
    assert (run.status, run.error["type"]) == ("failed", "RunCancelled")


def test_sixteen_slots_use_four_connections(
    tide: Tidebase, background: Background, connection: Connection
) -> None:
    together = threading.Barrier(17)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("s", lambda: 1)
        together.wait(PATIENCE)
        together.wait(PATIENCE)

    # No session of another Tidebase, which may be there for a while yet, is to be counted.
    connection.execute("select tide.enqueue_many('default', %s)", [Jsonb([{"workflow": "w"}] * 16)])
    background.start(tide, concurrency=16, reconcile=0.01)
    together.wait(PATIENCE)
    used = value(
        connection,
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and application_name = 'tidebase-pg'",
    )
    together.wait(PATIENCE)
    assert used <= 4


def test_a_worker_takes_its_connections_from_a_pool_and_gives_them_back(dsn: str) -> None:
    with ConnectionPool(dsn, min_size=0, max_size=4, open=True) as pool:
        tide = Tidebase(pool)

        @tide.workflow("w")
        def w(run: Run, input: Any) -> Any:
            return run.step("s", lambda: 1)

        run_id = tide.enqueue(w).run_id
        tide.work(drain=True)
        assert tide.runs.get(run_id).result == 1
        with pool.connection(timeout=PATIENCE) as one, pool.connection(timeout=PATIENCE) as two:
            assert not one.autocommit
            assert not two.autocommit


def test_too_small_a_pool_is_refused(dsn: str) -> None:
    with ConnectionPool(dsn, min_size=0, max_size=2, open=True) as pool:
        tide = Tidebase(pool)
        tide.workflow("w")(lambda run, given: None)
        with pytest.raises(ValueError, match="needs 4 connections, the pool has 2"):
            tide.worker()


def test_max_runs_ends_the_worker(tide: Tidebase) -> None:
    tide.workflow("w")(lambda run, given: None)
    tide.enqueue_many([{"workflow": "w"} for _ in range(5)])
    assert tide.work(max_runs=3, concurrency=2).completed == 3
    assert len(tide.runs.list(status="queued")) == 2


def test_a_stopped_worker_hands_back_what_does_not_end_in_time(
    tide: Tidebase, background: Background
) -> None:
    started, never = threading.Event(), threading.Event()

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        started.set()
        never.wait(PATIENCE)

    run_id = tide.enqueue(w).run_id
    stop = background.start(tide, grace=0.05)
    assert started.wait(PATIENCE)
    report = stop()
    never.set()
    run = tide.runs.get(run_id)
    assert (report.released, run.status, run.attempt) == (1, "queued", 0)


class Panic(BaseException):
    """As extensions written in Rust raise it."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Panic("index 7")])
def test_what_ends_programs_ends_an_attempt_that_counts_and_no_worker(
    tide: Tidebase, error: BaseException
) -> None:
    @tide.workflow("poison")
    def poison(run: Run, input: Any) -> Any:
        raise error

    @tide.workflow("sound")
    def sound(run: Run, input: Any) -> Any:
        return "done"

    poisoned = tide.enqueue(poison, max_attempts=2, backoff={"base": 0, "max": 0}).run_id
    other = tide.enqueue(sound).run_id
    report = tide.work(drain=True)
    row = tide.runs.get(poisoned)
    assert (report.failed, report.completed) == (2, 1)
    assert (row.status, row.attempt, row.error["type"]) == ("failed", 2, type(error).__name__)
    assert tide.runs.get(other).result == "done"


@pytest.mark.parametrize("error", [SystemExit(3), Panic("index 7")])
async def test_what_ends_programs_ends_no_asyncio_worker(
    atide: AsyncTidebase, error: BaseException
) -> None:
    @atide.workflow("poison")
    async def poison(run: AsyncRun, input: Any) -> Any:
        raise error

    run_id = (await atide.enqueue(poison, max_attempts=1)).run_id
    assert (await atide.work(drain=True)).failed == 1
    assert (await atide.runs.get(run_id)).error["type"] == type(error).__name__


def test_work_goes_on_after_every_connection_was_cut(
    tide: Tidebase, background: Background, connect: Any, direct_dsn: str
) -> None:
    started, go_on = threading.Event(), threading.Event()

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        before = run.step("before", lambda: 1)
        started.set()
        assert go_on.wait(PATIENCE)
        return [before, run.step("after", lambda: 2)]

    run_id = tide.enqueue(w).run_id
    stop = background.start(tide)
    assert started.wait(PATIENCE)
    connect(direct_dsn).execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    go_on.set()
    run = tide.runs.wait(run_id, timeout=PATIENCE)
    assert (run.result, run.attempt) == ([1, 2], 1)
    assert stop().completed == 1


def test_expired_leases_are_taken_over_without_anybody_s_help(
    tide: Tidebase, background: Background
) -> None:
    tide.workflow("w", max_attempts=2)(lambda run, given: run.attempt)
    run_id = tide.enqueue("w", max_attempts=2, backoff={"base": 0, "jitter": 0}).run_id
    (dead,) = tide.execute(calls.claim(lease=0.1))
    assert dead.run_id == run_id
    background.start(tide, reconcile=0.05)
    assert tide.runs.wait(run_id, timeout=PATIENCE).result == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurrency": 0}, "concurrency = 0"),
        ({"concurrency": 10**6}, "concurrency = 1000000"),
        ({"lease": 0}, "lease = 0 s"),
        ({"queues": []}, "queues is empty"),
        ({"queues": "default"}, "queues must be a list"),
        ({"grace": -1}, "grace = -1 s"),
        ({"max_runs": 0}, "max_runs = 0"),
    ],
)
def test_wrong_options_of_a_worker_are_named(tide: Tidebase, options: Any, problem: str) -> None:
    tide.workflow("w")(lambda run, given: None)
    with pytest.raises((ValueError, TypeError), match=problem):
        tide.work(**options)


def test_a_worker_without_workflows_is_refused(tide: Tidebase) -> None:
    with pytest.raises(ValueError, match="no workflow is registered"):
        tide.work()


def test_a_finished_run_cannot_be_finished_again_by_its_late_worker(tide: Tidebase) -> None:
    tide.enqueue("w")
    (run,) = tide.execute(calls.claim())
    assert run.lease_id is not None
    tide.execute(calls.fail(run.run_id, run.lease_id))
    with pytest.raises(RunFinished):
        tide.execute(calls.complete(run.run_id, run.lease_id))
    assert isinstance(run.run_id, UUID)
