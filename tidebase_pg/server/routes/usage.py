"""Routes about what runs spend."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies
from tidebase_pg.server.identity import step_name
from tidebase_pg.server.objects import OneUsage, Usage, Usages
from tidebase_pg.server.refusals import BadBody
from tidebase_pg.server.routing import Ask, Topic

topic = Topic("usage")


@topic.route("POST", "/runs/{id}/usage", errors=(404,))
async def record_usage(ask: Ask, body: bodies.RecordUsage) -> OneUsage:
    """Record what a run spent, also after it ended. With an Idempotency-Key it counts once."""
    step = None
    if body.step_id is not None:
        step = step_name(body.step_id)
        if step is None:
            raise BadBody(["stepId"], "no id of a step: use the `id` of an answer to steps/begin")
    row = await ask.carrying(metadata=body.metadata)(
        calls.record_usage,
        ask.run_id,
        kind=body.kind,
        step=step,
        provider=body.provider,
        model=body.model,
        label=body.label,
        quantity=body.quantity,
        unit=body.unit,
        input_tokens=body.input_tokens,
        output_tokens=body.output_tokens,
        total_tokens=body.total_tokens,
        cost_usd=body.cost_usd,
        request_key=ask.idempotency_key,
    )
    return OneUsage(Usage.of(row))


@topic.route("GET", "/runs/{id}/usage", errors=(404,))
async def list_usage(ask: Ask) -> Usages:
    """What a run spent, record by record, oldest first."""
    return Usages([Usage.of(row) for row in await ask(calls.list_usage, ask.run_id)])
