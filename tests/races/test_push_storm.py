"""Ticks, applications, horizons and cancels at once: a push never exceeds the cap or the rate."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from tests.races.storm import Actor, storm, until_met
from tests.support import one, open_connection, value

CAP = 4
RUNS = 150
TICKERS = 4
APPLICATIONS = 6
DRAINED = "select not exists (select from tide.runs_active as r where r.queue = 'pushed')"
LOST = ("TD001", "TD002", "TD003", "TD004", "TD010", "TD030")
WAITING = """
    select r.run_id
    from tide.runs_active as r
    where r.waiting_on = 'push'
    order by random()
    limit 1
    """


def fill(dsn: str, runs: int = RUNS, **settings: Any) -> None:
    given = {"push_url": "https://app.example.com", "backoff_base": "0 s", "max_attempts": 50}
    with open_connection(dsn) as connection:
        connection.execute(
            "select tide.set_queue('pushed', %s::jsonb)", (json.dumps({**given, **settings}),)
        )
        connection.execute(
            "select tide.enqueue_many('pushed', %s::jsonb)",
            (json.dumps([{"workflow": "work", "priority": n % 3} for n in range(runs)]),),
        )


def tick(actor: Actor) -> None:
    """Upkeep beside upkeep: the lock that lets one reconcile at a time work is not taken."""
    for _ in actor.until_over():
        for sweep in ("dispatches", "push", "expired_leases", "due"):
            actor.value("select tide._sweep(%s, 10)", sweep)
        if actor.random.random() < 0.2:
            actor.rows("call tide.reconcile()")


def lapse(actor: Actor) -> None:
    """Let horizons and pauses end early, so that they race with those who begin."""
    for _ in actor.until_over():
        lapsed = actor.rows(
            """
            update tide.runs_active as r
            set dispatched_until = tide._now(), dispatches = 1
            where r.run_id = any (
              array(
                select s.run_id
                from tide.runs_active as s
                where s.dispatched_until > tide._now()
                limit 1
                for no key update skip locked
              )
            )
            returning r.run_id
            """
        )
        actor.hits["lapsed"] += len(lapsed)
        actor.rows(
            """
            update tide.runs_active as r
            set run_at = tide._now()
            where r.run_id = any (
              array(
                select s.run_id
                from tide.runs_active as s
                where s.status = 'queued'
                  and s.waiting_on is null
                  and s.run_at > tide._now()
                for no key update skip locked
              )
            )
            returning true
            """
        )


def apply(actor: Actor) -> None:
    """An application that is asked to begin runs, and does, mostly."""
    for _ in actor.until(DRAINED):
        run_id = actor.value(WAITING)
        if run_id is None:
            continue
        if actor.random.random() < 0.1:
            actor.rows("select tide.cancel(%s)", run_id, refused=LOST)
            actor.hits["cancelled"] += 1
            continue
        held = actor.rows(
            "select r.lease_id, r.status from tide.begin_run(%s) as r", run_id, refused=LOST
        )
        if not held or held[0].lease_id is None:
            continue
        actor.hits["begun"] += 1
        given = (run_id, held[0].lease_id)
        match actor.random.randrange(6):
            case 0:
                actor.rows("select tide.fail(%s, %s, retry_after => '0')", *given, refused=LOST)
            case 1:
                actor.rows("select tide.release(%s, %s)", *given, refused=LOST)
            case _:
                actor.rows("select tide.complete(%s, %s)", *given, refused=LOST)


def watch_cap(actor: Actor) -> None:
    """See the cap from outside: what is dispatched or runs, in one snapshot."""
    for _ in actor.until_over():
        busy = actor.value(
            """
            select count(*)
            from tide.runs_active as r
            where r.status = 'running'
              or r.waiting_on = 'push'
            """
        )
        assert busy <= CAP, f"{busy} runs under a cap of {CAP}"
        actor.hits["full"] += busy == CAP


def check_ends(dsn: str) -> None:
    with open_connection(dsn) as connection:
        assert value(connection, "select count(*) from tide.slots where run_id is not null") == 0
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        assert value(connection, "select count(*) from tide.runs_active") == 0
        torn = connection.execute(
            """
            select r.run_id
            from tide.runs_finished as r
            join tide.event_log as e on e.run_id = r.run_id
            group by
              r.run_id,
              r.last_seq
            having max(e.seq) <> r.last_seq
              or count(*) <> r.last_seq
            """
        ).fetchall()
        assert torn == []
        # Every begin followed a dispatch of its own.
        starts = one(
            connection,
            """
            select
              count(*) filter (where e.type = 'run.started') as begun,
              count(*) filter (where e.type = 'run.dispatched') as dispatched
            from tide.event_log as e
            """,
        )
        assert starts.begun <= starts.dispatched


def test_push_never_exceeds_its_cap(dsn: str) -> None:
    def play() -> Counter[str]:
        fill(dsn, concurrency=CAP)
        return storm(dsn, [apply] * APPLICATIONS, beside=[*[tick] * TICKERS, lapse, watch_cap])

    until_met(play, begun=RUNS, cancelled=5, lapsed=20, full=5, TD030=1)
    check_ends(dsn)


def test_push_never_exceeds_its_rate(dsn: str) -> None:
    limit, period = 10, timedelta(milliseconds=250)

    def play() -> Counter[str]:
        fill(dsn, 60, rate_limit=limit, rate_period="250 milliseconds")
        return storm(dsn, [apply] * 3, beside=[*[tick] * TICKERS, lapse])

    until_met(play, begun=40, lapsed=1)
    check_ends(dsn)
    with open_connection(dsn) as connection:
        starts = [
            row.created_at
            for row in connection.execute(
                """
                select e.created_at
                from tide.event_log as e
                where e.type = 'run.dispatched'
                order by e.created_at
                """
            )
        ]
    for first, beyond in zip(starts, starts[limit:], strict=False):
        assert beyond - first >= period
