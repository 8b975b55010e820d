"""Versions of a workflow: a run goes on with the version it began with."""

from __future__ import annotations

from typing import Any

import pytest

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, calls


def reply(answer: Any) -> Any:
    def workflow(run: Run, input: Any) -> Any:
        return answer

    return workflow


def reasons(tide: Tidebase, run_id: Any) -> dict[str, Any]:
    return {found["reason"]: found for found in tide.runs.explain_wait(run_id)["reasons"]}


def test_a_worker_takes_runs_of_its_versions_only_and_those_of_others_wait(dsn: str) -> None:
    with Tidebase(dsn) as former, Tidebase(dsn) as present:
        first = reply(1)
        former.workflow("refund", version=1)(first)
        old = former.enqueue("refund").run_id
        assert former.runs.get(old).workflow == "refund@1"
        present.workflow("refund", version=2)(reply(2))
        new = present.enqueue("refund").run_id
        assert present.work(drain=True, name="present").claimed == 1
        assert (present.runs.get(new).result, present.runs.get(old).attempt) == (2, 0)
        found = reasons(present, old)
        assert set(found) == {"other_version"}
        assert (found["other_version"]["workflow"], found["other_version"]["served"]) == (
            "refund@1", ["refund@2"],
        )  # fmt: skip
        present.workflow("refund", version=1)(first)
        assert present.work(drain=True, name="present").claimed == 1
        assert present.runs.get(old).result == 1


async def test_an_asyncio_worker_takes_runs_of_its_versions_only(atide: AsyncTidebase) -> None:
    async def former(run: AsyncRun, input: Any) -> Any:
        return 1

    async def present(run: AsyncRun, input: Any) -> Any:
        return 2

    atide.workflow("refund")(former)
    atide.workflow("refund", version=2)(present)
    made = [(await atide.enqueue(given)).run_id for given in ("refund", former, "refund@3")]
    report = await atide.work(drain=True)
    rows = [await atide.runs.get(run_id) for run_id in made]
    assert (report.claimed, [row.workflow for row in rows]) == (
        2, ["refund@2", "refund", "refund@3"],
    )  # fmt: skip
    assert [row.result for row in rows] == [2, 1, None]


def test_a_name_means_the_newest_version_and_a_function_its_own(tide: Tidebase) -> None:
    first, second, third = reply(1), reply(2), reply(3)
    tide.workflow("refund", version=3, queue="q", max_attempts=7)(third)
    tide.workflow("refund")(first)
    tide.workflow("refund", version=2, queue="q")(second)
    asked: list[Any] = ["refund", first, second, "refund@2", "refund@3"]
    made = [tide.enqueue(workflow).run_id for workflow in asked]
    made += [run.run_id for run in tide.enqueue_many([{"workflow": "refund"}])]
    rows = [tide.runs.get(run_id) for run_id in made]
    assert [row.workflow for row in rows] == [
        "refund@3", "refund", "refund@2", "refund@2", "refund@3", "refund@3",
    ]  # fmt: skip
    assert (rows[0].queue, rows[0].max_attempts) == ("q", 7)
    schedule = tide.schedules.set("nightly", cron="@daily", workflow_name="refund")
    assert schedule.workflow == "refund@3"


def family(tide: Tidebase, version: int) -> None:
    @tide.workflow("part", version=version, queue="parts", max_attempts=5)
    def part(run: Run, input: Any) -> Any:
        return run.step("price", lambda: version)

    @tide.workflow("whole", max_attempts=5)
    def whole(run: Run, input: Any) -> Any:
        made = run.child("part", queue="parts" if input["apart"] else None)
        run.gate("more", "More?")
        return [made, run.child("part", queue="parts")]


def test_a_child_made_by_a_former_version_is_the_same_child_in_a_replay(dsn: str) -> None:
    with Tidebase(dsn) as former, Tidebase(dsn) as present:
        family(former, 1)
        family(present, 2)
        parent = former.enqueue("whole", input={"apart": True}).run_id
        former.work(drain=True, queues=["default", "parts"])
        assert former.runs.get(parent).waiting_on == "gate"
        (gate,) = former.execute(calls.list_gates())
        former.gates.decide(gate.gate_id, "approved", "ann")
        present.work(drain=True, queues=["default", "parts"])
        assert present.runs.get(parent).result == [1, 2]


def test_a_child_run_in_place_is_finished_by_its_own_version_or_not_at_all(dsn: str) -> None:
    with Tidebase(dsn) as former, Tidebase(dsn) as present:
        family(present, 2)
        whole = present.enqueue(
            "whole", input={"apart": False}, backoff={"base": 0, "jitter": 0}
        ).run_id
        (held,) = former.execute(calls.claim(queues=["default"]))
        former.execute(calls.spawn(held.run_id, held.lease_id, "part", "part@1"))
        former.execute(calls.release(held.run_id, held.lease_id))
        present.work(max_runs=1)
        assert present.runs.get(whole).error["message"].startswith("'part@1' is not a registered")
        family(present, 1)
        present.work(drain=True)
        assert present.runs.get(whole).waiting_on == "gate"
        (child,) = present.execute(calls.list_children(whole))
        assert present.runs.get(child.child_id).result == 1


@pytest.mark.parametrize(
    ("name", "version", "problem"),
    [
        ("refund@2", None, "'refund@2': the version goes into an argument, version=2"),
        ("refund", 0, "version = 0 is out of range: give 1 to 2147483647"),
        ("refund", True, "version"),
        ("refund", "2", "version"),
        ("refund", 1.5, "version"),
    ],
)
def test_a_wrong_version_is_named(name: str, version: Any, problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        Tidebase("").workflow(name, version=version)(reply(1))


def test_a_version_taken_by_another_function_is_refused_and_another_version_is_not() -> None:
    tide = Tidebase("")
    tide.workflow("refund", version=1)(reply(1))
    tide.workflow("refund", version=2)(len)
    with pytest.raises(ValueError, match="'refund@2' is registered already"):
        tide.workflow("refund", version=2)(reply(2))
