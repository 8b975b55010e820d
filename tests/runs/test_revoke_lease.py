"""revoke_lease: an operator takes a running run from its worker."""

from __future__ import annotations

from datetime import timedelta

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock, Connection, open_connection, value


def test_a_revoked_lease_puts_the_run_back_without_counting_the_attempt(tide: Tide) -> None:
    run = tide.started(max_attempts=1)
    again = tide.revoke_lease(run_id=run.run_id, note="hangs", actor="ann")
    assert (again.status, again.attempt, again.ready, again.leased_until, again.lease_id) == (
        "queued",
        0,
        True,
        None,
        None,
    )
    (taken,) = tide.claim()
    assert (taken.run_id, taken.attempt) == (run.run_id, 1)


def test_who_revoked_a_lease_and_why_stands_in_the_event_log(tide: Tide) -> None:
    run = tide.started()
    tide.revoke_lease(run_id=run.run_id, note="hangs", actor="ann")
    event = tide.last_event(run.run_id)
    said = {key: event.payload[key] for key in ("reason", "actor", "note", "attempt")}
    assert event.type == "run.requeued"
    assert said == {"reason": "revoked", "actor": "ann", "note": "hangs", "attempt": 1}


def test_a_worker_whose_lease_was_revoked_can_report_nothing(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.revoke_lease(run_id=run.run_id)
    for report in (
        lambda: tide.complete(**own),
        lambda: tide.fail(**own),
        lambda: tide.release(**own),
        lambda: tide.complete_step(**own, name="plan"),
    ):
        with refused("TD002", run.run_id):
            report()
    (beat,) = tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])
    assert beat.state == "lost"


def test_a_step_with_side_effects_that_was_under_way_waits_for_a_review(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(
        run_id=run.run_id, lease_id=run.lease_id, name="pay", contract={"replay": "manual"}
    )
    tide.revoke_lease(run_id=run.run_id)
    (taken,) = tide.claim()
    asked = tide.begin_step(run_id=taken.run_id, lease_id=taken.lease_id, name="pay")
    assert asked.action == "review"
    assert tide.get_run(run_id=run.run_id).waiting_on == "review"


def test_a_slot_of_a_revoked_lease_is_free_at_once(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    tide.enqueue(workflow="report")
    assert tide.claim() == []
    tide.revoke_lease(run_id=run.run_id)
    assert [taken.run_id for taken in tide.claim()] == [run.run_id]


def test_a_call_sent_twice_takes_the_run_from_nobody_else(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    meant = {"run_id": run.run_id, "started_at": run.started_at}
    first = tide.revoke_lease(**meant)
    assert tide.revoke_lease(**meant) == first
    assert tide.log(run.run_id).count("run.requeued") == 1
    hour.advance(MINUTE)
    (taken,) = tide.claim(worker="w2")
    with refused("TD030", run.run_id, "w2"):
        tide.revoke_lease(**meant)
    tide.complete(run_id=taken.run_id, lease_id=taken.lease_id)


def test_a_revoked_plain_run_is_pending(tide: Tide) -> None:
    run = tide.begun()
    again = tide.revoke_lease(run_id=run.run_id)
    assert (again.status, again.attempt) == ("pending", 0)


def test_a_lease_that_is_not_there_is_not_revoked(tide: Tide) -> None:
    done = tide.finished()
    queued = tide.enqueue(workflow="report")
    again = tide.revoke_lease(run_id=queued.run_id)
    assert (again.status, tide.log(queued.run_id)) == ("queued", ["run.enqueued"])
    with refused("TD003", done.run_id):
        tide.revoke_lease(run_id=done.run_id)
    with refused("TD010", NOBODY):
        tide.revoke_lease(run_id=NOBODY)


def test_a_run_keeps_its_place_when_its_lease_is_revoked(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    hour.advance(timedelta(seconds=30))
    tide.enqueue(workflow="report")
    tide.revoke_lease(run_id=run.run_id)
    assert [taken.run_id for taken in tide.claim()] == [run.run_id]


def test_a_revoked_lease_is_told_to_its_worker_at_once(
    tide: Tide, connection: Connection, direct_dsn: str
) -> None:
    told = "select tide._told_as(%s::text) || '!'"
    secret = "0f000000-0000-4000-8000-000000000001"
    with open_connection(direct_dsn) as listening:
        listening.execute("listen tide_work")
        tide.enqueue(workflow="report")
        (run,) = tide.claim(session_id=secret)
        tide.revoke_lease(run_id=run.run_id)
        expected = value(connection, told, secret)
        heard = [n.payload for n in listening.notifies(timeout=10, stop_after=1)]
    assert expected in heard
