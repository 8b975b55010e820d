"""Callers without a lease: who may act for the holder of a run, and what may slip through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.runs.acts import NOBODY, Tide, refused
from tests.support import Clock, Connection, one, value
from tidebase_pg import calls
from tidebase_pg.call import NO_LEASE, held
from tidebase_pg.client import Client

LogIn = Callable[..., Connection]

MINUTE = timedelta(minutes=1)
ERROR = {"message": "no"}


@pytest.fixture
def sequel(tide: Tide, hour: Clock) -> Any:
    """A run whose first worker hangs, and whose second one has it now: its row."""
    tide.enqueue(workflow="report", max_attempts=5)
    tide.claim(worker="first", lease=MINUTE)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    (run,) = tide.claim(worker="second", lease=MINUTE)
    return run


def lost(tide: Tide, run: Any) -> Any:
    """The row of the lease that was lost."""
    query = "select * from tide.lost_leases where run_id = %s"
    return one(tide.connection, query, run.run_id)


def may(tide: Tide, run: Any, worker: str | None, identity: str, **more: Any) -> str:
    """act, or the SQLSTATE of the refusal."""
    try:
        tide.hold_run(run_id=run.run_id, worker=worker, identity=identity, **more)
    except psycopg.Error as error:
        return error.sqlstate or ""
    return "act"


def complete(tide: Tide, run: Any, worker: str | None = None, identity: str = "address") -> Any:
    """Complete the run without its lease, in one statement."""
    return one(
        tide.connection,
        """
        select r.*
        from tide.hold_run(run_id => %s, worker => %s, identity => %s) as h(permit)
        cross join lateral tide.complete(run_id => %s, lease_id => h.permit) as r
        """,
        run.run_id,
        worker,
        identity,
        run.run_id,
    )


# --- what the answer is good for ------------------------------------------------------------


def test_a_run_is_completed_under_the_lease_it_has_now(tide: Tide) -> None:
    run = tide.started()
    done = complete(tide, run)
    assert (done.status, done.lease_id) == ("completed", None)
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.completed"]


def test_every_report_of_a_worker_takes_it_in_its_transaction(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    run = tide.started(max_attempts=2)
    with connect(autocommit=False) as connection:
        caller = Tide(connection)
        permit = caller.hold_run(run_id=run.run_id)
        stand_in = {"run_id": run.run_id, "lease_id": permit}
        caller.begin_step(**stand_in, name="write")
        caller.complete_step(**stand_in, name="write", output=1)
        assert caller.spawn(**stand_in, edge="part", workflow="part").created
        gate = caller.open_gate(**stand_in, name="ok", prompt="May I?")
        caller.set_state(run_id=run.run_id, value=1, lease_id=permit)
        assert caller.fail(**stand_in).status == "queued"
    assert tide.get_gate(gate_id=gate.gate_id).status == "pending"


def test_what_begins_a_step_by_it_owns_the_step(tide: Tide) -> None:
    run = tide.started()
    with tide.connection.transaction():
        permit = tide.hold_run(run_id=run.run_id)
        tide.begin_step(run_id=run.run_id, lease_id=permit, name="write")
    step = tide.complete_step(run_id=run.run_id, lease_id=run.lease_id, name="write", output=1)
    assert step.status == "completed"


def test_it_is_not_the_lease_and_ends_with_the_transaction(tide: Tide) -> None:
    run = tide.started()
    permit = tide.hold_run(run_id=run.run_id)
    assert permit != run.lease_id
    with refused("TD002"):
        tide.complete(run_id=run.run_id, lease_id=permit)
    assert tide.hold_run(run_id=run.run_id) != permit
    assert tide.get_run(run_id=run.run_id).status == "running"


def test_it_is_good_for_its_own_run_only(tide: Tide, connect: Callable[..., Connection]) -> None:
    run, other = tide.started(), tide.started()
    with connect(autocommit=False) as connection:
        caller = Tide(connection)
        permit = caller.hold_run(run_id=run.run_id)
        with refused("TD002"):
            caller.complete(run_id=other.run_id, lease_id=permit)


def test_the_run_stays_locked_until_the_transaction_ends(
    tide: Tide, connect: Callable[..., Connection], direct_dsn: str
) -> None:
    run = tide.started()
    other = connect(direct_dsn)
    other.execute("set lock_timeout = '3s'")
    with connect(autocommit=False) as connection:
        permit = Tide(connection).hold_run(run_id=run.run_id)
        with refused("55P03"):
            Tide(other).complete(run_id=run.run_id, lease_id=run.lease_id)
        Tide(connection).complete(run_id=run.run_id, lease_id=permit)
    assert tide.get_run(run_id=run.run_id).status == "completed"


def test_the_driver_makes_any_leased_call_so(tide: Tide, dsn: str) -> None:
    run = tide.started()
    hold = calls.hold_run(run.run_id, worker="w", identity="address")
    client = Client(tide.connection)
    opened = client.execute(held(calls.open_gate(run.run_id, NO_LEASE, "ok", "May I?"), hold))
    assert opened.status == "pending"
    row = client.execute(held(calls.complete(run.run_id, NO_LEASE, result=[1]), hold))
    assert (row.status, row.result, row.lease_id) == ("completed", [1], None)


# --- a run that is not running --------------------------------------------------------------


def test_nobody_acts_for_a_run_that_is_not_running(tide: Tide) -> None:
    queued = tide.enqueue(workflow="report")
    pending = tide.create_run(workflow="report")
    parked = tide.started(queue="other")
    gate = tide.open_gate(
        run_id=parked.run_id, lease_id=parked.lease_id, name="ok", prompt="May I?"
    )
    tide.await_gate(run_id=parked.run_id, lease_id=parked.lease_id, gate_id=gate.gate_id)
    for run in (queued, pending, parked):
        assert may(tide, run, None, "address") == "TD002"
    cancelled = tide.enqueue(workflow="report", queue="cancelled")
    tide.cancel(run_id=cancelled.run_id)
    assert may(tide, cancelled, None, "address") == "TD001"
    assert may(tide, tide.finished(queue="finished"), None, "address") == "TD003"
    with refused("TD010"):
        tide.hold_run(run_id=NOBODY)


@pytest.mark.parametrize(
    "wrong",
    [{"identity": "owner"}, {"identity": None}, {"worker": ""}, {"worker": "a\nb"}],
)
def test_bad_arguments_are_refused(tide: Tide, wrong: dict[str, Any]) -> None:
    with refused("22023"):
        tide.hold_run(run_id=tide.started().run_id, **wrong)


# --- a name that is one process's -----------------------------------------------------------


@pytest.mark.parametrize("identity", ["process", "key"])
def test_another_process_or_key_never_acts(tide: Tide, sequel: Any, identity: str) -> None:
    for worker in ("first", "third", None):
        for failing in (False, True):
            assert may(tide, sequel, worker, identity, failing=failing, error=ERROR) == "TD002"


@pytest.mark.parametrize("identity", ["process", "key"])
def test_the_process_or_key_that_holds_it_always_acts(
    tide: Tide, sequel: Any, identity: str
) -> None:
    for failing in (False, True):
        assert may(tide, sequel, "second", identity, failing=failing, error=ERROR) == "act"


def test_a_process_that_lost_a_run_and_has_it_again_acts(tide: Tide, hour: Clock) -> None:
    """What slips through: two threads of one process are one to the rule."""
    run = again(tide, hour)
    assert may(tide, run, "first", "process", failing=True, error=ERROR) == "act"


def test_a_key_that_lost_a_run_and_has_it_again_may_be_another_worker(
    tide: Tide, hour: Clock
) -> None:
    run = again(tide, hour)
    assert may(tide, run, "first", "key") == "act"
    assert may(tide, run, "first", "key", failing=True, error=ERROR) == "TD005"


def again(tide: Tide, clock: Clock) -> Any:
    """A run that its first worker lost and has again."""
    tide.enqueue(workflow="report", max_attempts=5)
    tide.claim(worker="first", lease=MINUTE)
    clock.advance(2 * MINUTE)
    tide.reconcile()
    (run,) = tide.claim(worker="first", lease=MINUTE)
    return run


# --- without a name of one's own ------------------------------------------------------------


def test_without_a_lost_lease_everybody_is_the_holder(tide: Tide) -> None:
    """What slips through: a stranger who never had the run, and may call as a worker."""
    tide.enqueue(workflow="report", max_attempts=3)
    (run,) = tide.claim(worker="first")
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim(worker="second")
    for worker in ("first", "second", "third", None):
        assert may(tide, run, worker, "address", failing=True, error=ERROR) == "act"


@pytest.mark.parametrize("failing", [False, True])
def test_an_address_is_the_holders_or_that_of_a_lost_worker(
    tide: Tide, sequel: Any, failing: bool
) -> None:
    assert may(tide, sequel, "second", "address", failing=failing, error=ERROR) == "act"
    assert may(tide, sequel, "first", "address", failing=failing, error=ERROR) == "TD002"


@pytest.mark.parametrize("worker", [None, "third"])
def test_who_cannot_be_told_apart_may_complete_but_not_fail(
    tide: Tide, sequel: Any, worker: str | None
) -> None:
    """What slips through: a worker that lost the run completes it, from checkpoints alone."""
    assert may(tide, sequel, worker, "address") == "act"
    assert may(tide, sequel, worker, "address", failing=True, error=ERROR) == "TD005"
    assert complete(tide, sequel, worker).status == "completed"


def test_a_refused_failure_changes_nothing(tide: Tide, sequel: Any) -> None:
    before = tide.describe_run(run_id=sequel.run_id)
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "TD005"
    assert tide.describe_run(run_id=sequel.run_id) == before


def test_the_error_of_the_step_that_failed_last_proves_the_holder(
    tide: Tide, sequel: Any, hour: Clock
) -> None:
    held = {"run_id": sequel.run_id, "lease_id": sequel.lease_id}
    for name, error in (("a", {"message": "first"}), ("b", ERROR)):
        tide.begin_step(**held, name=name)
        hour.advance(timedelta(seconds=1))
        tide.fail_step(**held, name=name, error=error, retryable=True)
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "act"
    other = {"message": "first"}
    assert may(tide, sequel, None, "address", failing=True, error=other) == "TD005"


def test_a_step_that_failed_under_a_lost_lease_proves_nothing(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", max_attempts=5)
    (run,) = tide.claim(worker="first", lease=MINUTE)
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="a")
    tide.fail_step(run_id=run.run_id, lease_id=run.lease_id, name="a", error=ERROR, retryable=True)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    (run,) = tide.claim(worker="second", lease=MINUTE)
    assert may(tide, run, None, "address", failing=True, error=ERROR) == "TD005"


def test_two_leases_after_the_loss_a_failure_is_the_holders(
    tide: Tide, sequel: Any, hour: Clock
) -> None:
    """What slips through: a worker that hung for more than three leases burns an attempt."""
    hour.advance(2 * MINUTE - timedelta(seconds=1))
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "TD005"
    hour.advance(timedelta(seconds=1))
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "act"


def test_once_every_lost_worker_was_told_to_stop_a_failure_is_the_holders(
    tide: Tide, sequel: Any
) -> None:
    tide.refuse_report(run_id=sequel.run_id, kind="step", lost_lease_id=lost(tide, sequel).lease_id)
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "act"


def test_an_error_refused_before_is_refused_again_for_minutes(
    tide: Tide, sequel: Any, hour: Clock
) -> None:
    tide.refuse_report(
        run_id=sequel.run_id,
        kind="step",
        lost_lease_id=lost(tide, sequel).lease_id,
        error=ERROR,
    )
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "TD005"
    other = {"message": "other"}
    assert may(tide, sequel, None, "address", failing=True, error=other) == "act"
    hour.advance(timedelta(minutes=5))
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "act"


def test_a_failure_that_was_refused_does_not_speak_against_the_next_one(
    tide: Tide, sequel: Any, hour: Clock
) -> None:
    """It may have been the holder's; a worker that fails in the same way each time is heard."""
    tide.refuse_report(run_id=sequel.run_id, kind="fail", error=ERROR)
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "TD005"
    hour.advance(2 * MINUTE)
    assert may(tide, sequel, None, "address", failing=True, error=ERROR) == "act"


# --- which leases are lost ------------------------------------------------------------------


def losses(tide: Tide) -> int:
    found: int = value(tide.connection, "select count(*) from tide.lost_leases")
    return found


def test_a_worker_that_reports_or_hands_back_loses_nothing(tide: Tide) -> None:
    tide.finished()
    run = tide.started(max_attempts=3)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim()
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    (run,) = tide.claim()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**held, name="ok", prompt="May I?")
    tide.await_gate(**held, gate_id=gate.gate_id)
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    (run,) = tide.claim()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retryable=False)
    tide.retry(run_id=run.run_id)
    assert losses(tide) == 0


def test_a_plain_run_taken_over_is_lost_to_its_worker(tide: Tide, hour: Clock) -> None:
    run_id = tide.create_run(workflow="report", max_attempts=3).run_id
    tide.begin_run(run_id=run_id, worker="first", lease=MINUTE)
    hour.advance(2 * MINUTE)
    run = tide.begin_run(run_id=run_id, worker="second", lease=MINUTE)
    assert (lost(tide, run).worker, lost(tide, run).lost_at) == ("first", hour.now)
    assert may(tide, run, "first", "address") == "TD002"


def test_a_run_that_failed_by_expiry_is_lost_also_when_it_is_retried(
    tide: Tide, hour: Clock
) -> None:
    tide.enqueue(workflow="report")
    tide.claim(worker="first", lease=MINUTE)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    (failed,) = tide.list_runs(status="failed")
    tide.retry(run_id=failed.run_id)
    (run,) = tide.claim(worker="second", lease=MINUTE)
    assert may(tide, run, "first", "address") == "TD002"


def test_a_worker_cancelled_under_way_is_lost_to_the_retry(tide: Tide) -> None:
    tide.enqueue(workflow="report")
    (run,) = tide.claim(worker="first")
    tide.cancel(run_id=run.run_id)
    assert losses(tide) == 0
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim(worker="second")
    assert may(tide, run, "first", "address") == "TD002"


def test_what_is_remembered_goes_with_the_run(tide: Tide, sequel: Any, hour: Clock) -> None:
    tide.complete(run_id=sequel.run_id, lease_id=sequel.lease_id)
    assert losses(tide) == 1
    hour.advance(MINUTE)
    tide.prune(older_than="0")
    assert losses(tide) == 0


# --- refused reports ------------------------------------------------------------------------


def refusals(tide: Tide, run: Any) -> list[Any]:
    events = tide.list_events(run_id=run.run_id)
    return [event.payload for event in events if event.type == "report.refused"]


def test_a_refused_report_is_told_with_its_error(tide: Tide, sequel: Any) -> None:
    tide.refuse_report(run_id=sequel.run_id, kind="fail", worker="first", error=ERROR)
    assert refusals(tide, sequel) == [{"kind": "fail", "worker": "first", "error": ERROR}]
    assert str(lost(tide, sequel).lease_id) not in str(tide.list_events(run_id=sequel.run_id))


def test_a_refused_report_renews_nothing_and_stops_nobody(
    tide: Tide, sequel: Any, hour: Clock
) -> None:
    hour.advance(timedelta(seconds=10))
    tide.refuse_report(run_id=sequel.run_id, kind="fail", worker="first", error=ERROR)
    assert tide.get_run(run_id=sequel.run_id).leased_until == sequel.leased_until
    assert lost(tide, sequel).stopped_at is None


def test_no_more_than_ten_refusals_are_told(tide: Tide, sequel: Any) -> None:
    for _ in range(15):
        tide.refuse_report(run_id=sequel.run_id, kind="complete", worker="first")
    assert len(refusals(tide, sequel)) == 10


def test_without_a_lost_lease_nothing_is_told(tide: Tide, sequel: Any) -> None:
    run = tide.started()
    tide.refuse_report(run_id=run.run_id, kind="fail", error=ERROR)
    tide.refuse_report(run_id=run.run_id, kind="fail", lost_lease_id=run.lease_id)
    tide.refuse_report(run_id=sequel.run_id, kind="fail", lost_lease_id=sequel.lease_id)
    tide.refuse_report(run_id=sequel.run_id, kind="fail", lost_lease_id=uuid4())
    tide.refuse_report(run_id=NOBODY, kind="fail")
    assert refusals(tide, run) == refusals(tide, sequel) == []


def test_a_refused_report_waits_for_nobody(
    tide: Tide, sequel: Any, connect: Callable[..., Connection]
) -> None:
    with connect(autocommit=False) as connection:
        Tide(connection).hold_run(run_id=sequel.run_id, worker="second")
        tide.refuse_report(run_id=sequel.run_id, kind="fail", worker="first")
    assert refusals(tide, sequel) == []


def test_a_report_we_do_not_know_is_refused(tide: Tide, sequel: Any) -> None:
    with refused("22023", "kind"):
        tide.refuse_report(run_id=sequel.run_id, kind="shout")


# --- renewal --------------------------------------------------------------------------------


def test_a_run_and_the_ancestors_that_wait_for_it_are_renewed(tide: Tide, hour: Clock) -> None:
    top = tide.started()
    middle_id = tide.spawn(
        run_id=top.run_id, lease_id=top.lease_id, edge="a", workflow="w"
    ).child_id
    middle = tide.begin_run(run_id=middle_id)
    leaf_id = tide.spawn(
        run_id=middle.run_id, lease_id=middle.lease_id, edge="a", workflow="w"
    ).child_id
    tide.begin_run(run_id=leaf_id)
    hour.advance(timedelta(seconds=50))
    assert tide.renew_run(run_id=leaf_id, lease=2 * MINUTE) == 3
    for run_id in (top.run_id, middle_id, leaf_id):
        assert tide.get_run(run_id=run_id).leased_until == hour.now + 2 * MINUTE


def test_the_parent_of_a_child_in_a_queue_is_not_renewed(tide: Tide, hour: Clock) -> None:
    parent = tide.started(queue="parents")
    tide.spawn(
        run_id=parent.run_id, lease_id=parent.lease_id, edge="a", workflow="w", queue="parts"
    )
    (child,) = tide.claim(queues=["parts"])
    hour.advance(timedelta(seconds=50))
    assert tide.renew_run(run_id=child.run_id) == 1
    assert tide.get_run(run_id=parent.run_id).leased_until == parent.leased_until


def test_a_renewal_never_shortens_a_lease(tide: Tide) -> None:
    run = tide.started(lease="10 minutes")
    assert tide.renew_run(run_id=run.run_id, lease=MINUTE) == 1
    assert tide.get_run(run_id=run.run_id).leased_until == run.leased_until


def test_a_worker_that_lost_the_run_renews_nothing(tide: Tide, sequel: Any, hour: Clock) -> None:
    hour.advance(timedelta(seconds=10))
    assert tide.renew_run(run_id=sequel.run_id, worker="first") == 0
    assert tide.renew_run(run_id=sequel.run_id, worker="first", identity="process") == 0
    assert tide.get_run(run_id=sequel.run_id).leased_until == sequel.leased_until


def test_what_is_not_running_is_not_renewed(tide: Tide) -> None:
    queued = tide.enqueue(workflow="report").run_id
    pending = tide.create_run(workflow="report").run_id
    ended = tide.finished(queue="other").run_id
    for run_id in (queued, pending, ended):
        assert tide.renew_run(run_id=run_id) == 0
    with refused("TD010"):
        tide.renew_run(run_id=NOBODY)


def test_a_renewal_waits_for_nobody(tide: Tide, connect: Callable[..., Connection]) -> None:
    run = tide.started()
    with connect(autocommit=False) as connection:
        Tide(connection).hold_run(run_id=run.run_id)
        assert tide.renew_run(run_id=run.run_id) == 1
