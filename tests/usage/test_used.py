"""What a step used is recorded in the transaction that completes or fails it: once, or not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.runs.acts import Tide, refused

LLM = {"kind": "llm", "provider": "acme", "model": "small", "input_tokens": 900}


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def report(tide: Tide, *reports: dict[str, Any]) -> dict[int, str]:
    document = json.dumps(reports, default=str)
    query = "select * from tide.report_steps(%s::jsonb)"
    rows = tide.connection.execute(query, (document,)).fetchall()
    return {row.ordinal - 1: row.action for row in rows}


def test_what_a_step_used_is_recorded_as_it_completes(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(**own(run), name="turn 1")
    used = {**LLM, "output_tokens": 150, "cost_usd": 0.0021, "metadata": {"tier": "flex"}}
    tide.complete_step(**own(run), name="turn 1", output='"hello"', used=used)
    (usage,) = tide.list_usage(run_id=run.run_id)
    assert (usage.kind, usage.step, usage.provider, usage.model) == (
        "llm", "turn 1", "acme", "small",
    )  # fmt: skip
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (900, 150, 1050)
    assert (usage.cost_usd, usage.metadata) == (Decimal("0.0021"), {"tier": "flex"})
    assert tide.log(run.run_id)[-2:] == ["step.completed", "usage.recorded"]


def test_the_same_completion_again_records_nothing_more(tide: Tide) -> None:
    run = tide.started(budget={"max_tokens": 1000})
    tide.begin_step(**own(run), name="a")
    for _ in range(3):
        tide.complete_step(**own(run), name="a", used=LLM)
    assert len(tide.list_usage(run_id=run.run_id)) == 1
    assert tide.begin_step(**own(run), name="b").action == "execute"


def test_a_step_that_fails_has_used_what_it_used(tide: Tide) -> None:
    run = tide.started(budget={"max_tokens": 1800})
    for execution in (1, 2):
        assert tide.begin_step(**own(run), name="a").attempt == execution
        tide.fail_step(**own(run), name="a", retryable=True, used=[LLM])
        tide.fail_step(**own(run), name="a", retryable=True, used=[LLM])
    assert [usage.step for usage in tide.list_usage(run_id=run.run_id)] == ["a", "a"]
    assert tide.begin_step(**own(run), name="a").action == "budget"


@pytest.mark.parametrize(("replay", "status"), [("never", "failed"), ("manual", "queued")])
def test_a_run_that_its_step_ends_or_parks_has_used_what_it_used(
    tide: Tide, replay: str, status: str
) -> None:
    run = tide.started(max_attempts=1)
    tide.begin_step(**own(run), name="a", contract={"replay": replay})
    tide.fail_step(**own(run), name="a", used=LLM)
    assert tide.get_run(run_id=run.run_id).status == status
    assert [usage.total_tokens for usage in tide.list_usage(run_id=run.run_id)] == [900]


def test_a_request_key_counts_once_whatever_reports_it(tide: Tide) -> None:
    run = tide.started()
    tide.record_usage(run_id=run.run_id, total_tokens=5, request_key="r")
    tide.begin_step(**own(run), name="a")
    tide.complete_step(
        **own(run), name="a", used=[{"request_key": "r", "total_tokens": 5}, {"total_tokens": 7}]
    )
    assert [usage.total_tokens for usage in tide.list_usage(run_id=run.run_id)] == [5, 7]


@pytest.mark.parametrize(
    ("used", "said"),
    [
        ([7], "used[0] is not a JSON object"),
        ('"tokens"', "used is not an array"),
        ([{}] * 1001, "1001 elements"),
        ({"tokens": 7}, "'tokens'"),
        ({"step": "b"}, "'step'"),
        ({"input_tokens": "many"}, "many"),
        ({"input_tokens": 1.5}, "1.5"),
        ({"input_tokens": 1e30}, "1000000"),
        ({"output_tokens": -1}, "output_tokens is out of range: -1"),
        ({"cost_usd": "NaN"}, "cost_usd is out of range: NaN"),
        ({"model": "x" * 257}, "model is not valid: it has 257 bytes"),
        ({"kind": "a\nb"}, "control character"),
        ({"metadata": {"a": 10**401}}, "metadata cannot be read"),
    ],
)
def test_bad_usage_is_named_and_the_step_stays_open(tide: Tide, used: Any, said: str) -> None:
    run = tide.started()
    tide.begin_step(**own(run), name="a")
    with refused("22023", said):
        tide.complete_step(**own(run), name="a", used=used)
    with refused("22023", said):
        tide.fail_step(**own(run), name="a", used=used)
    assert report(tide, {**own(run), "name": "a", "complete": True, "used": used}) == {0: "single"}
    assert tide.list_usage(run_id=run.run_id) == []
    assert tide.get_step(run_id=run.run_id, name="a").status == "running"


def test_reports_of_many_runs_bring_what_their_steps_used(tide: Tide) -> None:
    runs = [tide.started() for _ in range(3)]
    both = {"name": "a", "begin": True, "complete": True, "output": 1}
    again = [{**own(run), **both, "used": [LLM, LLM]} for run in runs]
    assert report(tide, *again) == {}
    assert report(tide, *again) == {}
    for run in runs:
        assert [usage.step for usage in tide.list_usage(run_id=run.run_id)] == ["a", "a"]
        seqs = [event.seq for event in tide.list_events(run_id=run.run_id)]
        assert seqs == list(range(1, 7)), tide.log(run.run_id)
        tide.complete(**own(run))


def test_a_run_with_a_budget_reports_by_itself_what_its_step_used(tide: Tide) -> None:
    parent = tide.started(budget={"max_tokens": 1000})
    made = tide.spawn(**own(parent), edge="part", workflow="part")
    child, plain = tide.begin_run(run_id=made.child_id), tide.started()
    runs = (parent, child, plain)
    for run in runs:
        tide.begin_step(**own(run), name="a")
    reports = [{**own(run), "name": "a", "complete": True, "used": LLM} for run in runs]
    assert report(tide, *reports) == {0: "single", 1: "single"}
    assert [len(tide.list_usage(run_id=run.run_id)) for run in runs] == [0, 0, 1]
    tide.complete_step(**own(child), name="a", used=LLM)
    assert tide.begin_step(**own(parent), name="b").action == "execute"
    tide.complete_step(**own(parent), name="b", used=LLM)
    assert tide.begin_step(**own(parent), name="c").action == "budget"
