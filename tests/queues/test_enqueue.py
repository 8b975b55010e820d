"""enqueue: a queued run, at most one active with a dedupe key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, value


def test_enqueued_run_is_queued_ready_and_logged(tide: Tide, hour: Clock) -> None:
    answer = tide.enqueue(workflow="report", input={"n": 1}, metadata={"team": 1})
    assert (answer.deduplicated, answer.status) == (False, "queued")
    run = tide.get_run(run_id=answer.run_id)
    assert (run.queue, run.status, run.ready, run.attempt) == ("default", "queued", True, 0)
    assert (run.input, run.metadata, run.run_at) == ({"n": 1}, {"team": 1}, hour.now)
    (event,) = tide.list_events(run_id=run.run_id)
    assert (event.seq, event.type) == (1, "run.enqueued")
    assert event.payload["workflow"] == "report"
    assert event.payload["queue"] == "default"


def test_the_statement_that_enqueues_a_run_can_read_it(tide: Tide) -> None:
    statement = (
        "select r.status from tide.enqueue('report') as made "
        "cross join lateral tide.get_run(made.run_id) as r"
    )
    assert value(tide.connection, statement) == "queued"


def test_defaults_come_from_the_queue(tide: Tide) -> None:
    tide.set_queue(queue="q", settings={"max_attempts": 7})
    for queue, given, expected in (("default", None, 1), ("q", None, 7), ("q", 2, 2)):
        run_id = tide.enqueue(workflow="report", queue=queue, max_attempts=given).run_id
        assert tide.get_run(run_id=run_id).max_attempts == expected


def test_delayed_run_is_claimed_when_due_without_any_tick(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report", delay=MINUTE).run_id
    assert tide.get_run(run_id=run_id).run_at == hour.now + MINUTE
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    assert tide.claim() == []
    hour.advance(MINUTE)
    assert [run.run_id for run in tide.claim()] == [run_id]


def test_run_at_beats_delay(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report", delay="1 day", run_at=hour.now + MINUTE).run_id
    assert tide.get_run(run_id=run_id).run_at == hour.now + MINUTE


def test_run_at_in_the_past_is_ready_and_comes_first(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report")
    early = tide.enqueue(workflow="report", run_at=hour.now - timedelta(days=1)).run_id
    assert tide.get_run(run_id=early).ready
    assert [run.run_id for run in tide.claim()] == [early]


def test_deadline_counts_from_now(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report", deadline="1 hour", delay="10 minutes").run_id
    assert tide.get_run(run_id=run_id).deadline_at == hour.now + timedelta(hours=1)


def test_dedupe_returns_the_active_run(tide: Tide) -> None:
    first = tide.enqueue(workflow="report", dedupe_key="k", input={"n": 1})
    again = tide.enqueue(workflow="other", dedupe_key="k", input={"n": 2}, priority=9)
    assert (again.run_id, again.deduplicated, again.status) == (first.run_id, True, "queued")
    assert tide.get_run(run_id=first.run_id).input == {"n": 1}
    assert tide.log(first.run_id) == ["run.enqueued"]
    tide.claim()
    assert tide.enqueue(workflow="report", dedupe_key="k").status == "running"


def test_dedupe_key_belongs_to_its_queue(tide: Tide) -> None:
    first = tide.enqueue(workflow="report", dedupe_key="k", queue="a")
    second = tide.enqueue(workflow="report", dedupe_key="k", queue="b")
    assert not second.deduplicated
    assert first.run_id != second.run_id


@pytest.mark.parametrize("state", ["delayed", "requeued", "parked"])
def test_waiting_run_keeps_its_dedupe_key(tide: Tide, state: str) -> None:
    if state == "delayed":
        run = tide.enqueue(workflow="report", dedupe_key="k", delay="1 hour")
    else:
        run = tide.started(dedupe_key="k", max_attempts=3)
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        if state == "requeued":
            tide.fail(**own)
        else:
            tide.begin_step(**own, name="send", contract={"replay": "manual"})
            tide.fail_step(**own, name="send")
    for on_conflict in ("return", "replace"):
        again = tide.enqueue(workflow="report", dedupe_key="k", on_conflict=on_conflict)
        assert (again.run_id, again.deduplicated) == (run.run_id, True)


def test_replace_gives_a_queued_run_the_new_values(tide: Tide, hour: Clock) -> None:
    first = tide.enqueue(workflow="report", dedupe_key="k", input={"n": 1}, delay="1 hour")
    again = tide.enqueue(
        workflow="report",
        dedupe_key="k",
        input={"n": 2},
        metadata={"m": 1},
        priority=5,
        delay="1 minute",
        max_attempts=3,
        on_conflict="replace",
    )
    assert (again.run_id, again.deduplicated) == (first.run_id, True)
    run = tide.get_run(run_id=first.run_id)
    assert (run.input, run.metadata, run.priority) == ({"n": 2}, {"m": 1}, 5)
    assert (run.run_at, run.max_attempts) == (hour.now + MINUTE, 3)
    assert tide.log(run.run_id) == ["run.enqueued", "run.enqueued"]
    assert tide.last_event(run.run_id).payload["replaced"] is True


def test_replace_makes_a_delayed_run_claimable_now(tide: Tide) -> None:
    tide.enqueue(workflow="report", dedupe_key="k", delay="1 hour")
    tide.enqueue(workflow="report", dedupe_key="k", input={"n": 2}, on_conflict="replace")
    (run,) = tide.claim()
    assert run.input == {"n": 2}


def test_replace_returns_a_running_run_as_it_is(tide: Tide) -> None:
    run = tide.started(dedupe_key="k", input={"n": 1})
    again = tide.enqueue(workflow="report", dedupe_key="k", input={"n": 2}, on_conflict="replace")
    assert (again.run_id, again.status, again.deduplicated) == (run.run_id, "running", True)
    assert tide.get_run(run_id=run.run_id).input == {"n": 1}


def test_replace_leaves_a_run_that_has_begun_its_input(tide: Tide) -> None:
    run = tide.started(dedupe_key="k", input={"n": 1}, max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.enqueue(workflow="report", dedupe_key="k", input={"n": 2}, on_conflict="replace")
    assert tide.get_run(run_id=run.run_id).input == {"n": 1}


def test_raise_names_the_active_run(tide: Tide) -> None:
    first = tide.enqueue(workflow="report", dedupe_key="k")
    with refused("TD023", first.run_id, "'k'"):
        tide.enqueue(workflow="report", dedupe_key="k", on_conflict="raise")
    assert tide.enqueue(workflow="report", dedupe_key="l", on_conflict="raise").status == "queued"


@pytest.mark.parametrize("end", ["complete", "fail", "cancel", "expire", "overdue"])
@pytest.mark.parametrize("on_conflict", ["return", "raise"])
def test_every_end_of_a_run_frees_its_key(
    tide: Tide, hour: Clock, end: str, on_conflict: str
) -> None:
    run = tide.started(dedupe_key="k", deadline=MINUTE if end == "overdue" else None)
    if end in ("expire", "overdue"):
        hour.advance(2 * MINUTE)
        tide.reconcile()
    elif end == "cancel":
        tide.cancel(run_id=run.run_id)
    else:
        tide.call(end, run_id=run.run_id, lease_id=run.lease_id)
    again = tide.enqueue(workflow="report", dedupe_key="k", on_conflict=on_conflict)
    assert (again.deduplicated, again.run_id == run.run_id) == (False, False)


@pytest.mark.parametrize("dedupe_key", [None, "k"])
@pytest.mark.parametrize("state", ["queued", "running", "completed"])
def test_same_run_id_again_answers_with_the_run_it_made(
    tide: Tide, dedupe_key: str | None, state: str
) -> None:
    run_id = uuid4()
    arguments: dict[str, Any] = {
        "workflow": "report",
        "input": {"n": 1},
        "dedupe_key": dedupe_key,
        "run_id": run_id,
    }
    tide.enqueue(**arguments)
    if state != "queued":
        (run,) = tide.claim()
        if state == "completed":
            tide.complete(run_id=run_id, lease_id=run.lease_id)
    before = tide.log(run_id)
    again = tide.enqueue(**arguments)
    assert (again.run_id, again.deduplicated, again.status) == (run_id, False, state)
    assert tide.log(run_id) == before
    assert value(tide.connection, "select count(*) from tide.runs") == 1


def test_same_run_id_for_another_input_or_workflow_is_refused(tide: Tide) -> None:
    run_id = uuid4()
    tide.enqueue(workflow="report", run_id=run_id, input={"n": 1})
    with refused("TD020", run_id):
        tide.enqueue(workflow="report", run_id=run_id, input={"n": 2})
    with refused("TD020", run_id):
        tide.enqueue(workflow="other", run_id=run_id, input={"n": 1}, dedupe_key="k")


def test_key_of_an_uncommitted_finish_is_still_taken(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    run = tide.started(dedupe_key="k")
    other = Tide(connect(autocommit=False))
    other.complete(run_id=run.run_id, lease_id=run.lease_id)
    again = tide.enqueue(workflow="report", dedupe_key="k")
    assert (again.run_id, again.deduplicated) == (run.run_id, True)
    other.connection.commit()
    assert not tide.enqueue(workflow="report", dedupe_key="k").deduplicated


def test_null_arguments_are_their_defaults(tide: Tide) -> None:
    answer = tide.enqueue(
        workflow="report", input=None, dedupe_key=None, priority=None, delay=None, metadata=None
    )
    run = tide.get_run(run_id=answer.run_id)
    assert (run.input, run.metadata, run.priority) == ({}, {}, 0)


def urls(tide: Tide, run_id: Any) -> list[str]:
    told = tide.describe_run(run_id=run_id)
    return [channel["url"] for channel in told["channels"]]


def test_replace_gives_a_queued_run_the_new_channels(tide: Tide) -> None:
    first = [{"url": "https://example.com/first"}]
    second = [{"url": "https://example.com/a"}, {"url": "https://example.com/b"}]
    run_id = tide.enqueue(workflow="report", dedupe_key="k", channels=first).run_id
    tide.enqueue(workflow="report", dedupe_key="k", channels=second, on_conflict="replace")
    assert urls(tide, run_id) == ["https://example.com/a", "https://example.com/b"]
    told = tide.list_deliveries(run_id=run_id)
    assert sorted(row.url.rpartition("/")[2] for row in told) == ["a", "b", "first"]
    tide.enqueue(workflow="report", dedupe_key="k", on_conflict="replace")
    assert urls(tide, run_id) == []


def test_return_leaves_a_run_its_channels(tide: Tide) -> None:
    channels = [{"url": "https://example.com/first"}]
    run_id = tide.enqueue(workflow="report", dedupe_key="k", channels=channels).run_id
    tide.enqueue(workflow="report", dedupe_key="k", channels=[{"url": "https://example.com/b"}])
    assert urls(tide, run_id) == ["https://example.com/first"]


def test_a_run_of_a_queue_keeps_its_recovery_url_and_is_never_announced(
    tide: Tide, hour: Clock
) -> None:
    url = "https://app.example.com/recover"
    run_id = tide.enqueue(workflow="report", recovery_url=url, max_attempts=2).run_id
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "recovery_url": url}])
    assert {run.recovery_url for run in tide.list_runs()} == {url}
    tide.claim()
    hour.advance(5 * MINUTE)
    tide.reconcile()
    assert tide.get_run(run_id=run_id).status == "queued"
    assert value(tide.connection, "select count(*) from tide.deliveries") == 0
    with refused("22023", "recovery_url"):
        tide.enqueue(workflow="report", recovery_url="nowhere")
