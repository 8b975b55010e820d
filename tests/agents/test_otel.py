"""Attempts and steps are spans, tied to what enqueued the run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="run: make test-agents")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.agents.otel import instrument, traced

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
        run_id = (
            await atide.enqueue(report, metadata=traced({"tenant": "a"}), backoff=AGAIN)
        ).run_id
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
