"""Runs that come after others: parked until these end, and ended by their failures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Clock, Connection, one, value


def made(tide: Tide, *after: UUID, **options: Any) -> UUID:
    if after:
        options["after"] = list(after)
    return UUID(str(tide.enqueue(workflow="report", **options).run_id))


def end(tide: Tide, run_id: UUID, how: str = "completed") -> None:
    """End a ready run as a worker or an operator does."""
    if how == "cancelled":
        tide.cancel(run_id=run_id)
        return
    tide.reschedule(run_id=run_id, run_at="2020-01-01Z", priority=99)
    (run,) = tide.claim()
    assert run.run_id == run_id
    own = {"run_id": run_id, "lease_id": run.lease_id}
    if how == "completed":
        tide.complete(**own)
    else:
        tide.fail(**own, retryable=False)


def state(tide: Tide, run_id: UUID) -> str:
    run = tide.get_run(run_id=run_id)
    return "ready" if run.ready else run.waiting_on or run.status


def test_a_run_is_ready_in_the_transaction_in_which_the_last_before_it_ends(tide: Tide) -> None:
    first, second = made(tide), made(tide)
    run_id = made(tide, first, second)
    assert state(tide, run_id) == "after"
    end(tide, first)
    assert state(tide, run_id) == "after"
    (reason,) = tide.explain_wait(run_id=run_id)["reasons"]
    assert (reason["reason"], reason["mode"], reason["open"]) == ("after", "all", 1)
    assert (reason["runs"], reason["after_failure"]) == ([str(second)], "cancel")
    end(tide, second)
    assert state(tide, run_id) == "ready"
    assert tide.log(run_id) == ["run.enqueued", "run.resumed"]
    enqueued = tide.list_events(run_id=run_id)[0].payload
    assert set(enqueued["after"]) == {str(first), str(second)}
    assert [run.run_id for run in tide.claim()] == [run_id]
    assert tide.reconcile()["dependents"] == 0


@pytest.mark.parametrize(
    ("mode", "failure", "ends", "becomes"),
    [
        ("all", None, ["failed"], "cancelled"),
        ("all", "cancel", ["cancelled"], "cancelled"),
        ("all", "fail", ["completed", "failed"], "failed"),
        ("all", "run", ["failed"], "after"),
        ("all", "run", ["failed", "cancelled"], "ready"),
        ("any", None, ["completed"], "ready"),
        ("any", None, ["failed"], "after"),
        ("any", None, ["failed", "completed"], "ready"),
        ("any", "fail", ["failed", "cancelled"], "failed"),
        ("any", "run", ["failed"], "ready"),
    ],
)
def test_what_ends_of_the_runs_before_mean(
    tide: Tide, mode: str, failure: str | None, ends: list[str], becomes: str
) -> None:
    before = [made(tide), made(tide)]
    run_id = made(tide, *before, after_mode=mode, after_failure=failure)
    for ended, how in zip(before, ends, strict=False):
        end(tide, ended, how)
    tide.reconcile()
    assert state(tide, run_id) == becomes
    found = tide.get_run(run_id=run_id)
    if becomes == "cancelled":
        assert str(before[0]) in found.cancel_reason
        assert found.cancel_actor == "tide"
    if becomes == "failed":
        assert found.failure_class == "predecessor"
        assert found.error["type"] == "PredecessorFailed"


def test_runs_that_have_ended_count_at_once(tide: Tide) -> None:
    good, bad = made(tide), made(tide)
    end(tide, good)
    end(tide, bad, "failed")
    assert state(tide, made(tide, good)) == "ready"
    assert state(tide, made(tide, good, bad, after_mode="any")) == "ready"
    doomed = made(tide, good, bad)
    tide.reconcile()
    assert state(tide, doomed) == "cancelled"


def test_a_chain_falls_with_its_first_link_however_long_it_is(tide: Tide) -> None:
    links = [made(tide)]
    for _ in range(300):
        links.append(made(tide, links[-1]))
    end(tide, links[0], "failed")
    tide.reconcile()
    count = "select count(*) from tide.runs_finished where status = 'cancelled'"
    assert value(tide.connection, count) == 300


def test_a_delay_holds_beside_the_wait(tide: Tide, hour: Clock) -> None:
    first = made(tide)
    late = made(tide, first, run_at=hour.now + timedelta(hours=1))
    over = made(tide, first, delay="1 second")
    hour.advance(timedelta(minutes=1))
    end(tide, first)
    assert tide.get_run(run_id=late).run_at == hour.now + timedelta(minutes=59)
    assert state(tide, late) == "queued"
    assert state(tide, over) == "ready"


def test_a_waiting_run_is_cancelled_expires_and_is_left_alone_like_others(
    tide: Tide, hour: Clock
) -> None:
    first = made(tide)
    gone = made(tide, first)
    late = made(tide, first, deadline="1 minute")
    kept = made(tide, first, dedupe_key="k")
    tide.cancel(run_id=gone)
    assert made(tide, dedupe_key="k", on_conflict="replace") == kept
    with refused("TD030", kept):
        tide.reschedule(run_id=kept, run_at="2030-01-01Z")
    hour.advance(timedelta(minutes=2))
    tide.reconcile()
    assert (state(tide, gone), state(tide, late)) == ("cancelled", "cancelled")
    end(tide, first)
    tide.reconcile()
    assert (state(tide, gone), state(tide, kept)) == ("cancelled", "ready")
    assert value(tide.connection, "select count(*) from tide.predecessors where not noticed") == 0


def test_a_retried_run_waits_for_nobody_again(tide: Tide) -> None:
    first = made(tide)
    run_id = made(tide, first)
    end(tide, first, "failed")
    tide.reconcile()
    tide.retry(run_id=run_id)
    assert state(tide, run_id) == "ready"
    tide.retry(run_id=first)
    end(tide, first)
    assert state(tide, run_id) == "ready"
    assert tide.reconcile()["dependents"] == 0


def test_a_batch_may_name_its_own_elements_and_runs_from_before(tide: Tide) -> None:
    before, own = made(tide), uuid4()
    rows = tide.enqueue_many(
        queue="default",
        runs=[
            {"workflow": "report", "run_id": own},
            {"workflow": "report", "after": [0, before]},
            {"workflow": "report", "after": [str(own)], "after_failure": "run"},
            {"workflow": "report", "after": [1, 2], "after_mode": "any"},
            {"workflow": "report", "after": []},
        ],
    )
    ids = [row.run_id for row in rows]
    assert [state(tide, run_id) for run_id in ids] == ["ready", "after", "after", "after", "ready"]
    end(tide, own)
    assert [state(tide, run_id) for run_id in ids[1:4]] == ["after", "ready", "after"]
    end(tide, ids[2])
    assert [state(tide, run_id) for run_id in ids[1:4]] == ["after", "completed", "ready"]
    end(tide, before)
    assert state(tide, ids[1]) == "ready"
    assert tide.log(ids[1]) == ["run.enqueued", "run.resumed"]


def test_a_batch_sent_again_makes_and_changes_nothing(tide: Tide) -> None:
    ids = [uuid4(), uuid4()]
    runs = [
        {"workflow": "report", "run_id": ids[0]},
        {"workflow": "report", "run_id": ids[1], "after": [0]},
    ]
    tide.enqueue_many(queue="default", runs=runs)
    before = contents(tide.connection)
    assert [row.run_id for row in tide.enqueue_many(queue="default", runs=runs)] == ids
    assert contents(tide.connection) == before
    end(tide, ids[0])
    again = tide.enqueue_many(queue="default", runs=runs)
    assert [row.run_id for row in again] == ids
    assert state(tide, ids[1]) == "ready"


def test_elements_that_find_their_key_taken_wait_as_the_run_that_has_it(tide: Tide) -> None:
    rows = tide.enqueue_many(
        queue="default",
        runs=[
            {"workflow": "report", "dedupe_key": "k"},
            {"workflow": "report", "dedupe_key": "k", "after": [0]},
            {"workflow": "report", "after": [1]},
        ],
    )
    assert rows[0].run_id == rows[1].run_id
    assert [state(tide, row.run_id) for row in rows] == ["ready", "ready", "after"]
    end(tide, rows[0].run_id)
    assert state(tide, rows[2].run_id) == "ready"


@pytest.mark.parametrize(
    ("element", "named"),
    [
        ({"after": [2]}, "runs[1].after names runs[2], which stands after it"),
        ({"after": [1]}, "runs[1].after names runs[1], itself"),
        ({"after": [3]}, "runs[1].after[0]"),
        ({"after": [-1]}, "runs[1].after[0]"),
        ({"after": [0.5]}, "runs[1].after[0]"),
        ({"after": ["x"]}, "runs[1].after[0]"),
        ({"after": [None]}, "runs[1].after"),
        ({"after": [[0]]}, "runs[1].after[0]"),
        ({"after": 0}, "runs[1].after"),
        ({"after": {"a": 0}}, "runs[1].after"),
        ({"after": [0] * 1001}, "runs[1].after"),
        ({"after": [0], "after_mode": "some"}, "runs[1].after_mode"),
        ({"after": [0], "after_failure": "ignore"}, "runs[1].after_failure"),
        ({"after_mode": "all"}, "runs[1].after_mode"),
        ({"after": [], "after_failure": "run"}, "runs[1].after_failure"),
        ({"after": [0], "dedupe_key": "k", "on_conflict": "replace"}, "runs[1].after"),
    ],
)
def test_what_an_element_cannot_come_after_is_named_and_nothing_is_written(
    tide: Tide, element: dict[str, Any], named: str
) -> None:
    before = contents(tide.connection)
    runs = [{"workflow": "report"}, {"workflow": "report"} | element, {"workflow": "report"}]
    with refused("22023", named):
        tide.enqueue_many(queue="default", runs=runs)
    assert contents(tide.connection) == before


def test_runs_that_are_gone_closed_or_the_run_itself_are_refused_by_name(
    tide: Tide, connection: Connection
) -> None:
    pruned, own, other = made(tide), uuid4(), made(tide)
    end(tide, pruned, "cancelled")
    tide.prune(older_than="0")
    before = contents(connection)
    for gone in (NOBODY, pruned):
        with refused("TD010", gone):
            made(tide, other, gone)
        with refused("TD010", f"run {gone} does not exist: runs[1].after"):
            runs = [{"workflow": "report"}, {"workflow": "report", "after": [0, str(gone)]}]
            tide.enqueue_many(queue="default", runs=runs)
    with refused("22023", "after", own):
        made(tide, own, run_id=own)
    later = [
        {"workflow": "report", "after": [str(own)]},
        {"workflow": "report", "run_id": own},
    ]
    with refused("22023", "runs[0].after names runs[1]"):
        tide.enqueue_many(queue="default", runs=later)
    with refused("22023", "after_mode"):
        made(tide, after_mode="any")
    with refused("25001"), connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        made(tide, other)
    assert contents(connection) == before


def test_runs_nobody_comes_after_touch_no_table_of_this(tide: Tide, connection: Connection) -> None:
    connection.execute("update tide.ticks set next_at = 'infinity'")
    touched = """
        select sum(
          pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_updated(c.oid)
        )
        from pg_class as c
        where c.relname like 'predecessors%'
        """
    with connection.transaction():
        before = value(connection, touched)
        tide.enqueue(workflow="report")
        tide.enqueue_many(queue="default", runs=[{"workflow": "report"}, {"workflow": "report"}])
        done, failed, gone = tide.claim(max_runs=3)
        tide.complete(run_id=done.run_id, lease_id=done.lease_id)
        tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
        tide.cancel(run_id=gone.run_id)
        assert value(connection, touched) == before
        tide.enqueue(workflow="report", after=[done.run_id])
        assert value(connection, touched) > before


def test_the_thousands_after_one_run_are_made_ready_in_batches(tide: Tide) -> None:
    runs: list[dict[str, Any]] = [{"workflow": "report"}]
    runs += [{"workflow": "report", "after": [0]} for _ in range(1100)]
    first = tide.enqueue_many(queue="default", runs=runs)[0].run_id
    end(tide, first)
    ready = "select count(*) from tide.runs_active where ready"
    assert value(tide.connection, ready) == 1000
    tide.reconcile()
    assert value(tide.connection, ready) == 1100


def test_what_runs_come_after_goes_with_them(tide: Tide, connection: Connection) -> None:
    run_id = made(tide, made(tide))
    tide.cancel(run_id=run_id)
    tide.prune(older_than="0")
    assert value(connection, "select count(*) from tide.predecessors") == 0


def test_a_held_dependent_keeps_no_end_waiting_and_is_not_lost(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    first = made(tide)
    run_id = made(tide, first)
    holder = connect(autocommit=False)
    one(holder, "select r.run_id from tide.runs_active as r where r.run_id = %s for update", run_id)
    end(tide, first)
    assert tide.reconcile()["dependents"] == 0
    holder.rollback()
    assert tide.next_wakeup(queues=["default"]) <= timedelta(seconds=1)
    assert tide.reconcile()["dependents"] == 1
    assert state(tide, run_id) == "ready"
