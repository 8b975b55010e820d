"""Claims beside other claims, settings, upkeep and transactions that stay open."""

from __future__ import annotations

from datetime import timedelta

from tests.races.scenes import busy_slots, history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, value

CLAIM = "select c.run_id from tide.claim() as c"
CLAIM_FIVE = "select count(*) from tide.claim(max_runs => 5)"
CLAIM_TWO = "select count(*) from tide.claim(max_runs => 2)"
KNOWN = "select c.run_id from tide.claim(worker => 'w') as c"
RUNNING = "select count(*) from tide.runs_active as r where r.status = 'running'"


def setting(name: str, to: str) -> str:
    """Sets one thing of the default queue and answers what it is then."""
    return f"select q.{name} from tide.set_queue('default', '{{\"{name}\": {to}}}') as q"


def test_two_claims_never_get_one_run(stepper: Stepper, connection: Connection) -> None:
    stepper.facts["first"] = queued(connection)
    stepper.facts["second"] = queued(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim   first
        b.claim   second
        b.claim   nothing
        a.commit
        b.claim   nothing
        """
    )


def test_a_claim_that_rolls_back_leaves_the_run_to_the_next(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["run"] = queued(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim     run
        b.claim     nothing
        a.rollback
        b.claim     run
        """
    )
    assert history(connection, stepper.facts["run"]) == ["run.enqueued", "run.claimed"]


def test_a_claim_that_rolls_back_gives_slot_and_permit_back(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute(
        "select tide.set_queue('default', '{\"concurrency\": 1, \"rate_limit\": 1}')"
    )
    stepper.facts["first"] = queued(connection)
    stepper.facts["second"] = queued(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim     first
        b.claim     nothing
        a.rollback
        b.claim     first
        a.claim     nothing
        """
    )


def known(connection: Connection) -> None:
    """Have the worker of KNOWN claim once before."""
    connection.execute("select tide.claim('{default}', worker => 'w')")


def test_settings_bind_a_known_worker_from_their_commit_on(
    stepper: Stepper, connection: Connection
) -> None:
    known(connection)
    stepper.facts["first"] = queued(connection)
    stepper.facts["second"] = queued(connection)
    queued(connection)
    stepper.session("a", claim=KNOWN)
    stepper.session("b", cap=setting("concurrency", "2"))
    stepper.play(
        """
        a.claim     first
        b.begin
        b.cap       2
        a.claim     second
        b.commit
        a.claim     nothing
        """
    )


def test_setting_a_cap_waits_for_no_claim_and_counts_what_runs_without_a_slot(
    stepper: Stepper, connection: Connection
) -> None:
    for _ in range(10):
        queued(connection)
    stepper.session("a", claim=CLAIM_FIVE)
    stepper.session("b", cap=setting("concurrency", "2"))
    stepper.session(
        "c",
        claim=CLAIM_FIVE,
        end="""
            select count(*)
            from (
              select tide.cancel(r.run_id)
              from tide.runs as r
              where r.status = 'running'
              order by r.run_id
              limit 4
            ) as ended
            """,
    )
    stepper.play(
        """
        a.begin
        a.claim    5
        b.cap      2
        c.claim    2
        a.commit
        c.claim    0
        c.end      4
        c.claim    0
        c.end      3
        c.claim    2
        c.claim    0
        """
    )
    assert value(connection, RUNNING) == busy_slots(connection) == 2


def test_claims_at_once_share_what_runs_without_a_slot_leave_of_a_cap(
    stepper: Stepper, connection: Connection
) -> None:
    for _ in range(8):
        queued(connection)
    stepper.session("a", claim=CLAIM_TWO)
    stepper.session("b", cap=setting("concurrency", "5"))
    stepper.session("c", claim=CLAIM_TWO)
    stepper.play(
        """
        a.claim    2
        b.cap      5
        a.begin
        a.claim    2
        c.claim    0
        a.commit
        c.claim    1
        c.claim    0
        """
    )
    assert value(connection, RUNNING) == 5


def test_making_slots_waits_for_no_claim_and_loses_none(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 3}')")
    for _ in range(3):
        queued(connection)
    stepper.session("a", claim=CLAIM_TWO)
    stepper.session("b", shrink=setting("concurrency", "1"), grow=setting("concurrency", "4"))
    stepper.play(
        """
        a.begin
        a.claim     2
        b.shrink    1
        b.grow      4
        a.rollback
        """
    )
    connection.execute("call tide.reconcile()")
    assert value(connection, "select array_agg(s.slot order by s.slot) from tide.slots as s") == [
        1, 2, 3, 4,
    ]  # fmt: skip


def test_a_shrunken_cap_holds_while_a_run_above_it_ends(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 3}')")
    held = [leased(connection) for _ in range(3)]
    queued(connection)
    stepper.facts["run"], stepper.facts["lease"] = held[2]
    stepper.session("a", complete="select r.status from tide.complete(%(run)s, %(lease)s) as r")
    stepper.session(
        "b",
        shrink=setting("concurrency", "2"),
    )
    stepper.session("c", claim=CLAIM_FIVE)
    stepper.play(
        """
        a.begin
        a.complete   completed
        b.shrink     2
        c.claim      0
        a.commit
        c.claim      0
        """
    )
    connection.execute("call tide.reconcile()")
    assert value(connection, "select max(s.slot) from tide.slots as s") == 2


def test_an_open_claim_holds_up_nobody(stepper: Stepper, connection: Connection) -> None:
    stepper.facts["first"] = queued(connection)
    stepper.facts["second"] = queued(connection)
    stepper.session("a", claim="select c.run_id from tide.claim(worker => 'a') as c")
    stepper.session(
        "b",
        claim="select c.run_id from tide.claim(worker => 'a') as c",
        enqueue="select (tide.enqueue('work')).deduplicated",
        stats="select s.queued from tide.queue_stats as s",
    )
    stepper.play(
        """
        a.begin
        a.claim      first
        b.claim      second
        b.enqueue    no
        b.stats      2
        a.rollback
        """
    )


def test_upkeep_passes_over_what_an_open_claim_holds(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["run"] = queued(connection)
    stepper.session("a", claim="select c.run_id from tide.claim(worker => 'a') as c")
    stepper.session("b", reconcile="call tide.reconcile()")
    stepper.play(
        """
        a.begin
        a.claim      run
        b.reconcile  idle
        a.commit
        """
    )


def test_a_due_tick_in_an_open_claim_holds_up_no_other_claim(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    expired = leased(connection, lease="1 s", max_attempts=2)
    stepper.facts["expired"] = expired.run_id
    clock.advance(timedelta(seconds=10))
    stepper.facts["other"] = queued(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim     expired
        b.claim     other
        b.claim     nothing
        a.rollback
        b.claim     expired
        """
    )


def test_a_leaked_slot_is_healed_beside_claims(stepper: Stepper, connection: Connection) -> None:
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 1}')")
    connection.execute("update tide.slots set run_id = gen_random_uuid()")
    stepper.facts["run"] = queued(connection)
    stepper.session("a", heal="select tide._free_leaked_slots(10)")
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        b.claim     nothing
        a.begin
        a.heal      1
        b.claim     nothing
        a.commit
        b.claim     run
        """
    )


def test_the_slot_of_an_open_claim_is_not_healed(stepper: Stepper, connection: Connection) -> None:
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 1}')")
    stepper.facts["run"] = queued(connection)
    stepper.session("a", heal="select tide._free_leaked_slots(10)")
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        b.begin
        b.claim     run
        a.heal      0
        b.commit
        a.heal      0
        """
    )
    assert busy_slots(connection) == 1


def test_a_slot_freed_by_an_open_transaction_is_not_healed_twice(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 1}')")
    stepper.facts["run"], stepper.facts["lease"] = leased(connection)
    stepper.facts["next"] = queued(connection)
    stepper.session("a", complete="select r.status from tide.complete(%(run)s, %(lease)s) as r")
    stepper.session("b", heal="select tide._free_leaked_slots(10)", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.complete  completed
        b.heal      0
        b.claim     nothing
        a.commit
        b.claim     next
        b.heal      0
        """
    )
    assert busy_slots(connection) == 1
