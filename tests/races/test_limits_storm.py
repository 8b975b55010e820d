"""All kinds of limits at once, changed while runs of all kinds meet them: no call fails for another
reason than it is told here, and in the end every run has been let go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from tests.lanes.census import in_step
from tests.races.storm import LONGEST, Actor, check_histories, storm, until_met
from tests.support import Connection, open_connection, size, value

WORKERS = size(10, 24)
ROUNDS = size(40, 200)
QUEUES: dict[str, dict[str, Any]] = {
    "capped": {"concurrency": 6},
    "rated": {"rate_limit": 400, "rate_period": "1 s"},
    "plain": {},
}
LANES: dict[str, dict[str, Any]] = {
    "places": {"total": 3, "per_key": 1},
    "fair": {"fair": True, "total": 4, "weights": {"a": 3}},
    "units": {"units": 40, "units_per_key": 20, "period": "0.1 s"},
    "both": {"fair": True, "units": 60, "period": "0.2 s", "per_key": 2},
    "breaker": {
        "breaker_failures": 2, "breaker_classes": ["Down"], "breaker_delay": "1 s",
        "breaker_max_delay": "1 s", "total": 5,
    },
    "adaptive": {"total": 8, "adaptive": True, "adaptive_min": 2, "fair": True},
}  # fmt: skip
OUTCOMES: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"error": {"type": "Down"}, "retryable": True},
    {"error": {}, "retryable": False}, {"release": True},
)  # fmt: skip
# Leases are lost, runs have ended, lanes are dropped, keys taken, limits lowered below a cost.
TOLD = ("TD001", "TD002", "TD003", "TD010", "TD020", "TD023", "TD030", "22023")
NOTHING_LEFT = """
    select
      not exists (select from tide.lane_waits)
      and not exists (select from tide.lane_slots where run_id is not null)
      and not exists (select from tide.reserved_amounts)
      and not exists (select from tide.budget_waits)
      and not exists (select from tide.sweep_failures)
    """


def set_limits(connection: Connection) -> None:
    for queue, settings in QUEUES.items():
        given = {"backoff_base": "0 s", "max_attempts": 50, **settings}
        connection.execute("select tide.set_queue(%s, %s::jsonb)", (queue, json.dumps(given)))
    for lane, settings in LANES.items():
        connection.execute("select tide.set_lane(%s, %s::jsonb)", (lane, json.dumps(settings)))
        connection.execute("select tide.throttle(%s)", (lane,))
    connection.execute("select tide.set_allowance('tenant', 'usd', 1000)")


def call(actor: Actor, function: str, **arguments: Any) -> list[Any]:
    """What a function of the schema answers; documents are given as JSON."""
    given = {
        name: json.dumps(argument) if isinstance(argument, dict) else argument
        for name, argument in arguments.items()
    }
    named = ", ".join(
        f"{name} => %s" + ("::jsonb" if isinstance(arguments[name], dict) else "") for name in given
    )
    return actor.rows(f"select * from tide.{function}({named})", *given.values(), refused=TOLD)


def some_run(actor: Actor, *statuses: str) -> UUID | None:
    run: UUID | None = actor.value(
        "select r.run_id from tide.runs as r where r.status = any (%s) order by random() limit 1",
        list(statuses),
    )
    return run


def enqueue(actor: Actor) -> None:
    chance = actor.random.random
    run: dict[str, Any] = {"workflow": "work", "priority": actor.random.randint(-3, 3)}
    if chance() < 0.8:
        run["lane"] = actor.random.choice(list(LANES))
        run["cost"] = actor.random.randint(1, 20)
        run["lane_key"] = actor.random.choice("abcdef") if chance() < 0.8 else None
    if chance() < 0.2:
        run["budget"] = {"allowances": ["tenant"]}
    queue = actor.random.choice(list(QUEUES))
    if chance() < 0.3:
        runs = json.dumps([run] * actor.random.randint(2, 12))
        actor.rows("select tide.enqueue_many(%s, %s::jsonb)", queue, runs, refused=TOLD)
        return
    if chance() < 0.2:
        run["delay"] = f"{actor.random.randint(0, 300)} ms"
    elif chance() < 0.2:
        run["dedupe_key"] = f"key {actor.random.randint(0, 8)}"
        more: tuple[dict[str, str], ...] = (
            {}, {"dedupe_for": "100 ms"}, {"debounce": "100 ms"}, {"on_conflict": "cancel"},
        )  # fmt: skip
        run |= actor.random.choice(more)
    elif chance() < 0.1 and (before := some_run(actor, "queued", "running")):
        run["after"] = [before]
    call(actor, "enqueue", queue=queue, **run)


def claim(actor: Actor) -> None:
    chance = actor.random.random
    queues = actor.random.sample(list(QUEUES), actor.random.randint(1, 3))
    outcomes = []
    for run in call(
        actor, "claim", queues=queues, max_runs=actor.random.randint(1, 4), lease="1 s"
    ):
        actor.hits["claimed"] += 1
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        if chance() < 0.3:
            cents = actor.random.randint(1, 5) / 100
            begun = call(actor, "begin_step", **own, name="ask", estimate={"usd": cents})
            if begun and begun[0].action == "execute":
                used = {"cost_usd": cents, "total_tokens": 5}
                call(actor, "complete_step", **own, name="ask", used=used)
        match actor.random.randrange(12):
            case 0:
                call(actor, "fail", **own, error={"type": "Down"})
            case 1:
                call(actor, "release", **own, delay="50 ms", throttle=run.lane and "429")
            case 2:
                call(actor, "sleep", **own, name="nap", duration="50 ms")
            case 3:
                lane = actor.random.choice(list(LANES))
                call(actor, "spawn", **own, edge="child", workflow="work", options={"lane": lane})
                call(actor, "complete", **own)
            case 4:
                actor.connection.execute("begin")
                call(actor, "complete", **own)
                actor.die()
                return
            case 5:
                actor.die()
                return
            case 6 | 7:
                call(actor, "complete", **own)
            case _:
                ids = {name: str(one) for name, one in own.items()}
                outcomes.append(ids | actor.random.choice(OUTCOMES))
    if outcomes:
        actor.rows("select * from tide.settle(%s::jsonb)", json.dumps(outcomes), refused=TOLD)


def change_lane(actor: Actor) -> None:
    lane = actor.random.choice(list(LANES))
    settings = dict(LANES[lane])
    for limit in ("total", "per_key", "units"):
        if limit in settings:
            settings[limit] = round(settings[limit] * actor.random.choice((0.5, 1, 2)) + 0.5)
    if lane != "places" and actor.random.random() < 0.5:
        settings["fair"] = not settings.get("fair", False)
        settings["weights"] = None
    call(actor, "set_lane", lane=lane, settings=settings)


def drop_lane(actor: Actor) -> None:
    lane = actor.random.choice(list(LANES))
    call(actor, "drop_lane", lane=lane)
    call(actor, "set_lane", lane=lane, settings=LANES[lane])


def throttle(actor: Actor) -> None:
    lane = actor.random.choice(list(LANES))
    actor.rows("select tide.throttle(%s, now() + '100 ms', 'by hand')", lane, refused=TOLD)


def change_queue(actor: Actor) -> None:
    settings = {"concurrency": actor.random.choice((2, 6, None)), "paused": False}
    call(actor, "set_queue", queue="capped", settings=settings)


def change_allowance(actor: Actor) -> None:
    actor.rows("select tide.set_allowance('tenant', 'usd', %s)", actor.random.randint(0, 5))


def move_run(actor: Actor) -> None:
    if run := some_run(actor, "queued", "running"):
        match actor.random.randrange(3):
            case 0:
                call(actor, "cancel", run_id=run)
            case 1:
                call(actor, "explain_wait", run_id=run)
            case _:
                priority = actor.random.randint(-3, 3)
                actor.rows("select tide.reschedule(%s, now(), %s)", run, priority, refused=TOLD)


def retry(actor: Actor) -> None:
    if run := some_run(actor, "failed", "cancelled"):
        call(actor, "retry", run_id=run)


ACTS: dict[Callable[[Actor], None], int] = {
    enqueue: 30, claim: 40, change_lane: 4, drop_lane: 1, throttle: 2, change_queue: 2,
    change_allowance: 2, move_run: 6, retry: 3,
}  # fmt: skip


def work(actor: Actor) -> None:
    acts, weights = list(ACTS), list(ACTS.values())
    for _ in range(ROUNDS):
        act = actor.random.choices(acts, weights)[0]
        actor.hits[act.__name__] += 1
        act(actor)


def upkeep(actor: Actor) -> None:
    for _ in actor.until_over():
        actor.connection.execute("call tide.reconcile()")


def drain(connection: Connection) -> None:
    """One worker that completes all there is, under all limits as they were."""
    set_limits(connection)
    until = time.monotonic() + LONGEST
    while value(connection, "select exists (select from tide.runs_active)"):
        left = "select (tide.explain_wait(r.run_id))::text from tide.runs_active as r limit 3"
        assert time.monotonic() < until, connection.execute(left).fetchall()
        connection.execute("call tide.reconcile()")
        for run in connection.execute(
            "select run_id, lease_id from tide.claim(%s, max_runs => 100)", ([*QUEUES, "default"],)
        ).fetchall():
            connection.execute("select tide.complete(%s, %s)", (run.run_id, run.lease_id))


def test_no_limit_and_no_change_of_limits_strands_a_run(dsn: str) -> None:
    def play() -> Any:
        with open_connection(dsn) as connection:
            set_limits(connection)
            met = storm(dsn, [work] * WORKERS, [upkeep])
            drain(connection)
            assert value(connection, NOTHING_LEFT)
            assert in_step(connection)
            check_histories(connection)
        return met

    once = {act.__name__: 1 for act in ACTS}
    until_met(play, **once, claimed=50, died=5)
