"""Fires beside fires, declarations, pauses and drops; and workers that die in the midst of one."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.races.scenes import history
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, one, open_connection, value

HOUR = timedelta(hours=1)
TICK = "select tide._sweep('schedules', 10)"
SET = (
    "select s.cron, s.paused, s.next_fire_at <= tide._now() as due "
    "from tide.set_schedule('report', '{}', 'report', '{{\"n\": {}}}') as s"
)
PAUSE = "select s.paused from tide.pause_schedule('report') as s"
HAND = "select f.outcome from tide.fire_schedule('report') as f"
DROP = "select tide.drop_schedule('report')"


@pytest.fixture(autouse=True)
def hour(connection: Connection, clock: Clock) -> Clock:
    """A schedule that is due, its clock stopped; no tick comes but those of the script."""
    clock.set(clock.now.replace(minute=0, second=0, microsecond=0) + HOUR)
    connection.execute("select tide.set_schedule('report', '0 * * * *', 'report')")
    connection.execute("update tide.ticks set next_at = 'infinity'")
    clock.advance(HOUR)
    return clock


def outcomes(connection: Connection) -> list[str]:
    """The ledger, oldest first; each fire that says so has its run, and no other run is there."""
    rows = connection.execute(
        """
        select f.outcome, f.run_id
        from tide.schedule_fires as f
        order by f.fire_at
        """
    ).fetchall()
    made = {row.run_id for row in rows if row.outcome in ("enqueued", "by_hand")}
    there = connection.execute("select r.run_id from tide.runs as r").fetchall()
    assert {row.run_id for row in there} == made
    assert all(history(connection, run_id) == ["run.enqueued"] for run_id in made)
    return [row.outcome for row in rows]


def next_at(connection: Connection) -> timedelta:
    """How far the next fire is from the clock."""
    found: timedelta = value(
        connection, "select s.next_fire_at - tide._now() from tide.schedules as s"
    )
    return found


def test_two_ticks_fire_a_time_once(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.tick     1
        b.tick     0
        a.commit
        b.tick     0
        """
    )
    assert outcomes(connection) == ["enqueued"]
    assert next_at(connection) == HOUR


def test_a_fire_rolled_back_is_done_by_the_next_tick(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.tick       1
        b.tick       0
        a.rollback
        b.tick       1
        """
    )
    assert outcomes(connection) == ["enqueued"]


def test_a_time_set_back_by_hand_beside_its_fire_is_not_fired_again(
    stepper: Stepper, connection: Connection
) -> None:
    """The ledger holds, not the lock alone: its key makes the second insert wait and find it."""
    fire = "select tide._fire(s, tide._now(), 'enqueued', 'ann') is null from tide.schedules as s"
    stepper.session("a", fire=fire)
    stepper.session("b", fire=fire)
    stepper.play(
        """
        a.begin
        a.fire     no
        b.fire     waiting
        a.commit
        b.fire     yes
        """
    )
    assert outcomes(connection) == ["enqueued"]


def test_the_second_of_two_fires_of_a_time_counts_when_the_first_rolls_back(
    stepper: Stepper, connection: Connection
) -> None:
    fire = "select tide._fire(s, tide._now(), 'enqueued', 'ann') is null from tide.schedules as s"
    stepper.session("a", fire=fire)
    stepper.session("b", fire=fire)
    stepper.play(
        """
        a.begin
        a.fire       no
        b.fire       waiting
        a.rollback
        b.fire       no
        """
    )
    assert outcomes(connection) == ["enqueued"]


def test_a_declaration_beside_a_fire_takes_its_turn(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", set=SET.format("@hourly", 2))
    stepper.play(
        """
        a.begin
        a.tick     1
        b.set      waiting
        a.commit
        b.set      @hourly, no, no
        """
    )
    assert outcomes(connection) == ["enqueued"]
    assert next_at(connection) == HOUR
    assert value(connection, "select s.input from tide.schedules as s") == {"n": 2}


def test_a_fire_beside_a_declaration_passes_over_and_comes_after_with_the_new_input(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", set=SET.format("@hourly", 2))
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.set      @hourly, no, yes
        b.tick     0
        a.commit
        b.tick     1
        """
    )
    assert outcomes(connection) == ["enqueued"]
    assert value(connection, "select r.input from tide.runs as r") == {"n": 2}


def test_a_changed_time_committed_beside_a_fire_is_not_overwritten(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", set=SET.format("30 * * * *", 2))
    stepper.play(
        """
        a.begin
        a.tick     1
        b.set      waiting
        a.commit
        b.set      30 * * * *, no, no
        """
    )
    assert outcomes(connection) == ["enqueued"]
    assert next_at(connection) == HOUR / 2


def test_a_changed_time_before_the_fire_leaves_nothing_to_fire(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", set=SET.format("30 * * * *", 2))
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.set      30 * * * *, no, no
        b.tick     0
        a.commit
        b.tick     0
        """
    )
    assert outcomes(connection) == ["missed"]


def test_two_declarations_of_a_new_schedule_are_one(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute(DROP)
    stepper.session("a", set=SET.format("@hourly", 1))
    stepper.session("b", set=SET.format("@daily", 2))
    stepper.play(
        """
        a.begin
        a.set      @hourly, no, no
        b.set      waiting
        a.commit
        b.set      @daily, no, no
        """
    )
    assert value(connection, "select s.input from tide.schedules as s") == {"n": 2}


def test_a_declaration_beside_a_drop_makes_the_schedule_anew(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", drop=DROP)
    stepper.session("b", set=SET.format("@hourly", 2))
    stepper.play(
        """
        a.begin
        a.drop     yes
        b.set      waiting
        a.commit
        b.set      @hourly, no, no
        """
    )
    assert value(connection, "select s.input from tide.schedules as s") == {"n": 2}


def test_a_pause_beside_a_fire_takes_its_turn(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", pause=PAUSE)
    stepper.play(
        """
        a.begin
        a.tick     1
        b.pause    waiting
        a.commit
        b.pause    yes
        b.pause    yes
        """
    )
    assert outcomes(connection) == ["enqueued"]


def test_a_fire_beside_a_pause_passes_over_for_good(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", pause=PAUSE)
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.pause    yes
        b.tick     0
        a.commit
        b.tick     0
        """
    )
    assert outcomes(connection) == ["missed"]


def test_a_fire_beside_a_drop_passes_over(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", drop=DROP)
    stepper.session("b", tick=TICK)
    stepper.play(
        """
        a.begin
        a.drop     yes
        b.tick     0
        a.commit
        b.tick     0
        """
    )
    assert outcomes(connection) == []


def test_a_fire_by_hand_beside_a_tick_is_a_run_of_its_own(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", tick=TICK)
    stepper.session("b", fire=HAND)
    stepper.play(
        """
        a.begin
        a.tick     1
        b.fire     waiting
        a.commit
        b.fire     by_hand
        """
    )
    assert outcomes(connection) == ["enqueued", "by_hand"]


@pytest.mark.parametrize("step", ["_fire", "_enqueue"])
def test_a_worker_that_dies_within_a_fire_leaves_it_to_the_next(
    stepper: Stepper, connection: Connection, step: str
) -> None:
    """Stopped before the ledger, and between ledger and run."""
    stepper.gate("gate", step)
    stepper.session("b", tick=TICK)
    stepper.session("a", tick=TICK)
    stepper.play(
        """
        gate.begin
        gate.shut     nothing
        a.tick        waiting
        b.tick        0
        """
    )
    killed = value(
        connection,
        """
        select pg_terminate_backend(a.pid, 5000)
        from pg_stat_activity as a
        where a.wait_event = 'advisory'
          and a.datname = current_database()
        """,
    )
    assert killed
    stepper.lose("a")
    assert outcomes(connection) == []
    stepper.play(
        """
        gate.commit
        b.tick        1
        b.tick        0
        """
    )
    assert outcomes(connection) == ["enqueued"]


def test_a_worker_that_dies_between_fire_and_advance_leaves_nothing(
    connection: Connection, direct_dsn: str
) -> None:
    dying = open_connection(direct_dsn, autocommit=False)
    fired = one(
        dying,
        "select (tide._fire(s, s.next_fire_at, 'enqueued', 'ann')).outcome "
        "from tide.schedules as s",
    )
    assert fired.outcome == "enqueued"
    value(connection, "select pg_terminate_backend(%s, 5000)", dying.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        dying.commit()
    assert outcomes(connection) == []
    assert [value(connection, TICK) for _ in range(2)] == [1, 0]
    assert outcomes(connection) == ["enqueued"]
    assert next_at(connection) == HOUR
