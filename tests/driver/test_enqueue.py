"""Enqueue and the calls around it, from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import Connection
from tidebase_pg import (
    BadPayload,
    DuplicateRun,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    Run,
    SchemaTooOld,
    Tidebase,
    new_run_id,
)
from tidebase_pg.client import execute as client


def test_a_run_enqueued_on_the_caller_s_connection_vanishes_with_his_rollback(
    tide: Tidebase, connect: Callable[..., Connection]
) -> None:
    mine = connect(autocommit=False)
    gone = tide.enqueue("w", connection=mine).run_id
    mine.rollback()
    kept = tide.enqueue("w", connection=mine).run_id
    with pytest.raises(NotFound):
        tide.runs.get(kept)
    mine.commit()
    assert tide.runs.get(kept).status == "queued"
    with pytest.raises(NotFound):
        tide.runs.get(gone)


def test_a_refusal_leaves_the_caller_s_connection_as_postgres_does(
    tide: Tidebase, connect: Callable[..., Connection]
) -> None:
    mine = connect(autocommit=True)
    with pytest.raises(InvalidArgument):
        tide.enqueue("not a name", connection=mine)
    assert tide.enqueue("w", connection=mine).status == "queued"


def test_registered_defaults_apply_and_the_caller_overrules_them(tide: Tidebase) -> None:
    @tide.workflow("w", queue="q", max_attempts=4, deadline=60)
    def w(run: Run, input: Any) -> Any:
        return None

    usual = tide.runs.get(tide.enqueue(w).run_id)
    assert (usual.queue, usual.max_attempts) == ("q", 4)
    assert usual.deadline_at is not None
    other = tide.runs.get(tide.enqueue("w", queue="other", max_attempts=2).run_id)
    assert (other.queue, other.max_attempts) == ("other", 2)


def test_a_workflow_stays_the_function_it_was(tide: Tidebase) -> None:
    def w(run: Run, input: dict[str, int]) -> int:
        return input["n"]

    assert tide.workflow("w")(w) is w


def test_what_was_enqueued_comes_back_as_it_was(tide: Tidebase) -> None:
    when = datetime.now(UTC) + timedelta(hours=1)
    run_id = new_run_id()
    tide.enqueue(
        "w",
        input=[1, {"ü": None}, "\\u0000", "🌊"],
        run_at=when,
        metadata={"tenant": "a"},
        priority=-3,
        run_id=str(run_id),
    )
    run = tide.runs.get(run_id)
    assert run.input == [1, {"ü": None}, "\\u0000", "🌊"]
    assert (run.run_at, run.metadata, run.priority) == (when, {"tenant": "a"}, -3)


def test_the_same_key_gives_the_same_run(tide: Tidebase) -> None:
    first = tide.enqueue("w", dedupe_key="k")
    again = tide.enqueue("w", dedupe_key="k")
    assert (again.run_id, again.deduplicated) == (first.run_id, True)
    with pytest.raises(DuplicateRun, match=str(first.run_id)):
        tide.enqueue("w", dedupe_key="k", on_conflict="raise")


def test_a_workflow_says_how_long_keys_of_its_runs_stay_taken(tide: Tidebase) -> None:
    @tide.workflow("charge", dedupe_for=3600)
    def charge(run: Run, input: Any) -> str:
        return "paid"

    first = tide.enqueue(charge, dedupe_key="k")
    (other,) = tide.enqueue_many([{"workflow": charge, "dedupe_key": "l"}])
    tide.enqueue(charge)
    assert tide.work(drain=True).completed == 3
    again = tide.enqueue(charge, dedupe_key="k")
    assert (again.run_id, again.deduplicated, again.status) == (first.run_id, True, "completed")
    assert tide.enqueue("charge", dedupe_key="l").run_id == other.run_id


def test_a_lost_answer_to_enqueue_makes_no_second_run(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = client.perform
    lost: list[Any] = []

    def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = perform(connection, call, meeting)
        if call.name.startswith("enqueue") and not lost:
            lost.append(answer)
            connection.close()
            raise psycopg.OperationalError("the answer was lost")
        return answer

    tide.runs.list()
    monkeypatch.setattr(client, "perform", losing)
    assert tide.enqueue("w").run_id == lost[0].run_id
    assert len(tide.runs.list()) == 1
    lost.clear()
    assert tide.enqueue_many([{"workflow": "w"}, {"workflow": "w"}]) == lost[0]
    assert len(tide.runs.list()) == 3


def test_many_runs_are_enqueued_with_the_options_of_enqueue(tide: Tidebase) -> None:
    when = datetime.now(UTC) + timedelta(hours=1)
    answers = tide.enqueue_many(
        [
            {"workflow": "w", "input": {"n": 1}, "run_at": when},
            {"workflow": "w", "delay": timedelta(minutes=1), "deadline": 3600.5},
            {"workflow": "w", "dedupe_key": "k", "backoff": {"base": 1.5}},
        ],
        queue="q",
    )
    assert [answer.ordinal for answer in answers] == [1, 2, 3]
    assert tide.runs.get(answers[0].run_id).run_at == when
    assert tide.runs.get(answers[2].run_id).backoff == {"base": "1.500000 seconds"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queue": "a b"}, "queue"),
        ({"queue": 5}, "queue must be text, not int"),
        ({"queue": "a\0"}, "queue = 'a.x00' holds a NUL"),
        ({"queue": ""}, "queue"),
        ({"priority": 10**30}, "priority = 1000000000000000000000000000000 is out of range"),
        ({"priority": 1.5}, "priority must be a whole number"),
        ({"priority": True}, "priority must be a whole number"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay = nan"),
        ({"delay": "5 minutes"}, "delay must be a timedelta or seconds"),
        ({"delay": timedelta.max}, "delay"),
        ({"deadline": 0}, "deadline"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at = .* has no time zone"),  # noqa: DTZ001
        ({"run_at": datetime.max.replace(tzinfo=UTC)}, "run_at"),
        ({"run_id": "7"}, "run_id = '7' is not a UUID"),
        ({"dedupe_key": ""}, "dedupe_key"),
        ({"dedupe_key": "x" * 513}, "dedupe_key"),
        ({"dedupe_key": "\ud800"}, "dedupe_key = .* lone surrogate"),
        ({"on_conflict": "panic"}, "on_conflict"),
        ({"backoff": {"bass": 1}}, "bass"),
        ({"qeue": "x"}, "qeue"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(
    tide: Tidebase, options: Any, problem: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        tide.enqueue("w", **options)
    assert tide.runs.list() == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "nan"),
        ({"a": {"b": "\0"}}, r"\$\.a\.b holds a NUL"),
        ({"\0": 1}, "a key holds a NUL"),
        (datetime(2030, 1, 1, tzinfo=UTC), r"datetime; store value\.isoformat"),
        (new_run_id(), r"UUID; store str\(value\)"),
        ({1, 2}, r"set; store sorted"),
    ],
)
def test_an_input_that_is_no_json_is_refused_with_place_and_remedy(
    tide: Tidebase, value: Any, problem: str
) -> None:
    with pytest.raises(BadPayload, match="input cannot be stored as JSON: .*" + problem):
        tide.enqueue("w", input=value)


def test_a_document_too_deep_or_too_large_is_refused(tide: Tidebase) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadPayload, match="nested deeper than 100"):
        tide.enqueue("w", input=deep)
    with pytest.raises(InvalidArgument, match="nested deeper than 100"):
        tide.enqueue("w", input=json.loads("[" * 102 + "]" * 102))
    with pytest.raises(PayloadTooLarge, match="input is too large"):
        tide.enqueue("w", input="x" * (1024 * 1024))


def test_a_database_without_the_schema_says_what_to_run(empty_dsn: str) -> None:
    with Tidebase(empty_dsn) as tide, pytest.raises(SchemaTooOld, match="tidebase-pg install"):
        tide.enqueue("w")


def test_a_server_that_is_not_there_is_reported_at_once() -> None:
    with Tidebase("host=/nowhere") as tide, pytest.raises(psycopg.OperationalError):
        tide.enqueue("w")


def test_a_missing_dsn_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEBASE_DSN", raising=False)
    with pytest.raises(ValueError, match="TIDEBASE_DSN"):
        Tidebase().enqueue("w")


def test_an_unreadable_dsn_is_refused() -> None:
    with pytest.raises(ValueError, match="DSN cannot be read"):
        Tidebase("not a dsn at all").enqueue("w")


def test_queues_are_configured_and_cleared(tide: Tidebase) -> None:
    tide.queues.configure("q", concurrency=3, rate_limit=5, rate_period=timedelta(seconds=30))
    row = tide.queues.configure("q", concurrency=None, backoff_base=1.5)
    assert (row.concurrency, row.rate_limit, row.rate_period.total_seconds()) == (None, 5, 30)
    assert row.backoff_base == timedelta(seconds=1.5)
    assert tide.queues.pause("q").paused
    assert not tide.queues.resume("q").paused
    assert tide.queues.stats("q").rate_limit == 5
    with pytest.raises(NotFound):
        tide.queues.stats("unheard-of")
    with pytest.raises(ValueError, match="concurrency"):
        tide.queues.configure("q", concurrency=-1)


def test_runs_are_listed_described_explained_and_moved(tide: Tidebase) -> None:
    run_id = tide.enqueue("w", delay=3600, metadata={"tenant": "a"}).run_id
    tide.enqueue("w")
    assert [run.run_id for run in tide.runs.list(metadata={"tenant": "a"})] == [run_id]
    assert tide.runs.describe(run_id)["run"]["run_id"] == str(run_id)
    assert tide.runs.explain_wait(run_id)["reasons"][0]["reason"] == "not_due"
    moved = tide.runs.reschedule(run_id, datetime.now(UTC) - timedelta(seconds=1), priority=7)
    assert (moved.ready, moved.priority) == (True, 7)
    assert tide.runs.cancel(run_id, reason="over").cancel_reason == "over"
    assert tide.runs.retry(run_id).status == "queued"
    assert tide.runs.cancel_many(workflow="w") == 2
    assert next(event.type for event in tide.runs.events(run_id)) == "run.enqueued"


def test_times_are_read_whatever_the_session_s_date_style(connect: Any) -> None:
    mine = connect()
    mine.execute("set datestyle = 'German, DMY'")
    mine.execute("set intervalstyle = 'sql_standard'")
    tide = Tidebase(mine)
    run = tide.runs.create("w")
    assert tide.runs.get(run.run_id).created_at == run.created_at


def test_reconcile_answers_what_it_did(tide: Tidebase) -> None:
    assert "expired_leases" in tide.reconcile(budget=1)
