"""Carries out what flows ask for."""

# Made from async_driver.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, TypeVar

from tidebase_pg import calls, current, flows, threads
from tidebase_pg.call import Call
from tidebase_pg.client import Client
from tidebase_pg.errors import Stop
from tidebase_pg.flows import Attempt, DeferredBegin, Effect, Flow, Invoke, Now, Park, Pause
from tidebase_pg.registry import Registry
from tidebase_pg.streams import RunStream
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.step_reporter import StepReporter

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.driver")


class OpenTransaction:
    """What `run.transaction` has open: its run, its connection, and who is in it."""

    def __init__(self, run: ActiveRun, client: Client) -> None:
        self.run = run
        self.client = client
        self.open = True
        self.owner = threads.current()


_making: Final = threading.Lock()

transaction: ContextVar[OpenTransaction | None] = ContextVar("transaction", default=None)


def drive(flow: Flow[T], perform: Callable[[Effect], Any]) -> T:
    """Run a flow to its end; errors and stops reach it, interrupts go straight through."""
    send: Callable[[Any], Effect] = flow.send
    answer: Any = None
    try:
        while True:
            effect = send(answer)
            try:
                answer, send = perform(effect), flow.send
            except (Exception, Stop) as error:
                answer, send = error, flow.throw
    except StopIteration as stop:
        given: T = stop.value
        return given


class Driver:
    """Carries out the effects of flows that concern one held run."""

    __slots__ = (
        "_cancelled",
        "client",
        "forgotten",
        "handle",
        "registry",
        "reporter",
        "run",
        "run_child",
        "streams",
    )

    def __init__(
        self,
        run: ActiveRun,
        client: Client,
        registry: Registry,
        run_child: Callable[[Driver, Attempt], Any],
        reporter: StepReporter | None = None,
    ) -> None:
        """`reporter` reports the steps together with those of other runs."""
        self.run = run
        self.client = client
        self.registry = registry
        self.run_child = run_child
        self.reporter = reporter
        self._cancelled: threads.Event | None = None
        self.forgotten: set[Any] = set()
        """What was called on the run and not awaited yet."""
        self.handle: Any = None
        """What the workflow is handed."""
        self.streams: dict[tuple[str, str | None], RunStream] = {}
        """Those it has written to, by name and step."""

    @property
    def cancelled(self) -> threads.Event:
        """Set when the run has stopped; made when somebody asks for it, which few do."""
        with _making:
            if self._cancelled is None:
                self._cancelled = threads.Event()
                # Only now: who stops the run later finds the event.
                if self.run.stop is not None:
                    self._cancelled.set()
            return self._cancelled

    def stopped(self) -> None:
        """The run has stopped; not from another thread in asyncio."""
        if self._cancelled is not None:
            self._cancelled.set()

    def stream(self, name: str, step: str | None) -> RunStream:
        key = (name, step)
        if key not in self.streams:
            self.streams[key] = RunStream(self, name, step)
        return self.streams[key]

    def flush(self) -> None:
        """Append what was written to streams, before anything else is said of the run."""
        for stream in list(self.streams.values()):
            stream.flush()

    def record_used(self) -> None:
        """Record what steps used whose ends were not reported: the run was cancelled or lost."""
        run = self.run
        while run.used:
            step, records = run.used.popitem()
            for record in records:
                self._record(f"step {step!r} of run {run.run_id}", record, step)
        if run.stop is not None:
            self.record_spent()

    def record_spent(self) -> None:
        """Record what the run used beside its steps, where no end of the attempt has told of it."""
        while self.run.spent:
            self._record(f"run {self.run.run_id}", self.run.spent.pop(0), None)

    def _record(self, who: str, record: Mapping[str, Any], step: str | None) -> None:
        call: Call[Any] = calls.record_usage(self.run.run_id, step=step, **record)
        try:
            self.client.execute(call.unread())
        except Exception as error:
            logger.error(
                "what %s used could not be recorded, %s: %s", who, record, flows.one_line(error)
            )

    def drive(self, flow: Flow[T]) -> T:
        return drive(flow, self.perform)

    def settle(self) -> None:
        """Let the database know what the run began, before another connection speaks for it."""
        if self.reporter is not None:
            self.reporter.settle(self.run)

    def perform(self, effect: Effect) -> Any:
        run = self.run
        try:
            run.check()
        except Stop:
            if run.hopeless:
                self._give_up()
            raise
        match effect:  # what comes often stands first
            case Invoke():
                return self._invoke(effect)
            case Call():
                if self.streams and effect.name != "append_stream":
                    self.flush()
                return self._execute(effect)
            case DeferredBegin():
                reporter = self.reporter
                if reporter is not None and reporter.defers and self.transaction() is None:
                    return reporter.begin(run, effect.call, effect.judge)
                return self._execute(effect.call)
            case Pause(seconds=seconds):
                return threads.wait(self.cancelled, seconds)
            case Now():
                return self._now()
            case Attempt():
                return self.run_child(self, effect)
            case Park(call=call):
                self.flush()
                return self._park(call)

    def transaction(self) -> Client | None:
        """Where calls about the run go inside `run.transaction`.

        Raises RuntimeError in another task or thread than the one that opened it: what it does
        would wait for a lock of that transaction, or be in one that has ended.
        """
        here = transaction.get()
        if (
            here is not None
            and here.open
            and here.run is self.run
            and here.owner is threads.current()
        ):
            return here.client
        if self.run.in_transaction:
            raise RuntimeError(
                f"run {self.run.run_id} is inside run.transaction: other tasks and threads of it "
                "have to wait until its block ends"
            )
        return None

    def _execute(self, call: Any) -> Any:
        client = self.transaction()
        try:
            if self.reporter is not None and client is None:
                return self.reporter.execute(self.run, call)
            return (client or self.client).execute(call)
        except Stop as stop:
            if "lease_id" in call.arguments:
                self.run.record_stop(stop)
                self.stopped()
            raise

    def _invoke(self, effect: Invoke) -> Any:
        if effect.step is None:
            return threads.invoke(effect.function, effect.what, effect.timeout)
        name, function = effect.step, effect.function
        if self.registry.around_steps:
            function = self._if_held(function)
            for around in reversed(self.registry.around_steps):
                function = _wrapped(around, self.handle, name, function)
        with current.step(name):
            return threads.invoke(function, effect.what, effect.timeout)

    def _if_held(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """What is around a step may take its time: the lease may be lost by then."""

        def begin() -> Any:
            self.run.check()
            return function()

        return begin

    def _now(self) -> datetime:
        return self.client.now()

    def _park(self, call: Any) -> Any:
        """What other branches have under way ends first, and they begin nothing meanwhile."""
        run = self.run
        run.parking += 1
        try:
            give_up_at = time.monotonic() + self.registry.park_grace
            while run.others_under_way() and time.monotonic() < give_up_at:
                threads.sleep(flows.SHORTEST_PAUSE)
                run.check()
            while run.spent:
                # It is parked with what it has used: a later attempt does not know of it.
                record = calls.record_usage(run.run_id, lease_id=run.lease_id, **run.spent[0])
                self._execute(record.unread())
                run.spent.pop(0)
            return self._execute(call)
        finally:
            run.parking -= 1

    def _give_up(self) -> None:
        """The code swallows every stop: it is left here, and the worker goes on without it."""
        if (abandon := self.run.abandon) is not None:
            self.run.abandon = None
            abandon()
        threads.hang()


def _wrapped(
    around: Callable[..., Any], handle: Any, name: str, function: Callable[[], Any]
) -> Callable[[], Any]:
    return lambda: around(handle, name, function)
