"""Upkeep from Python: pause, adopt, retention, health, and what runs are told to keep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support import Clock, Connection, value
from tidebase_pg import AsyncTidebase, IllegalTransition, InvalidArgument, Run, Tidebase

HOOK = "https://example.com/hook"


def work(tide: Tidebase) -> Any:
    return tide.work(drain=True, reconcile=False)


def test_a_paused_installation_claims_nothing_and_goes_on_after_resume(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return 1

    tide.pause(reason="moving house", actor="ops")
    tide.enqueue(w)
    assert work(tide).claimed == 0
    health = tide.health()
    assert (health.paused_at is None, health.pause_reason) == (False, "moving house")
    tide.resume()
    assert tide.health().paused_at is None
    assert work(tide).claimed == 1


@pytest.mark.parametrize(
    ("mode", "cancelled", "skipped"),
    [("resume", 0, 0), ("skip_missed", 0, 1), ("quarantine", 1, 1)],
)
def test_a_copy_stays_paused_until_it_is_adopted(
    tide: Tidebase, connection: Connection, mode: Any, cancelled: int, skipped: int
) -> None:
    run_id = tide.enqueue("w").run_id
    tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    connection.execute("update tide.schedules set next_fire_at = now() - interval '1 hour'")
    connection.execute("update tide.identity set system_identifier = 7, database_oid = 1")
    tide.reconcile()
    assert "copy" in (tide.health().pause_reason or "")
    with pytest.raises(IllegalTransition, match="copy"):
        tide.resume()
    done = tide.adopt(mode, actor="ops")
    assert (done["mode"], done["cancelled_runs"], done["skipped_schedules"]) == (
        mode,
        cancelled,
        skipped,
    )
    assert tide.health().paused_at is None
    assert (tide.runs.get(run_id).status == "cancelled") is (mode == "quarantine")


def test_finished_runs_go_when_their_time_is_over(tide: Tidebase, clock: Clock) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return 1

    def made(queue: str) -> Any:
        run_id = tide.enqueue(w, queue=queue).run_id
        tide.work(queues=[queue], drain=True, reconcile=False)
        return run_id

    clock.advance(timedelta(0))
    kept, gone = made("kept"), made("gone")
    assert tide.queues.configure("gone", retention=3600).retention == timedelta(hours=1)
    clock.advance(timedelta(hours=2))
    assert tide.prune() == 1
    assert [run.run_id for run in tide.runs.list()] == [kept]
    assert gone != kept

    tide.set_retention(timedelta(days=1))
    assert tide.prune() == 0
    tide.set_retention(60)
    tide.set_retention(None)
    assert tide.prune() == 0
    assert tide.prune(older_than=timedelta(hours=3)) == 0
    assert tide.prune(older_than=3600, queue="gone") == 0
    assert tide.prune(older_than=3600, queue="kept", max_runs=5) == 1
    assert tide.runs.list() == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"queue": "q"}, InvalidArgument, "without older_than"),
        ({"older_than": -1}, InvalidArgument, "older_than"),
        ({"older_than": "1d"}, TypeError, "older_than must be a timedelta"),
        ({"max_runs": 0}, InvalidArgument, "max_runs"),
    ],
)
def test_a_wrong_prune_is_named(
    tide: Tidebase, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tide.prune(**options)


def test_health_can_be_asked_before_anything_was_done(tide: Tidebase) -> None:
    fresh = tide.health()
    assert fresh.last_tick_age is fresh.last_reconcile_age is None


def test_health_says_what_is_late_and_null_where_nothing_is(tide: Tidebase, clock: Clock) -> None:
    clock.advance(timedelta(0))
    tide.reconcile()
    calm = tide.health()
    assert calm.last_reconcile_age == timedelta(0)
    assert calm.oldest_ready_run_age is calm.oldest_due_schedule_age is None
    assert (calm.dead_deliveries, calm.poison_rows, calm.leaked_slots) == (0, 0, 0)
    tide.enqueue("w")
    tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    clock.advance(timedelta(minutes=10))
    late = tide.health()
    assert late.oldest_ready_run_age == late.last_reconcile_age == timedelta(minutes=10)
    assert late.oldest_due_schedule_age is not None


def test_the_next_wake_up_is_that_of_what_is_due_first(tide: Tidebase, clock: Clock) -> None:
    clock.advance(timedelta(0))
    assert tide.next_wakeup() is None
    tide.enqueue("w", delay=600)
    assert tide.next_wakeup() == timedelta(minutes=10)
    tide.runs.create("w", deadline=60)
    assert tide.next_wakeup(["other"]) == timedelta(minutes=1)


def test_a_queue_is_told_where_to_push_and_what_to_keep(tide: Tidebase) -> None:
    made = tide.queues.configure(
        "q", push_url=HOOK, push_secret="mine", retention=60, retention_keeps=["usage", "gates"]
    )
    assert (made.push_url, made.push_secret) == (HOOK, "mine")
    assert made.retention_keeps == ["gates", "usage"]
    cleared = tide.queues.configure("q", push_url=None, push_secret=None, retention_keeps=None)
    assert (cleared.push_url, cleared.push_secret, cleared.retention_keeps) == (None, None, [])
    assert cleared.retention == timedelta(minutes=1)
    with pytest.raises(InvalidArgument, match="push_url"):
        tide.queues.configure("q", push_url="ftp://example.com")


def channels(connection: Connection, run_id: Any) -> list[tuple[str, str, list[str]]]:
    query = (
        "select c.url, c.secret_name, c.events from tide.channels as c "
        "where c.run_id = %s order by c.channel"
    )
    return [tuple(row) for row in connection.execute(query, (run_id,))]


def test_channels_are_given_wherever_a_run_is_made(tide: Tidebase, connection: Connection) -> None:
    given = [{"type": "webhook", "url": HOOK, "secret_name": "mine", "events": ["run.completed"]}]
    stored = [(HOOK, "mine", ["run.completed"])]
    one = tide.enqueue("w", channels=given).run_id
    (many,) = tide.enqueue_many([{"workflow": "w", "channels": given}])
    plain = tide.runs.create("w", channels=given, recovery_url=HOOK)
    assert tide.runs.describe(plain.run_id)["run"]["recovery_url"] == HOOK
    for run_id in (one, many.run_id, plain.run_id):
        assert channels(connection, run_id) == stored
    with pytest.raises(InvalidArgument, match=r"channels\.url"):
        tide.enqueue("w", channels=[{"url": "nowhere"}])
    with pytest.raises(InvalidArgument, match="recovery_url"):
        tide.runs.create("w", recovery_url="nowhere")


def test_a_gate_is_announced_on_its_channels_with_its_token(
    tide: Tidebase, connection: Connection
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.gates.begin("first", "?", channels=[{"url": HOOK}])
        return run.gate("second", "?", channels=[{"url": HOOK + "/2"}]).payload

    run_id = tide.enqueue(w).run_id
    work(tide)
    assert [url for url, _, _ in channels(connection, run_id)] == [HOOK, HOOK + "/2"]
    announced = connection.execute(
        "select d.url, d.token is not null as known from tide.deliveries as d "
        "where d.run_id = %s and d.type = 'gate.created' order by d.delivery_id",
        (run_id,),
    ).fetchall()
    assert [tuple(row) for row in announced] == [(HOOK, True), (HOOK + "/2", True)]


async def test_upkeep_from_asyncio(
    atide: AsyncTidebase, clock: Clock, connection: Connection
) -> None:
    clock.advance(timedelta(0))
    await atide.pause(reason="r", actor="a")
    assert (await atide.health()).pause_reason == "r"
    await atide.resume()
    await atide.set_retention(60)
    assert value(connection, "select s.retention from tide.settings as s") == timedelta(minutes=1)
    assert await atide.prune(older_than=0) == 0
    assert await atide.next_wakeup(["q"]) is None
    done = await atide.adopt("quarantine", actor="a")
    assert (done["mode"], done["cancelled_runs"]) == ("quarantine", 0)
    made = await atide.enqueue("w", channels=[{"url": HOOK}])
    assert channels(connection, made.run_id) == [(HOOK, "default", [])]
