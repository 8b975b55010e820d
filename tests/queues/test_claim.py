"""claim: ready runs, in order, each to one claimer, never waiting."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, at_once, results, value


def ids(runs: list[tuple[UUID, ...]]) -> list[UUID]:
    return [run[0] for run in runs]


def test_claimed_run_is_leased_and_logged(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", input={"n": 1})
    (run,) = tide.claim(lease="90 seconds", worker="w1")
    assert (run.status, run.attempt, run.worker, run.ready) == ("running", 1, "w1", False)
    assert run.leased_until == hour.now + timedelta(seconds=90)
    assert (run.input, run.started_at) == ({"n": 1}, hour.now)
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed"]
    assert tide.last_event(run.run_id).payload == {"attempt": 1, "worker": "w1"}


def test_higher_priority_then_earlier_time_then_id(tide: Tide, hour: Clock) -> None:
    late = tide.enqueue(workflow="report").run_id
    later = tide.enqueue(workflow="report").run_id
    early = tide.enqueue(workflow="report", run_at=hour.now - MINUTE).run_id
    low = tide.enqueue(workflow="report", priority=-32768, run_at=hour.now - 9 * MINUTE).run_id
    high = tide.enqueue(workflow="report", priority=32767).run_id
    assert ids(tide.claim(max_runs=10)) == [high, early, late, later, low]


def test_promoted_run_takes_the_place_of_its_time(tide: Tide, hour: Clock) -> None:
    due = tide.enqueue(workflow="report", delay=MINUTE).run_id
    hour.advance(2 * MINUTE)
    fresh = tide.enqueue(workflow="report").run_id
    assert ids(tide.claim(max_runs=2)) == [due, fresh]


def test_no_more_than_max_runs(tide: Tide) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 5)
    assert [len(tide.claim(max_runs=n)) for n in (2, 2, 2)] == [2, 2, 1]


def test_empty_queue_gives_nothing(tide: Tide) -> None:
    assert tide.claim(queues=["never-heard-of"]) == []


def test_queues_are_served_in_the_order_given(tide: Tide) -> None:
    for queue in ("a", "b", "c"):
        tide.enqueue_many(queue=queue, runs=[{"workflow": "report"}] * 2)
    claimed = tide.claim(queues=["c", "a"], max_runs=3)
    assert [run.queue for run in claimed] == ["c", "c", "a"]
    assert [run.queue for run in tide.claim(queues=["c", "a", "b"], max_runs=9)] == ["a", "b", "b"]


def test_queue_named_twice_gives_each_run_once(tide: Tide) -> None:
    made = [tide.enqueue(workflow="report").run_id for _ in range(2)]
    assert ids(tide.claim(queues=["default", "default"], max_runs=5)) == made


def test_only_workflows_the_worker_knows(tide: Tide) -> None:
    unknown = tide.enqueue(workflow="invoice").run_id
    known = tide.enqueue(workflow="report").run_id
    assert ids(tide.claim(max_runs=9, workflows=["report", "other"])) == [known]
    untouched = tide.get_run(run_id=unknown)
    assert (untouched.status, untouched.attempt) == ("queued", 0)
    assert tide.claim(workflows="{}") == []
    assert ids(tide.claim()) == [unknown]


def test_paused_queue_is_passed_over(tide: Tide) -> None:
    tide.set_queue(queue="a", settings={"paused": True})
    tide.enqueue(workflow="report", queue="a")
    tide.enqueue(workflow="report", queue="b")
    assert [run.queue for run in tide.claim(queues=["a", "b"], max_runs=2)] == ["b"]
    tide.set_queue(queue="a", settings={"paused": False})
    assert len(tide.claim(queues=["a"])) == 1


def test_overdue_runs_are_cancelled_on_the_way(tide: Tide, hour: Clock) -> None:
    overdue = [tide.enqueue(workflow="report", deadline=MINUTE).run_id for _ in range(5)]
    hour.advance(MINUTE)
    live = tide.enqueue(workflow="report").run_id
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    assert ids(tide.claim(max_runs=2)) == [live]
    for run_id in overdue:
        ended = tide.get_run(run_id=run_id)
        assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")
        assert tide.log(run_id) == ["run.enqueued", "run.cancelled"]


def test_overdue_run_takes_no_slot_and_no_permit(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1, "rate_limit": 1})
    tide.enqueue(workflow="report", deadline=MINUTE)
    hour.advance(MINUTE)
    live = tide.enqueue(workflow="report").run_id
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    assert ids(tide.claim()) == [live]


def test_claimers_at_once_get_disjoint_runs(tide: Tide, connect: Callable[..., Connection]) -> None:
    made = {
        row.run_id for row in tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 60)
    }
    claimers = [Tide(connect()) for _ in range(6)]
    taken = results(at_once([lambda c=claimer: ids(c.claim(max_runs=10)) for claimer in claimers]))
    flat = [run_id for runs in taken for run_id in runs]
    while rest := ids(tide.claim(max_runs=60)):
        flat += rest
    assert len(flat) == 60
    assert set(flat) == made


def test_run_locked_by_another_is_passed_over_without_waiting(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    first = tide.enqueue(workflow="report").run_id
    second = tide.enqueue(workflow="report").run_id
    other = Tide(connect(autocommit=False))
    assert ids(other.claim()) == [first]
    assert ids(tide.claim(max_runs=2)) == [second]
    other.connection.rollback()
    assert ids(tide.claim(max_runs=2)) == [first]


def test_queue_being_changed_is_claimed_by_the_settings_before_without_waiting(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 4)
    other = Tide(connect(autocommit=False))
    other.set_queue(queue="default", settings={"concurrency": 1})
    assert len(tide.claim(max_runs=2)) == 2
    other.connection.commit()
    assert tide.claim(max_runs=2) == []


def test_worker_is_remembered_with_what_it_claims(tide: Tide) -> None:
    tide.claim(queues=["a", "b"], worker="w1", workflows=["report"])
    tide.claim(queues=["a"])
    assert tide.connection.execute(
        "select worker, queues, workflows from tide.workers"
    ).fetchall() == [("w1", ["a", "b"], ["report"])]


def test_each_claim_of_a_run_has_another_lease(tide: Tide, hour: Clock) -> None:
    tide.claim(worker="w1")  # the next ones find it known
    for _ in range(2):
        tide.enqueue(workflow="report")
    leases: set[UUID] = set()
    for worker in ("w1", "w1", None, "w2", "w1"):
        claimed = tide.claim(worker=worker, max_runs=2)
        for run in claimed:
            tide.release(run_id=run.run_id, lease_id=run.lease_id)
        leases |= {run.lease_id for run in claimed}
    assert len(leases) == 10


def test_claim_refuses_a_snapshot_that_cannot_see_what_others_commit(tide: Tide) -> None:
    for level in ("repeatable read", "serializable"):
        with refused("25001", "claim", level), tide.connection.transaction():
            tide.connection.execute(f"set transaction isolation level {level}".encode())
            tide.claim()


def test_expired_run_keeps_its_place_in_the_queue(tide: Tide, hour: Clock) -> None:
    first = tide.started(max_attempts=2)
    hour.advance(MINUTE / 2)
    tide.enqueue(workflow="report")
    hour.advance(MINUTE)
    tide.reconcile()
    assert ids(tide.claim()) == [first.run_id]


def test_more_due_runs_than_a_claim_promotes_are_all_found(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "delay": "1 minute"}] * 250)
    hour.advance(MINUTE)
    found = 0
    while claimed := tide.claim(max_runs=100):
        found += len(claimed)
    assert found == 250
    assert value(tide.connection, "select count(*) from tide.runs_active where ready") == 0


def test_overdue_runs_in_front_bound_no_claim_and_are_cancelled_a_hundred_at_a_time(
    tide: Tide, hour: Clock
) -> None:
    overdue = [{"workflow": "report", "deadline": "1 second", "priority": 1}] * 250
    tide.enqueue_many(queue="default", runs=overdue)
    late = tide.enqueue(workflow="report").run_id
    hour.advance(MINUTE)
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    assert ids(tide.claim(max_runs=10)) == [late]
    cancelled = "select count(*) from tide.runs as r where r.status = 'cancelled'"
    for count in (100, 200, 250, 250):
        assert value(tide.connection, cancelled) == count
        assert tide.claim() == []


def test_a_claim_of_a_thousand_queues_takes_no_lock_for_each(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    queues = [f"tenant-{number}" for number in range(1000)]
    first = tide.enqueue(workflow="report", queue=queues[700]).run_id
    second = tide.enqueue(workflow="report", queue=queues[3]).run_id
    other = Tide(connect(autocommit=False))
    assert ids(other.claim(queues=queues, worker="w1", max_runs=5)) == [second, first]
    locks = "select count(*) from pg_locks as l where l.locktype = 'advisory'"
    assert value(tide.connection, locks) < 10


def test_a_run_enqueued_after_the_clock_was_set_back_is_claimed(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 3)
    tide.connection.execute(
        "insert into tide.claim_floors values ('default', 0, %s)", (hour.now - MINUTE,)
    )
    assert len(tide.claim(max_runs=3)) == 3
    hour.advance(-10 * MINUTE)
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    run_id = tide.enqueue(workflow="report").run_id
    assert ids(tide.claim()) == [run_id]


def test_what_a_lost_answer_had_given_comes_first_and_costs_no_attempt(
    tide: Tide, hour: Clock
) -> None:
    session, stranger = uuid4(), uuid4()
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 6)
    known, lost = tide.claim(max_runs=2, session_id=session)
    tide.claim(session_id=stranger)
    hour.advance(MINUTE / 2)
    first, second = tide.claim(max_runs=2, session_id=session, holding=[known.run_id])
    assert (first.run_id, first.lease_id) == (lost.run_id, lost.lease_id)
    assert (first.attempt, first.leased_until) == (1, hour.now + MINUTE)
    assert second.run_id not in (known.run_id, lost.run_id)
    assert tide.log(lost.run_id) == ["run.enqueued", "run.claimed"]
    held = [known.run_id, first.run_id, second.run_id]
    (third,) = tide.claim(session_id=session, holding=held)
    assert third.run_id not in held


def test_settle_and_claim_gives_what_a_lost_answer_had_given(tide: Tide) -> None:
    session = uuid4()
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 3)
    (done,) = tide.claim(session_id=session)
    outcome = {"run_id": str(done.run_id), "lease_id": str(done.lease_id)}
    (lost,) = tide.settle_and_claim(outcomes=[outcome], session_id=session)
    repeated, again = tide.settle_and_claim(outcomes=[outcome], session_id=session, holding=[])
    assert (repeated.run_id, repeated.accepted, repeated.reason) == (done.run_id, True, "repeated")
    assert (again.run_id, again.lease_id, again.attempt) == (lost.run_id, lost.lease_id, 1)


def test_what_is_given_again_belongs_to_the_session_and_runs_still(tide: Tide, hour: Clock) -> None:
    session = uuid4()
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "max_attempts": 3}] * 4)
    runs = tide.claim(max_runs=4, session_id=session)
    assert tide.claim(session_id=uuid4(), holding=[]) == []
    assert tide.claim(holding=[]) == []
    assert tide.claim(queues=["other"], session_id=session, holding=[]) == []
    tide.release(run_id=runs[0].run_id, lease_id=runs[0].lease_id, delay="1 hour")
    tide.cancel(run_id=runs[1].run_id)
    given = tide.claim(max_runs=9, session_id=session, holding=[runs[2].run_id])
    assert ids(given) == [runs[3].run_id]
    with refused("22023", "holding"):
        tide.claim(session_id=session, holding=[uuid4()] * 10001)


def test_a_session_is_shown_to_nobody(tide: Tide) -> None:
    session = uuid4()
    run_id = tide.enqueue(workflow="report").run_id
    tide.claim(session_id=session)
    assert tide.get_run(run_id=run_id).session_id is None
    assert [run.session_id for run in tide.list_runs()] == [None]
    assert str(session) not in str(tide.describe_run(run_id=run_id))
