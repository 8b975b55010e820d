"""Attempts and steps are spans, tied to what enqueued the run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
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
from tidebase_pg.agents.otel import instrument, observe_queues, traced, webhook_span
from tidebase_pg.errors import BadSignature
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
    received, failed = traces.named("webhook run.completed")
    assert received.context.trace_id == failed.context.trace_id == caller.trace_id
    assert received.parent.span_id == caller.span_id
    assert received.attributes["messaging.message.id"] == str(run_id)
    assert received.attributes["tidebase.webhook.delivery_id"] == headers["webhook-id"]
    assert failed.status.status_code is StatusCode.ERROR
    (answer,) = traces.named("answer")
    assert answer.parent.span_id == received.context.span_id


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
