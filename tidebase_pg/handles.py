"""What a workflow is handed: its run, its steps, and sessions for runs worked on elsewhere."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypedDict, TypeVar, Unpack, cast
from uuid import UUID

from tidebase_pg import calls, flows
from tidebase_pg.call import Call
from tidebase_pg.client.execute import Client
from tidebase_pg.errors import Fail, Stop
from tidebase_pg.flows import Attempt, Early, Effect, Flow, Invoke, Pause, StepPlan
from tidebase_pg.registry import Registry
from tidebase_pg.threads import call_within
from tidebase_pg.values import Duration
from tidebase_pg.waits import Waits, open_transaction
from tidebase_pg.worker.active_run import Holding, heartbeat
from tidebase_pg.worker.renewal import Heart
from tidebase_pg.worker.step_batches import Reporter

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.session")


class Contract(TypedDict, total=False):
    """What a step promises, frozen when it is first begun."""

    input: Any
    """What the step depends on; another input under the same name raises InputMismatch."""
    side_effects: Sequence[str] | None
    """What it does outside the run: "email.send"; "read" is harmless."""
    idempotency_key: str | None
    """The key the outside world deduplicates by; it makes a repetition safe."""
    replay: Literal["auto", "manual", "never"] | None
    """After an ambiguous end: execute again, let an operator decide, or fail the run."""
    checkpoint_invariant: str | None
    """For people: what is true once the step is done."""
    verified_by: str | None
    """For people: how to find out whether the effect happened."""


class StepOptions(Contract, total=False):
    """How a step is run."""

    retries: int
    """How often to repeat it in this attempt when its function raises; default 0."""
    retry_delay: Duration
    """Seconds before the first repetition, then twice as long each time; default 1."""
    timeout: Duration | None
    """Seconds until StepTimeout is raised; default none."""


class Lease:
    """The facts of a run held by this process."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self._holding.run_id

    @property
    def workflow(self) -> str:
        """The name of the workflow."""
        return self._holding.leased.workflow

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._holding.leased.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts the run has in all."""
        return self._holding.leased.max_attempts

    @property
    def metadata(self) -> Any:
        """What the run was enqueued with as metadata."""
        return self._holding.leased.metadata

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.workflow} attempt {self.attempt}>"


def drive(flow: Flow[T], perform: Callable[[Effect], Any]) -> T:
    """Run a flow to its end; only `Exception` reaches it, interrupts go straight through."""
    send: Callable[[Any], Effect] = flow.send
    answer: Any = None
    try:
        while True:
            effect = send(answer)
            try:
                answer, send = perform(effect), flow.send
            except Exception as error:
                answer, send = error, flow.throw
    except StopIteration as stop:
        return cast(T, stop.value)


class Driver:
    """Carries out the effects of flows that concern one held run."""

    __slots__ = ("cancelled", "client", "holding", "registry", "reporter")

    def __init__(
        self,
        holding: Holding,
        client: Client,
        cancelled: threading.Event,
        registry: Registry,
        reporter: Reporter | None = None,
    ) -> None:
        """`reporter` tells of the steps together with those of other runs."""
        self.holding = holding
        self.client = client
        self.cancelled = cancelled
        self.registry = registry
        self.reporter = reporter

    def drive(self, flow: Flow[T]) -> T:
        return drive(flow, self.perform)

    def settle(self) -> None:
        """Let the database know what the run began, before another connection speaks for it."""
        if self.reporter is not None:
            self.reporter.settle(self.holding)

    def perform(self, effect: Effect) -> Any:
        holding = self.holding
        holding.check()
        if isinstance(effect, Invoke):
            if effect.timeout is None:
                return effect.function()
            return call_within(effect.function, effect.timeout, effect.what)
        if isinstance(effect, Pause):
            self.cancelled.wait(effect.seconds)
            return None
        if isinstance(effect, Attempt):
            child = Holding(flows.leased(effect.row), holding.lease, effect.since, inline=True)
            return attempt(child, self.client, effect.function, self.registry)
        transaction = open_transaction(holding)
        if isinstance(effect, Early):
            if self.reporter is not None and transaction is None:
                return self.reporter.begin(holding, effect.call, effect.judge)
            effect = effect.call
        try:
            if self.reporter is not None and transaction is None:
                return self.reporter.execute(holding, effect)
            return (transaction or self.client).execute(effect)
        except Stop as stop:
            if "lease_id" in effect.arguments:
                holding.lost(stop)
                self.cancelled.set()
            raise


class Run(Waits, Lease):
    """A run, handed to its workflow: `def report(run: Run, input: dict) -> dict`.

    Every method raises RunCancelled or LeaseLost once the run is no longer held; let them pass.
    """

    def __init__(
        self,
        holding: Holding,
        client: Client,
        registry: Registry,
        reporter: Reporter | None = None,
    ) -> None:
        Lease.__init__(self, holding)
        self.cancelled = threading.Event()
        """Set when the run is cancelled or its lease lost; watch it in long steps."""
        self._driver = Driver(holding, client, self.cancelled, registry, reporter)
        holding.interrupt = self._interrupt
        self._equip(self._driver)

    def step(self, name: str, function: Callable[[], T], **options: Unpack[StepOptions]) -> T:
        """Call the function once and keep its answer; a later attempt gets the kept answer.

        What is kept is JSON: a tuple comes back as a list. With a timeout the function runs in a
        thread of its own, which is abandoned, not ended, when the time is up; whether the step
        is then repeated follows from its contract.

        Raises what the function raised last, StepTimeout, BadPayload, InputMismatch,
        StepInProgress, or a Stop.

        >>> plan = run.step("plan", lambda: make_plan(topic), retries=2)
        """
        plan = flows.plan_step(name, **options)
        holding = self._holding
        new = holding.open_step(name)
        try:
            flow = flows.step(holding, function, plan, new=new)
            return cast(T, self._driver.drive(flow))
        finally:
            holding.close_step(name)

    def begin_step(self, name: str, **contract: Unpack[Contract]) -> BegunStep:
        """Begin a step whose work stands in the block below, as agent loops need it.

        >>> with run.begin_step("turn-3") as step:
        ...     if not step.done:
        ...         step.complete(model.answer(messages))
        >>> messages.append(step.output)
        """
        plan = flows.plan_step(name, **contract)
        self._holding.open_step(name)
        try:
            done, output = self._driver.drive(flows.begin(self._holding, plan))
        except BaseException:
            self._holding.close_step(name)
            raise
        return BegunStep(self._driver, plan, done, output)

    def heartbeat(self) -> None:
        """Renew the lease now; workers and sessions do it by themselves every lease/3."""
        self._holding.check()
        sent_at = time.monotonic()
        (beat,) = self._driver.client.execute(heartbeat([self._holding], self._holding.lease))
        self._holding.judge(beat.state, sent_at)
        self._holding.check()

    def _interrupt(self, stop: Stop) -> None:
        self.cancelled.set()


class BegunStep:
    """A step in the hands of the workflow; `done` means an earlier attempt completed it."""

    def __init__(self, driver: Driver, plan: StepPlan, done: bool, output: Any) -> None:
        self._driver = driver
        self._plan = plan
        self._open = not done
        self.name = plan.name
        self.done = done
        self.output = output
        if done:
            driver.holding.close_step(plan.name)

    def complete(self, output: Any = None) -> None:
        """Keep the output. Raises BadPayload when it is no JSON, Stop when the run is lost."""
        self._close()
        self._driver.drive(flows.complete(self._driver.holding, self._plan, output))
        self.done, self.output = True, output

    def fail(self, error: Exception) -> None:
        """Report the failure, then raise it, or the Stop the contract of the step demands."""
        self._close()
        self._driver.drive(flows.fail(self._driver.holding, self._plan, error, 0))

    def _close(self) -> None:
        if not self._open:
            raise RuntimeError(f"step {self.name!r} has ended already: complete or fail it once")
        self._open = False
        self._driver.holding.close_step(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        if error is None:
            self.fail(RuntimeError(f"step {self.name!r} was left without complete(output)"))
        elif isinstance(error, Exception) and self._driver.holding.stop is None:
            self.fail(error)


class Session(Run):
    """A run worked on outside a worker, with its heartbeat in the background.

    Left normally without `complete` or `fail` the run is handed back; left by an error it has
    failed; left by KeyboardInterrupt it is handed back.

    >>> with tide.runs.attach("import", input={"file": name}) as session:
    ...     session.complete({"rows": load(name)})
    """

    def __init__(
        self,
        holding: Holding,
        client: Client,
        registry: Registry,
        on_lease_lost: Callable[[Stop], None] | None = None,
    ) -> None:
        super().__init__(holding, client, registry)
        self._on_lease_lost = on_lease_lost
        self._ended = False
        self._heart = Heart(client, holding.lease)
        self._heart.add(holding)
        self._heart.start()

    @property
    def input(self) -> Any:
        """What the run was created with."""
        return self._holding.leased.input

    def complete(self, result: Any = None) -> None:
        """Finish the run. Raises BadPayload when the result is no JSON; the run stays held."""
        held = self._holding
        self._report(calls.complete(held.run_id, held.lease_id, result=result).unread())

    def fail(self, error: Exception | str) -> None:
        """End the attempt with an error; Retry and Fail say how, as in a workflow."""
        held = self._holding
        if isinstance(error, str):
            error = Fail(error)
        self._report(flows.report_failure(held, flows.failure(error)))

    def close(self) -> None:
        """Stop the heartbeat; hand the run back unless it has ended."""
        if not self._ended and self._holding.stop is None:
            held = self._holding
            with contextlib.suppress(Stop):
                self._report(calls.release(held.run_id, held.lease_id).unread())
        self._heart.stop()

    def _report(self, call: Call[None]) -> None:
        self._driver.perform(call)
        self._ended = True
        self._heart.stop()

    def _interrupt(self, stop: Stop) -> None:
        super()._interrupt(stop)
        self._heart.stop()
        if self._on_lease_lost is not None and not self._ended:
            try:
                self._on_lease_lost(stop)
            except Exception as error:
                logger.error("on_lease_lost failed: %s", flows.one_line(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, Exception) and not self._ended and self._holding.stop is None:
                self.fail(error)
        finally:
            self.close()


def attempt(
    holding: Holding, client: Client, function: Callable[[Run, Any], Any], registry: Registry
) -> Any:
    """Run a workflow in this thread, with its heartbeat beside it, and record how it ended."""
    run = Run(holding, client, registry)
    driver = Driver(holding, client, run.cancelled, registry)
    heart = Heart(client, holding.lease)
    heart.add(holding)
    heart.start()
    try:
        return driver.drive(
            flows.execute(holding, holding.leased, lambda given: function(run, given))
        )
    except Exception:
        raise
    except BaseException:
        with contextlib.suppress(Exception):
            client.execute(calls.release(holding.run_id, holding.lease_id).unread())
        raise
    finally:
        heart.stop()
