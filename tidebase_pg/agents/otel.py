"""OpenTelemetry: spans of attempts and steps, the trace of who enqueued a run, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from tidebase_pg import AsyncTidebase, Tidebase
from tidebase_pg.errors import RunParked, Snooze, Stop
from tidebase_pg.values import Duration
from tidebase_pg.version import __version__
from tidebase_pg.webhooks.signing import (
    TOLERANCE,
    Body,
    Delivery,
    Secrets,
    verify_webhook_signature,
)

METADATA: Final = "trace"
"""Where the context of the caller stands in the metadata of a run."""
SCHEDULE: Final = "schedule"
"""In the metadata of runs that a schedule has made."""
QUEUES: Final = {
    "ready": "Runs that wait for a worker.",
    "delayed": "Runs whose time has not come.",
    "parked": "Runs that wait without a worker.",
    "running": "Runs that are worked on.",
}


def traced(metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Metadata that carries the trace of the caller to the run, for who enqueues by other means
    than an instrumented Tidebase.

    >>> await tide.enqueue("report", input=topic, metadata=traced({"tenant": "acme"}))
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    given = dict(metadata or {})
    return {**given, METADATA: carrier} if carrier else given


def instrument(
    tide: AsyncTidebase | Tidebase,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Trace this Tidebase and count what its runs use. Once, before its workers start.

    What it enqueues, spawns and schedules carries the trace of the caller. A run begins as a child
    of the caller; whatever takes it up again, after an error or a wait, links to it, so that a run
    which waits for days does not make a trace that lasts for days. A run that a schedule has made
    links to its declaration.

    >>> instrument(tide)
    """
    tracer = trace.get_tracer("tidebase_pg", __version__, tracer_provider)
    meter = metrics.get_meter("tidebase_pg", __version__, meter_provider)
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage", "{token}", "Tokens that requests of models used."
    )
    cost = meter.create_counter("tidebase.usage.cost", "USD", "What runs have spent.")
    tide.run_metadata(traced)

    @tide.on_usage
    def told(usage: Mapping[str, Any]) -> None:
        facts = _facts(usage)
        span = trace.get_current_span()
        span.set_attributes(facts)
        for kind in ("input", "output"):
            amount = usage.get(f"{kind}_tokens")
            if amount is not None:
                tokens.record(amount, {**facts, "gen_ai.token.type": kind})
                _add(span, f"gen_ai.usage.{kind}_tokens", amount)
        spent = usage.get("cost_usd", usage.get("list_cost_usd"))
        if spent is not None:
            cost.add(float(spent), facts)
            _add(span, "tidebase.usage.cost_usd", float(spent))

    @contextmanager
    def attempt(run: Any) -> Generator[None]:
        carrier = (run.metadata or {}).get(METADATA)
        context = propagate.extract(carrier) if isinstance(carrier, dict) else None
        caller = trace.get_current_span(context).get_span_context() if context else None
        begins = run._run.leased.begins and SCHEDULE not in (run.metadata or {})
        links = [] if begins or caller is None or not caller.is_valid else [Link(caller)]
        if not begins:
            # A child that runs inside its parent stays there, what a worker takes up does not.
            inside = trace.get_current_span().get_span_context().is_valid
            context = None if inside else trace.set_span_in_context(trace.INVALID_SPAN)
        attributes = {
            "messaging.system": "tidebase",
            "messaging.operation.name": "process",
            "messaging.message.id": str(run.id),
            "gen_ai.workflow.name": run.workflow,
            "tidebase.run.attempt": run.attempt,
        }
        with (
            tracer.start_as_current_span(
                f"process {run.workflow}",
                context=context,
                kind=SpanKind.CONSUMER,
                attributes=attributes,
                links=links,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noted(span),
        ):
            yield

    @contextmanager
    def step(run: Any, name: str) -> Generator[None]:
        attributes = {"tidebase.step.name": name, "messaging.message.id": str(run.id)}
        with (
            tracer.start_as_current_span(
                f"step {name}",
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noted(span),
        ):
            yield

    if isinstance(tide, AsyncTidebase):

        @tide.around_run
        async def around_run(run: Any, proceed: Callable[[], Any]) -> Any:
            with attempt(run):
                return await proceed()

        @tide.around_step
        async def around_step(run: Any, name: str, proceed: Callable[[], Any]) -> Any:
            with step(run, name):
                return await proceed()
    else:

        @tide.around_run
        def around_run_sync(run: Any, proceed: Callable[[], Any]) -> Any:
            with attempt(run):
                return proceed()

        @tide.around_step
        def around_step_sync(run: Any, name: str, proceed: Callable[[], Any]) -> Any:
            with step(run, name):
                return proceed()


@contextmanager
def webhook_span(
    body: Body,
    headers: Mapping[Any, Any],
    secrets: Secrets,
    *,
    tolerance: Duration = TOLERANCE,
    dated: bool = True,
    tracer_provider: TracerProvider | None = None,
) -> Generator[Delivery]:
    """Verify a webhook as `verify_webhook_signature` does, and go on with the trace of its run in
    a span. What is not ours raises as there, and makes no span.

    >>> with webhook_span(request.body, request.headers, secret) as delivery:
    ...     handle(delivery)
    """
    delivery = verify_webhook_signature(body, headers, secrets, tolerance=tolerance, dated=dated)
    attributes = {
        "messaging.system": "tidebase",
        "messaging.operation.name": "process",
        "messaging.message.id": str(delivery.run_id),
        "tidebase.webhook.type": delivery.type,
    }
    if delivery.delivery_id is not None:
        attributes["tidebase.webhook.delivery_id"] = str(delivery.delivery_id)
    tracer = trace.get_tracer("tidebase_pg", __version__, tracer_provider)
    with (
        tracer.start_as_current_span(
            f"webhook {delivery.type}",
            context=propagate.extract(delivery.trace) if delivery.trace else None,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span,
        _noted(span),
    ):
        yield delivery


@contextmanager
def _noted(span: Span) -> Generator[None]:
    """How it ended: an error is one, a run that waits or was taken away is none."""
    try:
        yield
    except (RunParked, Snooze):
        span.set_attribute("tidebase.run.parked", True)
        raise
    except Stop as stop:
        span.set_attribute("tidebase.run.stopped", type(stop).__name__)
        raise
    except Exception as error:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise


def _facts(usage: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "gen_ai.operation.name": "chat" if usage.get("kind") == "llm" else usage.get("kind"),
        "gen_ai.provider.name": usage.get("provider"),
        "gen_ai.request.model": usage.get("model"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _add(span: Span, name: str, amount: float) -> None:
    """A step may make many requests: their sum."""
    before = (getattr(span, "attributes", None) or {}).get(name, 0)
    span.set_attribute(name, before + amount)


def observe_queues(tide: Tidebase, *, meter_provider: MeterProvider | None = None) -> None:
    """Metrics of all queues, read from the database whenever they are collected: in one process
    of many is enough. An `AsyncTidebase` cannot be read by a collector; give a `Tidebase`.

    >>> observe_queues(Tidebase(dsn))
    """
    meter = metrics.get_meter("tidebase_pg", __version__, meter_provider)

    def observed(what: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(getattr(row, what), {"messaging.destination.name": row.queue})
                for row in tide.queues.list()
            ]

        return callback

    for what, description in QUEUES.items():
        meter.create_observable_gauge(
            f"tidebase.queue.{what}", [observed(what)], "{run}", description
        )
