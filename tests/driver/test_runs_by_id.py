"""Runs worked on outside a worker: inline, and by a session."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import (
    BadPayload,
    LeaseLost,
    Run,
    RunCancelled,
    RunFinished,
    RunLeased,
    Stop,
    Tidebase,
    calls,
    new_run_id,
)

PATIENCE = 60


def test_an_inline_run_goes_on_where_it_failed_and_then_gives_its_stored_result(
    tide: Tidebase,
) -> None:
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: called.append("first") or input["n"])
        if run.attempt == 1:
            raise OSError("gone")
        return first

    run_id = new_run_id()
    with pytest.raises(OSError, match="gone"):
        tide.run(w, run_id=run_id, input={"n": 7}, max_attempts=2)
    assert tide.runs.get(run_id).status == "pending"
    assert tide.run(w, run_id=run_id, input={"n": 7}) == 7
    assert tide.run("w", run_id=str(run_id)) == 7
    assert called == ["first"]


def test_an_inline_run_of_another_workflow_is_refused(tide: Tidebase) -> None:
    tide.workflow("w")(lambda run, given: None)
    other = tide.runs.create("other").run_id
    with pytest.raises(ValueError, match="is of workflow 'other', not 'w'"):
        tide.run("w", run_id=other)


def test_a_cancelled_inline_run_raises(tide: Tidebase) -> None:
    tide.workflow("w")(lambda run, given: None)
    run_id = tide.runs.create("w").run_id
    tide.runs.cancel(run_id)
    with pytest.raises(RunCancelled):
        tide.run("w", run_id=run_id)


def test_an_inline_result_that_is_no_json_fails_the_run(tide: Tidebase) -> None:
    tide.workflow("w")(lambda run, given: object())
    with pytest.raises(BadPayload, match="the result of run"):
        tide.run("w")
    (run,) = tide.runs.list(workflow="w")
    assert (run.status, run.failure_class) == ("failed", "bad_output")


def test_an_unregistered_workflow_cannot_run_inline(tide: Tidebase) -> None:
    with pytest.raises(ValueError, match="'w' is not a registered workflow"):
        tide.run("w")


def test_a_session_completes_its_run(tide: Tidebase) -> None:
    with tide.runs.attach("w", input={"n": 1}) as session:
        assert session.step("s", lambda: session.input["n"] + 1) == 2
        session.complete({"n": 2})
    assert tide.runs.get(session.id).result == {"n": 2}
    with pytest.raises(RunFinished):
        tide.runs.attach("w", session.id)


def test_a_session_left_by_an_error_has_failed(tide: Tidebase) -> None:
    with pytest.raises(OSError, match="gone"), tide.runs.attach("w") as session:
        raise OSError("gone")
    run = tide.runs.get(session.id)
    assert (run.status, run.error["message"]) == ("failed", "gone")


def test_a_session_left_without_an_end_hands_its_run_back(tide: Tidebase) -> None:
    with tide.runs.attach("w") as session:
        pass
    run = tide.runs.get(session.id)
    assert (run.status, run.attempt) == ("pending", 0)
    with tide.runs.attach("w", session.id) as again:
        again.fail("no good")
    assert tide.runs.get(session.id).status == "failed"


def test_a_session_keeps_its_run_and_learns_when_it_loses_it(tide: Tidebase) -> None:
    lost: list[Stop] = []
    told = threading.Event()

    def on_lease_lost(stop: Stop) -> None:
        lost.append(stop)
        told.set()

    with tide.runs.attach("w", lease=3, on_lease_lost=on_lease_lost) as session:
        with pytest.raises(RunLeased):
            tide.runs.attach("w", session.id)
        renewals = {tide.runs.get(session.id).leased_until}
        while len(renewals) < 3:
            renewals.add(tide.runs.get(session.id).leased_until)
        session.heartbeat()
        tide.runs.cancel(session.id)
        assert told.wait(PATIENCE)
        assert session.cancelled.is_set()
        with pytest.raises(RunCancelled):
            session.complete()
    assert isinstance(lost[0], RunCancelled)


def test_a_cut_connection_does_not_stop_a_session(
    tide: Tidebase, connect: Any, direct_dsn: str
) -> None:
    with tide.runs.attach("w", lease=3) as session:
        connect(direct_dsn).execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        renewals = {tide.runs.get(session.id).leased_until}
        while len(renewals) < 3:
            renewals.add(tide.runs.get(session.id).leased_until)
        session.complete("whole")
    assert tide.runs.get(session.id).result == "whole"


def test_a_session_whose_lease_was_taken_cannot_write(
    tide: Tidebase, connection: Connection
) -> None:
    with tide.runs.attach("w") as session:
        connection.execute("update tide.runs_active set lease_id = gen_random_uuid()")
        with pytest.raises(LeaseLost):
            session.step("s", lambda: 1)
        with pytest.raises(LeaseLost):
            session.heartbeat()


def test_waiting_for_a_run_ends_with_the_run_or_the_timeout(tide: Tidebase) -> None:
    run_id = tide.enqueue("w").run_id
    with pytest.raises(TimeoutError, match="is queued after 0 s"):
        tide.runs.wait(run_id, timeout=0)
    (run,) = tide.execute(calls.claim())
    assert run.lease_id is not None
    tide.execute(calls.complete(run_id, run.lease_id, result=[1]))
    assert tide.runs.wait(run_id, timeout=PATIENCE).result == [1]
