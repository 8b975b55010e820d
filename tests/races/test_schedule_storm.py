"""Many ticks at once, some of which die, and declarations beside them: each time one run."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import psycopg
import pytest

from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import Clock, Connection, size, value

TICKERS = 8
SCHEDULES = 40
ROUNDS = size(6, 12)
MINUTE = timedelta(minutes=1)
TICK = "select tide._sweep('schedules', 10)"
NOTHING_DUE = """
    select not exists (
      select
      from tide.schedules as s
      where s.enabled
        and not s.paused
        and s.next_fire_at <= tide._now()
    )
    """
# To be terminated is to be told so, or to find the connection gone.
KILLED = ("57P01", None)


@pytest.fixture(autouse=True)
def stopped(connection: Connection, clock: Clock) -> Clock:
    """The clock, stopped at a full hour; no tick comes but those of the storm."""
    clock.set(clock.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
    connection.execute("update tide.ticks set next_at = 'infinity'")
    return clock


def declare(connection: Connection, count: int, misfire: str) -> None:
    connection.execute(
        """
        select count(tide.set_schedule(
          'schedule' || n, '* * * * *', 'work', misfire => %s
        ))
        from generate_series(1, %s) as n
        """,
        (misfire, count),
    )


def ticker(actor: Actor) -> None:
    """Ticks that others may end in their midst, until nothing is due."""
    while True:
        try:
            for _ in actor.until(NOTHING_DUE):
                actor.connection.execute("begin")
                handled = actor.value(TICK)
                actor.hits["fired"] += handled
                actor.hits["found nothing"] += handled == 0
                actor.connection.execute("rollback" if actor.random.random() < 0.05 else "commit")
            return
        except psycopg.OperationalError as error:
            assert error.sqlstate in KILLED, error
            actor.die()


def killer(actor: Actor) -> None:
    """Terminates a backend in the midst of a tick, again and again."""
    for _ in actor.until_over():
        if actor.hits["killed"] >= 40:
            return
        actor.hits["killed"] += actor.value(
            """
            select count(pg_terminate_backend(v.pid))
            from (
              select a.pid
              from pg_stat_activity as a
              where a.datname = current_database()
                and a.query like %s
                and a.state in ('active', 'idle in transaction')
                and a.pid <> pg_backend_pid()
              order by (a.pid * %s::bigint) %% 997
              limit 1
            ) as v
            """,
            TICK[:20] + "%",
            actor.random.randrange(1, 997),
        )


def runs_by_fire(connection: Connection) -> Counter[tuple[str, str]]:
    return Counter(
        (row.schedule, row.fire_at)
        for row in connection.execute(
            """
            select
              r.metadata ->> 'schedule' as schedule,
              r.metadata ->> 'fire_at' as fire_at
            from tide.runs as r
            """
        )
    )


@pytest.mark.parametrize("misfire", ["one", "all"])
def test_each_time_has_one_run_however_many_tick_and_die(
    direct_dsn: str, connection: Connection, stopped: Clock, misfire: str
) -> None:
    declare(connection, SCHEDULES, misfire)
    times = []
    late = 1 if misfire == "one" else 4

    def play() -> Counter[str]:
        for _ in range(late):
            stopped.advance(MINUTE)
            times.append(f"{stopped.now:%Y-%m-%dT%H:%M:%SZ}")
        return storm(direct_dsn, [ticker] * TICKERS, beside=[killer])

    needed = {"plays": ROUNDS, "fired": SCHEDULES * ROUNDS, "found nothing": 10}
    until_met(play, most=10 * ROUNDS, **needed, killed=10, died=5)
    expected = {(f"schedule{n}", at): 1 for n in range(1, SCHEDULES + 1) for at in times}
    assert runs_by_fire(connection) == expected
    ledger = connection.execute(
        """
        select
          f.outcome,
          count(*) as fires,
          count(distinct f.run_id) as runs
        from tide.schedule_fires as f
        group by f.outcome
        """
    ).fetchall()
    assert ledger == [("enqueued", len(expected), len(expected))]
    assert connection.execute("select from tide.sweep_failures").fetchall() == []
    check_histories(connection)


def test_no_declaration_is_lost_among_fires(
    dsn: str, connection: Connection, stopped: Clock
) -> None:
    """Each schedule is edited by one session only: what it wrote last is what stays."""
    declare(connection, TICKERS, "all")
    written: dict[int, tuple[int, str]] = {}

    def editor(actor: Actor) -> None:
        for n in range(40):
            cron = ("* * * * *", "*/2 * * * *")[n % 8 == 7]
            actor.value(
                """
                select (tide.set_schedule(
                  %s, %s, 'work', jsonb_build_object('n', %s::integer), misfire => 'all'
                )).schedule
                """,
                f"schedule{actor.number + 1}",
                cron,
                n,
            )
            written[actor.number + 1] = (n, cron)
            actor.hits["edited"] += 1

    def fires(actor: Actor) -> None:
        for _ in actor.until_over():
            actor.hits["fired"] += actor.value(TICK)

    def play() -> Counter[str]:
        stopped.advance(90 * MINUTE)
        return storm(dsn, [editor] * TICKERS, beside=[fires] * 4)

    until_met(play, edited=40 * TICKERS, fired=TICKERS)
    rows = connection.execute(
        "select s.schedule, s.input -> 'n' as n, s.cron from tide.schedules as s"
    ).fetchall()
    assert {row.schedule: (row.n, row.cron) for row in rows} == {
        f"schedule{number}": last for number, last in written.items()
    }
    assert set(runs_by_fire(connection).values()) == {1}
    missed = value(
        connection,
        """
        select count(*)
        from tide.schedule_fires as f
        join tide.schedule_fires as m
          on m.schedule = f.schedule
          and m.outcome = 'missed'
          and f.fire_at between m.fire_at and m.last_at
        where f.outcome = 'enqueued'
        """,
    )
    assert missed == 0
    check_histories(connection)


def test_a_schedule_dropped_and_declared_all_the_time_is_never_missing(
    dsn: str, connection: Connection, stopped: Clock
) -> None:
    def dropper(actor: Actor) -> None:
        for _ in range(300):
            actor.hits["dropped"] += actor.value("select tide.drop_schedule('report')")

    def declarer(actor: Actor) -> None:
        for _ in range(300):
            name = actor.value("select (tide.set_schedule('report', '@hourly', 'work')).schedule")
            actor.hits["declared"] += name == "report"

    parts = [dropper, dropper, declarer, declarer, declarer]
    until_met(lambda: storm(dsn, parts), declared=900, dropped=10)
