"""Dedupe keys that stay taken for a time after the end of their run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, at_once, open_connection, results, value

KEY = {"workflow": "charge", "dedupe_key": "order:7"}
HELD = {**KEY, "dedupe_for": "1 hour"}
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)


def ended(tide: Tide, how: str = "completed", **arguments: Any) -> Any:
    """The id of a run with the key that has just ended so."""
    run = tide.started(**{**HELD, **arguments})
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    if how == "completed":
        tide.complete(**own, result={"paid": 9})
    elif how == "failed":
        tide.fail(**own, retryable=False)
    else:
        tide.cancel(run_id=run.run_id)
    return run.run_id


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_within_the_time_an_enqueue_gives_the_finished_run_and_after_it_a_new_one(
    tide: Tide, hour: Clock, how: str
) -> None:
    first = ended(tide, how)
    for again in (KEY, HELD, {**KEY, "on_conflict": "replace", "input": {"other": 1}}):
        answer = tide.enqueue(**again)
        assert (answer.run_id, answer.deduplicated, answer.status) == (first, True, how)
    hour.advance(HOUR - INSTANT)
    assert tide.enqueue(**KEY).run_id == first
    hour.advance(INSTANT)
    new = tide.enqueue(**KEY)
    assert (new.deduplicated, new.status) == (False, "queued")
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.enqueue(**KEY).deduplicated is False, "the new run kept no time"


def test_while_the_run_is_active_the_time_means_nothing(tide: Tide, hour: Clock) -> None:
    first = tide.enqueue(**HELD)
    hour.advance(2 * HOUR)
    again = tide.enqueue(**HELD)
    assert (again.run_id, again.status) == (first.run_id, "queued")


def test_a_replaced_run_keeps_the_time_it_was_given_last(tide: Tide, hour: Clock) -> None:
    first = tide.enqueue(**KEY)
    tide.enqueue(**HELD, on_conflict="replace")
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.enqueue(**KEY).run_id == first.run_id


def test_raise_names_the_finished_run_and_cancel_passes_over_it(tide: Tide, hour: Clock) -> None:
    first = ended(tide)
    with refused("TD023", f"run {first} of queue default still holds dedupe key 'order:7'"):
        tide.enqueue(**KEY, on_conflict="raise")
    newest = tide.enqueue(**KEY, on_conflict="cancel")
    assert newest.deduplicated is False
    assert tide.enqueue(**KEY).run_id == newest.run_id
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.enqueue(**KEY).deduplicated is False, "the former run holds the key no more"


def test_other_queues_and_other_keys_are_free(tide: Tide, hour: Clock) -> None:
    ended(tide)
    assert tide.enqueue(**KEY, queue="other").deduplicated is False
    assert tide.enqueue(**{**KEY, "dedupe_key": "order:8"}).deduplicated is False


def test_a_retry_takes_the_key_back_and_its_end_counts(tide: Tide, hour: Clock) -> None:
    first = ended(tide, "failed")
    hour.advance(HOUR / 2)
    tide.retry(run_id=first)
    assert tide.enqueue(**KEY).status == "queued"
    (run,) = tide.claim()
    hour.advance(HOUR)
    assert tide.enqueue(**KEY).status == "running"
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(HOUR - INSTANT)
    again = tide.enqueue(**KEY)
    assert (again.run_id, again.status) == (first, "completed")


def test_a_batch_is_answered_with_finished_runs_too(tide: Tide, hour: Clock) -> None:
    first = ended(tide)
    element: dict[str, Any] = {**HELD, "dedupe_key": "order:8"}
    rows = tide.enqueue_many(queue="default", runs=[KEY, element, KEY, {"workflow": "plain"}])
    assert [row.deduplicated for row in rows] == [True, False, True, False]
    assert [rows[0].run_id, rows[2].run_id] == [first, first]
    for run in tide.claim(max_runs=9):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(HOUR - INSTANT)
    (row,) = tide.enqueue_many(queue="default", runs=[element])
    assert (row.run_id, row.deduplicated) == (rows[1].run_id, True)
    hour.advance(INSTANT)
    again = tide.enqueue_many(queue="default", runs=[element, element])
    assert [row.deduplicated for row in again] == [False, True]


def test_the_same_call_sent_again_gives_its_own_run(tide: Tide, hour: Clock) -> None:
    own = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"
    for _ in range(2):
        made = tide.enqueue(**HELD, run_id=own)
        assert (str(made.run_id), made.deduplicated) == (own, False)
    ended(tide, run_id=own)
    assert str(tide.enqueue(**HELD, run_id=own).run_id) == own


def test_retention_removes_no_run_whose_key_is_taken(tide: Tide, hour: Clock) -> None:
    first = ended(tide)
    plain = tide.finished(workflow="plain").run_id
    hour.advance(HOUR - INSTANT)
    assert tide.prune(older_than="0", queue="default") == 1
    tide.set_queue(queue="default", settings={"retention": "1 minute"})
    tide.reconcile()
    assert tide.enqueue(**KEY).run_id == first
    with refused("TD010"):
        tide.get_run(run_id=plain)
    hour.advance(2 * INSTANT)
    assert tide.reconcile()["retention"] == 1
    assert value(tide.connection, "select count(*) from tide.held_keys") == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dedupe_for": "1 minute"}, "dedupe_for is given without dedupe_key"),
        ({**KEY, "dedupe_for": "0"}, "dedupe_for"),
        ({**KEY, "dedupe_for": "-1 s"}, "dedupe_for"),
        ({**KEY, "dedupe_for": "1000 days"}, "dedupe_for"),
    ],
)
def test_a_time_that_cannot_be_is_named(tide: Tide, arguments: dict[str, Any], named: str) -> None:
    before = contents(tide.connection)
    given = {"workflow": "charge"} | arguments
    with refused("22023", named):
        tide.enqueue(**given)
    with refused("22023", f"runs[0].{named}"):
        tide.enqueue_many(queue="default", runs=[given])
    assert contents(tide.connection) == before


def test_at_the_boundary_many_at_once_make_one_run(tide: Tide, hour: Clock, dsn: str) -> None:
    def enqueue() -> tuple[Any, bool]:
        with open_connection(dsn) as connection:
            query = "select e.run_id, e.deduplicated from tide.enqueue('charge', {}) as e"
            named = "dedupe_key => 'order:7', dedupe_for => '1 hour'"
            row = connection.execute(query.format(named).encode()).fetchone()
            return row.run_id, row.deduplicated

    for _ in range(3):
        first = ended(tide)
        hour.advance(HOUR - INSTANT)
        assert results(at_once([enqueue] * 8)) == [(first, True)] * 8
        hour.advance(INSTANT)
        answers = results(at_once([enqueue] * 8))
        assert len({run_id for run_id, _ in answers}) == 1
        assert first not in {run_id for run_id, _ in answers}
        assert [deduplicated for _, deduplicated in answers].count(False) == 1
        tide.cancel(run_id=answers[0][0])
        hour.advance(HOUR)


def test_a_run_without_a_key_touches_nothing_of_held_keys(
    tide: Tide, hour: Clock, connection: Connection
) -> None:
    ended(tide)
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    touched = """
        select sum(
          pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_deleted(c.oid)
        )
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relname like 'held\\_keys%'
        """
    with connection.transaction():
        before = value(connection, touched)
        for _ in range(2):
            tide.enqueue(workflow="plain")
        tide.enqueue_many(queue="default", runs=[{"workflow": "plain"}] * 2)
        done, failed, released, _ = tide.claim(max_runs=4)
        tide.complete(run_id=done.run_id, lease_id=done.lease_id)
        tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
        tide.release(run_id=released.run_id, lease_id=released.lease_id)
        tide.cancel(run_id=released.run_id)
        assert value(connection, touched) == before
        tide.enqueue(**KEY)
        assert value(connection, touched) > before
