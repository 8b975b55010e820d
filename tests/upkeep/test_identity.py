"""A copy of an installation does nothing by itself until somebody says what it is for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.servers import Absent, RunningServer
from tests.support import Clock, Connection, Databases, one, open_connection, value
from tidebase_pg import admin

KNOW_YOURSELF = """
update tide.identity
set
  system_identifier = (select c.system_identifier from pg_control_system() as c),
  database_oid = (select d.oid from pg_database as d where d.datname = current_database())
"""
"""The template of the tests has no identity, since the database of every test is a copy of it."""

OWN_ROWS = {"ticks", "claim_floors", "queue_minutes"}
OWN_SWEEPS = {"identity", "settled_clock", "claim_floors", "finished_counts"}
"""What upkeep notes about itself, also while it is paused."""

FIRST_CALLS: dict[str, Callable[[Tide], Any]] = {
    "claim": lambda tide: tide.claim(queues=["default", "pushed"], max_runs=9),
    "settle_and_claim": lambda tide: tide.settle_and_claim(outcomes=[], max_runs=9),
    "claim_deliveries": lambda tide: tide.claim_deliveries(),
    "reconcile": lambda tide: [
        sweep for sweep, done in tide.reconcile().items() if done and sweep not in OWN_SWEEPS
    ],
}
"""Each returns what it took, or the sweeps that found something to do."""

each_first_call = pytest.mark.parametrize("first", FIRST_CALLS)


def fill(tide: Tide) -> None:
    """Something of everything that upkeep and workers would act on at once."""
    tide.started("stalled", max_attempts=2)
    tide.enqueue(workflow="ready", channels=[{"url": "http://example.com/hook"}])
    tide.enqueue(workflow="late", delay="1 hour")
    tide.create_run(workflow="plain", deadline="1 hour", recovery_url="http://example.com/run")
    tide.set_queue(queue="pushed", settings={"push_url": "http://example.com/push"})
    tide.enqueue(workflow="push", queue="pushed")
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="scheduled")
    tide.connection.execute(
        "update tide.runs_active set leased_until = now() - interval '1 hour' "
        "where status = 'running'"
    )
    tide.connection.execute(
        "update tide.runs_active set deadline_at = now(), recover_at = now() "
        "where workflow = 'plain'"
    )
    tide.connection.execute("update tide.runs_active set run_at = now() where workflow = 'late'")
    tide.connection.execute(
        "update tide.schedules set next_fire_at = date_trunc('minute', now()) - interval '2 hours'"
    )
    tide.connection.execute("update tide.ticks set next_at = now() - interval '1 hour'")


@pytest.fixture
def original(databases: Databases, template: str, server: RunningServer) -> Iterator[str]:
    """The name of a database that knows itself, with much to do and nobody connected to it."""
    with databases.database(template) as name:
        with open_connection(server.dsn(name)) as connection:
            connection.execute(KNOW_YOURSELF.encode())
            fill(Tide(connection))
        yield name


@pytest.fixture
def open_database(server: RunningServer) -> Callable[[str], Any]:
    """Opens a database by its name: `with open_database(original) as tide`."""

    @contextmanager
    def opened(name: str, *, autocommit: bool = True) -> Iterator[Tide]:
        with open_connection(server.dsn(name), autocommit=autocommit) as connection:
            connection.execute("set lock_timeout = '3s'")
            yield Tide(connection)

    return opened


@pytest.fixture
def copy(databases: Databases, original: str) -> Iterator[str]:
    """The name of a copy of it, as a restored backup or a clone for staging is."""
    with databases.database(original) as name:
        yield name


def work(tide: Tide) -> dict[str, str]:
    return {name: rows for name, rows in contents(tide.connection).items() if name not in OWN_ROWS}


def states(tide: Tide) -> dict[str, str]:
    return {run.workflow: run.status for run in tide.list_runs()}


@each_first_call
def test_copy_does_nothing_whatever_is_called_first(
    open_database: Callable[..., Any], copy: str, first: str
) -> None:
    with open_database(copy) as tide:
        before = work(tide)
        for name in (first, *FIRST_CALLS):
            assert FIRST_CALLS[name](tide) == []
        assert work(tide) == before
        (paused,) = tide.connection.execute("select * from tide.health").fetchall()
        assert paused.paused_at is not None
        assert "tide.adopt" in paused.pause_reason


@each_first_call
def test_original_goes_on_whatever_is_called_first(
    open_database: Callable[..., Any], original: str, first: str
) -> None:
    with open_database(original) as tide:
        before = work(tide)
        assert FIRST_CALLS[first](tide) != []
        assert work(tide) != before
        found = states(tide)
        assert found["plain"] == "cancelled"
        assert found["scheduled"] in ("queued", "running")
        assert value(tide.connection, "select paused_at from tide.ticks") is None


@pytest.mark.parametrize("held", ["select from tide.ticks for update", "select tide.claim()"])
def test_tick_held_open_by_another_does_not_let_a_copy_claim(
    open_database: Callable[..., Any], copy: str, held: str
) -> None:
    with open_database(copy, autocommit=False) as other, open_database(copy) as tide:
        other.connection.execute(held.encode())
        for call in ("claim", "settle_and_claim", "claim_deliveries"):
            assert FIRST_CALLS[call](tide) == []


@pytest.mark.parametrize(
    "held", ["select from tide.ticks for update", "select tide.claim('{other}')"]
)
def test_tick_held_open_by_another_keeps_nobody_in_the_original_from_claiming(
    open_database: Callable[..., Any], original: str, held: str
) -> None:
    with open_database(original, autocommit=False) as other, open_database(original) as tide:
        other.connection.execute(held.encode())
        assert "ready" in {run.workflow for run in tide.claim(max_runs=9)}


def test_copy_is_not_resumed_but_adopted(open_database: Callable[..., Any], copy: str) -> None:
    with open_database(copy) as tide:
        for _ in range(2):
            with refused("TD030", "copy") as caught:
                tide.resume()
            assert "tide.adopt" in (caught.value.diag.message_hint or "")
            assert tide.claim() == []


def test_adopted_copy_takes_the_place_of_the_original(
    open_database: Callable[..., Any], copy: str
) -> None:
    with open_database(copy) as tide:
        assert tide.claim() == []
        assert tide.adopt() == {
            "mode": "resume",
            "cancelled_runs": 0,
            "skipped_schedules": 0,
            "dropped_deliveries": 0,
        }
        claimed = {run.workflow for run in tide.claim(max_runs=9)}
        assert claimed == {"ready", "late", "scheduled"}
        tide.reconcile()
        assert [fire.outcome for fire in tide.list_fires(name="minutely")] == ["enqueued", "missed"]
        assert tide.claim_deliveries() != []
        tide.pause()
        tide.resume()
        # Its worker may have outlived the failover and has one further lease to be heard.
        assert states(tide)["stalled"] == "running"


def test_adopted_copy_skips_what_was_missed(open_database: Callable[..., Any], copy: str) -> None:
    with open_database(copy) as tide:
        assert tide.adopt(mode="skip_missed") == {
            "mode": "skip_missed",
            "cancelled_runs": 0,
            "skipped_schedules": 1,
            "dropped_deliveries": 1,
        }
        claimed = {run.workflow for run in tide.claim(max_runs=9)}
        assert claimed >= {"ready", "late"}
        (missed,) = tide.connection.execute(
            "select * from tide.schedule_fires where outcome = 'missed'"
        ).fetchall()
        assert missed.fires >= 120
        assert tide.list_deliveries(status="dropped")[0].error == "adopted"


def test_quarantined_copy_has_nothing_left_to_do(
    open_database: Callable[..., Any], copy: str
) -> None:
    with open_database(copy) as tide:
        parent = tide.create_run(workflow="parent", channels=[{"url": "http://example.com/hook"}])
        done = tide.adopt(mode="quarantine", actor="staging")
        assert done["cancelled_runs"] == len(tide.list_runs())
        assert set(states(tide).values()) == {"cancelled"}
        ended = tide.get_run(run_id=parent.run_id)
        assert (ended.cancel_reason, ended.cancel_actor) == ("quarantined", "staging")
        assert tide.log(parent.run_id) == ["run.created", "run.cancelled"]
        assert tide.list_deliveries(status="pending") == []
        assert tide.claim_deliveries() == []
        assert tide.claim(max_runs=9) == []


def test_quarantine_cancels_more_runs_than_a_batch_holds(
    open_database: Callable[..., Any], copy: str
) -> None:
    with open_database(copy) as tide:
        tide.enqueue_many(queue="default", runs=[{"workflow": "many"}] * 2500)
        active = value(tide.connection, "select count(*) from tide.runs_active")
        assert tide.adopt(mode="quarantine")["cancelled_runs"] == active
        assert value(tide.connection, "select count(*) from tide.runs_active") == 0


def test_unknown_mode_is_refused_and_the_copy_stays_paused(
    open_database: Callable[..., Any], copy: str
) -> None:
    with open_database(copy) as tide:
        with refused("22023", "mode", "staging"):
            tide.adopt(mode="staging")
        assert tide.claim() == []


def test_copy_of_an_adopted_copy_is_a_copy_again(
    open_database: Callable[..., Any], copy: str, databases: Databases
) -> None:
    with open_database(copy) as tide:
        tide.adopt()
        # As the backup is: older than the last tick.
        tide.connection.execute("update tide.ticks set next_at = now() - interval '1 hour'")
    with databases.database(copy) as name, open_database(name) as tide:
        assert tide.claim() == []


@pytest.mark.parametrize(
    ("forgotten", "is_copy"),
    [
        ("system_identifier", True),
        ("database_oid", False),
        ("system_identifier, database_oid", False),
    ],
)
def test_part_that_is_not_known_is_not_compared(
    open_database: Callable[..., Any], copy: str, forgotten: str, is_copy: bool
) -> None:
    with open_database(copy) as tide:
        for part in forgotten.split(", "):
            tide.connection.execute(f"update tide.identity set {part} = null".encode())
        assert (FIRST_CALLS["claim"](tide) == []) == is_copy


def test_other_server_is_another_place_even_with_the_same_oid(
    open_database: Callable[..., Any], original: str
) -> None:
    with open_database(original) as tide:
        tide.connection.execute(
            "update tide.identity set system_identifier = system_identifier + 1"
        )
        assert FIRST_CALLS["claim"](tide) == []


def test_installed_database_knows_itself(
    databases: Databases, server: RunningServer, open_database: Callable[..., Any]
) -> None:
    with databases.database() as name:
        admin.install(server.dsn(name))
        with open_database(name) as tide:
            tide.enqueue(workflow="report")
            assert len(tide.claim()) == 1
            found = one(tide.connection, "select * from tide.identity")
            assert found.database_oid is not None
            assert found.system_identifier is not None
        with databases.database(name) as copied, open_database(copied) as tide:
            tide.connection.execute("update tide.ticks set next_at = now() - interval '1 hour'")
            tide.enqueue(workflow="report")
            assert tide.claim() == []


def test_failover_gives_every_lease_one_further_lease(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    tide.connection.execute("update tide.identity set timeline = '00000000'")
    assert tide.reconcile()["expired_leases"] == 0
    assert value(tide.connection, "select failed_over_at from tide.identity") == hour.now
    hour.advance(MINUTE)
    assert tide.reconcile()["expired_leases"] == 0
    hour.advance(timedelta(microseconds=1))
    assert tide.reconcile()["expired_leases"] == 1
    assert tide.get_run(run_id=run.run_id).status == "queued"


def test_worker_heard_of_after_a_failover_keeps_its_run(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    tide.connection.execute("update tide.identity set timeline = '00000000'")
    tide.claim(queues=["other"])
    (beat,) = tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])
    assert beat.state == "held"
    hour.advance(MINUTE)
    assert tide.reconcile()["expired_leases"] == 0
    assert tide.complete(run_id=run.run_id, lease_id=run.lease_id).status == "completed"


def test_dump_that_is_restored_waits_for_adopt(
    databases: Databases, server: RunningServer, open_database: Callable[..., Any], original: str
) -> None:
    try:
        dump, restore = server.program("pg_dump"), server.program("pg_restore")
    except Absent as absent:
        pytest.skip(str(absent))
    with databases.database() as name:
        dumped = subprocess.run(
            [dump, "--format=custom", server.dsn(original)], check=True, capture_output=True
        )
        subprocess.run(
            [restore, "--exit-on-error", "--single-transaction", "-d", server.dsn(name)],
            input=dumped.stdout,
            check=True,
        )
        with open_database(name) as tide:
            before = work(tide)
            for call in FIRST_CALLS.values():
                assert call(tide) == []
            assert work(tide) == before
            tide.adopt()
            assert FIRST_CALLS["claim"](tide) != []


def test_adopting_the_original_changes_nothing_it_does(tide: Tide, connection: Connection) -> None:
    connection.execute(KNOW_YOURSELF.encode())
    run_id = tide.enqueue(workflow="report").run_id
    before = one(connection, "select system_identifier, database_oid from tide.identity")
    tide.adopt()
    assert one(connection, "select system_identifier, database_oid from tide.identity") == before
    assert [run.run_id for run in tide.claim()] == [run_id]
