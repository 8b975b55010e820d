"""Each check of what runs in great number come to finds what it is for; and a long campaign of
seconds passes them all."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.chaos.campaign import conduct
from tests.chaos.long import Goal, Long
from tests.chaos.masses import RATE, Masses
from tests.chaos.masses_history import CHECKS, coverage, load, violations
from tests.support import Connection

MARK, OTHER = str(uuid4()), str(uuid4())
RUN, LATER, CANCELLED, AGAIN, NEVER, LIMITED = (str(uuid4()) for _ in range(6))
PLAIN, WITH_ROWS, ROLLED_BACK, SLOW = (str(uuid4()) for _ in range(4))


@pytest.fixture
def made(connection: Connection) -> Connection:
    """Three runs of a plain batch, one completed, one completed with a row, one cancelled; one of a
    batch with rows that lost an attempt; one under a rate."""
    connection.execute("create table ledger (run_id uuid not null)")
    connection.execute("create table outbox (run_id uuid primary key)")
    Masses.prepare(connection)
    for queue, run_ids in (("masses", [RUN, LATER, CANCELLED, AGAIN]), ("metered", [LIMITED])):
        runs = [{"run_id": i, "workflow": "mass", "max_attempts": 9} for i in run_ids]
        connection.execute("select tide.enqueue_many(%s, %s)", [queue, json.dumps(runs)])
    connection.execute("insert into outbox values (%s)", [AGAIN])
    connection.execute("select tide.cancel(%s)", [CANCELLED])
    end(connection, AGAIN, {"error": {}, "retry_after": "0 s"})
    for run_id in (RUN, LATER, AGAIN, LIMITED):
        result = {"mark": MARK, "with_rows": run_id == LATER}
        end(connection, run_id, {"result": result})
    connection.execute("insert into ledger values (%s)", [LATER])
    return connection


def end(connection: Connection, run_id: str, outcome: dict[str, Any]) -> None:
    """Claims everything there is, and ends this run."""
    connection.execute("select tide.claim('{masses,metered}', max_runs => 100)")
    connection.execute(
        "select tide.settle(jsonb_build_array(jsonb_build_object("
        "'run_id', r.run_id, 'lease_id', r.lease_id) || %s)) "
        "from tide.runs as r where r.run_id = %s",
        [json.dumps(outcome), run_id],
    )


def told() -> list[dict[str, Any]]:
    def sent(batch: str, how: str, queue: str, *runs: str) -> dict[str, Any]:
        return {"kind": "sent", "batch": batch, "how": how, "queue": queue, "runs": runs}

    return [
        sent(PLAIN, "plain", "masses", RUN, LATER, CANCELLED),
        {"kind": "asked again", "batch": PLAIN, "how": "plain", "there": True},
        {"kind": "answered", "batch": PLAIN},
        sent(WITH_ROWS, "with rows", "masses", AGAIN),
        sent(ROLLED_BACK, "rolled back", "masses", NEVER),
        {"kind": "answered", "batch": ROLLED_BACK},
        sent(SLOW, "plain", "metered", LIMITED),
        {"kind": "did", "mark": OTHER, "runs": [RUN]},
        {"kind": "did", "mark": MARK, "runs": [RUN, LATER, AGAIN, LIMITED]},
        {"kind": "completed", "mark": MARK, "runs": [RUN, LATER]},
        {"kind": "refused", "mark": OTHER, "runs": {RUN: "finished"}},
        {"kind": "repeated", "mark": MARK, "number": 2},
        {"kind": "cancels", "run_id": CANCELLED},
        {"kind": "cancelled", "run_id": CANCELLED},
        {"kind": "cancels", "run_id": RUN},
        {"kind": "cancelled too late", "run_id": RUN},
    ]


def judge(
    connection: Connection, folder: Path, *lines: dict[str, Any], sql: str = ""
) -> dict[str, list[str]]:
    """What the checks find when these lines were told too, and this was done to their tables."""
    (folder / "told.jsonl").write_text("".join(json.dumps(s) + "\n" for s in [*told(), *lines]))
    load(connection, folder)
    if sql:
        connection.execute(sql.encode())
    return violations(connection)


def test_masses_as_they_should_be_pass_every_check(made: Connection, tmp_path: Path) -> None:
    assert judge(made, tmp_path) == {}
    met = coverage(made)
    assert (met["runs in batches"], met["batches"], met["batches rolled back"]) == (5, 4, 1)
    assert (met["batches whose lost answer was a commit"], met["ends reported again"]) == (1, 2)
    assert (met["attempts retried in batches"], met["starts under a rate"]) == (1, 1)
    assert (met["ends refused as finished"], met["cancels after the end"]) == (1, 1)


LINES: dict[str, dict[str, Any]] = {
    "no_run_of_an_acknowledged_batch_is_lost": {
        "kind": "sent", "batch": PLAIN, "how": "plain", "queue": "masses", "runs": [str(uuid4())]
    },
    "a_batch_rolled_back_left_nothing": {
        "kind": "sent", "batch": ROLLED_BACK, "how": "rolled back", "queue": "masses",
        "runs": [RUN],
    },
    "a_batch_is_there_or_not": {
        "kind": "sent", "batch": WITH_ROWS, "how": "with rows", "queue": "masses",
        "runs": [str(uuid4())],
    },
    "an_acknowledged_batch_of_ends_is_the_end": {
        "kind": "completed", "mark": OTHER, "runs": [CANCELLED]
    },
    "a_run_of_masses_is_completed_by_one": {"kind": "completed", "mark": OTHER, "runs": [RUN]},
    "a_cancel_among_masses_is_final": {"kind": "cancelled", "run_id": RUN},
}  # fmt: skip
TABLES = {
    "a_batch_and_its_rows_are_one_commit": "delete from chaos.rows where not of_an_end",
    "each_run_was_sent_by_somebody": f"delete from chaos.sent where run_id = '{LATER}'",
    "events_of_masses_are_numbered_without_a_gap": (
        f"update chaos.events set seq = 7 where run_id = '{RUN}' and seq = 2"
    ),
    "a_run_of_masses_ends_once_and_last": (
        f"update chaos.events set type = 'run.completed' where run_id = '{RUN}' and seq = 2"
    ),
    "attempts_of_masses_do_not_overlap": (
        f"update chaos.events set type = 'run.claimed' where run_id = '{RUN}' and seq = 1"
    ),
    "a_result_is_of_who_did_the_work": f"delete from chaos.did where mark = '{MARK}'",
    "ends_and_their_rows_are_one_commit": (f"insert into chaos.rows values ('{LATER}', true)"),
    "a_rate_holds_in_every_window": (
        "insert into chaos.events (run_id, type, created_at) "
        f"select '{LIMITED}', 'run.claimed', e.created_at from chaos.events as e "
        f"cross join generate_series(1, {RATE}) "
        f"where e.run_id = '{LIMITED}' and e.type = 'run.claimed'"
    ),
    "every_run_of_masses_comes_to_its_end": (
        f"update chaos.runs set status = 'running' where run_id = '{RUN}'"
    ),
}


def test_every_check_of_masses_is_broken_by_something() -> None:
    assert LINES.keys() | TABLES.keys() == CHECKS.keys()


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_of_masses_finds_what_it_is_for(
    made: Connection, tmp_path: Path, check: str
) -> None:
    lines = [LINES[check]] if check in LINES else []
    assert check in judge(made, tmp_path, *lines, sql=TABLES.get(check, ""))


def test_a_cancel_that_nobody_asked_for_is_found(made: Connection, tmp_path: Path) -> None:
    found = judge(made, tmp_path, sql="delete from chaos.cancels")
    assert found == {"a_cancel_among_masses_is_final": [f"nobody cancelled {CANCELLED}"]}


@pytest.mark.timeout(900)
def test_a_long_campaign_ends_when_it_has_what_it_was_asked_for() -> None:
    report = conduct(functools.partial(Long, goal=Goal(1000, 1)), 120, seed=7)
    assert report.violations == {}, report.kept
    assert report.met["runs"] >= 1000
    assert report.faults["servers killed"] >= 1
