"""Gates: parked in a worker, waited for inline, decided once, replayed for ever."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.driver.conftest import Background
from tests.servers import ROOT
from tests.support import Clock, Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    BadToken,
    GateResolved,
    InvalidArgument,
    NotFound,
    Run,
    RunCancelled,
    RunParked,
    Tidebase,
)

PATIENCE = 60
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def pending(tide: Tidebase) -> Any:
    """The one gate that waits, once it does."""
    while not (gates := tide.gates.pending()):
        pass
    (gate,) = gates
    return gate


@pytest.fixture
def process(dsn: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `tests.driver.waiter` as a process of its own: `process(mode, dsn)`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str, to: str = dsn) -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.driver.waiter", mode],
                cwd=ROOT,
                env={**os.environ, "TIDEBASE_DSN": to},
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


async def apending(tide: AsyncTidebase) -> Any:
    while not (gates := await tide.gates.pending()):  # noqa: ASYNC110
        await asyncio.sleep(0)
    (gate,) = gates
    return gate


def test_a_gate_parks_its_run_and_frees_the_worker_at_no_attempt(tide: Tidebase) -> None:
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("before", lambda: called.append("before"))
        decision = run.gate("approve", "Send it?", data={"n": 1}, capability="editor")
        called.append("after")
        return [decision.approved, decision.decision, decision.payload, decision.actor]

    run_id = tide.enqueue(w).run_id
    report = tide.work(drain=True)
    assert (report.claimed, report.dropped, report.failed) == (1, 1, 0)
    row = tide.runs.get(run_id)
    assert (row.status, row.waiting_on, row.attempt, row.open_gates) == ("queued", "gate", 0, 1)

    gate = pending(tide)
    assert (gate.name, gate.prompt, gate.data, gate.capability) == (
        "approve",
        "Send it?",
        {"n": 1},
        "editor",
    )
    assert row.waiting_for == str(gate.gate_id)
    tide.gates.decide(gate.gate_id, "approved", "ann", payload={"note": "go"})
    assert tide.work(drain=True).completed == 1
    row = tide.runs.get(run_id)
    assert (row.result, row.attempt) == ([True, "approved", {"note": "go"}, "ann"], 1)
    assert called == ["before", "after"]


async def test_an_asyncio_worker_parks_at_a_gate_as_well(atide: AsyncTidebase) -> None:
    called: list[str] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.step("before", lambda: called.append("before"))
        return (await run.gate("approve", "Send it?")).decision

    run_id = (await atide.enqueue(w)).run_id
    assert (await atide.work(drain=True)).dropped == 1
    row = await atide.runs.get(run_id)
    assert (row.waiting_on, row.attempt) == ("gate", 0)
    await atide.gates.decide((await apending(atide)).gate_id, "rejected", "ann")
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == "rejected"
    assert called == ["before"]


def test_a_decision_is_replayed_on_every_later_attempt(tide: Tidebase) -> None:
    seen: list[str] = []

    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> None:
        seen.append(run.gate("approve", "Send it?").decision)
        if len(seen) < 3:
            raise OSError("again")

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    tide.work(drain=True)
    tide.gates.decide(pending(tide).gate_id, "approved", "ann")
    tide.work(drain=True)
    assert tide.runs.get(run_id).status == "completed"
    assert seen == ["approved"] * 3


def test_a_gate_begun_and_not_waited_for_shows_its_token_once(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        first = run.gates.begin("approve", "Send it?", on_timeout="approved")
        assert (first.status, run.gates.begin("approve", "Send it?").token) == ("pending", None)
        assert first.token is not None
        with pytest.raises(BadToken):
            tide.gates.resolve(first.gate_id, "wrong", "approved")
        tide.gates.resolve(first.gate_id, first.token, "canceled", actor="ann")
        assert run.gates.get(first.gate_id).status == "canceled"
        with pytest.raises(GateResolved, match="canceled"):
            tide.gates.decide(first.gate_id, "approved", "bob")
        assert run.gate("approve", "Send it?").decision == "canceled"


async def test_an_async_gate_begun_and_not_waited_for(atide: AsyncTidebase) -> None:
    async with await atide.runs.attach("w") as run:
        first = await run.gates.begin("approve", "Send it?")
        assert first.token is not None
        await atide.gates.resolve(first.gate_id, first.token, "approved", payload=[1])
        found = await run.gates.get(first.gate_id)
        assert (found.status, found.payload, found.run_status) == ("approved", [1], "running")


def test_a_gate_waits_inline_while_the_lease_is_kept(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.gate("approve", "Send it?").approved

    run_id = tide.runs.create("w").run_id
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(tide.run(w, run_id=run_id, lease=3)))
    waiting.start()
    gate = pending(tide)
    first = tide.runs.get(run_id).leased_until
    while tide.runs.get(run_id).leased_until == first:
        pass
    tide.gates.decide(gate.gate_id, "approved", "ann")
    waiting.join(PATIENCE)
    assert answers == [True]
    assert [event.type for event in tide.runs.events(run_id)].count("run.parked") == 0


async def test_an_async_gate_waits_inline(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return (await run.gate("approve", "Send it?")).payload

    waiting = asyncio.create_task(atide.run(w))
    await atide.gates.decide((await apending(atide)).gate_id, "approved", "ann", payload=7)
    assert await waiting == 7


def test_a_gate_waited_for_inline_ends_when_the_run_is_cancelled(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.gate("approve", "Send it?").approved

    errors: list[BaseException] = []

    def work() -> None:
        try:
            tide.run(w)
        except BaseException as error:
            errors.append(error)

    waiting = threading.Thread(target=work)
    waiting.start()
    gate = pending(tide)
    tide.runs.cancel(gate.run_id, reason="over")
    waiting.join(PATIENCE)
    assert [type(error) for error in errors] == [RunCancelled]
    assert tide.gates.pending() == []


async def test_an_async_gate_waited_for_inline_ends_when_the_run_is_cancelled(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return await run.gate("approve", "Send it?")

    waiting = asyncio.create_task(atide.run(w))
    await atide.runs.cancel((await apending(atide)).run_id)
    with pytest.raises(RunCancelled):
        await waiting


def test_a_gate_nobody_decides_decides_by_itself_inline(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        decision = run.gate("approve", "Send it?", timeout=0.05, on_timeout="approved")
        return [decision.approved, decision.actor]

    assert tide.run(w) == [True, "timeout"]


def test_a_gate_nobody_decides_decides_by_itself_in_the_tick(tide: Tidebase, clock: Clock) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.gate("approve", "Send it?", timeout=3600).decision

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    clock.set(clock.now)
    clock.advance(2 * (tide.gates.pending()[0].expires_at - clock.now))
    tide.reconcile()
    tide.work(drain=True, reconcile=False)
    assert tide.runs.get(run_id).result == "rejected"


def test_a_worker_killed_while_its_run_is_parked_loses_nothing(
    tide: Tidebase,
    process: Callable[[str, str], Any],
    background: Background,
    direct_dsn: str,
    connection: Connection,
) -> None:
    run_id = tide.enqueue("gated").run_id
    doomed = process("gated", make_conninfo(direct_dsn, application_name="doomed"))
    gate = pending(tide)
    while tide.runs.get(run_id).waiting_on is None:
        pass
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.wait()
    # What it sent before may still be at work, and a claim would take the run for a lease's time.
    while value(
        connection, "select count(*) from pg_stat_activity where application_name = 'doomed'"
    ):
        pass
    tide.gates.decide(gate.gate_id, "approved", "ann")
    called: list[str] = []

    @tide.workflow("gated")
    def gated(run: Run, input: Any) -> Any:
        before = run.step("before", lambda: called.append("again"))
        return [before, run.gate("approve", "Go on?").approved]

    background.start(tide)
    row = tide.runs.wait(run_id, timeout=PATIENCE)
    assert (row.result, row.attempt, called) == (["once", True], 1, [])
    types = [event.type for event in tide.runs.events(run_id)]
    assert types.count("run.parked") == types.count("run.resumed") == 1
    assert "run.requeued" not in types


def test_what_the_workflow_catches_does_not_unpark_the_run(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        try:
            run.gate("approve", "Send it?")
        except RunParked:
            return "caught"
        return "decided"

    run_id = tide.enqueue(w).run_id
    assert tide.work(drain=True).completed == 0
    assert tide.runs.get(run_id).waiting_on == "gate"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prompt": ""}, InvalidArgument, "prompt"),
        ({"on_timeout": "perhaps"}, InvalidArgument, "on_timeout"),
        ({"timeout": "soon"}, TypeError, "timeout must be"),
        ({"timeout": -1}, InvalidArgument, "timeout"),
        ({"name": ""}, InvalidArgument, "name"),
        ({"data": {1, 2}}, ValueError, "the data of gate"),
    ],
)
def test_a_wrong_gate_is_refused_and_opens_nothing(
    tide: Tidebase, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(error, match=words):
            run.gate(**{"name": "approve", "prompt": "Send it?", **options})
        assert tide.gates.pending() == []


def test_an_unknown_gate_is_not_found(tide: Tidebase, connection: Connection) -> None:
    unknown = value(connection, "select gen_random_uuid()")
    with pytest.raises(NotFound):
        tide.gates.get(unknown)
    with pytest.raises(NotFound):
        tide.gates.decide(unknown, "approved", "ann")


def hash_of_key(tide: Tidebase, name: str) -> bytes:
    """Of a new key of the HTTP door."""
    return hashlib.sha256(tide.keys.create(name, "operator").encode()).digest()


@pytest.mark.parametrize("made_by", ["enqueue", "enqueue_many", "schedule", "fire"])
def test_the_key_that_requested_does_not_decide_and_another_does(
    tide: Tidebase, clock: Clock, made_by: str
) -> None:
    ann, bob = hash_of_key(tide, "ann"), hash_of_key(tide, "bob")
    clock.set(NOON)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.gate("pay", "Pay?", not_requester=True).actor

    match made_by:
        case "enqueue":
            tide.enqueue(w, key_hash=ann)
        case "enqueue_many":
            tide.enqueue_many([{"workflow": w}], key_hash=ann)
        case "schedule":
            tide.schedules.set("hourly", cron="0 * * * *", workflow_name=w, key_hash=ann)
            clock.advance(timedelta(hours=1))
            tide.reconcile()
        case _:
            tide.schedules.set("hourly", cron="0 * * * *", workflow_name=w, key_hash=bob)
            tide.schedules.fire("hourly", key_hash=ann)
    tide.work(drain=True)
    gate = pending(tide)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="requested the run"):
        tide.gates.decide(gate.gate_id, "approved", "ann", key_hash=ann)
    assert tide.gates.decide(gate.gate_id, "approved", "bob", key_hash=bob).actor == "bob"


@pytest.mark.parametrize("made_by", ["enqueue_many", "schedule"])
async def test_an_asyncio_application_says_which_key_requested(
    atide: AsyncTidebase, tide: Tidebase, clock: Clock, made_by: str
) -> None:
    ann, bob = hash_of_key(tide, "ann"), hash_of_key(tide, "bob")
    clock.set(NOON)

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return (await run.gate("pay", "Pay?", not_requester=True)).actor

    if made_by == "enqueue_many":
        await atide.enqueue_many([{"workflow": w}], key_hash=ann)
    else:
        await atide.schedules.set("hourly", cron="0 * * * *", workflow_name=w, key_hash=ann)
        clock.advance(timedelta(hours=1))
        await atide.reconcile()
    await atide.work(drain=True)
    gate = await apending(atide)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="requested the run"):
        await atide.gates.decide(gate.gate_id, "approved", "ann", key_hash=ann)
    assert (await atide.gates.decide(gate.gate_id, "approved", "bob", key_hash=bob)).actor == "bob"
