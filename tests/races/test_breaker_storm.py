"""Many workers at once in two lanes whose providers come and go."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.lanes.census import in_step
from tests.races.storm import Actor, check_histories, storm, until_met
from tests.races.test_claim_storms import LOST, outcome, upkeep
from tests.support import open_connection, value

LANES = ("chat", "mail")
RUNS = 120
AWAY = {"type": "ProviderDown", "message": "503"}
DRAINED = "select not exists (select from tide.runs_active)"
RETURNED = "select count(*) from tide.setting_changes as c where c.{0} ? 'opened_at'"


def fill(dsn: str) -> None:
    settings = {"breaker_failures": 3, "breaker_classes": ["ProviderDown"], "per_key": 3}
    with open_connection(dsn) as connection:
        connection.execute("""select tide.set_queue('default', '{"backoff_base": "0 s"}')""")
        for lane in LANES:
            connection.execute("select tide.set_lane(%s, %s::jsonb)", (lane, json.dumps(settings)))
        runs = [
            {"workflow": "work", "lane": LANES[place % 2], "lane_key": f"k{place % 5}"}
            for place in range(RUNS)
        ]
        runs = [{**run, "max_attempts": 100} for run in runs]
        connection.execute("select tide.enqueue_many('default', %s::jsonb)", (json.dumps(runs),))


def work(actor: Actor) -> None:
    """Batches of reports about runs of both lanes, in any order; and some alone."""
    reports: list[dict[str, Any]] = []
    for _ in actor.until(DRAINED):
        actor.random.shuffle(reports)
        rows = actor.rows(
            """
            select s.run_id, s.lease_id, s.reason
            from tide.settle_and_claim(%s::jsonb, '{default}', 4, '1 second') as s
            where s.accepted is null or s.reason = 'busy'
            """,
            json.dumps(reports),
        )
        busy = {str(row.run_id) for row in rows if row.reason == "busy"}
        reports = [one for one in reports if one["run_id"] in busy]
        for run in rows:
            if run.reason is not None:
                continue
            match actor.random.randrange(10):
                case 0 | 1 | 2 | 3 | 4:
                    actor.hits["failed"] += 1
                    reports.append(outcome(run, error=AWAY))
                case 5:
                    actor.hits["limited"] += 1
                    reports.append(outcome(run, release=True, delay="0.01 s", throttle="429"))
                case 6:
                    given = (run.run_id, run.lease_id, json.dumps(AWAY))
                    actor.rows("select tide.fail(%s, %s, %s::jsonb)", *given, refused=LOST)
                case _:
                    reports.append(outcome(run))


def hasten(actor: Actor) -> None:
    """Let every probe be due; one lane at a time, since nothing orders the rows of an update."""
    for _ in actor.until_over():
        for lane in LANES:
            actor.connection.execute(
                "update tide.lanes as l set probe_at = now() "
                "where l.lane = %s and l.probe_at > now()",
                (lane,),
            )


def test_workers_of_two_lanes_that_open_and_close_lose_no_run_and_wait_in_no_circle(
    dsn: str,
) -> None:
    def play() -> Counter[str]:
        fill(dsn)
        met = storm(dsn, [work] * 8, [upkeep, hasten])
        with open_connection(dsn) as connection:
            for word, column in (("opened", "after"), ("closed", "before")):
                met[word] = value(connection, RETURNED.format(column))
        return met

    until_met(play, failed=RUNS, limited=10, opened=4, closed=4)
    with open_connection(dsn) as connection:
        check_histories(connection)
        statuses = "select array_agg(distinct r.status) from tide.runs as r"
        assert value(connection, statuses) == ["completed"]
        for table in ("runs_active", "lane_waits", "sweep_failures"):
            assert value(connection, f"select count(*) from tide.{table}") == 0
        assert in_step(connection)
