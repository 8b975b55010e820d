"""Keys of which the newest counts: debounce with a latest start, and on_conflict cancel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, at_once, open_connection, results, value

INDEX = {"workflow": "index", "dedupe_key": "doc:7"}
SOON = {**INDEX, "delay": "30 seconds", "debounce": "1 minute"}


def test_later_enqueues_put_off_the_start_and_replace_the_input_up_to_a_latest_time(
    tide: Tide, hour: Clock
) -> None:
    first = hour.now
    run_id = tide.enqueue(**SOON, input={"rev": 1}).run_id
    starts = [timedelta(seconds=30), timedelta(seconds=50), timedelta(minutes=1)]
    for rev, start in enumerate(starts, 1):
        again = tide.enqueue(**SOON, input={"rev": rev})
        assert (again.run_id, again.deduplicated) == (run_id, True)
        run = tide.get_run(run_id=run_id)
        assert (run.input, run.run_at - first) == ({"rev": rev}, start)
        assert tide.claim() == []
        hour.advance(timedelta(seconds=20))
    tide.enqueue(**SOON, input={"rev": 9})
    (run,) = tide.claim()
    assert (run.run_id, tide.get_run(run_id=run_id).input) == (run_id, {"rev": 9})
    begun = tide.enqueue(**SOON, input={"rev": 10})
    assert (begun.status, tide.get_run(run_id=run_id).input) == ("running", {"rev": 9})


def test_a_batch_debounces_too(tide: Tide, hour: Clock) -> None:
    for rev in range(3):
        tide.enqueue_many(queue="default", runs=[{**SOON, "input": {"rev": rev}}])
        hour.advance(timedelta(seconds=25))
    (run,) = tide.list_runs()
    assert (run.input, run.run_at) == ({"rev": 2}, run.created_at + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"debounce": "1 minute", "delay": "1 s"}, "debounce is given without dedupe_key"),
        ({**INDEX, "debounce": "1 minute"}, "debounce is given without delay"),
        ({**SOON, "debounce": "0"}, "debounce"),
        ({**SOON, "debounce": "-1 s"}, "debounce"),
        ({**SOON, "debounce": "1000 days"}, "debounce"),
        ({**SOON, "on_conflict": "raise"}, "debounce is given with on_conflict raise"),
        ({**SOON, "on_conflict": "cancel"}, "debounce is given with on_conflict cancel"),
        ({**INDEX, "on_conflict": "newest"}, "on_conflict"),
    ],
)
def test_what_cannot_be_debounced_is_named(
    tide: Tide, arguments: dict[str, Any], named: str
) -> None:
    before = contents(tide.connection)
    given = {"workflow": "index"} | arguments
    with refused("22023", named):
        tide.enqueue(**given)
    with refused("22023", f"runs[0].{named}"):
        tide.enqueue_many(queue="default", runs=[given])
    assert contents(tide.connection) == before


def test_a_debounced_run_comes_after_nobody(tide: Tide) -> None:
    first = tide.enqueue(workflow="index").run_id
    with refused("22023", "after"):
        tide.enqueue(**SOON, after=[first])
    with refused("22023", "runs[0].after"):
        tide.enqueue_many(queue="default", runs=[{**SOON, "after": [str(first)]}])


def test_the_newest_of_a_key_cancels_the_active_one_whatever_it_does(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    running = tide.started(**INDEX)
    own = {"run_id": running.run_id, "lease_id": running.lease_id}
    tide.spawn(**own, edge="part", workflow="part", queue="parts")
    newest = tide.enqueue(**INDEX, on_conflict="cancel", input={"rev": 2})
    assert (newest.deduplicated, newest.status) == (False, "queued")
    gone = tide.get_run(run_id=running.run_id)
    assert (gone.status, str(newest.run_id) in gone.cancel_reason) == ("cancelled", True)
    with refused("TD001"):
        tide.complete(**own)
    tide.reconcile()
    assert {run.status for run in tide.list_runs(queue="parts")} == {"cancelled"}
    rows = tide.enqueue_many(
        queue="default", runs=[{**INDEX, "on_conflict": "cancel", "input": n} for n in range(3)]
    )
    states = [tide.get_run(run_id=row.run_id).status for row in rows]
    assert states == ["cancelled", "cancelled", "queued"]
    assert tide.get_run(run_id=newest.run_id).status == "cancelled"
    assert [run.run_id for run in tide.claim(max_runs=9)] == [rows[2].run_id]


def test_the_same_call_sent_again_cancels_nothing(tide: Tide) -> None:
    own = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"
    for _ in range(2):
        made = tide.enqueue(**INDEX, on_conflict="cancel", run_id=own)
        assert (str(made.run_id), made.status) == (own, "queued")


def test_of_many_newest_at_once_one_is_left(tide: Tide, dsn: str) -> None:
    def enqueue() -> None:
        with open_connection(dsn) as connection:
            for _ in range(5):
                connection.execute(
                    "select tide.enqueue('index', dedupe_key => 'k', on_conflict => 'cancel')"
                )

    results(at_once([enqueue] * 8))
    ended = "select count(*) from tide.runs_finished where status = 'cancelled'"
    assert value(tide.connection, ended) == 39
    assert value(tide.connection, "select count(*) from tide.runs_active") == 1
