"""Forks: a new run with the checkpoints of another, edited."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tidebase_pg import AsyncTidebase, InvalidArgument, NotFound, Run, Tidebase
from tidebase_pg.client import execute as client


@pytest.fixture
def called() -> list[str]:
    return []


@pytest.fixture
def report(tide: Tidebase, called: list[str]) -> Any:
    @tide.workflow("report")
    def report(run: Run, input: Any) -> Any:
        plan = run.step("plan", lambda: called.append("plan") or f"plan {input['topic']}")
        text = run.step("write", lambda: called.append("write") or f"written to {plan}")
        return run.step("print", lambda: called.append("print") or text)

    return tide.enqueue(report, input={"topic": "tides"}).run_id


def test_a_fork_repeats_only_what_follows(tide: Tidebase, report: Any, called: list[str]) -> None:
    tide.work(drain=True)
    fork = tide.runs.fork(report, "write", overrides={"plan": "another plan"})
    assert (fork.forked_from, fork.status) == (report, "queued")
    tide.work(drain=True)
    assert tide.runs.get(fork.run_id).result == "written to another plan"
    assert called == ["plan", "write", "print", "write", "print"]
    assert tide.runs.get(report).result == "written to plan tides"


def test_a_fork_at_its_first_step_takes_another_input(tide: Tidebase, report: Any) -> None:
    tide.work(drain=True)
    fork = tide.runs.fork(report, "plan", input={"topic": "moon"})
    tide.work(drain=True)
    assert tide.runs.get(fork.run_id).result == "written to plan moon"


def test_a_fork_whose_answer_was_lost_is_made_once(
    tide: Tidebase, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tide.work(drain=True)
    lost: list[Any] = []
    perform = client.perform

    def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = perform(connection, call, meeting)
        if call.name == "fork_run" and not lost:
            lost.append(answer.run_id)
            raise psycopg.OperationalError("the answer was lost")
        return answer

    monkeypatch.setattr(client, "perform", losing)
    assert tide.runs.fork(report, "write").run_id == lost[0]
    assert len(tide.runs.list()) == 2


async def test_an_async_fork_of_an_unknown_step_is_refused(
    tide: Tidebase, report: Any, atide: AsyncTidebase
) -> None:
    tide.work(drain=True)
    with pytest.raises(NotFound, match="no step 'unknown'"):
        await atide.runs.fork(report, "unknown")
    with pytest.raises(InvalidArgument, match="overrides"):
        await atide.runs.fork(report, "write", overrides={"print": 1})
    assert len(await atide.runs.list()) == 1
