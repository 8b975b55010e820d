"""OpenTelemetry: spans of attempts and steps, the trace of who enqueued a run, and metrics."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

from opentelemetry import context as contexts
from opentelemetry import metrics, propagate, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
)

from tidebase_pg import AsyncTidebase, Tidebase, calls
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
MOST_CALLERS: Final = 10_000
"""Runs of which a door remembers who made them."""
Scope: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]
_SESSION: Final = contexts.create_key("tidebase-session")
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
    links to its declaration. The attempt of a session ends with the session; it is the current span
    in the block of the session.

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

    sessions: WeakKeyDictionary[Any, _Session] = WeakKeyDictionary()

    def begun(run: Any) -> Span:
        """The span of an attempt that begins; it is not the current one yet."""
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
        span = tracer.start_span(
            f"process {run.workflow}",
            context=context,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        )
        within: dict[str, str] = {}
        propagate.inject(within, trace.set_span_in_context(span))
        run._run.trace = within
        return span

    @contextmanager
    def attempt(run: Any) -> Generator[None]:
        with (
            trace.use_span(
                begun(run),
                end_on_exit=True,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noted(span),
        ):
            yield

    def session_begun(run: Any) -> _Session:
        held = sessions[run] = _Session(begun(run))
        return held

    tide._registry.on_session.append(session_begun)

    @contextmanager
    def step(run: Any, name: str) -> Generator[None]:
        held = sessions.get(run) if sessions else None
        attributes = {"tidebase.step.name": name, "messaging.message.id": str(run.id)}
        with (
            tracer.start_as_current_span(
                f"step {name}",
                context=None if held is None else held.context(),
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


class _Session:
    """The span of the attempt of a session. It is current in the block of the session; where there
    is no block, steps have it as their parent all the same."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Any = None

    def context(self) -> contexts.Context | None:
        """Where its steps belong; None is where they are."""
        if contexts.get_value(_SESSION) is self:
            return None
        return trace.set_span_in_context(self._span)

    def enter(self) -> None:
        here = contexts.set_value(_SESSION, self, trace.set_span_in_context(self._span))
        self._token = contexts.attach(here)

    def leave(self) -> None:
        contexts.detach(self._token)

    def end(self, error: Exception | Stop | None, *, handed_back: bool) -> None:
        if handed_back:
            self._span.set_attribute("tidebase.run.released", True)
        if error is not None:
            _note(self._span, error)
        self._span.end()


class TracedDoor:
    """The HTTP door with a span for each request, a child of what the request says or else a trace
    of its own. The span has the run that the request is about, and links to who made it, so that
    what a worker asks over HTTP is found from there. Requests to Studio have none.

    >>> application = TracedDoor(app("postgresql:///app"))
    """

    def __init__(
        self, application: Application, *, tracer_provider: TracerProvider | None = None
    ) -> None:
        self._application = application
        self._tracer = trace.get_tracer("tidebase_pg", __version__, tracer_provider)
        self._callers: OrderedDict[UUID, SpanContext | None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Callable[..., Any], send: Any) -> None:
        if scope["type"] != "http" or _of_studio(scope):
            await self._application(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        method: str = scope["method"]
        with self._tracer.start_as_current_span(
            method,
            context=propagate.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        ) as span:

            async def answer(message: Mapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    status: int = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                    await self._describe(span, method, scope.get("tidebase"))
                await send(message)

            await self._application(scope, receive, answer)

    async def _describe(self, span: Span, method: str, ask: Any) -> None:
        """Name the route and the run of a request, if it came so far."""
        if ask is None:
            return
        span.update_name(f"{method} {ask.route.path}")
        span.set_attribute("http.route", ask.route.path)
        if not ask.route.path.startswith("/runs/{id}") or not span.is_recording():
            return
        try:
            run_id: UUID = ask.run_id
            caller = await self._caller(ask.gateway.upkeep, run_id)
        except Exception:
            return  # no such run, which the answer says
        span.set_attribute("messaging.message.id", str(run_id))
        if caller is not None:
            span.add_link(caller)

    async def _caller(self, client: Any, run_id: UUID) -> SpanContext | None:
        """Who made a run, which is read once: it does not change."""
        if run_id not in self._callers:
            row = await client.execute(calls.get_run(run_id))
            carrier = (row.metadata or {}).get(METADATA)
            context = propagate.extract(carrier) if isinstance(carrier, dict) else None
            found = trace.get_current_span(context).get_span_context() if context else None
            self._callers[run_id] = found if found is not None and found.is_valid else None
            if len(self._callers) > MOST_CALLERS:
                self._callers.popitem(last=False)
        return self._callers[run_id]


def _of_studio(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == "/" or path == "/studio" or path.startswith("/studio/")


@contextmanager
def _noted(span: Span) -> Generator[None]:
    """How it ended: an error is one, a run that waits or was taken away is none."""
    try:
        yield
    except BaseException as error:
        _note(span, error)
        raise


def _note(span: Span, error: BaseException) -> None:
    match error:
        case RunParked() | Snooze():
            span.set_attribute("tidebase.run.parked", True)
        case Stop():
            span.set_attribute("tidebase.run.stopped", type(error).__name__)
        case Exception():
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        case _:
            pass


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
