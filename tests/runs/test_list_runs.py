"""list_runs, get_run: reading runs, newest first, page by page."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.runs.acts import NOBODY, Tide, refused


def ids(rows: list[tuple[UUID, ...]]) -> list[UUID]:
    return [row[0] for row in rows]


def test_newest_first_over_active_and_finished(tide: Tide) -> None:
    made = [tide.create_run(workflow="report").run_id for _ in range(4)]
    tide.cancel(run_id=made[1])
    assert ids(tide.list_runs()) == made[::-1]


def test_pages_follow_each_other_without_gap_or_repeat(tide: Tide) -> None:
    made = [tide.create_run(workflow="report").run_id for _ in range(7)]
    for run_id in made[::2]:
        tide.cancel(run_id=run_id)
    found: list[UUID] = []
    while page := ids(tide.list_runs(max_runs=3, before=found[-1] if found else None)):
        found += page
    assert found == made[::-1]


def test_each_filter_alone_and_all_together(tide: Tide) -> None:
    wanted = tide.enqueue(workflow="a", queue="q", metadata={"team": 1, "more": [1, 2]}).run_id
    tide.enqueue(workflow="a", queue="r", metadata={"team": 1})
    tide.enqueue(workflow="b", queue="q", metadata={"team": 2})
    plain = tide.create_run(workflow="b").run_id
    assert len(tide.list_runs(workflow="a")) == 2
    assert len(tide.list_runs(queue="q")) == 2
    assert len(tide.list_runs(metadata={"team": 1})) == 2
    assert ids(tide.list_runs(metadata={"more": [2]})) == [wanted]
    assert ids(tide.list_runs(status="pending")) == [plain]
    assert ids(tide.list_runs(workflow="a", queue="q", metadata={"team": 1}, status="queued")) == [
        wanted
    ]
    assert tide.list_runs(workflow="b", queue="r") == []


@pytest.mark.parametrize("status", ["pending", "queued", "running", "completed", "failed"])
def test_each_status_can_be_asked_for(tide: Tide, status: str) -> None:
    tide.create_run(workflow="report")
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.finished()
    tide.started()
    tide.enqueue(workflow="report")
    assert [run.status for run in tide.list_runs(status=status)] == [status]


def test_plain_runs_are_not_in_any_queue(tide: Tide) -> None:
    tide.create_run(workflow="report")
    assert tide.list_runs(queue="default") == []


def test_get_run_finds_active_and_finished_runs(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    assert tide.get_run(run_id=run.run_id) == run
    ended = tide.cancel(run_id=run.run_id)
    assert tide.get_run(run_id=run.run_id) == ended


def test_unknown_run_is_not_found(tide: Tide) -> None:
    for function in ("get_run", "describe_run", "explain_wait"):
        with refused("TD010", NOBODY):
            tide.call(function, run_id=NOBODY)
