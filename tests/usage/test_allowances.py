"""Allowances: what a tenant or a team may spend is reserved before a step, and never passed."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, value

ACME = "tenant:acme"


@pytest.fixture(autouse=True)
def allowance(tide: Tide) -> None:
    tide.set_allowance(scope=ACME, unit="usd", amount=1)


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def started(tide: Tide, *scopes: str, **options: Any) -> Any:
    budget = options.pop("budget", {}) | {"allowances": scopes or [ACME]}
    return tide.started(budget=budget, **options)


def begin(tide: Tide, run: Any, name: str, usd: Any = None, **arguments: Any) -> str:
    given = Jsonb({"usd": float(usd)}) if usd is not None else None
    names = ", ".join(f"{key} => %s" for key in arguments)
    action: str = value(
        tide.connection,
        f"select action from tide.begin_step(%s, %s, %s, estimate => %s{names and ', ' + names})",
        run.run_id,
        run.lease_id,
        name,
        given,
        *arguments.values(),
    )
    return action


def end(tide: Tide, run: Any, name: str, usd: Any = None) -> None:
    used = None if usd is None else {"cost_usd": float(usd)}
    tide.complete_step(**own(run), name=name, used=used)


def state(tide: Tide, scope: str = ACME, unit: str = "usd") -> tuple[float, float, float]:
    """Spent, reserved and left over."""
    (row,) = (r for r in tide.list_allowances(scopes=[scope]) if r.unit == unit)
    return float(row.spent), float(row.reserved), float(row.left_over)


def parked(tide: Tide, run: Any) -> bool:
    return bool(tide.get_run(run_id=run.run_id).waiting_on == "budget")


def test_an_estimate_is_reserved_and_replaced_by_what_was_used(tide: Tide) -> None:
    run = started(tide)
    assert begin(tide, run, "a", 0.3) == "execute"
    assert state(tide) == (0, 0.3, 0.7)
    end(tide, run, "a", 0.1)
    assert state(tide) == (0.1, 0, 0.9)
    assert value(tide.connection, "select sum(cost_usd) from tide.usage") == Decimal("0.1")


def test_too_little_left_parks_naming_scope_unit_left_and_asked(tide: Tide) -> None:
    run, other = started(tide), started(tide)
    assert begin(tide, run, "a", 0.8) == "execute"
    assert begin(tide, other, "a", 0.3) == "budget"
    waiting = tide.get_run(run_id=other.run_id)
    assert (waiting.status, waiting.waiting_on, waiting.waiting_for) == ("queued", "budget", ACME)
    (reason,) = tide.explain_wait(run_id=other.run_id)["reasons"]
    assert reason["reason"] == "budget"
    told = (reason["scope"], reason["unit"], reason["left"], reason["asked"])
    assert told == (ACME, "usd", 0.2, 0.3)
    assert state(tide) == (0, 0.8, 0.2)


def test_what_is_given_back_wakes_the_parked_in_order(tide: Tide, clock: Clock) -> None:
    run = started(tide)
    assert begin(tide, run, "a", 1) == "execute"
    others: list[Any] = []
    for _ in range(3):
        other = started(tide)
        assert begin(tide, other, "a", 0.4) == "budget"
        others.append(other)
        clock.advance(timedelta(seconds=1))
    end(tide, run, "a", 0.15)
    assert [parked(tide, other) for other in others] == [False, False, True]


def test_a_raised_limit_and_a_dropped_allowance_wake_the_parked(tide: Tide) -> None:
    first, second = started(tide), started(tide)
    assert begin(tide, first, "a", 1.5) == "budget"
    assert begin(tide, second, "a", 9) == "budget"
    tide.set_allowance(scope=ACME, unit="usd", amount=2)
    assert [parked(tide, run) for run in (first, second)] == [False, True]
    assert tide.drop_allowance(scope=ACME, unit="usd")
    assert not parked(tide, second)
    (run, *_) = tide.claim(max_runs=2)
    assert begin(tide, run, "a", 100) == "execute"


def test_a_new_window_begins_with_the_whole_amount(tide: Tide, clock: Clock) -> None:
    clock.set()
    tide.set_allowance(scope=ACME, unit="usd", amount=1, per="day")
    tide.drop_allowance(scope=ACME, unit="usd")
    run, other = started(tide, lease="1 day"), started(tide)
    begin(tide, run, "a", 0.9)
    assert begin(tide, other, "a", 0.9) == "budget"
    clock.advance(timedelta(hours=23, minutes=59))
    tide.connection.execute("call tide.reconcile()")
    assert parked(tide, other)
    clock.advance(MINUTE)
    tide.connection.execute("call tide.reconcile()")
    assert not parked(tide, other)
    # What began yesterday counts for yesterday.
    end(tide, run, "a", 0.2)
    assert state(tide) == (0, 0, 1)


@pytest.mark.parametrize(
    ("per", "zone", "now", "begins", "ends"),
    [
        ("month", None, "2030-01-31T23:59Z", "2030-01-01T00:00Z", "2030-02-01T00:00Z"),
        ("day", "Europe/Berlin", "2030-03-31T12:00Z", "2030-03-30T23:00Z", "2030-03-31T22:00Z"),
        ("6 hours", None, "2030-01-01T07:00Z", "2030-01-01T06:00Z", "2030-01-01T12:00Z"),
    ],
)
def test_windows_begin_where_the_calendar_says(
    tide: Tide, clock: Clock, per: str, zone: str | None, now: str, begins: str, ends: str
) -> None:
    clock.set(datetime.fromisoformat(now))
    tide.set_allowance(scope="s", unit="tokens", amount=5, per=per, time_zone=zone)
    (row,) = tide.list_allowances(scopes=["s"])
    assert row.began_at == datetime.fromisoformat(begins)
    assert row.resets_at == datetime.fromisoformat(ends)


def test_all_scopes_are_reserved_or_none(tide: Tide) -> None:
    tide.set_allowance(scope="team:search", unit="usd", amount=Decimal("0.5"))
    tide.set_allowance(scope="team:search", unit="tokens", amount=100)
    run, other = started(tide, ACME, "team:search"), started(tide, ACME, "team:search")
    assert begin(tide, run, "a", 0.3) == "execute"
    assert begin(tide, other, "a", 0.3) == "budget"
    assert tide.get_run(run_id=other.run_id).waiting_for == "team:search"
    assert state(tide) == (0, 0.3, 0.7)
    assert state(tide, "team:search") == (0, 0.3, 0.2)
    # A unit the step says nothing of: a hundredth.
    assert state(tide, "team:search", "tokens") == (0, 1, 99)


def test_children_reserve_in_the_allowances_and_budgets_of_their_ancestors(tide: Tide) -> None:
    parent = started(tide, budget={"max_cost_usd": 0.5})
    actions: list[str] = []
    for edge in "abcdefgh":
        made = tide.spawn(**own(parent), edge=edge, workflow="part")
        actions.append(begin(tide, tide.begin_run(run_id=made.child_id), "x", 0.1))
    assert actions == ["execute"] * 5 + ["budget"] * 3
    assert state(tide) == (0, 0.5, 0.5)


def test_an_overrun_is_in_the_ledger_and_nothing_more_starts(tide: Tide) -> None:
    run, other = started(tide), started(tide)
    begin(tide, run, "a", 0.1)
    end(tide, run, "a", 3)
    assert state(tide) == (3, 0, 0)
    assert begin(tide, other, "a", 0.001) == "budget"
    tide.set_allowance(scope=ACME, unit="usd", amount=3)
    assert parked(tide, other)
    tide.set_allowance(scope=ACME, unit="usd", amount=Decimal("3.001"))
    assert not parked(tide, other)


def test_a_step_without_an_estimate_reserves_what_the_allowance_says(tide: Tide) -> None:
    tide.set_allowance(scope=ACME, unit="usd", amount=1, estimate=Decimal("0.4"))
    run = started(tide)
    assert [begin(tide, run, name) for name in "ab"] == ["execute", "execute"]
    assert state(tide) == (0, 0.8, 0.2)
    assert begin(tide, run, "c") == "budget"


def test_an_amount_of_zero_lets_nothing_begin(tide: Tide) -> None:
    tide.set_allowance(scope="none", unit="usd", amount=0)
    assert begin(tide, started(tide, "none"), "a") == "budget"


def test_a_completion_repeated_after_a_lost_answer_settles_once(tide: Tide) -> None:
    run = started(tide)
    begin(tide, run, "a", 0.5)
    for _ in range(3):
        end(tide, run, "a", 0.2)
    assert state(tide) == (0.2, 0, 0.8)


def test_a_begin_repeated_reserves_once(tide: Tide) -> None:
    run = started(tide)
    assert [begin(tide, run, "a", 0.5) for _ in range(3)] == ["execute"] * 3
    assert state(tide) == (0, 0.5, 0.5)


def test_usage_recorded_within_a_step_comes_out_of_its_reservation(tide: Tide) -> None:
    run = started(tide)
    begin(tide, run, "a", 0.5)
    tide.record_usage(run_id=run.run_id, step="a", cost_usd=Decimal("0.2"), request_key="k")
    tide.record_usage(run_id=run.run_id, step="a", cost_usd=Decimal("0.2"), request_key="k")
    assert state(tide) == (0.2, 0.3, 0.5)
    tide.record_usage(run_id=run.run_id, cost_usd=Decimal("0.1"))
    assert state(tide) == (0.3, 0.3, 0.4)
    end(tide, run, "a", 0.4)
    assert state(tide) == (0.7, 0, 0.3)


@pytest.mark.parametrize("how", ["cancel", "fail", "complete", "expire"])
def test_a_run_that_ends_gives_back_what_it_has_reserved(
    tide: Tide, clock: Clock, how: str
) -> None:
    run, other = started(tide, max_attempts=1), started(tide, lease="1 day")
    begin(tide, run, "a", 0.9, contract=Jsonb({"side_effects": ["email.send"]}))
    assert begin(tide, other, "a", 0.9) == "budget"
    if how == "cancel":
        tide.cancel(run_id=run.run_id)
    elif how == "expire":
        clock.advance(2 * MINUTE)
        tide.connection.execute("call tide.reconcile()")
    else:
        getattr(tide, how)(**own(run))
    assert state(tide) == (0, 0, 1)
    assert not parked(tide, other)
    assert value(tide.connection, "select count(*) from tide.reserved_amounts") == 0


@pytest.mark.parametrize(("contract", "kept"), [({}, 0), ({"side_effects": ["email.send"]}, 0.5)])
def test_a_lost_attempt_gives_back_unless_its_step_may_have_happened(
    tide: Tide, clock: Clock, contract: dict[str, Any], kept: float
) -> None:
    run = started(tide, max_attempts=3)
    begin(tide, run, "a", 0.5, contract=Jsonb(contract))
    clock.advance(2 * MINUTE)
    tide.connection.execute("call tide.reconcile()")
    assert state(tide)[1] == kept
    (run,) = tide.claim()
    action = begin(tide, run, "a", 0.6, contract=Jsonb(contract))
    if not kept:
        assert action == "execute"
        assert state(tide) == (0, 0.6, 0.4)
        return
    assert action == "review"
    assert state(tide)[1] == kept
    tide.resolve_step(run_id=run.run_id, name="a", decision="retry")
    assert state(tide) == (0, 0, 1)


def test_amounts_of_runs_that_are_gone_are_given_back_by_upkeep(tide: Tide) -> None:
    run, gone = started(tide), started(tide)
    begin(tide, run, "a", 0.2)
    begin(tide, gone, "a", 0.5)
    tide.connection.execute(
        "create table saved as select * from tide.reserved_amounts where run_id = %s",
        (gone.run_id,),
    )
    tide.cancel(run_id=gone.run_id)
    assert state(tide) == (0, 0.2, 0.8)
    tide.connection.execute("insert into tide.reserved_amounts select * from saved")
    tide.connection.execute("update tide.purses set free = free - 0.5 where purse = 1")
    tide.connection.execute("call tide.reconcile()")
    assert state(tide) == (0, 0.2, 0.8)


def test_set_budget_leaves_a_run_in_its_allowances_unless_told(tide: Tide) -> None:
    run = started(tide, budget={"max_steps": 1})
    assert tide.set_budget(run_id=run.run_id, limits={"max_steps": 5}).budget == {
        "max_steps": 5,
        "allowances": [ACME],
    }
    assert begin(tide, run, "a", 5) == "budget"
    tide.set_budget(run_id=run.run_id, limits={"allowances": []})
    tide.connection.execute("call tide.reconcile()")


def test_budget_of_a_queue_puts_its_runs_into_allowances(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"budget": {"allowances": [ACME]}})
    run = tide.started()
    assert begin(tide, run, "a", 0.5) == "execute"
    assert state(tide) == (0, 0.5, 0.5)


HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        ('{"usd": 0}', "estimate.usd"),
        ('{"usd": -1}', "estimate.usd"),
        ('{"usd": null}', "estimate.usd"),
        ('{"usd": "NaN"}', "NaN"),
        (f'{{"usd": {HUGE}}}', "estimate.usd"),
        ('{"tokens": 5}', "limited in usd"),
        ('{"usd": 0.1, "eur": 5}', "'eur'"),
        ("[1]", "not a JSON object"),
    ],
)
def test_a_bad_estimate_is_refused_and_nothing_written(
    tide: Tide, estimate: str, words: str
) -> None:
    run = started(tide)
    before = contents(tide.connection)
    with refused("22023", words):
        tide.connection.execute(
            "select from tide.begin_step(%s, %s, 'a', estimate => %s::jsonb)",
            (run.run_id, run.lease_id, estimate),
        )
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"amount": "NaN"}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": HUGE}, "amount"),
        ({"amount": None}, "amount"),
        ({"estimate": 0}, "estimate"),
        ({"estimate": -1}, "estimate"),
        ({"estimate": "NaN"}, "estimate"),
        ({"estimate": HUGE}, "estimate"),
        ({"per": "week"}, "per"),
        ({"per": "1 second"}, "per"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"scope": ""}, "scope"),
        ({"unit": "\n"}, "unit"),
        ({"scope": ACME, "time_zone": "Europe/Berlin"}, "Europe/Berlin"),
    ],
)
def test_a_bad_allowance_is_refused_and_nothing_written(
    tide: Tide, arguments: dict[str, Any], words: str
) -> None:
    before = contents(tide.connection)
    given = {"scope": "s", "unit": "usd", "amount": 1} | arguments
    names = ", ".join(
        f"{name} => %s" + ("::numeric" if name in ("amount", "estimate") else "") for name in given
    )
    with refused("22023", words):
        tide.connection.execute(
            f"select tide.set_allowance({names})".encode(), list(given.values())
        )
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("budget", "state_", "words"),
    [
        ({"allowances": ["tenant:nobody"]}, "TD010", "tenant:nobody"),
        ({"allowances": "tenant:acme"}, "22023", "list"),
        ({"allowances": [1]}, "22023", "list"),
        ({"allowances": [ACME] * 17}, "22023", "16"),
        ({"estimate": {"usd": 0}}, "22023", "budget.estimate.usd"),
    ],
)
def test_a_run_in_a_scope_nobody_set_is_refused_and_nothing_written(
    tide: Tide, budget: dict[str, Any], state_: str, words: str
) -> None:
    before = contents(tide.connection)
    with refused(state_, words):
        tide.enqueue(workflow="report", budget=budget)
    assert contents(tide.connection) == before


def test_metrics_say_what_is_left_of_each_allowance(tide: Tide) -> None:
    tide.set_allowance(scope=ACME, unit="usd", amount=4, per="day")
    begin(tide, started(tide), "a", 0.25)
    rows = tide.connection.execute(
        "select metric, value from tide.metrics where scope = %s and per = 'day'", (ACME,)
    ).fetchall()
    assert {row.metric.removeprefix("tide_allowance_"): row.value for row in rows} == {
        "amount": 4,
        "spent": 0,
        "reserved": 0.25,
        "left": 3.75,
        "waiting_runs": 0,
    }


def test_amounts_are_exact_whatever_is_split(tide: Tide, connection: Connection) -> None:
    tide.set_allowance(scope=ACME, unit="usd", amount=Decimal("0.7"))
    runs = [started(tide) for _ in range(8)]
    actions = [begin(tide, run, "a", 0.1) for run in runs]
    assert actions == ["execute"] * 7 + ["budget"]
    total = "select sum(free) from tide.purses"
    assert value(connection, total) == 0
    for number, run in enumerate(runs[:7]):
        end(tide, run, "a", f"0.0{number}1")
    assert value(connection, total) == Decimal("0.483")


def test_a_run_without_budget_or_allowance_touches_no_table_of_theirs(
    tide: Tide, connection: Connection
) -> None:
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    touched = """
        select sum(n.touched)
        from (
          select
            pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
              + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
              as touched
          from pg_class as c
          where c.relnamespace = 'tide'::regnamespace
            and c.relname like any (
              '{allowances%,purses%,reserved\\_amounts%,budget\\_waits%,spending%}'
            )
        ) as n
        """

    def live(run: Any) -> None:
        begin(tide, run, "a", 0.1)
        end(tide, run, "a", 0.1)
        tide.begin_step(**own(run), name="b")
        tide.fail_step(**own(run), name="b", retryable=True)
        batch = {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "name": "c"}
        tide.report_steps(
            reports=[
                batch
                | {"begin": True, "complete": True, "estimate": {"usd": 1}}
                | {"used": {"cost_usd": 1}}
            ]
        )
        tide.record_usage(run_id=run.run_id, cost_usd=1)
        tide.release(**own(run))
        (run,) = tide.claim(queues=[run.queue])
        tide.complete(**own(run))

    with connection.transaction():
        before = value(connection, touched)
        live(tide.started(queue="plain"))
        tide.cancel(run_id=tide.started(queue="plain").run_id)
        assert value(connection, touched) == before
        live(started(tide, queue="other"))
        assert value(connection, touched) > before
