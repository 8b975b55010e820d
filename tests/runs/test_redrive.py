"""redrive and error_groups: what failed meanwhile, counted, grouped and retried at a pace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection

REPORTS = {"workflow": "report"}


def failed(
    tide: Tide, message: str = "HTTP 502", failure_class: str = "error", **more: Any
) -> UUID:
    step = more.pop("step", None)
    run = tide.started(**more)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    error = {"type": "HTTPError", "message": message}
    if step:
        tide.begin_step(**own, name=step)
        tide.fail_step(**own, name=step, error=error)
    tide.fail(**own, error=error, retryable=False, failure_class=failure_class)
    return UUID(str(run.run_id))


def statuses(tide: Tide, *run_ids: UUID) -> list[str]:
    return [tide.get_run(run_id=run_id).status for run_id in run_ids]


def test_only_what_matches_every_filter_is_counted_and_retried(tide: Tide, hour: Clock) -> None:
    outage = hour.now
    made = {
        "wanted": failed(tide, queue="mail", failure_class="provider", step="llm"),
        "again": failed(tide, queue="mail", failure_class="provider", step="llm:2"),
        "class": failed(tide, queue="mail", step="llm"),
        "step": failed(tide, queue="mail", failure_class="provider", step="send"),
        "text": failed(tide, "HTTP 404", "provider", queue="mail", step="llm"),
        "queue": failed(tide, failure_class="provider", step="llm"),
    }
    hour.advance(timedelta(hours=1))
    made["later"] = failed(tide, queue="mail", failure_class="provider", step="llm")
    filters = {
        "queue": "mail",
        "failure_class": "provider",
        "step": "llm",
        "error": "http 502",
        "finished_after": outage,
        "finished_before": outage + timedelta(minutes=30),
    }
    before = contents(tide.connection)
    assert tide.redrive(filters={}, dry_run=True)["runs"] == 7
    counted = tide.redrive(filters=filters, dry_run=True)
    assert contents(tide.connection) == before
    assert counted["runs"] == 2
    assert counted["groups"] == [{"queue": "mail", "failure_class": "provider", "runs": 2}]
    done = tide.redrive(filters=filters, place=counted["start"], actor="ann")
    assert (done["runs"], done["next"]) == (2, None)
    assert [name for name, run_id in made.items() if statuses(tide, run_id) != ["failed"]] == [
        "wanted",
        "again",
    ]
    assert tide.last_event(made["wanted"]).payload["actor"] == "ann"


def test_a_filter_that_matches_nothing_changes_nothing(tide: Tide) -> None:
    failed(tide)
    before = contents(tide.connection)
    said = tide.redrive(filters={"queue": "nobodys"})
    assert (said["runs"], said["refused"], said["next"]) == (0, 0, None)
    assert contents(tide.connection) == before


def test_runs_are_paced_over_batches_and_their_deadlines_count_from_their_turn(
    tide: Tide, hour: Clock
) -> None:
    made = [failed(tide, deadline="1 minute") for _ in range(5)]
    place, due = None, []
    for _ in range(3):
        said = tide.redrive(filters=REPORTS, per_second=Decimal("0.01"), place=place, max_runs=2)
        place = said["next"]
    assert place is None
    for run_id in reversed(made):
        run = tide.get_run(run_id=run_id)
        due.append(run.run_at)
        assert run.deadline_at == run.run_at + timedelta(minutes=1)
    assert due == [hour.now + timedelta(seconds=100) * n for n in range(5)]


def test_no_run_is_retried_twice_by_a_call_that_is_sent_again(tide: Tide, clock: Clock) -> None:
    made = [failed(tide) for _ in range(4)]
    place = tide.redrive(filters=REPORTS, dry_run=True)["start"]
    clock.advance(timedelta(seconds=1))
    said = tide.redrive(filters=REPORTS, place=place, max_runs=2)
    # They fail again, others join them, and the answer was lost.
    for run in tide.claim(max_runs=2):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"n": 2}, retryable=False)
    joined = failed(tide)
    again = tide.redrive(filters=REPORTS, place=place)
    assert said["next"] is not None
    assert (again["runs"], again["next"]) == (2, None)
    assert statuses(tide, *made, joined) == ["queued", "queued", "failed", "failed", "failed"]


def test_taken_keys_are_refused_and_locked_runs_passed_over_without_harm(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    taken, held, free = failed(tide, dedupe_key="k"), failed(tide), failed(tide)
    tide.enqueue(workflow="report", dedupe_key="k")
    log = tide.log(taken)
    other = Tide(connect(autocommit=False))
    other.retry(run_id=held)
    said = tide.redrive(filters=REPORTS)
    other.connection.rollback()
    assert (said["runs"], said["refused"], said["passed"]) == (1, 1, 1)
    assert said["refused_runs"] == [str(taken)]
    assert statuses(tide, taken, held, free) == ["failed", "failed", "queued"]
    assert tide.log(taken) == log


def test_cancelled_runs_are_retried_only_where_the_filter_says_so(tide: Tide) -> None:
    broken, gone = failed(tide), tide.enqueue(workflow="report").run_id
    tide.cancel(run_id=gone)
    assert tide.redrive(filters={"workflow": "report", "status": "cancelled"})["runs"] == 1
    assert statuses(tide, broken, gone) == ["failed", "queued"]


def test_attempts_may_be_kept(tide: Tide) -> None:
    run_id = failed(tide, max_attempts=2)
    tide.redrive(filters=REPORTS, reset_attempts=False)
    assert tide.get_run(run_id=run_id).attempt == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"filters": {}}, "filters"),
        ({"filters": {"status": "failed"}}, "filters"),
        ({"filters": {"queue": None, "metadata": {}}}, "filters"),
        ({"filters": None}, "filters"),
        ({"filters": {"queue": "q", "status": "queued"}}, "status"),
        ({"filters": {"queue": "q", "waiting_on": "gate"}}, "waiting_on"),
        ({"filters": {"queue": "q"}, "per_second": 0}, "per_second"),
        ({"filters": {"queue": "q"}, "per_second": -1}, "per_second"),
        ({"filters": {"queue": "q"}, "per_second": "NaN"}, "per_second"),
        ({"filters": {"queue": "q"}, "per_second": "1e400"}, "per_second"),
        ({"filters": {"queue": "q"}, "max_runs": 0}, "max_runs"),
        ({"filters": {"queue": "q"}, "place": {"before": "x"}}, "place.before"),
        ({"filters": {"queue": "q"}, "place": {}}, "place"),
        ({"filters": {"queue": "q"}, "place": {"page": 2}}, "page"),
    ],
)
def test_what_makes_no_sense_is_named(tide: Tide, arguments: dict[str, Any], named: str) -> None:
    with refused("22023", named):
        tide.redrive(**arguments)


def test_failures_of_one_kind_are_one_group(tide: Tide, hour: Clock) -> None:
    first = hour.now
    told = [
        "HTTP 502 after 1.5 s for 'ann' in 0190d2c4-8a91-7c3e-9f00-0123456789ab",
        "HTTP 503 after 20 s for 'bob' in 0190d2c4-8a91-7c3e-9f00-ba9876543210",
    ]
    for message in told:
        newest = failed(tide, message, step="llm", workflow="a")
        hour.advance(MINUTE)
    failed(tide, "can't reach it", step="llm")
    failed(tide, told[0], step="send")
    failed(tide, told[0], "provider", step="llm")
    said = tide.error_groups()
    (group, *others) = said["groups"]
    assert (group["runs"], group["step"], group["type"]) == (2, "llm", "HTTPError")
    assert group["message"] == "HTTP <n> after <n> s for <text> in <id>"
    assert group["newest_run"] == str(newest)
    assert group["workflows"] == ["a"]
    seen = [datetime.fromisoformat(group[name]) for name in ("first_at", "last_at")]
    assert seen == [first, first + timedelta(minutes=1)]
    assert [other["runs"] for other in others] == [1, 1, 1]
    assert "can't reach it" in {other["message"] for other in others}
    assert (said["looked"], said["next"], said["looked_to"]) == (5, None, None)

    found = {"fingerprint": group["fingerprint"]}
    assert tide.count_runs(filters=found)["count"] == 2
    assert [g["runs"] for g in tide.error_groups(filters=found)["groups"]] == [2]
    assert tide.redrive(filters=found)["runs"] == 2


def test_the_look_at_errors_is_bounded_and_says_how_far_it_went(
    tide: Tide, connection: Connection
) -> None:
    oldest = failed(tide, "the oldest")
    connection.execute(
        """
        insert into tide.runs_finished (
          run_id, workflow, queue, status, run_at, created_at, finished_at, error
        )
        select
          tide._uuid7(), 'report', 'default', 'failed', now(), now(), now(),
          jsonb_build_object('message', 'number ' || n)
        from generate_series(1, 2000) as n
        """
    )
    said = tide.error_groups()
    assert [group["runs"] for group in said["groups"]] == [2000]
    assert said["next"] is not None
    assert said["looked_to"] is not None
    (group,) = tide.error_groups(before=said["next"])["groups"]
    assert group["newest_run"] == str(oldest)
