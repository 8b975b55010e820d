"""Runs pushed to an application by webhook, from enqueue to completed, in both colours."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support import Clock, Connection
from tests.webhooks.receivers import NEVER, Receiver, Request
from tests.webhooks.receivers import receive as receive
from tidebase_pg import AsyncRun, AsyncTidebase, Dispatcher, Run, Tidebase, WebhookAnswer, calls
from tidebase_pg.values import new_run_id, new_secret
from tidebase_pg.webhooks.signing import signatures

SECRET = new_secret()
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", SECRET)


def handled(tide: Tidebase, answers: list[WebhookAnswer], **options: Any) -> Any:
    """The answer function of a receiver that is an application."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        found = tide.webhook(request.body, request.headers, **options)
        answers.append(found)
        return found.status, {}, json.dumps(found.body).encode()

    return answer


@contextmanager
def dispatching(tide: Tidebase, receiver: Receiver) -> Iterator[Dispatcher]:
    dispatcher = tide.dispatcher(
        allow=["127.0.0.1"], allow_ports=[receiver.port], allow_http=True, poll=0.05
    )
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


def signed(body: bytes) -> dict[str, str]:
    sent = {"webhook-id": str(uuid4()), "webhook-timestamp": str(int(time.time()))}
    return sent | signatures([SECRET], sent["webhook-id"], sent["webhook-timestamp"], body)


def invoke(run_id: Any, type: str = "run.invoke", **message: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a webhook, signed."""
    given = {"type": type, "run_id": str(run_id), "workflow": "w", **message}
    body = json.dumps(given).encode()
    return body, signed(body)


# End to end -------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [True, False])
def test_runs_of_a_push_queue_go_from_enqueue_to_completed(
    tide: Tidebase, receive: Callable[..., Receiver], wait: bool
) -> None:
    answers: list[WebhookAnswer] = []
    receiver = receive(handled(tide, answers, wait=wait))
    tide.queues.configure("pushed", push_url=receiver.url)

    @tide.workflow("w", queue="pushed")
    def w(run: Run, input: Any) -> Any:
        return run.step("double", lambda: input["n"] * 2)

    run_ids = [tide.enqueue(w, input={"n": n}).run_id for n in range(5)]
    with dispatching(tide, receiver):
        runs = [tide.runs.wait(run_id, timeout=NEVER) for run_id in run_ids]
    assert [run.result for run in runs] == [0, 2, 4, 6, 8]
    assert {(run.status, run.attempt) for run in runs} == {("completed", 1)}
    assert [answer.status for answer in answers] == [200 if wait else 202] * 5
    assert [answer.body["accepted"] for answer in answers] == [True] * 5


def test_a_pushed_run_that_waits_is_pushed_again_and_holds_nobody_meanwhile(
    tide: Tidebase, receive: Callable[..., Receiver]
) -> None:
    answers: list[WebhookAnswer] = []
    receiver = receive(handled(tide, answers))
    tide.queues.configure("pushed", push_url=receiver.url)
    called: list[int] = []

    @tide.workflow("w", queue="pushed")
    def w(run: Run, input: Any) -> Any:
        run.step("before", lambda: called.append(run.attempt))
        return run.gate("go", "Go on?").approved

    run_id = tide.enqueue(w).run_id
    with dispatching(tide, receiver):
        receiver.arrived.get(timeout=NEVER)
        while tide.runs.get(run_id).waiting_on != "gate":
            assert not tide.runs.get(run_id).finished
        (gate,) = tide.gates.pending()
        tide.gates.decide(gate.gate_id, "approved", "ann")
        run = tide.runs.wait(run_id, timeout=NEVER)
    assert (run.status, run.result, called) == ("completed", True, [1])
    assert len(answers) == 2


def test_a_failed_attempt_is_pushed_again_after_its_back_off(
    tide: Tidebase, receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[WebhookAnswer] = []
    receiver = receive(handled(tide, answers))
    tide.queues.configure("pushed", push_url=receiver.url)

    @tide.workflow("w", queue="pushed", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        if run.attempt == 1:
            raise OSError("not yet")
        return "done"

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    with caplog.at_level(logging.WARNING, "tidebase_pg.webhooks"), dispatching(tide, receiver):
        run = tide.runs.wait(run_id, timeout=NEVER)
    assert (run.status, run.result, run.attempt) == ("completed", "done", 2)
    assert [answer.status for answer in answers] == [200, 200]
    assert "OSError: not yet" in caplog.text


def test_a_stalled_plain_run_is_resumed_where_it_was(
    tide: Tidebase, clock: Clock, receive: Callable[..., Receiver]
) -> None:
    answers: list[WebhookAnswer] = []
    receiver = receive(handled(tide, answers))
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: called.append("first") or "kept")
        return [first, run.step("second", lambda: "new")]

    row = tide.runs.create("w", recovery_url=receiver.url, max_attempts=3)
    # A process takes the run up, does the first step and is never heard of again.
    begun = tide.execute(calls.begin_run(row.run_id, lease=60))
    assert begun.lease_id is not None
    tide.execute(calls.begin_step(row.run_id, begun.lease_id, "first"))
    tide.execute(calls.complete_step(row.run_id, begun.lease_id, "first", output="kept"))
    clock.advance(2 * MINUTE)
    with dispatching(tide, receiver):
        run = tide.runs.wait(row.run_id, timeout=NEVER)
    assert (run.status, run.result, run.attempt) == ("completed", ["kept", "new"], 2)
    assert called == []
    (answer,) = answers
    assert answer.delivery is not None
    assert (answer.delivery.type, answer.delivery.reason) == ("run.resume", "lease_expired")


# One webhook at a time --------------------------------------------------------------------


def pushed(tide: Tidebase) -> Any:
    """A run that was pushed and not begun."""
    tide.queues.configure("pushed", push_url="https://app.example.com/tide")
    run_id = tide.enqueue("w", queue="pushed").run_id
    tide.reconcile()
    assert tide.runs.get(run_id).waiting_on == "push"
    return run_id


def test_a_duplicate_while_it_runs_and_after_it_is_accepted_without_running_again(
    tide: Tidebase,
) -> None:
    called: list[int] = []
    inside: list[WebhookAnswer] = []
    webhook: list[Any] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        called.append(run.attempt)
        inside.append(tide.webhook(*webhook))

    webhook[:] = invoke(pushed(tide))
    assert tide.webhook(*webhook).status == 200
    assert (inside[0].status, inside[0].body["accepted"]) == (200, False)
    assert "is leased by" in inside[0].body["reason"]
    after = tide.webhook(*webhook)
    assert (after.status, after.body["accepted"]) == (200, False)
    assert "is completed" in after.body["reason"]
    assert called == [1]


def test_without_waiting_the_answer_comes_before_the_end(tide: Tidebase) -> None:
    begun, let_go = threading.Event(), threading.Event()

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        begun.set()
        assert let_go.wait(NEVER)
        return "done"

    run_id = pushed(tide)
    answer = tide.webhook(*invoke(run_id), wait=False)
    assert (answer.status, answer.body["accepted"]) == (202, True)
    assert tide.runs.get(run_id).status == "running"
    assert begun.wait(NEVER)
    let_go.set()
    assert tide.runs.wait(run_id, timeout=NEVER).result == "done"


def test_a_long_run_keeps_its_lease(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        first = tide.runs.get(run.id).leased_until
        while (until := tide.runs.get(run.id).leased_until) == first:
            run.cancelled.wait(0.05)
        return str(until)

    run_id = pushed(tide)
    assert tide.webhook(*invoke(run_id), lease=3).status == 200
    assert tide.runs.get(run_id).status == "completed"


def test_what_may_not_run_is_answered_so_that_the_sender_knows(
    tide: Tidebase, connection: Connection
) -> None:
    tide.workflow("w")(lambda run, given: "done")
    missing = tide.webhook(*invoke(new_run_id()))
    assert (missing.status, missing.body["accepted"]) == (404, False)
    other = tide.runs.create("other").run_id
    unknown = tide.webhook(*invoke(other, workflow="w"))
    assert (unknown.status, "'other' is not registered" in unknown.body["reason"]) == (404, True)
    assert tide.runs.get(other).status == "pending"
    lapsed = tide.enqueue("w", queue="claimed").run_id
    assert tide.webhook(*invoke(lapsed)).status == 409
    cancelled = tide.runs.create("w").run_id
    tide.runs.cancel(cancelled)
    late = tide.webhook(*invoke(cancelled))
    assert (late.status, late.body["accepted"]) == (200, False)
    overdue = tide.runs.create("w", deadline=60).run_id
    connection.execute(
        "update tide.runs set deadline_at = created_at where run_id = %s", (overdue,)
    )
    ended = tide.webhook(*invoke(overdue))
    assert (ended.status, ended.body["accepted"]) == (200, False)
    assert tide.runs.get(overdue).status == "cancelled"


def test_forged_and_malformed_webhooks_are_refused_before_anything_is_done(
    tide: Tidebase,
) -> None:
    tide.workflow("w")(lambda run, given: "done")
    run_id = pushed(tide)
    body, headers = invoke(run_id)
    assert tide.webhook(body, {}).status == 401
    assert tide.webhook(body, {"x-tidebase-signature": "sha256=00"}).status == 401
    assert tide.webhook(body + b" ", headers).status == 401
    assert tide.webhook(body, headers, secrets=new_secret()).status == 401
    assert tide.webhook(b"{}", signed(b"{}")).status == 400
    assert tide.runs.get(run_id).waiting_on == "push"
    assert tide.webhook(body, headers, secrets=[new_secret(), SECRET]).status == 200


def test_without_a_secret_nothing_is_accepted_unless_said(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEBASE_WEBHOOK_SECRET")
    tide.workflow("w")(lambda run, given: "done")
    run_id = pushed(tide)
    body, headers = invoke(run_id)
    for given in ({}, headers):
        with pytest.raises(ValueError, match="set TIDEBASE_WEBHOOK_SECRET"):
            tide.webhook(body, given)
    assert tide.webhook(body, {}, insecure=True).status == 200
    assert tide.runs.get(run_id).status == "completed"


def test_insecure_accepts_no_wrong_signature_where_there_is_a_secret(tide: Tidebase) -> None:
    tide.workflow("w")(lambda run, given: "done")
    body, _ = invoke(pushed(tide))
    assert tide.webhook(body, {}, insecure=True).status == 401


def test_an_event_of_a_channel_is_handed_back(tide: Tidebase) -> None:
    run_id = new_run_id()
    answer = tide.webhook(*invoke(run_id, "run.completed", payload={"attempt": 1}))
    assert answer.status == 200
    assert answer.delivery is not None
    assert (answer.delivery.type, answer.delivery.run_id) == ("run.completed", run_id)
    assert answer.delivery.payload == {"attempt": 1}


def test_the_loss_of_a_run_is_an_answer_too(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        tide.runs.cancel(run.id, reason="changed our minds")
        run.step("never", lambda: "never")

    run_id = pushed(tide)
    assert tide.webhook(*invoke(run_id)).status == 200
    assert tide.runs.get(run_id).status == "cancelled"


# asyncio ----------------------------------------------------------------------------------


@pytest.fixture
async def application(
    atide: AsyncTidebase, receive: Callable[..., Receiver]
) -> AsyncIterator[tuple[Receiver, list[WebhookAnswer], dict[str, Any]]]:
    """A receiver whose requests are handled in this event loop."""
    loop = asyncio.get_running_loop()
    answers: list[WebhookAnswer] = []
    options: dict[str, Any] = {}

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        handling = atide.webhook(request.body, request.headers, **options)
        found = asyncio.run_coroutine_threadsafe(handling, loop).result(NEVER)
        answers.append(found)
        return found.status, {}, json.dumps(found.body).encode()

    yield receive(answer), answers, options


@pytest.mark.parametrize("wait", [True, False])
async def test_pushed_runs_complete_in_an_event_loop(
    atide: AsyncTidebase,
    application: tuple[Receiver, list[WebhookAnswer], dict[str, Any]],
    wait: bool,
) -> None:
    receiver, answers, options = application
    options["wait"] = wait
    await atide.queues.configure("pushed", push_url=receiver.url)

    @atide.workflow("w", queue="pushed")
    async def w(run: AsyncRun, input: Any) -> Any:
        return await run.step("double", lambda: input["n"] * 2)

    run_ids = [(await atide.enqueue(w, input={"n": n})).run_id for n in range(5)]
    dispatcher = atide.dispatcher(
        allow=["127.0.0.1"], allow_ports=[receiver.port], allow_http=True, poll=0.05
    )
    dispatcher.start()
    try:
        runs = [await atide.runs.wait(run_id, timeout=NEVER) for run_id in run_ids]
    finally:
        await asyncio.to_thread(dispatcher.stop)
    assert [run.result for run in runs] == [0, 2, 4, 6, 8]
    assert [answer.status for answer in answers] == [200 if wait else 202] * 5
    assert {row.status for row in await atide.deliveries.list()} == {"delivered"}


async def test_an_async_handler_refuses_as_the_other(
    atide: AsyncTidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    inside: list[WebhookAnswer] = []
    webhook: list[Any] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        called.append(run.attempt)
        inside.append(await atide.webhook(*webhook))
        raise OSError("it failed")

    await atide.queues.configure("pushed", push_url="https://app.example.com/tide")
    run_id = (await atide.enqueue("w", queue="pushed")).run_id
    await atide.reconcile()
    webhook[:] = body, headers = invoke(run_id)
    assert (await atide.webhook(body, {})).status == 401
    assert (await atide.webhook(b"{}", signed(b"{}"))).status == 400
    assert (await atide.webhook(*invoke(new_run_id()))).status == 404
    assert (await atide.webhook(body, headers)).status == 200
    assert (inside[0].status, inside[0].body["accepted"], called) == (200, False, [1])
    row = await atide.runs.get(run_id)
    assert (row.status, row.error["message"]) == ("failed", "it failed")
    event = await atide.webhook(*invoke(run_id, "run.failed", payload={}))
    assert event.delivery is not None
    assert event.delivery.type == "run.failed"
    monkeypatch.delenv("TIDEBASE_WEBHOOK_SECRET")
    with pytest.raises(ValueError, match="set TIDEBASE_WEBHOOK_SECRET"):
        await atide.webhook(body, headers)


async def test_a_cancelled_handler_hands_its_run_back(atide: AsyncTidebase) -> None:
    begun = asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    run_id = (await atide.runs.create("w")).run_id
    task = asyncio.create_task(atide.webhook(*invoke(run_id, "run.resume")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await atide.runs.get(run_id)
    assert (row.status, row.attempt) == ("pending", 0)
