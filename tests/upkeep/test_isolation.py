"""Under REPEATABLE READ and SERIALIZABLE a function is right, or refuses before it has acted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.conventions.bodies import routines
from tests.runs.acts import Tide, contents, refused
from tests.support import Connection
from tests.upkeep.calls import SCENES, Arguments, Scene, held, own, parent, queued, streamed

LEVELS = ("repeatable read", "serializable")

READS = {
    routine.name
    for routine in routines()
    if routine.public and re.search(r"^(stable|immutable)$", routine.text, re.M)
} | {"get_run"}  # Volatile only to see a run that its own statement makes.

RIGHT = {
    # The row they lock, or the key they insert, changes with everything they decide on.
    *("enqueue", "create_run", "cancel", "complete", "fail", "release"),
    *("begin_step", "complete_step", "fail_step", "record_usage"),
    *("set_state", "patch_state", "save_state", "create_snapshot"),
    *("set_schedule", "drop_schedule", "pause_schedule", "resume_schedule"),
    *("pause", "resume", "set_retention", "grant_queue", "grant_secret", "set_price"),
}
"""Functions that write and work at every isolation level; all others refuse the stricter ones."""


def strict(tide: Tide, connect: Callable[..., Connection], level: str) -> Tide:
    """Another caller, whose transaction has begun and has its snapshot."""
    caller = Tide(connect(autocommit=False))
    caller.connection.execute(f"set transaction isolation level {level}".encode())
    caller.version()
    caller.connection.execute("select count(*) from tide.runs")
    return caller


def test_every_public_function_has_a_scene() -> None:
    public = {routine.name for routine in routines() if routine.public}
    assert SCENES.keys() == public
    assert public >= RIGHT | READS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("function", sorted(SCENES.keys() - READS - {"reconcile"}))
def test_what_writes_is_right_at_any_level_or_refuses(
    tide: Tide, connect: Callable[..., Connection], function: str, level: str
) -> None:
    arguments = SCENES[function](tide)
    caller = strict(tide, connect, level)
    before = contents(tide.connection)
    if function in RIGHT:
        caller.call(function, **arguments)
        caller.connection.commit()
        return
    with refused("25001", level):
        caller.call(function, **arguments)
    caller.connection.rollback()
    assert contents(tide.connection) == before


@pytest.mark.parametrize("level", LEVELS)
def test_upkeep_chooses_its_own_level(tide: Tide, level: str) -> None:
    tide.connection.execute(f"set default_transaction_isolation = '{level}'".encode())
    assert tide.reconcile()["overdue"] == 0


UNSEEN = UUID("0197f3a2-0000-7000-8000-00000000abcd")

Change = Callable[[Tide, Arguments], object]

Case = tuple[str, Scene, Change]


def nothing(tide: Tide) -> Arguments:
    return {}


def ended(tide: Tide, call: Arguments) -> None:
    tide.cancel(run_id=call["run_id"])


def retried(tide: Tide, call: Arguments) -> None:
    tide.retry(run_id=call["run_id"])


def cancelled(tide: Tide) -> Arguments:
    call = queued(tide)
    ended(tide, call)
    return call


MEANWHILE: dict[str, Case] = {
    "an id whose run has come and gone": (
        "enqueue",
        lambda tide: {"workflow": "report", "run_id": UNSEEN},
        lambda tide, call: (tide.enqueue(**call), tide.cancel(run_id=UNSEEN)),
    ),
    "an id of a plain run that has come and gone": (
        "create_run",
        lambda tide: {"workflow": "report", "run_id": UNSEEN},
        lambda tide, call: (tide.create_run(**call), tide.cancel(run_id=UNSEEN)),
    ),
    "a key that was taken": (
        "enqueue",
        lambda tide: {"workflow": "report", "dedupe_key": "k"},
        lambda tide, call: tide.enqueue(**call),
    ),
    "a run that was made": (
        "cancel",
        lambda tide: {"run_id": UNSEEN},
        lambda tide, call: tide.enqueue(workflow="report", run_id=UNSEEN),
    ),
    "a run that ended": ("cancel", queued, ended),
    "a run that was retried": ("cancel", cancelled, retried),
    "a run that was claimed": (
        "complete",
        lambda tide: {"run_id": UNSEEN, "lease_id": None},
        lambda tide, call: call.update(
            lease_id=(tide.enqueue(workflow="report", run_id=UNSEEN), tide.claim())[1][0].lease_id
        ),
    ),
    "a run that was cancelled": ("complete", held, ended),
    "a step that was begun": (
        "begin_step",
        lambda tide: held(tide, name="plan"),
        lambda tide, call: tide.begin_step(**call, input={"other": 1}),
    ),
    "a budget that was set for a parent": (
        "begin_step",
        lambda tide: child_of_a_parent(tide),
        lambda tide, call: tide.set_budget(
            run_id=tide.get_run(run_id=call["run_id"]).parent_id, limits={"max_steps": 0}
        ),
    ),
    "a stream that was begun": (
        "set_state",
        lambda tide: queued(tide, value=1, expected_version=0),
        lambda tide, call: tide.set_state(**call),
    ),
    "a stream that moved on": (
        "patch_state",
        lambda tide: streamed(tide) | {"patch": {"m": 2}, "expected_version": 1},
        lambda tide, call: tide.set_state(run_id=call["run_id"], value={}),
    ),
    "usage that was recorded": (
        "record_usage",
        lambda tide: queued(tide, cost_usd=1, request_key="k"),
        lambda tide, call: tide.record_usage(**call),
    ),
    "a schedule that was made": (
        "drop_schedule",
        lambda tide: {"name": "daily"},
        lambda tide, call: tide.set_schedule(name="daily", cron="@daily", workflow="report"),
    ),
    "a schedule that was declared": (
        "set_schedule",
        lambda tide: {"name": "daily", "cron": "@daily", "workflow": "report"},
        lambda tide, call: tide.set_schedule(**call | {"cron": "@hourly"}),
    ),
    "a pause that others called": (
        "pause",
        lambda tide: {"reason": "mine"},
        lambda tide, call: tide.pause(reason="theirs"),
    ),
}


def child_of_a_parent(tide: Tide) -> Arguments:
    tide.spawn(**held(tide), edge="first", workflow="part", queue="parts")
    (child,) = tide.claim(queues=["parts"])
    return own(child, name="plan")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", MEANWHILE.values(), ids=MEANWHILE)
def test_what_an_old_snapshot_does_not_show_is_not_taken_for_absent(
    tide: Tide, connect: Callable[..., Connection], case: Case, level: str
) -> None:
    function, scene, change = case
    arguments = scene(tide)
    caller = strict(tide, connect, level)
    change(tide, arguments)
    before = contents(tide.connection)
    with pytest.raises(psycopg.Error) as caught:
        caller.call(function, **arguments)
    assert caught.value.sqlstate in ("25001", "40001"), caught.value
    caller.connection.rollback()
    assert contents(tide.connection) == before


@pytest.mark.parametrize("level", LEVELS)
def test_an_event_sent_since_the_snapshot_is_not_waited_for_in_vain(
    tide: Tide, connect: Callable[..., Connection], level: str
) -> None:
    call = held(tide, name="paid")
    caller = strict(tide, connect, level)
    tide.send_event(run_id=call["run_id"], name="paid", payload=1)
    with refused("25001", "await_event"):
        caller.await_event(**call)
    caller.connection.rollback()
    assert tide.await_event(**call).payload == 1


@pytest.mark.parametrize("level", LEVELS)
def test_children_ended_since_the_snapshot_are_not_waited_for_in_vain(
    tide: Tide, connect: Callable[..., Connection], level: str
) -> None:
    call = parent(tide)
    caller = strict(tide, connect, level)
    tide.finished(workflow="another")
    (child,) = tide.claim(queues=["parts"])
    tide.complete(**own(child))
    with refused("25001", "await_children"):
        caller.await_children(**call)
    caller.connection.rollback()
    assert tide.await_children(**call)[0].status == "completed"


@pytest.mark.parametrize("level", LEVELS)
def test_business_rows_and_a_run_commit_together_at_any_level(
    tide: Tide, connect: Callable[..., Connection], level: str
) -> None:
    caller = strict(tide, connect, level)
    run_id = caller.enqueue(workflow="report").run_id
    caller.connection.commit()
    assert tide.get_run(run_id=run_id).status == "queued"
    assert tide.cancel(run_id=run_id).status == "cancelled"


@pytest.mark.parametrize("level", LEVELS)
def test_unknown_run_is_called_unknown_where_the_snapshot_is_new(tide: Tide, level: str) -> None:
    call: dict[str, Any] = {"run_id": uuid4()}
    with refused("TD010"):
        tide.cancel(**call)
    tide.connection.execute("begin")
    tide.connection.execute(f"set transaction isolation level {level}".encode())
    with refused("25001", call["run_id"], level):
        tide.cancel(**call)
    tide.connection.execute("rollback")
