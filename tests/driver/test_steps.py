"""Steps: kept answers, retries, time limits and the contract after an ambiguous end."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from tests.driver.conftest import wait_for
from tests.support import Connection, value
from tidebase_pg import (
    BadPayload,
    Fail,
    Retry,
    Run,
    RunParked,
    StepFailedHard,
    StepInProgress,
    StepTimeout,
    Tidebase,
    calls,
)
from tidebase_pg.client import execute as client


def test_a_step_that_completed_is_replayed_not_repeated(tide: Tidebase) -> None:
    called: list[str] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: called.append("first") or {"n": run.attempt})
        if run.attempt == 1:
            raise Retry("once more", after=0)
        return first

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == {"n": 1}
    assert called == ["first"]


def test_a_step_whose_begin_a_crash_forgot_is_completed_without_executing_again(
    tide: Tidebase, connection: Connection
) -> None:
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def work() -> str:
            called.append("work")
            wait_for(connection, "select exists (select from tide.steps)")
            # What recovery does to a commit that was not yet on disk.
            connection.execute("delete from tide.steps where run_id = %s", (run.id,))
            return "done"

        return run.step("one", work)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "done"
    assert called == ["work"]
    (step,) = tide.runs.describe(run_id)["steps"]
    assert (step["status"], step["output"]) == ("completed", "done")


@pytest.mark.parametrize(
    ("contract", "durable"),
    [({}, "off"), ({"side_effects": ["mail"], "idempotency_key": "k"}, "on")],
)
def test_only_the_begin_of_a_step_without_effects_may_be_forgotten_by_a_crash(
    tide: Tidebase, connection: Connection, contract: Any, durable: str
) -> None:
    connection.execute(
        """
        create table public.commits (type text, durable text);
        create function public.note() returns trigger language plpgsql as $$
        begin
          insert into public.commits values (new.type, current_setting('synchronous_commit'));
          return null;
        end;
        $$;
        create trigger note after insert on tide.events
        for each row execute function public.note();
        """
    )

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        # A step that is quicker begins and completes in one commit.
        began = "select exists (select from tide.steps)"
        return run.step("one", lambda: wait_for(connection, began), **contract)

    tide.enqueue(w)
    tide.work(drain=True)
    seen = dict(
        connection.execute(
            "select type, durable from public.commits where type like 'step.%'"
        ).fetchall()
    )
    assert seen == {"step.started": durable, "step.completed": "on"}


def test_a_failing_step_is_retried_as_often_as_asked(tide: Tidebase) -> None:
    called: list[int] = []

    def flaky() -> str:
        called.append(len(called))
        if len(called) < 3:
            raise OSError("not yet")
        return "done"

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("flaky", flaky, retries=2, retry_delay=0)

    assert tide.run(w) == "done"
    assert called == [0, 1, 2]


def test_the_last_error_of_a_step_is_raised_when_its_retries_are_spent(tide: Tidebase) -> None:
    called: list[int] = []

    def broken() -> None:
        called.append(1)
        raise OSError("never")

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("broken", broken, retries=1, retry_delay=0)

    with pytest.raises(OSError, match="never"):
        tide.run(w)
    assert len(called) == 2


@pytest.mark.parametrize("error", [Fail("no"), Retry("later")])
def test_fail_and_retry_in_a_step_end_the_attempt_at_once(tide: Tidebase, error: Exception) -> None:
    called: list[int] = []

    def deliberate() -> None:
        called.append(1)
        raise error

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("deliberate", deliberate, retries=5, retry_delay=0)

    with pytest.raises(type(error)):
        tide.run(w)
    assert called == [1]


def test_a_step_over_its_timeout_is_abandoned(tide: Tidebase) -> None:
    never = threading.Event()

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("slow", never.wait, timeout=0.05)

    try:
        with pytest.raises(StepTimeout, match=r"step 'slow' took longer .* 0\.05 s"):
            tide.run(w)
    finally:
        never.set()


def test_a_timeout_is_retried_only_when_a_repetition_is_safe(
    tide: Tidebase, connection: Connection
) -> None:
    called: list[str] = []
    never = threading.Event()

    def once_slow(name: str) -> str:
        called.append(name)
        if called.count(name) == 1:
            never.wait()
        return "done"

    @tide.workflow("w", max_attempts=5)
    def w(run: Run, input: Any) -> Any:
        options: Any = {"retries": 1, "retry_delay": 0, "timeout": 0.05}
        safe = run.step(
            "keyed",
            lambda: once_slow("keyed"),
            idempotency_key="k",
            side_effects=["mail"],
            **options,
        )
        run.step("unkeyed", lambda: once_slow("unkeyed"), side_effects=["mail"], **options)
        return safe

    try:
        run_id = tide.enqueue(w).run_id
        report = tide.work(drain=True)
    finally:
        never.set()
    assert called == ["keyed", "keyed", "unkeyed"]
    assert report.dropped == 1
    row = tide.runs.get(run_id)
    assert (row.status, row.waiting_on, row.attempt, row.run_at) == ("queued", "review", 0, None)

    tide.execute(calls.resolve_step(run_id, "unkeyed", "use_output", output="sent"))
    tide.work(drain=True)
    assert tide.runs.get(run_id).status == "completed"
    assert called == ["keyed", "keyed", "unkeyed"]


def test_an_error_in_an_unkeyed_effect_parks_the_run_whatever_the_workflow_catches(
    tide: Tidebase,
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        try:
            run.step("send", lambda: 1 / 0, side_effects=["mail"])
        except Exception as error:
            assert isinstance(error, RunParked)
            return "swallowed"

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "review"


def test_a_step_that_must_never_be_repeated_fails_the_run(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("pay", lambda: 1 / 0, replay="never")

    with pytest.raises(StepFailedHard):
        tide.run(w)
    (run,) = tide.runs.list(status="failed")
    assert run.failure_class == "fail_hard"


def test_a_begun_step_is_completed_once_and_replayed(tide: Tidebase) -> None:
    worked: list[int] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        total = 0
        for turn in range(3):
            with run.begin_step(f"turn-{turn}", input=turn) as step:
                if not step.done:
                    worked.append(turn)
                    step.complete(turn * 10)
            total += step.output
        if run.attempt == 1:
            raise Retry(after=0)
        return total

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == 30
    assert worked == [0, 1, 2]


def test_a_begun_step_left_without_completion_is_an_error(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        with run.begin_step("turn"):
            pass

    with pytest.raises(RuntimeError, match="left without complete"):
        tide.run(w)


def test_a_begun_step_left_by_an_error_has_failed(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        with run.begin_step("turn"):
            raise OSError("model is gone")

    with pytest.raises(OSError, match="model is gone"):
        tide.run(w)
    (run,) = tide.runs.list(workflow="w")
    (step,) = tide.runs.describe(run.run_id)["steps"]
    assert step["status"] == "failed"
    assert step["error"]["message"] == "model is gone"


def test_a_step_name_in_progress_twice_is_refused(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("same", lambda: run.step("same", lambda: 1))

    with pytest.raises(StepInProgress, match="'same'"):
        tide.run(w)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (float("nan"), r"\$ is nan"),
        ({"a": [1, "x\0y"]}, r"\$\.a\[1\] holds a NUL"),
        (["\ud800"], r"\$\[0\] holds a lone surrogate"),
        ({"when": object()}, r"\$\.when is a object"),
    ],
)
def test_an_output_that_is_no_json_names_the_step_and_the_place(
    tide: Tidebase, output: Any, problem: str
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("plan", lambda: output)

    with pytest.raises(BadPayload, match="the output of step 'plan' cannot be stored.*" + problem):
        tide.run(w)


def test_a_lost_answer_to_complete_step_is_asked_for_again_not_worked_for(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    called: list[int] = []
    perform = client.perform

    def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = perform(connection, call, meeting)
        if call.name == "complete_step" and not lost:
            lost.append(call.name)
            connection.close()
            raise psycopg.OperationalError("the answer was lost")
        return answer

    monkeypatch.setattr(client, "perform", losing)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("once", lambda: called.append(1) or "done")

    assert tide.run(w) == "done"
    assert (lost, called) == (["complete_step"], [1])
    (run,) = tide.runs.list(workflow="w")
    types = [event.type for event in tide.runs.events(run.run_id)]
    assert types.count("step.completed") == 1


def test_interrupts_are_neither_retried_nor_recorded(
    tide: Tidebase, connection: Connection
) -> None:
    called: list[int] = []

    def interrupted() -> None:
        called.append(1)
        raise KeyboardInterrupt

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("s", interrupted, retries=5, retry_delay=0)

    with pytest.raises(KeyboardInterrupt):
        tide.run(w)
    assert called == [1]
    assert value(connection, "select status from tide.runs") == "pending"
    assert value(connection, "select status from tide.steps") == "running"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"retries": -1}, "retries = -1"),
        ({"timeout": 0}, "timeout = 0 s"),
        ({"retry_delay": -1}, "retry_delay = -1 s"),
        ({"replay": "sometimes"}, "sometimes"),
        ({"timeout": float("nan")}, "timeout = nan"),
        ({"retires": 1}, "retires"),
    ],
)
def test_wrong_options_of_a_step_are_named(
    tide: Tidebase, options: dict[str, Any], problem: str
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("s", lambda: 1, **options)

    with pytest.raises((ValueError, TypeError), match=problem):
        tide.run(w)
