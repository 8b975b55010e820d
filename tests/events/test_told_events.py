"""An event that was read once never changes, whether a row of tide.events or the run tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, one, value

Act = Callable[[Tide, Any], object]
DAY: Final = timedelta(days=1)


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def pushed(tide: Tide, run: Any) -> None:
    tide.set_queue(queue=run.queue, settings={"push_url": "https://example.com/"})
    assert value(tide.connection, "select tide._push_queue(%s, 10)", run.queue) == 1
    tide.begin_run(run_id=run.run_id, worker="the application")


def expired(tide: Tide, run: Any) -> None:
    query = "select tide._expire_leases(array[%s]::uuid[])"
    assert value(tide.connection, query, run.run_id) == 1


def reported(tide: Tide, run: Any) -> None:
    step = {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "name": "plan"}
    query = "select s.action from tide.report_steps(%s::jsonb) as s"
    assert value(tide.connection, query, json.dumps([{**step, "begin": True}])) == "execute"


# Whatever may come after so many told events and moves the run or writes an event.
ACTS: Final[dict[int, dict[str, Act]]] = {
    1: {
        "cancel": lambda tide, run: tide.cancel(run_id=run.run_id, reason="enough"),
        "reschedule": lambda tide, run: tide.reschedule(
            run_id=run.run_id, run_at=run.run_at + DAY, priority=7
        ),
        "replace": lambda tide, run: tide.enqueue(
            workflow="other", dedupe_key="key", priority=3, max_attempts=9, on_conflict="replace"
        ),
        "budget": lambda tide, run: tide.set_budget(run_id=run.run_id, limits={"max_steps": 1}),
        "push": pushed,
        "usage": lambda tide, run: tide.record_usage(run_id=run.run_id, kind="call"),
    },
    2: {
        "completion": lambda tide, run: tide.complete(**own(run)),
        "failure, another attempt": lambda tide, run: tide.fail(**own(run), error={}),
        "failure for good": lambda tide, run: tide.fail(**own(run), error={}, retryable=False),
        "release": lambda tide, run: tide.release(**own(run)),
        "revoked lease": lambda tide, run: tide.revoke_lease(run_id=run.run_id),
        "cancel": lambda tide, run: tide.cancel(run_id=run.run_id),
        "step": lambda tide, run: tide.begin_step(**own(run), name="plan"),
        "reported step": reported,
        "sleep": lambda tide, run: tide.sleep(**own(run), name="nap", duration=DAY),
        "gate": lambda tide, run: tide.open_gate(**own(run), name="ok", prompt="Go on?"),
        "gate with channels": lambda tide, run: tide.open_gate(
            **own(run), name="ok", prompt="Go on?", channels=[{"url": "https://example.com"}]
        ),
        "child": lambda tide, run: tide.spawn(**own(run), edge="child", workflow="other"),
        "state": lambda tide, run: tide.set_state(run_id=run.run_id, value={"n": 1}),
        "heartbeat": lambda tide, run: tide.heartbeat(
            run_ids=[run.run_id], lease_ids=[run.lease_id], lease=MINUTE
        ),
        "expired lease": expired,
    },
    3: {
        "usage": lambda tide, run: tide.record_usage(run_id=run.run_id, kind="call"),
        "the same completion": lambda tide, run: tide.complete(**own(run)),
    },
}
# And then: each writes over columns that told something, where it is not refused.
LATER: Final[tuple[Act, ...]] = (
    lambda tide, run: tide.retry(run_id=run.run_id, reset_attempts=False),
    lambda tide, run: tide.claim(worker="second", max_runs=9),
    lambda tide, run: tide.begin_run(run_id=run.run_id, worker="second"),
    lambda tide, run: tide.cancel(run_id=run.run_id),
    lambda tide, run: tide.retry(run_id=run.run_id, run_at=run.run_at + DAY),
    lambda tide, run: tide.claim(worker="third", max_runs=9),
)


def told(tide: Tide, events: int) -> Any:
    """A run that has so many events, of which none is a row."""
    run = tide.enqueue(workflow="work", dedupe_key="key", max_attempts=5)
    if events >= 2:
        (run,) = tide.claim(worker="first", lease=MINUTE)
    if events >= 3:
        (verdict,) = tide.settle(outcomes=[{k: str(v) for k, v in own(run).items()}])
        assert verdict.accepted
    lease_id = run.lease_id if events >= 2 else None
    row = one(
        tide.connection,
        """
        select r.run_id, %s::uuid as lease_id, r.queue, r.run_at, r.told_events
        from tide.runs as r
        where r.run_id = %s
        """,
        lease_id,
        run.run_id,
    )
    assert row.told_events == events == len(tide.log(row.run_id))
    assert value(tide.connection, "select count(*) from tide.events") == 0
    return row


@pytest.mark.parametrize(
    ("events", "act"), [(events, act) for events, acts in ACTS.items() for act in acts]
)
def test_an_event_that_was_read_never_changes(
    tide: Tide, hour: Clock, events: int, act: str
) -> None:
    run = told(tide, events)
    before = tide.list_events(run_id=run.run_id)
    first = ACTS[events][act]
    for move in (first, *LATER):
        hour.advance(timedelta(seconds=30))
        with nullcontext() if move is first else suppress(psycopg.Error):
            move(tide, run)
        after = tide.list_events(run_id=run.run_id)
        assert after[: len(before)] == before
        assert [event.seq for event in after] == list(range(1, len(after) + 1))
        before = after
    assert len(before) >= events


def test_a_plain_run_writes_no_event_and_tells_three(tide: Tide, hour: Clock) -> None:
    run = told(tide, 3)
    enqueued, claimed, completed = tide.list_events(run_id=run.run_id)
    assert enqueued[1:3] == (1, "run.enqueued")
    assert enqueued.payload == {
        "workflow": "work",
        "queue": "default",
        "priority": 0,
        "run_at": run.run_at.isoformat(),
        "max_attempts": 5,
    }
    written = "select tide._enqueued_event('work', 'default', 0, %s, 5)"
    assert enqueued.payload == value(tide.connection, written, run.run_at)
    assert claimed[1:] == (2, "run.claimed", hour.now, {"attempt": 1, "worker": "first"})
    assert completed[1:] == (3, "run.completed", hour.now, {"attempt": 1})


@pytest.mark.parametrize(
    "act",
    ["claim", "cancel", "reschedule", "replace", "fail"],
)
def test_runs_that_waited_in_a_line_of_a_lane_tell_each_event_once(
    tide: Tide, hour: Clock, act: str
) -> None:
    tide.set_lane(lane="slow", settings={"fair": True})
    runs = [
        tide.enqueue(workflow="work", dedupe_key=f"key {n}", lane="slow", lane_key="acme").run_id
        for n in range(20)
    ]
    before = {run_id: tide.list_events(run_id=run_id) for run_id in runs}
    assert [len(events) for events in before.values()] == [1] * 20
    parked = value(
        tide.connection, "select array_agg(run_id) from tide.runs where waiting_on = 'lane'"
    )
    assert len(parked) == 4
    if act == "cancel":
        tide.cancel(run_id=parked[0])
    elif act == "reschedule":
        tide.reschedule(run_id=parked[0], run_at=hour.now - MINUTE, priority=7)
    elif act == "replace":
        number = runs.index(parked[0])
        tide.enqueue(workflow="other", dedupe_key=f"key {number}", on_conflict="replace")
    hour.advance(timedelta(seconds=30))
    for _ in range(3):
        for run in tide.claim(max_runs=16, worker="first"):
            if act == "fail":
                tide.fail(**own(run), error={}, retryable=False)
            else:
                (verdict,) = tide.settle(outcomes=[{k: str(v) for k, v in own(run).items()}])
                assert verdict.accepted
    for run_id in runs:
        events = tide.list_events(run_id=run_id)
        assert events[:1] == before[run_id]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= 2
    if act == "claim":
        assert value(tide.connection, "select count(*) from tide.events") == len(parked)


def test_what_is_told_does_not_depend_on_the_time_zone_of_the_reader(tide: Tide) -> None:
    run = told(tide, 1)
    answers = []
    for zone in ("UTC", "Asia/Kathmandu"):
        tide.connection.execute(f"set time zone '{zone}'")
        answers.append(tide.list_events(run_id=run.run_id)[0].payload)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("after", [0, 10, 19_000])
def test_a_page_of_a_long_log_reads_that_page(tide: Tide, after: int) -> None:
    run = told(tide, 2)
    tide.connection.execute(
        """
        insert into tide.events (run_id, seq, type, created_at, payload)
        select %s, n, 'step.started', now(), '{}'
        from generate_series(3, 20000) as n
        """,
        (run.run_id,),
    )
    page = "explain (analyze, buffers, format json) select * from tide.list_events(%s, %s, 10)"
    for _ in range(8):  # the first plans, and the first reads of catalogs, are dearer
        (plan,) = value(tide.connection, page, run.run_id, after)
    touched = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert plan["Plan"]["Actual Rows"] == 10
    assert touched <= 40, plan
