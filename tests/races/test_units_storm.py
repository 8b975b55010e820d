"""Many claimers at once in lanes that count units: no window of a period holds more than it may."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.races.storm import Actor, storm, until_met
from tests.races.test_claim_storms import COMPLETE, LOST, end_somehow, outcome, upkeep
from tests.races.test_lane_storm import DRAINED, KEYS, check_places
from tests.support import fold_charges, open_connection, size, value

CLAIMERS = 16
UNITS, PER_KEY = 100, 40
MOST_UNITS, MOST_PER_KEY = 160, 60
QUEUES = ["a", "b", "c"]
RUNS = size(135, 180)
PERIOD = "200 milliseconds"
WITNESS = """
    create table public.charged (
      entry bigint generated always as identity,
      charge_id bigint,
      lane_key text,
      units bigint,
      charged_at timestamptz,
      made boolean,
      beyond boolean default (current_query() like '%record_usage%')
    );
    create function public.witness() returns trigger language plpgsql security definer as $$
    begin
      insert into public.charged (charge_id, lane_key, units, charged_at, made)
      values (new.charge_id, new.lane_key, new.units, new.charged_at, tg_op = 'INSERT');
      return null;
    end;
    $$;
    create trigger witness after insert or update on tide.lane_charges
    for each row execute function public.witness();
    """
BINS = "select exists (select from tide.lane_purses as p where p.bin_units <> '{}')"
FULLEST = f"""
    select
      c.lane_key = '' as of_lane,
      max(w.units)
    from public.charged as c
    cross join lateral (
      select sum(l.units) as units
      from (
        select distinct on (o.charge_id)
          o.units
        from public.charged as o
        where o.lane_key = c.lane_key
          and o.entry <= c.entry
          and o.charged_at > c.charged_at - interval '{PERIOD}'
          and o.charge_id not in (
            select b.charge_id
            from public.charged as b
            where b.beyond
          )
        order by o.charge_id, o.entry desc
      ) as l
    ) as w
    where c.made
      and not c.beyond
    group by 1
    """
"""What the fullest window held of reserved units, looked at whenever something was charged."""


def fill(dsn: str, **settings: Any) -> None:
    with open_connection(dsn) as connection:
        if value(connection, "select to_regclass('public.charged') is null"):
            connection.execute(WITNESS.encode())
        limits = {"period": PERIOD, "unit": "tokens", **settings}
        connection.execute("select tide.set_lane('shared', %s::jsonb)", (json.dumps(limits),))
        for number, queue in enumerate(QUEUES):
            connection.execute(
                "select tide.set_queue(%s, %s::jsonb)",
                (queue, json.dumps({"backoff_base": "0 s", "max_attempts": 100})),
            )
            runs = [
                {
                    "workflow": "work",
                    "priority": place % 2,
                    "lane": "shared",
                    "lane_key": KEYS[0 if place % 2 else (place + number) % 5],
                    "cost": (1, 4, 9, 16, 40)[place % 5],
                }
                for place in range(RUNS // len(QUEUES))
            ]
            connection.execute("select tide.enqueue_many(%s, %s::jsonb)", (queue, json.dumps(runs)))


def claim(actor: Actor) -> None:
    carried: list[dict[str, Any]] = []
    for _ in actor.until(DRAINED):
        runs = actor.rows(
            """
            select s.run_id, s.lease_id, s.reason, (s.claimed).cost
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
            if run.reason is not None:
                continue
            actor.hits["claimed"] += 1
            # Its lease ran out while it was busy: the old report is for nothing.
            carried = [one for one in carried if one["run_id"] != str(run.run_id)]
            used = actor.random.choice([None, run.cost // 2, run.cost, run.cost + 3])
            if used is not None:
                actor.rows(
                    "select from tide.record_usage(%s, total_tokens => %s, lease_id => %s)",
                    run.run_id,
                    used,
                    run.lease_id,
                    refused=LOST,
                )
                actor.hits["less"] += used < run.cost
                actor.hits["more"] += used > run.cost
            match actor.random.randrange(10):
                case 0 | 1 | 2:
                    carried.append(outcome(run))
                case 3:
                    actor.hits["cancelled"] += 1
                    actor.rows("select tide.cancel(%s)", run.run_id, refused=LOST)
                case 4 | 5 | 6:
                    actor.rows(COMPLETE, run.run_id, run.lease_id, refused=LOST)
                case _:
                    end_somehow(actor, run)


def claim_in_vain(actor: Actor) -> None:
    for _ in actor.until(DRAINED):
        actor.connection.execute("begin")
        actor.hits["in vain"] += bool(actor.rows("select tide.claim(%s, 2)", QUEUES))
        actor.connection.execute("rollback")


def check_windows(dsn: str, units: int, per_key: int) -> None:
    check_places(dsn)
    with open_connection(dsn) as connection:
        fullest = dict(connection.execute(FULLEST.encode()).fetchall())
        assert fullest[True] > units // 2, "the storm never filled a window"
        assert fullest[True] <= units, f"{fullest[True]} units in a window of {units}"
        assert fullest[False] <= per_key, (
            f"{fullest[False]} units of a key in a window of {per_key}"
        )


@pytest.mark.parametrize("folded", [False, True])
def test_sixteen_claimers_never_exceed_the_units_of_a_lane_or_key_in_any_window(
    dsn: str, folded: bool
) -> None:
    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            actor.hits["bins"] += bool(actor.value(BINS))

    def play() -> Counter[str]:
        fill(dsn, units=UNITS, units_per_key=PER_KEY)
        if folded:
            with open_connection(dsn) as connection:
                fold_charges(connection)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, watch])

    needed = {"in vain": 1, "less": 5, "more": 5, "retried": 2, "died": 2, "cancelled": 2}
    until_met(play, **needed, claimed=RUNS, bins=5 * folded)
    check_windows(dsn, UNITS, PER_KEY)


def test_units_that_change_under_load_are_exact_and_lose_nothing(dsn: str) -> None:
    def configure(actor: Actor) -> None:
        for _ in actor.until_over():
            if actor.random.random() < 0.1:
                actor.hits["dropped"] += bool(actor.value("select tide.drop_lane('shared')"))
            settings = {
                "units": actor.random.choice([30, 64, UNITS, MOST_UNITS]),
                "units_per_key": actor.random.choice([10, PER_KEY, MOST_PER_KEY]),
                "period": PERIOD,
                "unit": "tokens",
            }
            actor.value("select tide.set_lane('shared', %s::jsonb)", json.dumps(settings))
            actor.hits["configured"] += 1

    def play() -> Counter[str]:
        fill(dsn, units=UNITS, units_per_key=PER_KEY)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, configure])

    until_met(play, claimed=RUNS, configured=10, dropped=1)
    check_windows(dsn, MOST_UNITS, MOST_PER_KEY)
