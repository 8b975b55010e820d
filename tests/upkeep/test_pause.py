"""pause, resume: the whole installation stands still, and what runs may come to its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, one, open_connection

HOOK = [{"url": "http://example.com/hook"}]
OWN_ROWS = {"ticks", "claim_floors", "queue_minutes"}
OWN_SWEEPS = {"identity", "settled_clock", "claim_floors", "finished_counts"}


def paused(tide: Tide) -> Any:
    return one(tide.connection, "select paused_at, paused_by, pause_reason from tide.ticks")


def work(tide: Tide) -> dict[str, str]:
    return {name: rows for name, rows in contents(tide.connection).items() if name not in OWN_ROWS}


def fill(tide: Tide) -> None:
    """Something of everything that upkeep and workers would act on a little later."""
    tide.started(workflow="stalled", max_attempts=2)
    tide.enqueue(workflow="ready", channels=HOOK)
    tide.enqueue(workflow="late", delay=MINUTE)
    tide.create_run(workflow="overdue", deadline=MINUTE)
    tide.begun(workflow="plain", recovery_url="http://example.com/run")
    tide.set_queue(queue="pushed", settings={"push_url": "http://example.com/push"})
    tide.enqueue(workflow="push", queue="pushed")
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="scheduled")


def test_paused_installation_claims_fires_sweeps_and_sends_nothing(tide: Tide, hour: Clock) -> None:
    fill(tide)
    tide.pause()
    hour.advance(timedelta(hours=1))
    before = work(tide)
    assert tide.claim(max_runs=9) == []
    assert tide.settle_and_claim(outcomes=[], max_runs=9) == []
    assert tide.claim_deliveries() == []
    report = tide.reconcile()
    assert {sweep for sweep, done in report.items() if done} <= OWN_SWEEPS
    assert work(tide) == before


def test_resumed_installation_goes_on_with_all_of_it(tide: Tide, hour: Clock) -> None:
    fill(tide)
    tide.pause()
    hour.advance(timedelta(hours=1))
    tide.reconcile()
    tide.resume()
    report = tide.reconcile()
    swept = {"expired_leases", "overdue", "schedules", "due", "push", "stalled_runs"}
    assert swept <= {sweep for sweep, done in report.items() if done}
    claimed = {run.workflow for run in tide.claim(max_runs=9)}
    assert claimed == {"stalled", "ready", "late", "scheduled"}
    assert tide.claim_deliveries() != []


def test_first_pause_keeps_its_reason(tide: Tide, hour: Clock) -> None:
    tide.pause(reason="the database moves", actor="ops")
    first = paused(tide)
    assert first == (hour.now, "ops", "the database moves")
    hour.advance(MINUTE)
    tide.pause(reason="something else", actor="somebody else")
    assert paused(tide) == first


def test_actor_of_a_pause_is_the_session_unless_given(tide: Tide) -> None:
    tide.pause()
    user = one(tide.connection, "select session_user as name").name
    assert paused(tide)[1:] == (user, None)


def test_resume_is_the_same_once_or_twice(tide: Tide) -> None:
    tide.pause(reason="the database moves")
    for _ in range(2):
        tide.resume()
        assert paused(tide) == (None, None, None)


@pytest.mark.parametrize("argument", ["reason", "actor"])
def test_long_remarks_are_refused(tide: Tide, argument: str) -> None:
    with refused("22023", argument):
        tide.pause(**{argument: "x" * 4097})
    assert paused(tide) == (None, None, None)


def test_what_runs_may_go_on_and_report(tide: Tide) -> None:
    runs = [tide.started() for _ in range(3)]
    plain = tide.create_run(workflow="report")
    tide.pause()
    (beat,) = tide.heartbeat(run_ids=[runs[0].run_id], lease_ids=[runs[0].lease_id])
    assert beat.state == "held"
    own = {"run_id": runs[0].run_id, "lease_id": runs[0].lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan")
    assert tide.complete(**own).status == "completed"
    failed = tide.fail(run_id=runs[1].run_id, lease_id=runs[1].lease_id)
    assert failed.status == "failed"
    (verdict,) = tide.settle(outcomes=[{"run_id": runs[2].run_id, "lease_id": runs[2].lease_id}])
    assert verdict.accepted
    assert tide.get_run(run_id=runs[2].run_id).status == "completed"
    assert tide.begin_run(run_id=plain.run_id).status == "running"


def test_outcomes_are_settled_also_where_nothing_is_claimed(tide: Tide) -> None:
    run = tide.started()
    tide.enqueue(workflow="next")
    tide.pause()
    outcomes = [{"run_id": run.run_id, "lease_id": run.lease_id}]
    assert tide.settle_and_claim(outcomes=outcomes) == []
    assert tide.get_run(run_id=run.run_id).status == "completed"


def test_runs_are_enqueued_and_wait(tide: Tide) -> None:
    tide.pause()
    run_id = tide.enqueue(workflow="report").run_id
    assert tide.claim() == []
    reasons = [reason["reason"] for reason in tide.explain_wait(run_id=run_id)["reasons"]]
    assert "installation_paused" in reasons
    tide.resume()
    assert [run.run_id for run in tide.claim()] == [run_id]


def test_resume_tells_every_worker(tide: Tide, direct_dsn: str) -> None:
    tide.pause()
    with open_connection(direct_dsn) as listener:
        listener.execute("listen tide_work")
        tide.resume()
        (told,) = listener.notifies(timeout=10, stop_after=1)
        assert told.payload == "*"


def test_pause_of_an_open_transaction_counts_from_its_commit(tide: Tide, connect: Any) -> None:
    tide.enqueue(workflow="report")
    other = Tide(connect(autocommit=False))
    other.pause()
    assert len(tide.claim(max_runs=9)) == 1
    other.connection.commit()
    tide.enqueue(workflow="report")
    assert tide.claim() == []


def test_pause_and_resume_need_no_worker_and_no_run(connection: Connection) -> None:
    tide = Tide(connection)
    tide.pause()
    assert tide.next_wakeup() is None
    tide.resume()
    assert tide.next_wakeup() is None
