"""Units of lanes: what runs use within any period is never more than the lane and the key allow."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.lanes.census import in_step
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, fold_charges, size, value

MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)


def lane(tide: Tide, name: str = "openai", **settings: int | str | None) -> None:
    tide.set_lane(lane=name, settings=settings)


def queue_up(tide: Tide, cost: object = None, key: str | None = None, **more: Any) -> UUID:
    run = {"workflow": "report", "lane": "openai", "lane_key": key, "cost": cost, **more}
    run_id: UUID = tide.enqueue(**run).run_id
    return run_id


def used(tide: Tide, key: str = "") -> int:
    return int(value(tide.connection, "select tide._units_used('openai', %s)", key))


def claimed(tide: Tide, max_runs: int = 9) -> list[UUID]:
    return [run.run_id for run in tide.claim(max_runs=max_runs)]


def test_a_lane_bounds_what_its_runs_use_within_a_period(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100)
    first, second, third = queue_up(tide, 60), queue_up(tide, 40), queue_up(tide)
    assert claimed(tide) == [first, second]
    assert used(tide) == 100
    hour.advance(MINUTE - MOMENT)
    tide.reconcile()
    assert claimed(tide) == []
    hour.advance(MOMENT)
    tide.reconcile()
    assert claimed(tide) == [third]
    assert used(tide) == 1
    assert in_step(tide.connection)


def test_a_lane_bounds_what_the_runs_of_each_key_use(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100, units_per_key=30, period="10 s")
    acme = [queue_up(tide, 20, "acme") for _ in range(3)]
    bolt, plain = queue_up(tide, 30, "bolt"), queue_up(tide, 50)
    assert claimed(tide) == [acme[0], bolt, plain]
    assert [used(tide, key) for key in ("", "acme", "bolt")] == [100, 20, 30]
    hour.advance(timedelta(seconds=10))
    tide.reconcile()
    assert claimed(tide) == [acme[1]]
    assert in_step(tide.connection)


def test_what_was_recorded_is_what_a_run_is_charged_in_the_end(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100, units_per_key=100, unit="tokens")
    queue_up(tide, 80, "acme")
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    second = queue_up(tide, 70, "acme")
    assert claimed(tide) == []
    tide.begin_step(**own, name="ask")
    for _ in range(2):
        tide.complete_step(**own, name="ask", used={"total_tokens": 20})
        tide.record_usage(**own, total_tokens=10, request_key="call")
    tide.record_usage(**own, quantity=4, unit="pages")
    assert (used(tide), used(tide, "acme")) == (80, 80)
    for _ in range(2):
        tide.complete(**own)
        assert (used(tide), used(tide, "acme")) == (30, 30)
    assert claimed(tide) == [second]
    assert (used(tide), used(tide, "acme")) == (100, 100)
    assert in_step(tide.connection)


@pytest.mark.parametrize("end", ["complete", "fail", "last fail", "release", "settle", "alone"])
def test_an_end_that_says_what_was_used_settles_it_once(
    tide: Tide, hour: Clock, end: str, connection: Connection
) -> None:
    lane(tide, units=1000, units_per_key=100, period="1 h", unit="tokens")
    run_id = queue_up(tide, 60, "acme", max_attempts=1 if end == "last fail" else 3)
    other = queue_up(tide, 60, "bolt")
    run, beside = tide.claim(max_runs=2)
    assert (run.run_id, beside.run_id) == (run_id, other)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    spent = [{"total_tokens": 20, "cost_usd": 0.5}, {"quantity": 3, "unit": "pages"}]
    for _ in range(2):
        if end in ("settle", "alone"):
            outcomes = [{k: str(v) for k, v in own.items()} | {"used": spent, "result": 7}]
            if end == "settle":
                outcomes.append({"run_id": str(beside.run_id), "lease_id": str(beside.lease_id)})
            assert all(row.accepted for row in tide.settle(outcomes=outcomes))
        elif end == "release":
            tide.release(**own, used=spent)
        elif end == "complete":
            tide.complete(**own, used=spent)
        else:
            tide.fail(**own, used=spent)
        assert used(tide, "acme") == 20
        assert [row.total_tokens for row in tide.list_usage(run_id=run_id)] == [20, None]
    assert in_step(connection)


def test_an_outcome_of_each_kind_says_what_was_used(tide: Tide, hour: Clock) -> None:
    lane(tide, units=1000, unit="tokens")
    for _ in range(3):
        queue_up(tide, 60, max_attempts=3)
    outcomes = [
        {
            "run_id": str(run.run_id),
            "lease_id": str(run.lease_id),
            "used": {"total_tokens": 7},
            **how,
        }
        for run, how in zip(
            tide.claim(max_runs=3),
            [{}, {"error": {"type": "OSError"}}, {"release": True}],
            strict=True,
        )
    ]
    assert all(row.accepted for row in tide.settle(outcomes=outcomes))
    assert used(tide) == 21
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    "bad",
    [
        '{"total_tokens": -1}',
        '{"total_tokens": 1e400}',
        '{"quantity": "NaN", "unit": "tokens"}',
        '{"quantity": 1e400, "unit": "tokens"}',
        '{"cost_usd": -0.1}',
        '{"tokens": 1}',
        '{"step": "ask"}',
        "7",
        '"much"',
    ],
)
def test_what_cannot_have_been_used_is_refused_by_name_and_nothing_is_written(
    tide: Tide, bad: str, connection: Connection
) -> None:
    lane(tide, units=1000, unit="tokens")
    queue_up(tide, 60), queue_up(tide, 60)
    run, other = tide.claim(max_runs=2)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    before = contents(connection)
    for function in ("complete", "fail", "release"):
        with refused("22023"):
            tide.call(function, **own, used=bad)
    assert contents(connection) == before
    spoilt = (
        f'[{{"run_id": "{run.run_id}", "lease_id": "{run.lease_id}", "used": {bad}}},'
        f' {{"run_id": "{other.run_id}", "lease_id": "{other.lease_id}"}}]'
    )
    verdicts = {row.run_id: row.reason for row in tide.settle(outcomes=spoilt)}
    assert verdicts == {run.run_id: "bad_outcome", other.run_id: None}
    assert tide.get_run(run_id=run.run_id).status == "running"
    assert tide.list_usage(run_id=run.run_id) == []


def test_usage_that_is_charged_to_a_budget_is_settled_alone(tide: Tide) -> None:
    tide.set_allowance(scope="tenant:a", unit="tokens", amount=100)
    queue_up_all = [
        tide.enqueue(workflow="report", budget={"max_tokens": 50}).run_id,
        tide.enqueue(workflow="report", budget={"allowances": ["tenant:a"]}).run_id,
    ]
    runs = tide.claim(max_runs=2)
    assert [run.run_id for run in runs] == queue_up_all
    outcomes = [
        {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "used": {"total_tokens": 9}}
        for run in runs
    ]
    before = contents(tide.connection)
    assert {row.reason for row in tide.settle(outcomes=outcomes)} == {"single"}
    assert contents(tide.connection) == before
    for outcome in outcomes:
        for _ in range(2):
            assert tide.settle(outcomes=[outcome])[0].accepted
    assert [tide.list_usage(run_id=run.run_id)[0].total_tokens for run in runs] == [9, 9]
    (allowance,) = tide.list_allowances(scopes=["tenant:a"])
    assert (allowance.spent, allowance.reserved) == (9, 0)


def test_what_is_used_beyond_the_cost_counts_at_once_and_for_a_period(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, units=160, unit="pages")
    queue_up(tide, 10)
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    hour.advance(timedelta(seconds=30))
    tide.record_usage(**own, quantity=Decimal("6.5"), unit="pages")
    tide.record_usage(**own, quantity=100, unit="pages")
    assert used(tide) == 107
    tide.settle(outcomes=[{"run_id": str(run.run_id), "lease_id": str(run.lease_id)}])
    assert used(tide) == 107
    # The share of one purse is 10: what is beyond it is not free in the others.
    fits, late = queue_up(tide, 53), queue_up(tide)
    assert claimed(tide) == [fits]
    hour.advance(timedelta(seconds=30))
    tide.reconcile()
    assert claimed(tide) == [late]
    assert used(tide) == 97 + 53 + 1


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("complete", 60), ("fail", 60), ("retry later", 60), ("release", 0),
        ("release of a step", 60), ("cancel", 60), ("expiry", 60), ("last expiry", 60),
        ("revoke_lease", 60), ("park", 60), ("throttled release", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("recorded", [0, 25])
def test_every_end_of_an_attempt_gives_back_what_it_surely_did_not_use(
    tide: Tide, hour: Clock, end: str, left: int, recorded: int
) -> None:
    lane(tide, units=1000, units_per_key=100, period="1 h", unit="tokens")
    queue_up(tide, 60, "acme", max_attempts=1 if end in ("fail", "last expiry") else 3)
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    if end == "release of a step":
        tide.begin_step(**own, name="ask")
    if recorded:
        tide.record_usage(**own, total_tokens=recorded)
    if end in ("fail", "retry later"):
        tide.fail(**own)
    elif end in ("cancel", "revoke_lease"):
        tide.call(end, run_id=run.run_id)
    elif end == "park":
        tide.begin_step(**own, name="send", contract={"replay": "manual"})
        tide.fail_step(**own, name="send")
    elif end.endswith("expiry"):
        hour.advance(timedelta(minutes=2))
        tide.reconcile()
    elif end == "complete":
        tide.complete(**own)
    else:
        throttle = "429" if end == "throttled release" else None
        tide.release(**own, delay="1 min", throttle=throttle)
    known = recorded and end not in ("cancel", "revoke_lease", "expiry", "last expiry")
    assert (used(tide), used(tide, "acme")) == ((recorded, recorded) if known else (left, left))
    assert value(tide.connection, "select count(*) from tide.lane_charges where open") == 0
    assert in_step(tide.connection)


def test_a_large_run_at_the_head_of_a_line_keeps_small_ones_behind_it_waiting(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, units=100)
    small = [queue_up(tide, 10) for _ in range(3)]
    assert claimed(tide) == small
    hour.advance(timedelta(seconds=30))
    before = queue_up(tide, 10, priority=0)
    large = queue_up(tide, 100)
    assert claimed(tide) == [before]
    behind = [queue_up(tide, 1) for _ in range(3)]
    urgent = queue_up(tide, 5, priority=1)
    assert claimed(tide) == [urgent]
    hour.advance(timedelta(seconds=30))
    tide.reconcile()
    assert claimed(tide) == []
    hour.advance(timedelta(seconds=30))
    tide.reconcile()
    assert claimed(tide) == [large]
    hour.advance(MINUTE)
    tide.reconcile()
    assert claimed(tide) == behind


def test_of_a_fair_lane_runs_of_any_priority_get_units_at_their_turns(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, units=10, fair=True)
    given = [queue_up(tide, 10, f"k{n}", priority=n % 3 - 2) for n in range(12)]
    had = []
    for _ in given:
        had += claimed(tide)
        hour.advance(MINUTE)
        tide.reconcile()
    assert had == given
    assert in_step(tide.connection)


def test_a_claim_that_rolls_back_charges_nothing(tide: Tide, connect: Any) -> None:
    lane(tide, units=100, units_per_key=100)
    first, second = queue_up(tide, 90, "acme"), queue_up(tide, 90, "acme")
    other = Tide(connect(autocommit=False))
    assert claimed(other) == [first]
    # It may be given back in a moment: nobody is parked for it.
    assert claimed(tide) == []
    other.connection.rollback()
    assert value(tide.connection, "select count(*) from tide.lane_waits") == 0
    assert claimed(tide) == [first]
    assert used(tide) == 90
    assert second in {
        row.run_id for row in tide.connection.execute("select run_id from tide.lane_waits")
    }


def test_limits_that_change_count_what_was_used_before(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100, period="1 h")
    queue_up(tide, 60)
    assert len(claimed(tide)) == 1
    lane(tide, units=64)
    four, next_ = queue_up(tide, 4), queue_up(tide, 1)
    assert claimed(tide) == [four]
    lane(tide, units=65)
    assert claimed(tide) == [next_]
    waits = queue_up(tide, 30)
    assert claimed(tide) == []
    # Less than the run costs: it is charged all there is, once all of it is free.
    lane(tide, units=20, period="1 min")
    assert claimed(tide) == []
    hour.advance(MINUTE)
    tide.reconcile()
    assert claimed(tide) == [waits]
    assert used(tide) == 20
    late = queue_up(tide, 20)
    assert claimed(tide) == []
    lane(tide, units=None)
    assert claimed(tide) == [late]
    lane(tide, units=20)
    assert used(tide) == 20
    assert queue_up(tide) and claimed(tide) == []
    tide.drop_lane(lane="openai")
    assert len(claimed(tide)) == 1
    assert in_step(tide.connection)


def test_a_run_its_queue_has_no_slot_for_is_charged_nothing(tide: Tide) -> None:
    lane(tide, units=100, units_per_key=50)
    tide.set_queue(queue="default", settings={"rate_limit": 1})
    queue_up(tide, 10, "acme")
    queue_up(tide, 10, "acme")
    assert len(claimed(tide)) == 1
    assert (used(tide), used(tide, "acme")) == (10, 10)


def test_upkeep_forgets_what_no_longer_counts(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100, units_per_key=50)
    lane(tide, "gone", units=5)
    queue_up(tide, 10, "acme")
    tide.drop_lane(lane="gone")
    assert len(claimed(tide)) == 1
    hour.advance(2 * MINUTE)
    tide.reconcile()
    rows = tide.connection.execute(
        "select lane, lane_key, count(*) from tide.lane_purses group by 1, 2"
    ).fetchall()
    assert [tuple(row) for row in rows] == [("openai", "", 16)]
    assert value(tide.connection, "select count(*) from tide.lane_charges") == 0


def test_explain_wait_tells_units_and_when_they_are_expected(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100, units_per_key=60)
    first = queue_up(tide, 60, "acme")
    assert claimed(tide) == [first]
    start = hour.now
    hour.advance(timedelta(seconds=20))
    second, third = queue_up(tide, 30, "acme"), queue_up(tide, 50, "acme")
    assert claimed(tide) == []

    def reasons(run_id: UUID) -> list[dict[str, Any]]:
        found = tide.explain_wait(run_id=run_id)["reasons"]
        return [reason for reason in found if reason["reason"] == "lane"]

    own = {"reason": "lane", "lane": "openai", "lane_key": "acme", "period": "00:01:00"}
    detail = "the units its lane allows its key are used up"
    assert reasons(second) == [
        {
            **own, "detail": detail, "units": 60, "used": 60, "cost": 30, "ahead": 0,
            "expected_at": (start + MINUTE).isoformat(),
        }
    ]  # fmt: skip
    of_lane, of_key = reasons(third)
    assert (of_lane["lane_key"], of_lane["units"], of_lane["used"]) == (None, 100, 60)
    # Thirty are for the run before it, so it comes a period later.
    assert (of_key["ahead"], of_key["expected_at"]) == (1, (start + 2 * MINUTE).isoformat())
    (listed,) = tide.list_lanes()
    assert (listed.units, listed.units_per_key, listed.used) == (100, 60, 60)
    assert listed.keys == [{"lane_key": "acme", "running": 1, "waiting": 2, "used": 60}]
    (stats,) = tide.connection.execute("select units, used from tide.lane_stats").fetchall()
    assert stats == (100, 60)
    metric = "select value from tide.metrics where lane = 'openai' and metric = %s"
    assert value(tide.connection, metric, "tide_lane_used_units") == 60


def test_explain_wait_says_so_where_units_are_free_again(tide: Tide, hour: Clock) -> None:
    lane(tide, units=10)
    queue_up(tide, 10)
    second = queue_up(tide, 10, "acme")
    assert len(claimed(tide)) == 1
    hour.advance(MINUTE)
    assert tide.explain_wait(run_id=second)["reasons"] == [
        {
            "reason": "lane",
            "detail": "its lane has room for it again: it goes on at the next tick",
            "lane": "openai",
            "lane_key": "acme",
        }
    ]
    tide.reconcile()
    assert claimed(tide) == [second]


def test_children_batches_and_schedules_have_costs(tide: Tide, hour: Clock) -> None:
    lane(tide, units=100)
    in_lane = {"workflow": "part", "lane": "openai", "cost": 30}
    parent_id = queue_up(tide, 10)
    (parent,) = tide.claim()
    assert parent.run_id == parent_id
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    tide.enqueue_many(queue="default", runs=[in_lane])
    options = {"lane": "openai", "cost": 30}
    tide.spawn(**own, edge="a", workflow="part", queue="default", options=options)
    tide.spawn_many(**own, children=[{"edge": "b", "queue": "default", **in_lane}])
    assert len(claimed(tide)) == 3
    assert used(tide) == 100
    tide.set_schedule(name="s", cron="* * * * *", workflow="part", lane="openai", cost=40)
    hour.advance(MINUTE)
    tide.reconcile()
    (run,) = tide.claim()
    assert (run.cost, run.units_left) == (40, 40)
    tide.cancel(run_id=run.run_id)
    tide.retry(run_id=run.run_id)
    assert tide.fork_run(run_id=run.run_id).cost == 40


@pytest.mark.parametrize("cost", [0, -1, 0.5, "NaN", "Infinity", f"1{'0' * 400}", 10**12 + 1])
def test_a_cost_that_is_no_number_of_units_is_refused_and_writes_nothing(
    tide: Tide, cost: object
) -> None:
    lane(tide, units=100)
    before = contents(tide.connection)
    with refused("22023", "cost", str(cost)[:200]):
        tide.connection.execute(
            "select tide.enqueue('w', lane => 'openai', cost => %s::numeric)", (str(cost),)
        )
    with refused("22023", "runs[1].cost", str(cost)[:200]):
        tide.connection.execute(
            "select tide.enqueue_many('q', jsonb_build_array('{\"workflow\": \"w\"}'::jsonb,"
            " jsonb_build_object('workflow', 'w', 'lane', 'openai', 'cost', %s::numeric)))",
            (str(cost),),
        )
    assert contents(tide.connection) == before


def test_a_cost_that_can_never_be_had_is_refused_when_it_is_asked_for(tide: Tide) -> None:
    lane(tide, units=100, units_per_key=40)
    before = contents(tide.connection)
    with refused("22023", "cost 101 is more than lane 'openai' ever allows: 100"):
        queue_up(tide, 101)
    with refused("22023", "cost 41 is more than lane 'openai' ever allows: 40"):
        queue_up(tide, 41, "acme")
    with refused("22023", "runs[0].cost 41"):
        run = {"workflow": "w", "lane": "openai", "lane_key": "acme", "cost": 41}
        tide.enqueue_many(queue="q", runs=[run])
    with refused("22023", "cost is given without a lane: 5"):
        tide.enqueue(workflow="w", cost=5)
    with refused("22023", "cost 101"):
        tide.set_schedule(name="s", cron="@daily", workflow="w", lane="openai", cost=101)
    assert contents(tide.connection) == before
    assert queue_up(tide, 40, "acme") and queue_up(tide, 100)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"units": 0}, ["units", "0"]),
        ({"units": -5}, ["units", "-5"]),
        ({"units": 1.5}, ["units", "1.5"]),
        ({"units": 10**400}, ["units", "1000"]),
        ({"units": "NaN"}, ["units", "NaN"]),
        ({"units_per_key": 10**12 + 1}, ["units_per_key", "1000000000001"]),
        ({"period": "0 s"}, ["period", "00:00:00"]),
        ({"period": "-1 min"}, ["period", "-00:01:00"]),
        ({"unit": "two words"}, ["unit", "two words"]),
    ],
)
def test_settings_of_units_that_make_no_sense_are_refused(
    tide: Tide, settings: dict[str, Any], words: list[str]
) -> None:
    before = contents(tide.connection)
    with refused("22023", *words):
        tide.set_lane(lane="openai", settings=settings)
    assert contents(tide.connection) == before


def test_a_run_in_a_lane_without_units_reads_no_purses(tide: Tide, connection: Connection) -> None:
    lane(tide, "plain", total=5, per_key=5)
    lane(tide, units=100)
    queue_up(tide, 10)
    tide.claim()
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    touched = """
        select sum(
          pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
        )
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relname like any ('{lane\\_purses%,lane\\_charges%}')
        """
    with connection.transaction():
        before = value(connection, touched)
        for _ in range(6):
            tide.enqueue(workflow="report", lane="plain", lane_key="acme")
        done, failed, released, *_ = tide.claim(max_runs=9)
        tide.complete(run_id=done.run_id, lease_id=done.lease_id)
        tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
        tide.release(run_id=released.run_id, lease_id=released.lease_id)
        tide.record_usage(run_id=done.run_id, total_tokens=5)
        assert len(tide.claim(max_runs=9)) == 2
        assert value(connection, touched) == before
        queue_up(tide, 10)
        tide.claim()
        assert value(connection, touched) > before


def test_a_pushed_run_is_charged_and_given_back_if_nobody_begins_it(
    tide: Tide, hour: Clock
) -> None:
    tide.set_queue(queue="default", settings={"push_url": "https://app.example.com/push"})
    lane(tide, units=100, units_per_key=100, unit="tokens")
    first, second = queue_up(tide, 60, "acme"), queue_up(tide, 60, "acme")
    tide.reconcile()
    assert (used(tide), used(tide, "acme")) == (60, 60)
    hour.advance(timedelta(seconds=50))
    run = tide.begin_run(run_id=first)
    assert run.units_left == 60
    tide.record_usage(run_id=first, lease_id=run.lease_id, total_tokens=20)
    tide.complete(run_id=first, lease_id=run.lease_id)
    tide.reconcile()
    assert (used(tide), used(tide, "acme")) == (80, 80)
    assert (
        value(tide.connection, "select units_left from tide.runs where run_id = %s", second) == 60
    )
    hour.advance(timedelta(seconds=61))
    tide.set_queue(queue="default", settings={"paused": True})
    tide.reconcile()
    assert (used(tide), used(tide, "acme")) == (0, 0)
    assert in_step(tide.connection)


def test_what_no_longer_counts_disturbs_no_later_attempt(
    tide: Tide, hour: Clock, connect: Any
) -> None:
    """A claim that removes an old charge holds its row when the attempt ends, and rolls back."""
    lane(tide, units=16, period="10 s", unit="tokens")
    queue_up(tide, 16, max_attempts=3)
    (run,) = tide.claim()
    hour.advance(timedelta(seconds=10))
    next_ = queue_up(tide, 1)
    other = Tide(connect(autocommit=False))
    assert claimed(other) == [next_]
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0 s")
    other.connection.rollback()
    tide.cancel(run_id=next_)
    (run,) = tide.claim()
    assert (run.attempt, used(tide)) == (2, 16)
    tide.record_usage(run_id=run.run_id, lease_id=run.lease_id, total_tokens=12)
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert used(tide) == 12


def finish(tide: Tide, max_runs: int = 9) -> int:
    """Claim runs and complete them."""
    runs = tide.claim(max_runs=max_runs)
    outcomes = [{"run_id": str(run.run_id), "lease_id": str(run.lease_id)} for run in runs]
    tide.settle(outcomes=outcomes)
    return len(runs)


BINS = "select sum(cardinality(p.bin_units)) from tide.lane_purses as p"


def test_folded_charges_count_until_the_newest_of_their_bin_is_a_period_old(
    tide: Tide, hour: Clock
) -> None:
    fold_charges(tide.connection)
    lane(tide, units=160)
    start = hour.now
    charged = [timedelta(seconds=seconds) for seconds in (0, 0.4, 0.999999, 1, 2.5)]
    for since in charged:
        hour.set(start + since)
        queue_up(tide, 1)
        assert finish(tide) == 1
    queue_up(tide, 1)
    assert finish(tide) == 1
    assert (value(tide.connection, BINS), used(tide)) == (3, 6)
    large = queue_up(tide, 157)
    assert claimed(tide) == []
    (reason,) = tide.explain_wait(run_id=large)["reasons"]
    ends = [start + MINUTE + timedelta(seconds=newest) for newest in (0.999999, 1, 2.5)]
    assert reason["expected_at"] == ends[0].isoformat()
    for end, before, after in zip(ends, (6, 3, 2), (3, 2, 0), strict=True):
        hour.set(end - MOMENT)
        assert used(tide) == before
        hour.set(end)
        assert used(tide) == after
    tide.reconcile()
    assert claimed(tide) == [large]
    assert value(tide.connection, BINS) == 0


def test_what_is_folded_counts_for_a_longer_period_too(tide: Tide, hour: Clock) -> None:
    fold_charges(tide.connection)
    lane(tide, units=160)
    for _ in range(4):
        queue_up(tide, 2)
        assert finish(tide) == 1
        hour.advance(timedelta(seconds=10))
    lane(tide, period="10 min")
    hour.advance(timedelta(minutes=2))
    queue_up(tide, 2)
    assert finish(tide) == 1
    assert used(tide) == 10
    lane(tide, period="1 s")
    assert used(tide) == 2
    for seconds in range(3):
        queue_up(tide, 2)
        assert finish(tide) == 1
        hour.advance(timedelta(seconds=seconds))
    assert used(tide) == 0
    assert in_step(tide.connection)


def test_a_charge_that_is_settled_after_others_were_folded_gives_back_the_rest(
    tide: Tide, hour: Clock
) -> None:
    fold_charges(tide.connection)
    lane(tide, units=160, units_per_key=40, unit="tokens")
    queue_up(tide, 5, "acme")
    (late,) = tide.claim()
    for _ in range(3):
        queue_up(tide, 2, "acme")
        assert finish(tide) == 1
    assert (used(tide), used(tide, "acme")) == (11, 11)
    tide.record_usage(run_id=late.run_id, lease_id=late.lease_id, total_tokens=1)
    tide.complete(run_id=late.run_id, lease_id=late.lease_id)
    queue_up(tide, 2, "acme")
    assert finish(tide) == 1
    assert (used(tide), used(tide, "acme")) == (9, 9)
    assert in_step(tide.connection)


MOST = 200
"""Buffers of a claim. Beside 50 000 charges it read 9000, when it added up each."""


def test_a_claim_beside_very_many_charges_reads_few_buffers(tide: Tide) -> None:
    count = size(5_000, 50_000)
    lane(tide, units=10 * count, unit="tokens", period="1 h")
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    run = {"workflow": "report", "lane": "openai", "cost": 2}
    for _ in range(count // 1000):
        tide.enqueue_many(queue="default", runs=[run] * 1000)
        assert finish(tide, 1000) == 1000
    tide.connection.execute("vacuum tide.lane_charges, tide.runs_active")
    for _ in range(8):
        queue_up(tide, 2)
        (plan,) = value(
            tide.connection,
            "explain (analyze, buffers, format json) select * from tide.claim('{default}')",
        )
    node = plan["Plan"]
    assert node["Shared Hit Blocks"] + node["Shared Read Blocks"] <= MOST
    assert used(tide) == 2 * (count + 8)
