"""Looking for runs: filters, pages, and how much is read for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import NOBODY, Tide, refused
from tests.support import Clock, Connection


def ids(page: dict[str, Any]) -> list[UUID]:
    return [UUID(run["run_id"]) for run in page["runs"]]


def failed(tide: Tide, **options: Any) -> UUID:
    run = tide.started(**options)
    error = {"type": "ValueError", "message": "HTTP 502 from crm.example"}
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error=error, retryable=False)
    return UUID(str(run.run_id))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["waiting", "done", "broken", "plain"]),
        ({"status": "failed"}, ["broken"]),
        ({"status": "queued"}, ["waiting"]),
        ({"queue": "mail"}, ["done", "broken"]),
        ({"workflow": "digest"}, ["waiting", "done"]),
        ({"workflow": "digest", "status": "completed"}, ["done"]),
        ({"failure_class": "error"}, ["broken"]),
        ({"waiting_on": "gate"}, []),
    ],
)
def test_runs_are_found_by_each_filter_newest_first(
    tide: Tide, filters: dict[str, str], found: list[str]
) -> None:
    made = {
        "plain": tide.create_run(workflow="plain").run_id,
        "broken": failed(tide, queue="mail", workflow="crm"),
        "done": tide.finished(queue="mail", workflow="digest").run_id,
        "waiting": tide.enqueue(workflow="digest", queue="later").run_id,
    }
    for function in (tide.find_runs, tide.search_runs):
        page = function(filters=filters)
        assert ids(page) == [made[name] for name in found]
        assert page["next"] is None
    assert tide.count_runs(filters=filters)["count"] == len(found)


def test_running_runs_are_found_whatever_else_is_active(tide: Tide) -> None:
    run = tide.started(queue="mail")
    tide.enqueue(workflow="report")
    assert ids(tide.find_runs(filters={"status": "running"})) == [run.run_id]


def test_metadata_and_text_of_errors_are_for_who_may_see_them(tide: Tide) -> None:
    broken = failed(tide, metadata={"tenant": "acme", "tier": 1})
    failed(tide, metadata={"tenant": "other"})
    assert ids(tide.search_runs(filters={"metadata": {"tenant": "acme"}})) == [broken]
    assert len(ids(tide.search_runs(filters={"error": "http 502"}))) == 2
    assert tide.search_runs(filters={"error": "http 503"})["runs"] == []
    (found,) = tide.search_runs(filters={"metadata": {"tier": 1}})["runs"]
    assert found["error"] == "HTTP 502 from crm.example"
    for secret in ({"metadata": {"tenant": "acme"}}, {"error": "502"}):
        with refused("22023", next(iter(secret))):
            tide.find_runs(filters=secret)
    assert "error" not in tide.find_runs()["runs"][0]


def test_pages_meet_each_run_once(tide: Tide) -> None:
    made = [tide.enqueue(workflow="report").run_id for _ in range(7)]
    seen: list[UUID] = []
    before = None
    while True:
        page = tide.find_runs(before=before, max_runs=3)
        seen += ids(page)
        before = page["next"]
        if before is None:
            break
    assert seen == made[::-1]


def test_times_bound_what_is_found(tide: Tide, clock: Clock) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    now = clock.now
    for filters, found in (
        ({"created_after": (now - timedelta(minutes=1)).isoformat()}, [run_id]),
        ({"created_after": (now + timedelta(minutes=1)).isoformat()}, []),
        ({"created_before": (now + timedelta(minutes=1)).isoformat()}, [run_id]),
        ({"created_before": (now - timedelta(minutes=1)).isoformat()}, []),
    ):
        assert ids(tide.find_runs(filters=filters)) == found


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ({"status": "done"}, "status"),
        ({"waiting_on": "godot"}, "waiting_on"),
        ({"colour": "red"}, "colour"),
        ({"created_after": "yesterdayish"}, "created_after"),
        ({"created_after": "0044-03-15 00:00:00+00"}, "time"),
        ({"metadata": [1]}, "metadata"),
        ([], "filters"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(tide: Tide, filters: Any, named: str) -> None:
    with refused("22023", named):
        tide.search_runs(filters=filters)


def test_a_look_is_bounded_and_says_how_far_it_went(
    tide: Tide, connection: Connection, clock: Clock
) -> None:
    """Twelve thousand runs of one kind lie before the only one of another."""
    rare = tide.enqueue(workflow="rare", queue="other").run_id
    for _ in range(3):
        tide.enqueue_many(queue="many", runs=[{"workflow": "common"}] * 4000)
    connection.execute("analyze")
    page = tide.find_runs(filters={"workflow": "rare"})
    assert page["runs"] == []
    assert page["next"] is not None
    assert page["looked_to"] is not None
    pages, met = 1, []
    while page["next"] is not None and not met:
        page = tide.find_runs(filters={"workflow": "rare"}, before=page["next"])
        met, pages = ids(page), pages + 1
    assert met == [rare]
    assert pages == 3
    counted = tide.count_runs(filters={"workflow": "common"})
    assert counted["count"] == 10000
    assert tide.count_runs(filters={"workflow": "common"}, before=counted["next"])["count"] == 2000
    plan = connection.execute(
        'explain (analyze, buffers, format json) select tide.find_runs(\'{"workflow": "rare"}\')'
    ).fetchone()
    assert plan is not None
    read = plan[0][0]["Plan"]
    assert read["Shared Hit Blocks"] + read["Shared Read Blocks"] < 2000


def test_an_outline_holds_no_payload(tide: Tide) -> None:
    run = tide.started(input={"secret": "squid"}, metadata={"secret": "squid"})
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="one")
    tide.complete_step(
        run_id=run.run_id, lease_id=run.lease_id, name="one", output={"secret": "squid"}
    )
    tide.open_gate(
        run_id=run.run_id, lease_id=run.lease_id, name="ask", prompt="squid?", data={"a": "squid"}
    )
    tide.set_state(run_id=run.run_id, value={"secret": "squid"}, lease_id=run.lease_id)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "squid"}, retryable=False)
    outline = tide.outline_run(run_id=run.run_id)
    assert "squid" not in str(outline)
    assert [step["name"] for step in outline["steps"]] == ["one"]
    assert [gate["name"] for gate in outline["gates"]] == ["ask"]
    assert [begun["type"] for begun in outline["attempts"]] == ["run.claimed", "run.failed"]
    assert outline["counts"]["completed"] == 1
    assert len(outline["events"]) == outline["run"]["last_seq"]


def test_an_outline_shows_steps_in_pages_and_where_a_run_comes_from(tide: Tide) -> None:
    parent = tide.started()
    child = tide.spawn(
        run_id=parent.run_id, lease_id=parent.lease_id, edge="part", workflow="part", queue="parts"
    ).child_id
    for number in range(5):
        name = f"step-{number}"
        tide.begin_step(run_id=parent.run_id, lease_id=parent.lease_id, name=name)
        tide.complete_step(run_id=parent.run_id, lease_id=parent.lease_id, name=name)
    page = tide.outline_run(run_id=parent.run_id, after_step=3, max_steps=2)
    assert [step["name"] for step in page["steps"]] == ["step-3", "step-4"]
    assert page["counts"]["steps"] == 5
    assert [c["run_id"] for c in page["children"]] == [str(child)]
    below = tide.outline_run(run_id=child)
    assert [run["run_id"] for run in below["ancestors"]] == [str(parent.run_id)]
    with refused("TD010", NOBODY):
        tide.outline_run(run_id=NOBODY)


def test_a_step_is_read_by_its_name(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="one")
    tide.complete_step(run_id=run.run_id, lease_id=run.lease_id, name="one", output={"a": 1})
    step = tide.get_step(run_id=run.run_id, name="one")
    assert step.output == {"a": 1}
    assert step.lease_id is None
    with refused("TD010", "two"):
        tide.get_step(run_id=run.run_id, name="two")
    with refused("TD010", NOBODY):
        tide.get_step(run_id=NOBODY, name="one")
