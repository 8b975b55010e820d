"""Attempts and steps are spans, tied to what enqueued the run."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import uuid4

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="run: make test-agents")

from opentelemetry import propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.support import one, open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.agents.otel import (
    TracedDoor,
    instrument,
    observe_queues,
    traced,
    webhook_span,
)
from tidebase_pg.errors import BadSignature, LeaseLost, RunCancelled, Snooze
from tidebase_pg.webhooks.signing import signatures, tidebase_signature

AGAIN = {"base": 0, "jitter": 0}


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


class Traces:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str) -> list[Any]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def traces() -> Traces:
    return Traces()


async def test_the_first_attempt_is_a_child_and_later_ones_link(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("report", max_attempts=2)
    async def report(run: AsyncRun, input: Any) -> None:
        await run.step("plan", lambda: 1)
        if run.attempt == 1:
            await run.step("write", fails)

    def fails() -> None:
        raise OSError("no paper")

    with traces.tracer.start_as_current_span("request") as request:
        run_id = (await atide.enqueue(report, metadata={"tenant": "a"}, backoff=AGAIN)).run_id
        caller = request.get_span_context()
    await atide.work(drain=True)
    first, second = traces.named("process report")
    assert first.kind is SpanKind.CONSUMER
    assert first.parent.span_id == caller.span_id
    assert first.context.trace_id == caller.trace_id
    assert second.parent is None
    assert [link.context.span_id for link in second.links] == [caller.span_id]
    assert first.attributes["messaging.message.id"] == str(run_id)
    assert (first.status.status_code, second.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    (plan,) = traces.named("step plan")
    assert plan.parent.span_id == first.context.span_id
    (write,) = traces.named("step write")
    assert write.events[0].attributes["exception.message"] == "no paper"
    assert (await atide.runs.get(run_id)).metadata["tenant"] == "a"


async def test_a_run_that_waits_is_no_error(atide: AsyncTidebase, traces: Traces) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> None:
        await run.gate("ok", "May I?")

    await atide.enqueue(ask)
    await atide.work(drain=True)
    (span,) = traces.named("process ask")
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["tidebase.run.parked"] is True
    assert (span.parent, span.links) == (None, ())


def test_sync_workflows_are_traced_too(dsn: str, traces: Traces) -> None:
    with Tidebase(dsn) as tide:
        instrument(tide, tracer_provider=traces.provider)

        @tide.workflow("report")
        def report(run: Run, input: Any) -> None:
            run.step("plan", lambda: 1)

        tide.enqueue(report, metadata=traced())
        tide.work(drain=True)
    (run,), (step,) = traces.named("process report"), traces.named("step plan")
    assert step.parent.span_id == run.context.span_id


async def test_children_and_batches_are_in_the_trace_and_fires_of_a_schedule_link_to_it(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("part")
    async def part(run: AsyncRun, input: Any) -> None:
        pass

    @atide.workflow("whole")
    async def whole(run: AsyncRun, input: Any) -> None:
        await run.child(part, name="inline")
        await run.child(part, name="queued", queue="default")

    with traces.tracer.start_as_current_span("request") as request:
        await atide.enqueue_many([{"workflow": whole}])
        await atide.schedules.set("daily", cron="0 0 * * *", workflow_name="part")
        caller = request.get_span_context()
    await atide.schedules.fire("daily")
    await atide.work(drain=True)
    began, went_on = sorted(traces.named("process whole"), key=lambda span: span.start_time)
    assert began.parent.span_id == caller.span_id
    assert went_on.parent is None
    assert [link.context.span_id for link in went_on.links] == [caller.span_id]
    parts = traces.named("process part")
    (fired,) = [span for span in parts if span.parent is None]
    assert [link.context.span_id for link in fired.links] == [caller.span_id]
    children = [span for span in parts if span is not fired]
    assert [span.parent.span_id for span in children] == [began.context.span_id] * 2


def check_attempts_of_children(traces: Traces) -> None:
    """Two in a fan-out, each with an attempt that fails, all within one attempt of their parent."""
    (whole,) = traces.named("process whole")
    parts = sorted(traces.named("process part"), key=lambda span: span.start_time)
    assert [span.parent.span_id for span in parts] == [whole.context.span_id] * 4
    assert sorted(span.attributes["tidebase.run.attempt"] for span in parts) == [1, 1, 2, 2]
    failed = [span.status.status_code is StatusCode.ERROR for span in parts]
    assert failed == [span.attributes["tidebase.run.attempt"] == 1 for span in parts]
    assert len({span.attributes["messaging.message.id"] for span in parts}) == 2
    steps = {span.parent.span_id: span for span in traces.named("step look")}
    assert set(steps) == {span.context.span_id for span in parts}
    for span in parts:
        assert [link.context.span_id for link in span.links] == [whole.context.span_id]


async def test_each_attempt_of_a_child_that_runs_inside_its_parent_is_a_span(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("part")
    async def part(run: AsyncRun, input: Any) -> None:
        await run.step("look", lambda: fails_once(run.attempt))

    @atide.workflow("whole", max_attempts=2)
    async def whole(run: AsyncRun, input: Any) -> None:
        children: Any = [{"workflow": part, "backoff": AGAIN} for _ in range(2)]
        await run.fanout("parts", children)

    await atide.enqueue(whole)
    await atide.work(drain=True)
    check_attempts_of_children(traces)


def test_each_attempt_of_a_sync_child_that_runs_inside_its_parent_is_a_span(
    dsn: str, traces: Traces
) -> None:
    with Tidebase(dsn) as tide:
        instrument(tide, tracer_provider=traces.provider)

        @tide.workflow("part")
        def part(run: Run, input: Any) -> None:
            run.step("look", lambda: fails_once(run.attempt))

        @tide.workflow("whole", max_attempts=2)
        def whole(run: Run, input: Any) -> None:
            children: Any = [{"workflow": part, "backoff": AGAIN} for _ in range(2)]
            run.fanout("parts", children)

        tide.enqueue(whole)
        tide.work(drain=True)
    check_attempts_of_children(traces)


def fails_once(attempt: int) -> None:
    if attempt == 1:
        raise OSError("no paper")


async def test_the_attempt_of_a_session_is_a_span_with_its_steps_in_it(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    with traces.tracer.start_as_current_span("request"):
        async with await atide.runs.attach("report") as session:
            await session.step("plan", lambda: 1)
            with traces.tracer.start_as_current_span("own"):
                await session.step("write", lambda: 2)
            await session.complete()
        with traces.tracer.start_as_current_span("after"):
            pass
    check_session(traces)
    parents = {span.name: span.parent for span in traces.exporter.get_finished_spans()}
    (own,) = traces.named("own")
    assert parents["step write"].span_id == own.context.span_id


def test_the_attempt_of_a_sync_session_is_a_span_with_its_steps_in_it(
    dsn: str, traces: Traces
) -> None:
    with Tidebase(dsn) as tide:
        instrument(tide, tracer_provider=traces.provider)
        with traces.tracer.start_as_current_span("request"):
            with tide.runs.attach("report") as session:
                session.step("plan", lambda: 1)
                with traces.tracer.start_as_current_span("own"):
                    session.step("write", lambda: 2)
                session.complete()
            with traces.tracer.start_as_current_span("after"):
                pass
    check_session(traces)
    (own,), (write,) = traces.named("own"), traces.named("step write")
    assert write.parent.span_id == own.context.span_id


def check_session(traces: Traces) -> None:
    (request,), (attempt,) = traces.named("request"), traces.named("process report")
    (plan,), (own,), (after,) = (traces.named(name) for name in ("step plan", "own", "after"))
    assert attempt.kind is SpanKind.CONSUMER
    assert attempt.attributes["tidebase.run.attempt"] == 1
    assert attempt.status.status_code is StatusCode.UNSET
    assert "tidebase.run.released" not in attempt.attributes
    assert attempt.parent.span_id == after.parent.span_id == request.context.span_id
    assert plan.parent.span_id == own.parent.span_id == attempt.context.span_id
    assert attempt.end_time <= after.start_time


async def test_a_session_without_a_block_leaves_the_current_span_alone(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    first = await atide.runs.attach("report")
    second = await atide.runs.attach("report")
    assert not trace.get_current_span().get_span_context().is_valid
    async with first:
        await second.step("of the second", lambda: 1)
        await first.step("of the first", lambda: 1)
    await second.complete()
    attempts = {span.attributes["messaging.message.id"]: span for span in ended(traces)}
    for session, name in (first, "of the first"), (second, "of the second"):
        (step,) = traces.named(f"step {name}")
        assert step.parent.span_id == attempts[str(session.id)].context.span_id


def ended(traces: Traces) -> list[Any]:
    return traces.named("process report")


async def test_a_later_session_links_to_who_made_the_run(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    with traces.tracer.start_as_current_span("request") as request:
        caller = request.get_span_context()
        async with await atide.runs.attach("report", max_attempts=2) as session:
            pass
    async with await atide.runs.attach("report", session.id) as session:
        await session.complete()
    first, second = ended(traces)
    assert first.attributes["tidebase.run.released"] is True
    assert first.context.trace_id == caller.trace_id != second.context.trace_id
    assert second.parent is None
    assert [link.context.span_id for link in second.links] == [caller.span_id]
    assert "tidebase.run.released" not in second.attributes


def check_end(traces: Traces, status: StatusCode, **attributes: Any) -> None:
    (attempt,) = ended(traces)
    assert attempt.status.status_code is status
    found = {
        name: attempt.attributes.get(f"tidebase.run.{name}")
        for name in ("released", "stopped", "parked")
    }
    assert {name: value for name, value in found.items() if value is not None} == attributes
    traces.exporter.clear()


async def test_the_span_of_a_session_says_how_it_ended(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    with pytest.raises(OSError):
        async with await atide.runs.attach("report") as session:
            raise OSError("no paper")
    assert ended(traces)[0].events[0].attributes["exception.message"] == "no paper"
    check_end(traces, StatusCode.ERROR)
    session = await atide.runs.attach("report")
    await session.fail(Snooze(after=60))
    check_end(traces, StatusCode.UNSET, parked=True)
    session = await atide.runs.attach("report")
    await session.fail("no ink")
    check_end(traces, StatusCode.ERROR)
    session = await atide.runs.attach("report")
    await session.close()
    check_end(traces, StatusCode.UNSET, released=True)
    with pytest.raises(RunCancelled):
        async with await atide.runs.attach("report") as session:
            await atide.runs.cancel(session.id)
            await session.step("plan", lambda: 1)
    check_end(traces, StatusCode.UNSET, stopped="RunCancelled")
    session = await atide.runs.attach("report")
    session.stopped(LeaseLost("gone"))
    check_end(traces, StatusCode.UNSET, stopped="LeaseLost")
    await session.close()
    assert ended(traces) == []


def test_the_span_of_a_sync_session_says_how_it_ended(dsn: str, traces: Traces) -> None:
    with Tidebase(dsn) as tide:
        instrument(tide, tracer_provider=traces.provider)
        with pytest.raises(OSError):
            with tide.runs.attach("report") as session:
                raise OSError("no paper")
        check_end(traces, StatusCode.ERROR)
        session = tide.runs.attach("report")
        session.close()
        check_end(traces, StatusCode.UNSET, released=True)
        with pytest.raises(RunCancelled):
            with tide.runs.attach("report") as session:
                tide.runs.cancel(session.id)
                session.step("plan", lambda: 1)
        check_end(traces, StatusCode.UNSET, stopped="RunCancelled")


async def test_a_session_that_nobody_refers_to_any_more_ends_its_span(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    session = await atide.runs.attach("report")
    await session.step("plan", lambda: 1)
    assert ended(traces) == []
    del session
    gc.collect()
    check_end(traces, StatusCode.UNSET, stopped="LeaseLost")


async def test_a_run_that_its_own_process_begins_has_the_span_of_its_attempt(
    atide: AsyncTidebase, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("report")
    async def report(run: AsyncRun, input: Any) -> None:
        await run.step("plan", lambda: 1)

    with traces.tracer.start_as_current_span("request") as request:
        await atide.run(report)
    ((attempt,), (plan,)) = ended(traces), traces.named("step plan")
    assert attempt.parent.span_id == request.get_span_context().span_id
    assert plan.parent.span_id == attempt.context.span_id


async def test_one_trace_goes_from_a_request_through_the_worker_into_the_webhook(
    atide: AsyncTidebase, traces: Traces, direct_dsn: str
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("part")
    async def part(run: AsyncRun, input: Any) -> None:
        pass

    @atide.workflow("whole")
    async def whole(run: AsyncRun, input: Any) -> None:
        hook = {"type": "webhook", "url": "https://hooks.example.com/", "events": ["run.completed"]}
        await run.child(part, name="inline", channels=[hook])

    # As the HTTP door has it from the header of a request.
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await atide.enqueue(whole, metadata={"trace": {"traceparent": parent}})
    await atide.work(drain=True)
    (began,) = traces.named("process whole")
    with open_connection(direct_dsn) as connection:
        headers = value(connection, "select d.headers from tide.claim_deliveries() as d")
    received = trace.get_current_span(propagate.extract(headers)).get_span_context()
    assert f"{began.context.trace_id:032x}" == parent.split("-")[1]
    assert received.trace_id == began.context.trace_id
    assert received.span_id == began.context.span_id


SECRET = "a secret of more than sixteen bytes"


def signed(delivery: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers as a dispatcher sends them."""
    body = delivery.body.encode()
    sent_at = str(int(time.time()))
    headers = {**delivery.headers, "webhook-timestamp": sent_at}
    return body, headers | signatures([SECRET], headers["webhook-id"], sent_at, body)


def as_wsgi(headers: dict[str, str]) -> dict[str, str]:
    return {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()}


@pytest.mark.parametrize("form", [dict, as_wsgi])
def test_who_receives_a_webhook_goes_on_with_its_trace_by_one_call(
    dsn: str, direct_dsn: str, traces: Traces, form: Any
) -> None:
    hook = {"type": "webhook", "url": "https://hooks.example.com/", "events": ["run.completed"]}
    with Tidebase(dsn) as tide, open_connection(direct_dsn) as connection:
        instrument(tide, tracer_provider=traces.provider)
        tide.workflow("report")(lambda run, given: None)
        with traces.tracer.start_as_current_span("request") as request:
            caller = request.get_span_context()
            run_id = tide.enqueue("report", channels=[hook]).run_id
        tide.work(drain=True)
        body, headers = signed(one(connection, "select * from tide.claim_deliveries()"))
    provider = traces.provider
    with webhook_span(body, form(headers), SECRET, tracer_provider=provider) as delivery:
        assert delivery.run_id == run_id
        with traces.tracer.start_as_current_span("answer"):
            pass
    with pytest.raises(OSError):
        with webhook_span(body, form(headers), SECRET, tracer_provider=provider):
            raise OSError("disk full")
    (attempt,) = traces.named("process report")
    received, failed = traces.named("webhook run.completed")
    assert received.context.trace_id == failed.context.trace_id == caller.trace_id
    assert received.parent.span_id == attempt.context.span_id
    assert received.attributes["messaging.message.id"] == str(run_id)
    assert received.attributes["tidebase.webhook.delivery_id"] == headers["webhook-id"]
    assert failed.status.status_code is StatusCode.ERROR
    (answer,) = traces.named("answer")
    assert answer.parent.span_id == received.context.span_id


FAILS: Final = {"type": "webhook", "url": "https://hooks.example.com/", "events": ["run.failed"]}


def fails_twice(number: int) -> None:
    raise OSError(f"disk full at {number}")


async def test_a_webhook_goes_on_with_the_attempt_that_ended_its_run(
    atide: AsyncTidebase, direct_dsn: str, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)

    @atide.workflow("report", max_attempts=2)
    async def report(run: AsyncRun, given: Any) -> None:
        fails_twice(run.attempt)

    with traces.tracer.start_as_current_span("request"):
        await atide.enqueue(report, channels=[FAILS], backoff={"base": 0, "max": 0, "jitter": 0})
    await atide.work(drain=True)
    check_last_attempt(direct_dsn, traces)


def test_a_webhook_goes_on_with_the_sync_attempt_that_ended_its_run(
    dsn: str, direct_dsn: str, traces: Traces
) -> None:
    with Tidebase(dsn) as tide:
        instrument(tide, tracer_provider=traces.provider)

        @tide.workflow("report", max_attempts=2)
        def report(run: Run, given: Any) -> None:
            fails_twice(run.attempt)

        with traces.tracer.start_as_current_span("request"):
            tide.enqueue(report, channels=[FAILS], backoff={"base": 0, "max": 0, "jitter": 0})
        tide.work(drain=True)
    check_last_attempt(direct_dsn, traces)


def check_last_attempt(direct_dsn: str, traces: Traces) -> None:
    """The second attempt is a trace of its own, and the webhook is in it."""
    with open_connection(direct_dsn) as connection:
        body, headers = signed(one(connection, "select * from tide.claim_deliveries()"))
    with webhook_span(body, headers, SECRET, tracer_provider=traces.provider):
        pass
    first, last = sorted(traces.named("process report"), key=lambda span: span.start_time)
    (received,) = traces.named("webhook run.failed")
    assert received.parent.span_id == last.context.span_id
    assert received.context.trace_id == last.context.trace_id != first.context.trace_id


def test_a_webhook_that_is_not_ours_makes_no_span_and_one_without_trace_its_own(
    traces: Traces,
) -> None:
    body = json.dumps({"type": "run.failed", "run_id": str(uuid4())}).encode()
    headers = {"x-tidebase-signature": tidebase_signature(SECRET, body)}
    given: Any = {"dated": False, "tracer_provider": traces.provider}
    with pytest.raises(BadSignature):
        with webhook_span(body + b" ", headers, SECRET, **given):
            pass
    assert traces.exporter.get_finished_spans() == ()
    for parent in ({}, {"traceparent": "00-nonsense"}):
        with webhook_span(body, headers | parent, SECRET, **given):
            pass
    assert [span.parent for span in traces.named("webhook run.failed")] == [None, None]


def test_a_pushed_run_links_to_who_enqueued_it(dsn: str, direct_dsn: str, traces: Traces) -> None:
    with Tidebase(dsn) as tide, open_connection(direct_dsn) as connection:
        instrument(tide, tracer_provider=traces.provider)
        tide.workflow("report")(lambda run, given: None)
        with traces.tracer.start_as_current_span("request") as request:
            caller = request.get_span_context()
            connection.execute(
                "select tide.set_queue('pushed', '{\"push_url\": \"https://hooks.example.com/\"}')"
            )
            run_id = tide.enqueue("report", queue="pushed").run_id
        tide.reconcile()
        body, headers = signed(one(connection, "select * from tide.claim_deliveries()"))
        answer = tide.webhook(body, headers, secrets=[SECRET])
    assert (answer.status, answer.delivery.run_id) == (200, run_id)
    (attempt,) = traces.named("process report")
    assert [link.context.span_id for link in attempt.links] == [caller.span_id]
    assert answer.delivery.trace["traceparent"].split("-")[2] == f"{caller.span_id:016x}"


async def test_requests_of_a_worker_over_http_are_spans_that_link_to_who_made_the_run(
    atide: AsyncTidebase, dsn: str, traces: Traces
) -> None:
    instrument(atide, tracer_provider=traces.provider)
    with traces.tracer.start_as_current_span("request") as request:
        run_id = (await atide.enqueue("report", queue="reports")).run_id
        caller = request.get_span_context()
    server: Any = pytest.importorskip("tidebase_pg.server", reason="run: make test-agents")
    httpx: Any = pytest.importorskip("httpx")
    door = server.app(dsn, reconcile=False, deliver=False)
    traced_door = TracedDoor(door, tracer_provider=traces.provider)
    transport = httpx.ASGITransport(app=traced_door)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as worker:
        claimed = await worker.post("/queues/claim", json={"queues": ["reports"]})
        assert claimed.status_code == 200, claimed.text
        path = f"/runs/{run_id}"
        for headers in {}, {"traceparent": parent}:
            done = await worker.post(f"{path}/complete", json={"result": 1}, headers=headers)
            assert done.status_code == 200, done.text
        assert (await worker.get(f"/runs/{uuid4()}")).status_code == 404
        assert (await worker.get("/nowhere/at/all")).status_code == 404
        await worker.get("/studio/")
    await door.state.gateway.close()
    (claim,) = traces.named("POST /queues/claim")
    assert (claim.kind, claim.parent, claim.links) == (SpanKind.SERVER, None, ())
    assert claim.attributes["http.response.status_code"] == 200
    own, within = traces.named("POST /runs/{id}/complete")
    assert own.parent is None
    assert f"{within.context.trace_id:032x}" == parent.split("-")[1]
    for span in own, within:
        assert [link.context.span_id for link in span.links] == [caller.span_id]
        assert span.attributes["messaging.message.id"] == str(run_id)
        assert span.attributes["http.route"] == "/runs/{id}/complete"
    (unknown,) = traces.named("GET /runs/{id}")
    assert unknown.attributes["http.response.status_code"] == 404
    assert "messaging.message.id" not in unknown.attributes
    (nowhere,) = traces.named("GET")
    assert nowhere.attributes["http.response.status_code"] == 404
    assert [span for span in traces.exporter.get_finished_spans() if "studio" in span.name] == []


@pytest.mark.parametrize("recorded", ["add", "record"])
async def test_usage_is_on_the_span_of_its_step_and_in_the_metrics(
    atide: AsyncTidebase, traces: Traces, recorded: str
) -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    instrument(atide, tracer_provider=traces.provider, meter_provider=meters)

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> None:
        async def request() -> None:
            for _ in range(2):
                usage: Any = {"kind": "llm", "provider": "acme", "model": "small"}
                usage |= {"input_tokens": 900, "output_tokens": 150, "cost_usd": 0.25}
                if recorded == "add":
                    run.usage.add(**usage)
                else:
                    await run.usage.record(**usage)

        await run.step("turn", request)

    await atide.enqueue(ask)
    await atide.work(drain=True)
    (span,) = traces.named("step turn")
    assert {name: span.attributes[name] for name in span.attributes if "gen_ai" in name} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "small",
        "gen_ai.usage.input_tokens": 1800,
        "gen_ai.usage.output_tokens": 300,
    }
    assert span.attributes["tidebase.usage.cost_usd"] == 0.5
    found = points(reader)
    assert {
        (p.attributes["gen_ai.token.type"], p.sum) for p in found["gen_ai.client.token.usage"]
    } == {
        ("input", 1800),
        ("output", 300),
    }
    assert [p.value for p in found["tidebase.usage.cost"]] == [0.5]


def points(reader: InMemoryMetricReader) -> dict[str, Any]:
    data: Any = reader.get_metrics_data()
    return {
        metric.name: metric.data.data_points
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_queues_are_observed_when_metrics_are_collected(dsn: str) -> None:
    reader = InMemoryMetricReader()
    with Tidebase(dsn) as tide:
        observe_queues(tide, meter_provider=MeterProvider([reader]))
        for delay in (0, 0, 60):
            tide.enqueue("mail", queue="mails", delay=delay)
        found = points(reader)
        for name, number in (("ready", 2), ("delayed", 1), ("running", 0), ("parked", 0)):
            (point,) = found[f"tidebase.queue.{name}"]
            assert (point.attributes, point.value) == (
                {"messaging.destination.name": "mails"},
                number,
            )


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    code = (
        "import sys, tidebase_pg, tidebase_pg.commands.work, tidebase_pg.prices; "
        "import tidebase_pg.webhooks.dispatcher; "
        "assert not [m for m in sys.modules if m.startswith(('opentelemetry', 'genai_prices'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
