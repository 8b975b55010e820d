"""Many claimers at once in lanes: limits in total and for each key, also while they change."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.lanes.census import in_step
from tests.races.storm import Actor, check_histories, storm, until_met
from tests.races.test_claim_storms import COMPLETE, LOST, end_somehow, outcome, upkeep
from tests.support import open_connection, size, value

CLAIMERS = 16
TOTAL, PER_KEY = 6, 2
QUEUES = ["a", "b", "c"]
KEYS = ["acme", "bolt", "core", "dock", None]
RUNS = size(150, 240)
MOST = 10
DRAINED = "select not exists (select from tide.runs_active)"
CENSUS = """
    select
      count(*) as running,
      coalesce(max(k.running) filter (where k.lane_key is not null), 0) as most_of_a_key
    from (
      select
        r.lane_key,
        count(*) over (partition by r.lane_key) as running
      from tide.runs_active as r
      where r.lane = 'shared'
        and r.status = 'running'
    ) as k
    """


def fill(dsn: str, **settings: Any) -> None:
    with open_connection(dsn) as connection:
        connection.execute("select tide.set_lane('shared', %s::jsonb)", (json.dumps(settings),))
        for number, queue in enumerate(QUEUES):
            connection.execute(
                "select tide.set_queue(%s, %s::jsonb)",
                (queue, json.dumps({"backoff_base": "0 s", "max_attempts": 100})),
            )
            connection.execute(
                "select tide.enqueue_many(%s, %s::jsonb)",
                (
                    queue,
                    json.dumps(
                        [
                            {
                                "workflow": "work",
                                "priority": place % 3,
                                "lane": "shared",
                                # Most runs are of one key, which stands in front of the others.
                                "lane_key": KEYS[0 if place % 2 else (place + number) % 5],
                            }
                            for place in range(RUNS // len(QUEUES))
                        ]
                    ),
                ),
            )


def claim(actor: Actor) -> None:
    carried: list[dict[str, Any]] = []
    for _ in actor.until(DRAINED):
        runs = actor.rows(
            """
            select s.run_id, s.lease_id, s.reason
            from tide.settle_and_claim(%s::jsonb, %s, %s, '250 ms') as s
            where s.accepted is null or s.reason = 'busy'
            """,
            json.dumps(carried),
            actor.random.sample(QUEUES, len(QUEUES)),
            actor.random.randint(1, 4),
        )
        busy = {str(run.run_id) for run in runs if run.reason == "busy"}
        carried = [one for one in carried if one["run_id"] in busy]
        for run in runs:
            if run.reason is None:
                actor.hits["claimed"] += 1
                # Its lease ran out while it was busy: the old report is for nothing.
                carried = [one for one in carried if one["run_id"] != str(run.run_id)]
                match actor.random.randrange(10):
                    case 0 | 1 | 2:
                        carried.append(outcome(run))
                    case 3:
                        actor.hits["cancelled"] += 1
                        actor.rows("select tide.cancel(%s)", run.run_id, refused=LOST)
                    case 4 | 5:
                        actor.rows(COMPLETE, run.run_id, run.lease_id, refused=LOST)
                    case _:
                        end_somehow(actor, run)


def claim_in_vain(actor: Actor) -> None:
    for _ in actor.until(DRAINED):
        actor.connection.execute("begin")
        actor.hits["in vain"] += bool(actor.rows("select tide.claim(%s, 2)", QUEUES))
        actor.connection.execute("rollback")


def check_places(dsn: str) -> None:
    with open_connection(dsn) as connection:
        check_histories(connection)
        assert value(connection, "select count(*) from tide.runs_active") == 0
        assert value(connection, "select count(*) from tide.lane_waits") == 0
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        assert in_step(connection)
        assert (
            value(connection, "select count(*) from tide.lane_slots where run_id is not null") == 0
        )


def test_sixteen_claimers_never_exceed_a_lane_in_total_or_for_a_key(dsn: str) -> None:
    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            ((running, of_a_key),) = actor.rows(CENSUS)
            assert running <= TOTAL, f"{running} runs of a lane of {TOTAL}"
            assert of_a_key <= PER_KEY, f"{of_a_key} runs of a key of {PER_KEY}"
            actor.hits["full"] += running == TOTAL
            actor.hits["key full"] += of_a_key == PER_KEY
            actor.hits["waiting"] += bool(actor.value("select count(*) from tide.lane_waits"))

    def play() -> Counter[str]:
        fill(dsn, total=TOTAL, per_key=PER_KEY)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, watch])

    needed = {"in vain": 1, "key full": 1, "retried": 4, "died": 4, "cancelled": 4}
    until_met(play, **needed, claimed=RUNS, full=5, waiting=5)
    check_places(dsn)


def test_limits_that_change_under_load_lose_and_leak_nothing(dsn: str) -> None:
    def configure(actor: Actor) -> None:
        for _ in actor.until_over():
            if actor.random.random() < 0.1:
                actor.hits["dropped"] += bool(actor.value("select tide.drop_lane('shared')"))
            settings = {
                "total": actor.random.choice([None, 1, 2, 6]),
                "per_key": actor.random.choice([None, 1, 2, 3]),
            }
            actor.value("select tide.set_lane('shared', %s::jsonb)", json.dumps(settings))
            actor.hits["configured"] += 1

    def play() -> Counter[str]:
        fill(dsn, total=TOTAL, per_key=PER_KEY)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, configure])

    until_met(play, claimed=RUNS, configured=10, dropped=1)
    check_places(dsn)


def test_eight_claimers_get_nothing_of_a_throttled_lane_until_it_is_lifted(dsn: str) -> None:
    """By the clock of the database: no claim begins and gives a run while the lane is throttled."""
    closed: list[tuple[datetime, datetime]] = []
    claims: list[tuple[datetime, datetime]] = []

    def work(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            runs = actor.rows(
                """
                select c.run_id, c.lease_id, c.attempt, c.started_at, statement_timestamp() as asked
                from tide.claim(%s, %s) as c
                """,
                QUEUES,
                actor.random.randint(1, 4),
            )
            actor.hits["claimed"] += len(runs)
            for run in runs:
                claims.append((run.asked, run.started_at))
                assert run.attempt == 1
                if actor.random.randrange(8):
                    actor.rows(COMPLETE, run.run_id, run.lease_id)
                else:
                    release = "select tide.release(%s, %s, '20 ms', '429')"
                    actor.hits["rate limited"] += bool(
                        actor.rows(release, run.run_id, run.lease_id)
                    )

    def throttle(actor: Actor) -> None:
        for _ in actor.until_over():
            actor.value("select tide.throttle('shared', clock_timestamp() + interval '1 hour')")
            begun = actor.value("select clock_timestamp()")
            for _ in range(2):
                actor.value("call tide.reconcile()")
            actor.hits["parked"] += bool(actor.value("select count(*) from tide.lane_waits"))
            ended = actor.value("select clock_timestamp()")
            closed.append((begun, ended))
            actor.value("select tide.throttle('shared')")
            actor.value("call tide.reconcile()")

    def play() -> Counter[str]:
        fill(dsn, total=TOTAL, per_key=PER_KEY)
        return storm(dsn, [work] * 8, [throttle])

    until_met(play, claimed=RUNS, parked=3, **{"rate limited": 4})
    assert not [
        (asked, given)
        for asked, given in claims
        for begun, ended in closed
        if begun < asked and given < ended
    ]
    check_places(dsn)


STEPS = """
    create table if not exists public.steps (
      step bigint generated always as identity,
      most integer,
      written_at timestamptz not null default clock_timestamp()
    );
    create or replace function public.note_step() returns trigger language plpgsql as $$
    begin
      if tg_op = 'INSERT' or (old.total, old.adaptive_limit)
        is distinct from (new.total, new.adaptive_limit)
      then
        insert into public.steps (most) values (least(new.total, new.adaptive_limit));
      end if;
      return null;
    end;
    $$;
    create or replace trigger note_step after insert or update on tide.lanes
    for each row execute function public.note_step();
    """
CLAIM = """
    select c.run_id, c.lease_id, c.started_at, statement_timestamp() as asked
    from tide.claim(%s, %s) as c
    """
LAST_CLAIMED = """
    select count(*) as running, max(r.started_at) as started_at
    from tide.runs_active as r
    where r.lane = 'shared'
      and r.status = 'running'
    """
BOUND = """
    select
      (select count(*) from tide.runs_active as r where r.lane = 'shared' and r.status = 'running'),
      least(l.total, l.adaptive_limit)
    from tide.lanes as l
    where l.lane = 'shared'
    """


def report(actor: Actor, run: Any) -> None:
    """Most runs complete; the provider refuses some, told in either way."""
    match actor.random.randrange(60):
        case 0:
            release = "select tide.release(%s, %s, '1 ms', '429')"
            actor.hits["refused"] += bool(actor.rows(release, run.run_id, run.lease_id))
        case 1:
            own = {"run_id": str(run.run_id), "lease_id": str(run.lease_id)}
            outcomes = json.dumps([{**own, "release": True, "throttle": "429"}])
            actor.rows("select tide.settle(%s::jsonb)", outcomes)
            actor.hits["refused"] += 1
        case 2:
            actor.rows("select tide.release(%s, %s)", run.run_id, run.lease_id)
        case _:
            actor.rows(COMPLETE, run.run_id, run.lease_id)


def reconfigure(actor: Actor) -> None:
    """Other totals, adaptive or not, with pauses of some rounds of upkeep."""
    for _ in actor.until_over():
        settings = {
            "total": actor.random.choice([5, 8, MOST]),
            "adaptive": actor.random.random() < 0.9,
        }
        actor.value("select tide.set_lane('shared', %s::jsonb)", json.dumps(settings))
        for _ in range(5):
            actor.value("call tide.reconcile()")
        actor.hits["configured"] += 1


def steps_of(dsn: str, met: Counter[str]) -> list[Any]:
    """Every limit of the lane and when it was written; counts those that fell by half and rose."""
    with open_connection(dsn) as connection:
        steps = connection.execute(
            "select most, written_at from public.steps where most is not null order by step"
        ).fetchall()
    for before, after in pairwise(steps):
        met["halved"] += after.most == before.most // 2
        met["raised"] += after.most == before.most + 1
    return steps


def test_no_claim_of_sixteen_exceeds_the_adaptive_limit_at_its_commit(dsn: str) -> None:
    """Each claim keeps the limit as it is until its commit, so both can be compared in it."""

    def work(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            with actor.connection.transaction():
                actor.rows("select from tide.lanes for no key update")
                runs = actor.rows(CLAIM, QUEUES, actor.random.randint(1, 4))
                if runs:
                    ((running, most),) = actor.rows(BOUND)
                    assert running <= most, f"{running} runs of a lane of {most}"
                    actor.hits["full"] += running == most
            actor.hits["claimed"] += len(runs)
            for run in runs:
                report(actor, run)

    def play() -> Counter[str]:
        with open_connection(dsn) as connection:
            connection.execute(STEPS)
        fill(dsn, total=MOST, adaptive=True, adaptive_min=2)
        met = storm(dsn, [work] * CLAIMERS, [reconfigure])
        steps_of(dsn, met)
        return met

    until_met(play, claimed=RUNS, refused=4, halved=2, raised=5, configured=5, full=5)
    check_places(dsn)


def test_sixteen_claimers_beside_each_step_find_no_limit_they_exceed(dsn: str) -> None:
    """What runs is bounded by a limit that was to be read while the last of it was claimed.

    The steps are serial: each is written before its commit and after the commit of the one before.
    So a claim reads a step written before the claim ended, and of which the next but one was
    written after the claim began. Claims beside the last one count as one with it.
    """
    claims: dict[datetime, tuple[datetime, datetime]] = {}
    seen: set[tuple[datetime, int]] = set()

    def work(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            runs = actor.rows(CLAIM, QUEUES, actor.random.randint(1, 4))
            if runs:
                given = actor.value("select clock_timestamp()")
                claims.update((run.started_at, (run.asked, given)) for run in runs)
            actor.hits["claimed"] += len(runs)
            for run in runs:
                report(actor, run)

    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            ((running, started_at),) = actor.rows(LAST_CLAIMED)
            if running:
                seen.add((started_at, running))

    def play() -> Counter[str]:
        with open_connection(dsn) as connection:
            connection.execute(STEPS)
        fill(dsn, total=MOST, adaptive=True, adaptive_min=2)
        met = storm(dsn, [work] * CLAIMERS, [watch, reconfigure])
        steps = steps_of(dsn, met)
        for started_at, running in seen:
            asked, given = claims[started_at]
            begun = min(
                early for early, late in claims.values() if early <= given and late >= asked
            )
            most = max(
                step.most
                for place, step in enumerate(steps)
                if step.written_at <= given
                and (place + 2 >= len(steps) or steps[place + 2].written_at >= begun)
            )
            assert running <= most, f"{running} runs of a lane of {most}"
            met["low"] += most < MOST
        return met

    until_met(play, claimed=RUNS, refused=4, halved=2, raised=5, configured=5, low=20)
    check_places(dsn)
