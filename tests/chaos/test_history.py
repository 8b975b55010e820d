"""Each check of the campaign finds what it is for; a sound history passes all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.history import AT_ONCE, CHECKS, SPENT, Facts, coverage, dump, grave, violations
from tests.support import Connection, value

RUN = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"
KEYED = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f13"


def log(*kinds: str) -> list[tuple[int, str, Any, float]]:
    return [(seq, kind, {}, float(seq)) for seq, kind in enumerate(kinds, 1)]


def sound() -> Facts:
    kinds = ("run.enqueued", "run.claimed", "run.requeued", "run.claimed", "run.completed")
    return Facts(
        told=[
            {"kind": "enqueued", "run_id": RUN, "webhook": True},
            {"kind": "delivered", "run_id": RUN, "seq": 5, "delivery_id": "d", "accepted": False},
            {"kind": "delivered", "run_id": RUN, "seq": 5, "delivery_id": "d", "accepted": True},
            {"kind": "heard", "run_id": RUN, "events": [[1, "run.enqueued"], [2, "run.claimed"]]},
            {"kind": "with a row", "run_id": RUN},
            {"kind": "rolled back", "run_id": "another"},
            {"kind": "effect", "run_id": RUN, "step": "first", "attempt": 1, "at": 1.0},
            {"kind": "kept", "run_id": RUN, "step": "first", "attempt": 1, "at": 2.0},
            {"kind": "kept", "run_id": RUN, "step": "first", "attempt": 2, "at": 3.0},
            {"kind": "zombie", "run_id": RUN, "accepted": False, "taken": True},
            {"kind": "completed", "run_id": RUN, "ledger": True},
            {"kind": "seen running", "queue": "parts", "running": 5, "cap": 5},
            {"kind": "decided", "gate_id": "g"},
            {"kind": "decided before", "gate_id": "g"},
            {"kind": "unknown", "doing": "enqueue", "sqlstate": "57P01"},
            {"kind": "clock moved", "began": 5.0, "ended": 6.0, "step": -600.0},
            {"kind": "not taken", "message": "signed 600 s ago", "at": 7.0},
            {"kind": "keyed", "run_id": KEYED, "key": "red", "new": True, "began": 0.5},
            {"kind": "keyed", "run_id": KEYED, "key": "red", "new": False, "began": 1.5},
            {"kind": "completed a key", "key": "red", "began": 1.0, "at": 2.0},
            {"kind": "crossed", "run_id": RUN, "first": "completed", "second": "TD003"},
            {"kind": "asked again", "run_id": RUN, "how": "plain", "there": True},
            {"kind": "asked again", "run_id": "another", "how": "rollback", "there": False},
            {"kind": "says", "run_id": RUN, "word": "ebb"},
            {"kind": "heard a word", "run_id": RUN, "place": 0, "word": "ebb"},
            {"kind": "heard a word", "run_id": RUN, "place": 0, "word": "ebb"},
            {"kind": "heard a word", "run_id": RUN, "place": 1, "word": None},
            {"kind": "effect", "run_id": RUN, "step": "spend 0", "attempt": 1, "at": 1.0},
            {"kind": "kept", "run_id": RUN, "step": "spend 0", "attempt": 1, "at": 1.5},
            {"kind": "effect", "run_id": RUN, "step": "spend 1", "attempt": 1, "at": 1.6},
            {"kind": "raises", "run_id": RUN, "at": 2.0},
            {"kind": "effect", "run_id": RUN, "step": "spend 2", "attempt": 1, "at": 2.5},
            {"kind": "kept", "run_id": RUN, "step": "spend 2", "attempt": 1, "at": 2.6},
        ],
        runs={RUN: ("completed", "2026-01-01T00:00:00Z")},
        events={RUN: log(*kinds)},
        ledger={RUN: 1},
        outbox={RUN},
        keys={"a key": 1},
        dedupe_keys={KEYED: "red"},
        spent={RUN: 2 * SPENT},
        allowance=(2 * SPENT, 0),
    )


def test_what_was_met_is_counted() -> None:
    met = coverage(sound())
    assert (met["words heard"], met["keys asked for beside a completion"]) == (2, 1)
    assert (met["completions before a cancel"], met["cancels before a completion"]) == (1, 0)
    assert (met["lost answers that were commits"], met["lost answers that were none"]) == (1, 0)
    facts = sound()
    facts.events = {
        RUN: log("run.claimed", "run.requeued", "run.cancelled"),
        KEYED: log("run.claimed", "step.started", "run.cancelled"),
    }
    assert coverage(facts)["cancelled in an attempt"] == 1


def test_a_sound_history_passes_every_check() -> None:
    assert violations(sound()) == {}
    met = coverage(sound())
    assert (met["runs"], met["zombies beside a newer attempt"], met["answers lost"]) == (1, 1, 1)


def told(**line: Any) -> Callable[[Facts], None]:
    return lambda facts: facts.told.append(line)


def events(*kinds: str) -> Callable[[Facts], None]:
    return lambda facts: facts.events.update({RUN: log(*kinds)})  # type: ignore[attr-defined]


def gap(facts: Facts) -> None:
    del facts.events[RUN][1]


def status(found: str) -> Callable[[Facts], None]:
    return lambda facts: facts.runs.update({RUN: (found, None)})  # type: ignore[attr-defined]


BREAKS: dict[str, Callable[[Facts], None]] = {
    "nothing_acknowledged_is_lost": told(kind="enqueued", run_id="lost"),
    "a_rolled_back_enqueue_left_nothing": told(kind="rolled back", run_id=RUN),
    "an_enqueue_and_its_row_are_one_commit": lambda facts: facts.outbox.clear(),
    "events_are_numbered_without_a_gap": gap,
    "a_run_ends_once_each_time_it_is_started": events(
        "run.enqueued", "run.claimed", "run.completed", "run.failed"
    ),
    "attempts_do_not_overlap": events("run.claimed", "run.claimed", "run.completed"),
    "an_acknowledged_end_is_the_end": events("run.claimed", "run.failed"),
    "a_stale_lease_writes_nothing": told(kind="zombie", run_id=RUN, accepted=True, taken=True),
    "a_kept_step_is_not_executed_again": told(
        kind="effect", run_id=RUN, step="first", attempt=2, at=2.5
    ),
    "a_database_step_happens_once": lambda facts: facts.ledger.update({RUN: 2}),  # type: ignore[attr-defined]
    "a_cap_holds": told(kind="seen running", queue="parts", running=6, cap=5),
    "a_time_of_a_schedule_has_one_run": lambda facts: facts.runs.update(  # type: ignore[attr-defined]
        {"second": ("completed", "2026-01-01T00:00:00Z")}
    ),
    "a_cancel_is_final": told(kind="cancelled", run_id=RUN),
    "a_decision_is_made_once": told(kind="decided", gate_id="g"),
    "a_request_asked_again_makes_one_run": lambda facts: facts.keys.update({"a key": 2}),  # type: ignore[attr-defined]
    "a_stream_tells_the_log": told(kind="heard", run_id=RUN, events=[[2, "run.claimed"]]),
    "an_event_has_one_webhook": told(
        kind="delivered", run_id=RUN, seq=5, delivery_id="e", accepted=True
    ),
    "a_webhook_asked_for_arrives": events("run.enqueued", "run.claimed", "run.completed"),
    "no_call_ends_with_an_error_nobody_caused": told(
        kind="unknown", doing="claim", sqlstate="40P01"
    ),
    "a_key_has_one_new_run_a_time": told(
        kind="keyed", run_id=KEYED, key="red", new=True, began=3.0
    ),
    "a_run_that_is_completed_and_cancelled_at_once_ends_one_way": told(
        kind="crossed", run_id=RUN, first="completed", second="accepted"
    ),
    "a_word_is_heard_once_and_by_whom_it_was_said_to": told(
        kind="heard a word", run_id=RUN, place=1, word="ebb"
    ),
    "no_step_begins_beyond_a_budget": told(
        kind="effect", run_id=RUN, step="spend 2", attempt=1, at=1.9
    ),
    "what_is_spent_is_counted_once": lambda facts: facts.spent.update({RUN: SPENT}),  # type: ignore[attr-defined]
    "the_server_met_no_deadlock": lambda facts: facts.server.append("deadlock detected"),
    "every_run_comes_to_its_end": status("queued"),
}


def test_every_check_is_broken_by_something() -> None:
    assert BREAKS.keys() == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("check", BREAKS)
def test_a_check_finds_what_it_is_for(check: str) -> None:
    facts = sound()
    BREAKS[check](facts)
    assert check in violations(facts)


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (
            "a_key_has_one_new_run_a_time",
            {"kind": "keyed", "run_id": KEYED, "key": "blue", "new": False, "began": 3.0},
        ),
        (
            "a_word_is_heard_once_and_by_whom_it_was_said_to",
            {"kind": "heard a word", "run_id": RUN, "place": 2, "word": "nobody's"},
        ),
        (
            "a_word_is_heard_once_and_by_whom_it_was_said_to",
            {"kind": "heard a word", "run_id": RUN, "place": 0, "word": None},
        ),
        (
            "no_call_ends_with_an_error_nobody_caused",
            {"kind": "not taken", "message": "signed 600 s ago", "at": 70.0},
        ),
    ],
    ids=["another's key", "a word of nobody", "a wait that heard two things", "a wrong signature"],
)
def test_a_check_finds_the_rest_of_what_it_is_for(check: str, line: dict[str, Any]) -> None:
    facts = sound()
    facts.told.append(line)
    assert check in violations(facts)


def test_an_allowance_that_counts_otherwise_is_found() -> None:
    for wrong in ((SPENT, 0), (2 * SPENT, 1)):
        facts = sound()
        facts.allowance = wrong
        assert violations(facts).keys() == {"what_is_spent_is_counted_once"}


def test_a_deadlock_is_found_in_the_log_of_the_server_with_its_detail(tmp_path: Path) -> None:
    path = tmp_path / "postgres.log"
    path.write_text(
        """\
2026-11-30 15:49:32.280 UTC [7] TD003 ERROR:  run 1 is finished: completed
2026-11-30 15:49:32.280 UTC [7] TD003 STATEMENT:  select tide.cancel($1)
2026-11-30 15:49:33.100 UTC [8] 40P01 ERROR:  deadlock detected
2026-11-30 15:49:33.100 UTC [8] 40P01 DETAIL:  Process 8 waits for ShareLock on transaction 5
\tProcess 9 waits for ShareLock on transaction 6
2026-11-30 15:49:33.100 UTC [8] 40P01 STATEMENT:  select 1
2026-11-30 15:49:34.000 UTC [9] 57P01 FATAL:  terminating connection
2026-11-30 15:49:35.000 UTC [9] XX000 ERROR:  tuple concurrently updated
"""
    )
    deadlock, internal = grave(path)
    assert "waits for ShareLock on transaction 6" in deadlock
    assert "STATEMENT:  select 1" in deadlock
    assert "57P01" not in deadlock
    assert "tuple concurrently updated" in internal


def stopped(facts: Facts, **changes: Any) -> None:
    """The process of the first attempt was stopped, lost its lease, and went on when another
    attempt had kept the step."""
    facts.told += [
        {"kind": "stopped", "pid": 7, "began": 0.5, "ended": 4.0},
        {
            "kind": "effect", "run_id": RUN, "step": "first", "attempt": 1, "pid": 7,
            "at": 4.0 + AT_ONCE / 2, **changes,
        },
    ]  # fmt: skip
    lost = {"reason": "lease_expired", "attempt": 1}
    facts.events[RUN][2] = (3, "run.requeued", lost, 3.0)


def test_what_a_process_was_about_to_do_when_it_was_stopped_is_no_second_execution() -> None:
    facts = sound()
    stopped(facts)
    assert violations(facts) == {}


@pytest.mark.parametrize(
    "changes", [{"pid": 8}, {"attempt": 2}, {"at": 4.1 + AT_ONCE}, {"at": 3.9}], ids=str
)
def test_a_process_that_goes_on_without_its_lease_for_another_reason_is_found(
    changes: dict[str, Any],
) -> None:
    facts = sound()
    stopped(facts, **changes)
    assert violations(facts).keys() == {"a_kept_step_is_not_executed_again"}


def test_what_is_kept_of_the_database_are_its_rows(connection: Connection, tmp_path: Path) -> None:
    given = {"text": 'a\\b\n"ü"\t'}
    run_id = value(
        connection, "select run_id::text from tide.create_run('w', input => %s)", json.dumps(given)
    )
    connection.execute("create table ledger (run_id uuid)")
    connection.execute("insert into ledger values (%s)", [run_id])
    dump(connection, tmp_path)
    assert json.loads((tmp_path / "ledger.jsonl").read_text()) == {"run_id": run_id}
    assert not (tmp_path / "outbox.jsonl").exists()
    (line,) = (tmp_path / "runs.jsonl").read_text().splitlines()
    (event,) = (tmp_path / "event_log.jsonl").read_text().splitlines()
    assert json.loads(line)["run_id"] == json.loads(event)["run_id"] == run_id
    assert json.loads(line)["input"] == given
    assert (tmp_path / "steps.jsonl").read_text() == ""
