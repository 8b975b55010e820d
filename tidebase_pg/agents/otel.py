"""OpenTelemetry: a span for each attempt of a run and each execution of a step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from tidebase_pg import AsyncTidebase, Tidebase
from tidebase_pg.errors import RunParked, Snooze, Stop
from tidebase_pg.version import __version__

METADATA: Final = "trace"
"""Where the context of the caller stands in the metadata of a run."""


def traced(metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Metadata for enqueue that carries the trace of the caller to the run.

    >>> await tide.enqueue("report", input=topic, metadata=traced({"tenant": "acme"}))
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    given = dict(metadata or {})
    return {**given, METADATA: carrier} if carrier else given


def instrument(
    tide: AsyncTidebase | Tidebase, *, tracer_provider: TracerProvider | None = None
) -> None:
    """Trace the workflows of this Tidebase. Once, before its workers start.

    The first attempt of a run is a child of what enqueued it with `traced`, later ones link to it,
    so that a run which waits for days does not make a trace that lasts for days.

    >>> instrument(tide)
    """
    tracer = trace.get_tracer("tidebase_pg", __version__, tracer_provider)

    @contextmanager
    def attempt(run: Any) -> Generator[None]:
        carrier = (run.metadata or {}).get(METADATA)
        context = propagate.extract(carrier) if isinstance(carrier, dict) else None
        caller = trace.get_current_span(context).get_span_context() if context else None
        first = run.attempt == 1
        links = [] if first or caller is None or not caller.is_valid else [Link(caller)]
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
                context=context if first else trace.set_span_in_context(trace.INVALID_SPAN),
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
