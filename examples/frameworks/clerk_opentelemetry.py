"""A workflow whose attempts and steps are spans, and whose webhook would go on with its trace.

pip install 'tidebase-pg[otel]'
tidebase-pg work clerk_opentelemetry:tide --lease 5s
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from world import demonstrate, note, pay

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.otel import instrument

SPANS = Path(os.environ.get("SPANS", "spans.txt"))


class InFile(SpanExporter):
    """Spans as lines of a file; in earnest this would be an exporter of OTLP."""

    def export(self, spans: Any) -> SpanExportResult:
        with SPANS.open("a") as file:
            file.writelines(f"{line(span)}\n" for span in spans)
        return SpanExportResult.SUCCESS


def line(span: ReadableSpan) -> str:
    attempt = (span.attributes or {}).get("tidebase.run.attempt", "")
    context = span.get_span_context()
    return f"{trace.format_trace_id(context.trace_id)} {span.name} {attempt}".rstrip()


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(InFile()))
trace.set_tracer_provider(provider)

tide = AsyncTidebase()
instrument(tide)


@tide.workflow("clerk", max_attempts=3)
async def clerk(run: AsyncRun, input: dict[str, Any]) -> str:
    async def ask() -> int:
        note("asked 1")
        run.usage.add(kind="llm", provider="acme", model="small", input_tokens=90, output_tokens=15)
        return 500

    cents = await run.step("ask", ask)
    if not (await run.gate("refund", f"Refund order {input['order']}?", data=cents)).approved:
        return "We are sorry."
    key = f"refund:{run.id}"
    await run.step("pay", lambda: pay(cents, key), side_effects=["bank"], idempotency_key=key)
    return f"You get {cents / 100:.2f} back."


if __name__ == "__main__":
    with trace.get_tracer("shop").start_as_current_span("request"):
        asyncio.run(demonstrate(tide, clerk))
