"""Many workers at once in one tenant's allowance: nothing is overspent and nothing is stranded."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import Any

from tests.races.storm import Actor, check_histories, storm, until_met
from tests.races.test_claim_storms import upkeep
from tests.support import open_connection, size, value

WORKERS = size(24, 64)
RUNS = size(100, 600)
LIMIT = Decimal("0.60")
LOST = ("TD001", "TD002", "TD003", "TD030")
DRAINED = "select not exists (select from tide.runs_active)"
# Few may wait for what others give back, but not for each other.
STUCK = """
    select
      count(*) >= 5 or count(*) = (select count(*) from tide.runs_active)
    from tide.budget_waits as w
    where w.woken_at is null
    """
# Out of committed rows, and none of them those the schema counts by.
STATE = """
    select
      (select coalesce(sum(u.cost_usd), 0) from tide.usage as u) as spent,
      (
        select coalesce(sum(m.amount), 0)
        from tide.reserved_amounts as m
        join tide.allowances as a on a.allowance_id = m.holder_id
        where a.scope = 'tenant'
      ) as reserved,
      (
        select coalesce(sum(greatest(u.cost_usd - (u.metadata ->> 'estimate')::numeric, 0)), 0)
        from tide.usage as u
      ) as overrun,
      (select max(l.amount) from limits as l) as amount
    """


def fill(dsn: str) -> None:
    with open_connection(dsn) as connection:
        for scope in ("tenant", "team"):
            connection.execute("select tide.drop_allowance(%s, 'usd')", (scope,))
        connection.execute("delete from tide.usage")
        connection.execute("drop table if exists limits")
        connection.execute("create table limits (amount numeric)")
        connection.execute("insert into limits values (%s)", (LIMIT,))
        connection.execute("select tide.set_allowance('tenant', 'usd', %s)", (LIMIT,))
        connection.execute("select tide.set_allowance('team', 'usd', 1000)")
        connection.execute(
            "select tide.set_queue('default', %s::jsonb)",
            (json.dumps({"backoff_base": "0 s", "max_attempts": 100}),),
        )
        run = {"workflow": "work", "budget": {"allowances": ["tenant", "team"]}}
        connection.execute(
            "select tide.enqueue_many('default', %s::jsonb)", (json.dumps([run] * RUNS),)
        )


def check(actor: Actor) -> Any:
    """What is committed now keeps the promise."""
    (state,) = actor.rows(STATE)
    assert state.spent + state.reserved <= state.amount + state.overrun, state
    return state


def work(actor: Actor, exceeds: bool) -> None:
    for _ in actor.until(DRAINED):
        for run in actor.rows("select run_id, lease_id from tide.claim('{default}', 2, '400 ms')"):
            actor.hits["claimed"] += 1
            estimate = Decimal(actor.random.randint(1, 9)) / 100
            given = (run.run_id, run.lease_id)
            action = actor.value(
                "select action from tide.begin_step(%s, %s, 'call', estimate => %s::jsonb)",
                *given,
                json.dumps({"usd": float(estimate)}),
                refused=LOST,
            )
            check(actor)
            if action in (None, "budget"):
                actor.hits["parked"] += action == "budget"
                continue
            if action == "execute":
                cost = estimate * actor.random.randint(0, 10) / 10
                if exceeds and actor.random.random() < 0.1:
                    cost = estimate * 2
                used = {"cost_usd": float(cost), "metadata": {"estimate": float(estimate)}}
                call = "select from tide.complete_step(%s, %s, 'call', used => %s::jsonb)"
                match actor.random.randrange(12):
                    case 0:
                        actor.die()
                        continue
                    case 1:
                        actor.connection.execute("begin")
                        actor.rows(call, *given, json.dumps(used), refused=LOST)
                        actor.die()
                        continue
                    case 2:
                        actor.hits["failed"] += 1
                        actor.rows(
                            "select from tide.fail_step(%s, %s, 'call', retryable => true, "
                            "used => %s::jsonb)",
                            *given,
                            json.dumps(used),
                            refused=LOST,
                        )
                        actor.rows("select from tide.release(%s, %s)", *given, refused=LOST)
                        continue
                    case 3:
                        actor.rows("select from tide.cancel(%s)", run.run_id, refused=LOST)
                        actor.hits["cancelled"] += 1
                        continue
                    case _:
                        actor.rows(call, *given, json.dumps(used), refused=LOST)
                check(actor)
            actor.rows("select from tide.complete(%s, %s)", *given, refused=LOST)


def raise_limit(actor: Actor) -> None:
    """More money as long as runs wait, so that the storm ends."""
    for _ in actor.until_over():
        state = check(actor)
        actor.hits["looked"] += 1
        if not actor.value(STUCK):
            continue
        amount = state.amount + Decimal("0.20")
        actor.rows("update limits set amount = %s returning amount", amount)
        actor.rows("select tide.set_allowance('tenant', 'usd', %s)", amount)
        actor.hits["raised"] += 1


def check_end(dsn: str) -> None:
    with open_connection(dsn) as connection:
        check_histories(connection)
        assert value(connection, "select count(*) from tide.runs_active") == 0
        assert value(connection, "select count(*) from tide.reserved_amounts") == 0
        assert value(connection, "select count(*) from tide.budget_waits") == 0
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        for scope in ("tenant", "team"):
            row = connection.execute(
                "select amount, spent, reserved from tide.list_allowances(array[%s])", (scope,)
            ).fetchone()
            assert row is not None
            assert (row.spent, row.reserved) == (
                value(connection, "select sum(u.cost_usd) from tide.usage as u"),
                0,
            )


def test_no_interleaving_and_no_kill_overspends_an_allowance_or_strands_an_amount(
    dsn: str,
) -> None:
    def play() -> Counter[str]:
        fill(dsn)
        return storm(dsn, [partial(work, exceeds=False)] * WORKERS, [upkeep, raise_limit])

    until_met(play, parked=20, died=4, failed=2, cancelled=2, raised=2, looked=10)
    with open_connection(dsn) as connection:
        assert value(connection, f"select overrun from ({STATE}) as s") == 0
    check_end(dsn)


def test_calls_that_use_more_than_they_said_exceed_by_no_more_than_that(dsn: str) -> None:
    def play() -> Counter[str]:
        fill(dsn)
        return storm(dsn, [partial(work, exceeds=True)] * WORKERS, [upkeep, raise_limit])

    until_met(play, parked=20, died=4, raised=2)
    check_end(dsn)
