"""Enqueues that name each other's runs beside workers that end them: none is lost or runs early."""

from __future__ import annotations

from collections import Counter

from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import open_connection, value

ACTORS = 16
RUNS = 12
DRAINED = "select not exists (select from tide.runs_active)"
NAMED = "select array(select r.run_id from tide.runs as r order by random() limit %s)"
ENQUEUE = """
    select e.run_id
    from tide.enqueue('work', after => %s, after_mode => %s, after_failure => %s) as e
    """
EARLY = """
    select count(*)
    from tide.event_log as e
    join tide.runs as r on r.run_id = e.run_id
    join tide.predecessors as p on p.run_id = r.run_id
    join tide.runs as b on b.run_id = p.after_id
    where e.seq = 1
      and e.payload ->> 'after_mode' = 'all'
      and r.started_at is not null
      and (b.finished_at > r.started_at or b.status <> 'completed' and p.after_failure <> 'run')
    """
IN_VAIN = """
    select count(*)
    from tide.runs as r
    where r.status <> 'completed'
      and r.started_at is null
      and not exists (
        select
        from tide.predecessors as p
        where p.run_id = r.run_id
          and p.ended_as <> 'completed'
      )
    """


def work(actor: Actor) -> None:
    for run in actor.rows("select run_id, lease_id from tide.claim(max_runs => 2)"):
        if actor.random.random() < 0.15:
            actor.hits["failed"] += 1
            actor.rows("select tide.fail(%s, %s, retryable => false)", run.run_id, run.lease_id)
        else:
            actor.hits["completed"] += 1
            actor.rows("select tide.complete(%s, %s)", run.run_id, run.lease_id)


def take_part(actor: Actor) -> None:
    for _ in range(RUNS):
        named = actor.value(NAMED, actor.random.randrange(4))
        mode, failure = actor.random.choice(["all", "any"]), actor.random.choice(["cancel", "run"])
        given = (named, mode, failure) if named else (None, None, None)
        actor.hits["after"] += bool(named)
        # A transaction that stays open: ends wait for it, or are waited for.
        actor.connection.execute("begin")
        actor.rows(ENQUEUE, *given)
        actor.connection.execute("commit")
        work(actor)
    for _ in actor.until(DRAINED):
        work(actor)


def test_runs_that_come_after_others_are_never_lost_and_never_early(dsn: str) -> None:
    def upkeep(actor: Actor) -> None:
        for _ in actor.until_over():
            report = actor.value("call tide.reconcile()")
            actor.hits["noticed"] += report["dependents"]

    def play() -> Counter[str]:
        return storm(dsn, [take_part] * ACTORS, [upkeep])

    until_met(play, after=100, failed=5, noticed=3)
    with open_connection(dsn) as connection:
        check_histories(connection)
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        assert value(connection, EARLY) == 0
        assert value(connection, IN_VAIN) == 0
        open_edges = "select count(*) from tide.predecessors where ended_as is null or not noticed"
        assert value(connection, open_edges) == 0
