"""What a claim finds out anew each time: a worker known for long gets what a new one gets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, value

SECOND: Final = timedelta(seconds=1)


@pytest.fixture
def busy(tide: Tide, hour: Clock) -> Tide:
    """A worker that has just claimed, and six runs left."""
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 7)
    assert len(tide.claim(worker="known")) == 1
    return tide


def soonest(tide: Tide, **changes: Any) -> None:
    """Change the run that would be claimed first."""
    assignments = ", ".join(f"{column} = %s" for column in changes)
    tide.connection.execute(
        f"""
        update tide.runs_active
        set {assignments}
        where run_id = (select min(r.run_id::text)::uuid from tide.runs as r where r.ready)
        """.encode(),
        list(changes.values()),
    )


Act = Callable[[Tide, Clock], object]
DISTURBANCES: Final[dict[str, Act]] = {
    "a paused queue": lambda tide, _: tide.set_queue(queue="default", settings={"paused": True}),
    "a cap": lambda tide, _: tide.set_queue(queue="default", settings={"concurrency": 2}),
    "a rate": lambda tide, _: tide.set_queue(queue="default", settings={"rate_limit": 1}),
    "a push queue": lambda tide, _: tide.set_queue(
        queue="default", settings={"push_url": "https://example.com/"}
    ),
    "a budget": lambda tide, _: tide.set_queue(
        queue="default", settings={"budget": {"max_steps": 3}}
    ),
    "a higher priority": lambda tide, _: tide.enqueue(workflow="report", priority=7),
    "a run that came due": lambda tide, hour: (
        tide.enqueue(workflow="report", delay=SECOND / 4),
        hour.advance(SECOND / 3),
    ),
    "an overdue run": lambda tide, hour: soonest(tide, deadline_at=hour.now),
    "a paused installation": lambda tide, _: tide.pause(reason="repairs"),
    "a tick that is due": lambda tide, hour: hour.advance(SECOND),
    "a restricted queue": lambda tide, _: (
        tide.grant_queue(queue="default", role="pg_monitor"),
        # Superusers are members of every role there is.
        tide.connection.execute("update tide.queue_grants set role = 'nobody'"),
    ),
    "too few, and others of lower priority": lambda tide, _: (
        tide.claim(max_runs=5),
        tide.enqueue(workflow="report", priority=-7),
    ),
}
COMMON: Final[dict[str, Act]] = {
    "nothing": lambda tide, hour: None,
    "too few runs": lambda tide, _: tide.claim(max_runs=5),
    "no run": lambda tide, _: tide.claim(max_runs=6),
    "a lower priority": lambda tide, hour: tide.enqueue(workflow="report", priority=-7),
    "a run of the past": lambda tide, hour: tide.enqueue(
        workflow="report", run_at=hour.now - MINUTE
    ),
    "a deadline to come": lambda tide, hour: soonest(tide, deadline_at=hour.now + MINUTE),
    "a run with a history": lambda tide, hour: tide.watch_run(
        run_id=value(
            tide.connection, "select min(r.run_id::text) from tide.runs as r where r.ready"
        )
    ),
}


def claimed(tide: Tide, worker: str) -> list[Any]:
    """What the claim of this worker brings and leaves behind, and then nothing of it is left."""
    stored = """
        select
          to_jsonb(r) - '{lease_id,worker}'::text[],
          array(
            select to_jsonb(e) #- '{payload,worker}'
            from tide.event_log as e
            where e.run_id = r.run_id
            order by e.seq
          )
        from tide.runs as r
        order by r.run_id
    """
    with tide.connection.transaction(force_rollback=True):
        try:
            with tide.connection.transaction():
                runs = tide.claim(max_runs=2, worker=worker)
        except psycopg.Error as error:
            return [error.sqlstate, str(error).replace(worker, "worker")]
        leases = {run.lease_id for run in runs}
        assert len(leases) == len(runs)
        return [[run.run_id for run in runs], tide.connection.execute(stored.encode()).fetchall()]


@pytest.mark.parametrize("name", [*DISTURBANCES, *COMMON])
def test_a_known_worker_gets_what_a_new_one_gets(busy: Tide, hour: Clock, name: str) -> None:
    (DISTURBANCES | COMMON)[name](busy, hour)
    known = claimed(busy, "known")
    assert known == claimed(busy, "new")
    if name in COMMON:
        assert len(known[0]) == {"too few runs": 1, "no run": 0}.get(name, 2)


@pytest.mark.parametrize("workflows", [["report"], ["other"]])
def test_a_known_worker_gets_only_its_workflows(busy: Tide, workflows: list[str]) -> None:
    busy.enqueue_many(queue="default", runs=[{"workflow": "other"}] * 3)
    before = busy.claim(worker="known", workflows=workflows)
    runs = before + busy.claim(worker="known", max_runs=2, workflows=workflows)
    assert [run.workflow for run in runs] == workflows * 3


def test_a_worker_not_seen_for_a_while_is_written_down_again(busy: Tide, hour: Clock) -> None:
    hour.advance(11 * SECOND)
    busy.claim(worker="another")
    busy.claim(worker="known")
    seen = "select w.seen_at from tide.workers as w where w.worker = 'known'"
    assert value(busy.connection, seen) == hour.now
