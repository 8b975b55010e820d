"""Protocols of several calls, written once: generators that know neither await nor thread."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

import psycopg

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.documents import decode, encode
from tidebase_pg.errors import (
    BadPayload,
    Fail,
    IllegalTransition,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    Retry,
    RunCancelled,
    RunParked,
    StepFailedHard,
    StepTimeout,
    Stop,
)
from tidebase_pg.types import LeasedRun, RunRow, StepStart
from tidebase_pg.values import Duration, RunId, interval, interval_text, seconds, whole, worker_name

T = TypeVar("T")

LONGEST_RETRY_DELAY: Final = 60.0
SHORTEST_WAIT: Final = 0.02
LONGEST_WAIT: Final = 1.0
CASCADE_ROUNDS: Final = 20
LONGEST_MESSAGE: Final = 4_000
LONGEST_TRACEBACK: Final = 8_000


@dataclass(frozen=True, slots=True)
class Invoke:
    """Ask the driver to call a function of the application, for at most `timeout` seconds."""

    function: Callable[[], Any]
    what: str
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Early:
    """Ask the driver to begin a step that cannot have been begun before, and not to wait for the
    answer if it can be told later; `judge` says whether that stops the run."""

    call: Call[StepStart]
    judge: Callable[[StepStart], Stop | None]


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask the driver to wait so many seconds, less when the run stops."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """Ask the driver to run a child in this process, leased at that time of the clock."""

    row: RunRow
    function: Callable[..., Any]
    since: float


Effect: TypeAlias = Call[Any] | Early | Invoke | Pause | Attempt
Flow: TypeAlias = Generator[Effect, Any, T]


class Held(Protocol):
    """A run held under a lease; `stop` says why it no longer is, once `lost` was told."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def lease_id(self) -> UUID: ...
    @property
    def stop(self) -> Stop | None: ...
    def lost(self, stop: Stop) -> Stop: ...


def ask(call: Call[T]) -> Flow[T]:
    return cast(T, (yield call))


# Steps ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How a step is to be run: its contract with the database and its local retries."""

    name: str
    input: Any = None
    contract: Mapping[str, Any] = field(default_factory=dict[str, Any])
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None

    @property
    def harmless(self) -> bool:
        """Whether the step has no effects it names: executing it again is always right."""
        return not self.contract.get("side_effects") and "replay" not in self.contract


def plan_step(
    name: str,
    *,
    input: Any = None,
    retries: int = 0,
    retry_delay: Duration = 1.0,
    timeout: Duration | None = None,
    side_effects: Sequence[str] | None = None,
    idempotency_key: str | None = None,
    replay: Literal["auto", "manual", "never"] | None = None,
    checkpoint_invariant: str | None = None,
    verified_by: str | None = None,
) -> StepPlan:
    """Checks the options of a step. Raises ValueError or TypeError naming the wrong one."""
    limit = None if timeout is None else interval("timeout", timeout)
    contract = {
        "side_effects": [side_effects] if isinstance(side_effects, str) else side_effects,
        "idempotency_key": idempotency_key,
        "replay": replay,
        "checkpoint_invariant": checkpoint_invariant,
        "verified_by": verified_by,
        "timeout": None if limit is None else interval_text(limit),
    }
    return StepPlan(
        name,
        input,
        {key: value for key, value in contract.items() if value is not None},
        whole("retries", retries, 0, 1000),
        seconds("retry_delay", retry_delay),
        None if limit is None else seconds("timeout", limit, least=0.001),
    )


def step(run: Held, function: Callable[[], Any], plan: StepPlan, *, new: bool = False) -> Flow[Any]:
    """Run a function once and keep its answer; on a later attempt give the kept answer.

    `new`: no step of this name can have been begun before, and no budget counts it.
    """
    failures = 0
    while True:
        # That a harmless step began need not survive a crash of the server; its output does.
        early = new and plan.harmless and not failures
        done, output = yield from begin(run, plan, relaxed=plan.harmless, early=early)
        if done:
            return output
        try:
            output = yield Invoke(function, f"step {plan.name!r}", plan.timeout)
        except Exception as error:
            if run.stop is not None:
                raise
            yield from fail(run, plan, error, failures)
            yield Pause(min(plan.retry_delay * 2**failures, LONGEST_RETRY_DELAY))
            failures += 1
        else:
            yield from complete(run, plan, output)
            return output


def begin(
    run: Held, plan: StepPlan, *, relaxed: bool = False, early: bool = False
) -> Flow[tuple[bool, Any]]:
    """Whether the step is done, and its output. Raises Stop when the run may not go on."""
    call = calls.begin_step(
        run.run_id,
        run.lease_id,
        plan.name,
        input=plan.input,
        contract=plan.contract or None,
    )
    if relaxed:
        call = call.relax()
    start: StepStart = yield Early(call, partial(stopped, run, plan)) if early else call
    if (stop := stopped(run, plan, start)) is not None:
        raise run.lost(stop)
    if start.action == "execute":
        return False, None
    what = f"the output of step {plan.name!r} of run {run.run_id}"
    return True, decode(start.output_text, what)


def stopped(run: Held, plan: StepPlan, start: StepStart) -> Stop | None:
    """Why a run does not go on after this answer, or None when it does."""
    match start.action:
        case "execute" | "replay":
            return None
        case "review":
            return RunParked(_in_review(run, plan))
        case "budget":
            return RunParked(_over_budget(run, plan))
        case _:
            return StepFailedHard(_failed_hard(run, plan))


def complete(run: Held, plan: StepPlan, output: Any) -> Flow[None]:
    """Report the output; one that cannot be stored fails the step, and is raised."""
    try:
        report = calls.complete_step(run.run_id, run.lease_id, plan.name, output=output)
        yield from reported(run, plan, report.unread())
    except (BadPayload, PayloadTooLarge, InvalidArgument) as error:
        yield from fail(run, plan, error, plan.retries)


def reported(run: Held, plan: StepPlan, report: Call[T]) -> Flow[T]:
    """The answer to a report on a step, begun again if a crash of the server forgot its begin."""
    try:
        return (yield from ask(report))
    except (IllegalTransition, NotFound):
        if not plan.harmless:
            raise
        yield from begin(run, plan)
        return (yield from ask(report))


def fail(run: Held, plan: StepPlan, error: Exception, failures: int) -> Flow[None]:
    """Report a failure; returns when the step is to be run again, else raises.

    After a timeout nobody knows whether the effect happened, so the database decides by the
    contract of the step; an error the function raised is repeated while retries are left.
    """
    again = failures < plan.retries and not isinstance(error, Fail | Retry)
    known = not isinstance(error, StepTimeout)
    report = calls.fail_step(
        run.run_id,
        run.lease_id,
        plan.name,
        error=describe(error),
        retryable=(again and known) or isinstance(error, Retry),
    )
    verdict = yield from reported(run, plan, report)
    if verdict.decision == "manual_review":
        raise run.lost(RunParked(_in_review(run, plan))) from error
    if verdict.decision == "fail_hard":
        raise run.lost(StepFailedHard(_failed_hard(run, plan))) from error
    if not again:
        raise error


def _in_review(run: Held, plan: StepPlan) -> str:
    return (
        f"run {run.run_id} is parked: step {plan.name!r} ended ambiguously and an operator "
        "decides whether it is repeated"
    )


def _over_budget(run: Held, plan: StepPlan) -> str:
    return (
        f"run {run.run_id} is parked: its budget is used up before step {plan.name!r}; "
        "raise it with set_budget"
    )


def _failed_hard(run: Held, plan: StepPlan) -> str:
    return f"run {run.run_id} has failed: step {plan.name!r} must never be repeated"


# Runs by id -------------------------------------------------------------------------------


def open_run(
    workflow: str, run_id: RunId | None, create: Call[RunRow], lease: float
) -> Flow[RunRow]:
    """Create a run, or find the one with this id, and lease it unless it has completed."""
    row: RunRow | None = None
    if run_id is not None:
        with contextlib.suppress(NotFound):
            row = yield from ask(calls.get_run(run_id))
    if row is None:
        row = yield from ask(create)
    if row.workflow != workflow:
        raise ValueError(f"run {row.run_id} is of workflow {row.workflow!r}, not {workflow!r}")
    if row.status == "completed":
        return row
    row = yield from ask(calls.begin_run(row.run_id, worker=worker_name(), lease=lease))
    if row.status == "cancelled":
        raise RunCancelled(f"run {row.run_id} was cancelled: {row.cancel_reason}")
    return row


def wait(run_id: RunId, timeout: float | None) -> Flow[RunRow]:
    """The run once it has finished. Raises TimeoutError."""
    give_up_at = None if timeout is None else time.monotonic() + timeout
    pause = SHORTEST_WAIT
    while True:
        row = yield from ask(calls.get_run(run_id))
        if row.finished:
            return row
        if give_up_at is not None:
            left = give_up_at - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"run {row.run_id} is {row.status} after {timeout:g} s")
            pause = min(pause, left)
        yield Pause(pause)
        pause = min(pause * 2, LONGEST_WAIT)


def cancel(
    run_id: RunId, reason: str | None, actor: str | None, *, cascade: bool, at_once: bool
) -> Flow[RunRow]:
    """Cancel a run, and with `cascade` let its children follow: by upkeep, or most of them here."""
    row = yield from ask(
        calls.cancel(run_id, reason=reason, actor=actor, cascade=None if cascade else False)
    )
    rounds = CASCADE_ROUNDS if cascade and at_once else 0
    while rounds and (yield from ask(calls.cancel_children(run_id))):
        rounds -= 1
    return row


def execute(run: Held, leased: LeasedRun, function: Callable[[Any], Any]) -> Flow[Any]:
    """One attempt of a run begun by its id: the function's answer is also the run's result."""
    try:
        given = leased.input
    except BadPayload as error:
        yield from _report(run, bad_input(error))
        raise
    try:
        result = yield Invoke(lambda: function(given), f"run {leased.run_id}")
    except Exception as error:
        if run.stop is None:
            yield from _report(run, failure(error))
        raise
    try:
        yield from ask(calls.complete(run.run_id, run.lease_id, result=result).unread())
    except (BadPayload, PayloadTooLarge, InvalidArgument) as error:
        yield from _report(run, bad_output(error))
        raise
    return result


def _report(run: Held, failure: Failure) -> Flow[None]:
    yield from ask(report_failure(run, failure))


def report_failure(run: Held, failure: Failure) -> Call[None]:
    return calls.fail(
        run.run_id,
        run.lease_id,
        error=failure.error,
        retryable=failure.retryable,
        failure_class=failure.failure_class,
        retry_after=failure.retry_after,
    ).unread()


def leased(row: RunRow) -> LeasedRun:
    """What the row of begin_run says to its worker."""
    assert row.lease_id is not None
    return LeasedRun(
        row.run_id,
        row.lease_id,
        row.workflow,
        row.attempt,
        row.max_attempts,
        row.input_text,
        row.metadata_text,
        fresh=False,
    )


# How a run ended --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a workflow as the database is told of it."""

    error: Mapping[str, Any]
    retryable: bool = True
    failure_class: str | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt, as one element of settle's outcomes."""

    run: LeasedRun
    kind: Literal["completed", "failed", "released"]
    text: str
    last: bool = False
    """Reported in place of an outcome that was refused; when refused too, nothing is left."""


def failure(error: Exception) -> Failure:
    """How an error raised by a workflow is recorded."""
    described = describe(error)
    if isinstance(error, Retry):
        return Failure(described, retry_after=error.after)
    if isinstance(error, Fail):
        return Failure(described, retryable=False, failure_class=error.failure_class)
    return Failure(described)


def bad_input(error: BadPayload) -> Failure:
    """The run whose input cannot be read will not become readable."""
    return Failure(describe(error), retryable=False, failure_class="bad_input")


def bad_output(error: Exception) -> Failure:
    """The result that cannot be stored."""
    return Failure(describe(error), retryable=False, failure_class="bad_output")


def completed(run: LeasedRun, result: Any) -> Outcome:
    """Raises BadPayload when the result cannot be stored."""
    if result is None:
        return Outcome(run, "completed", f"{run.key}}}")
    text = encode(result, f"the result of run {run.run_id}")
    return Outcome(run, "completed", f'{run.key},"result":{text}}}')


def failed(run: LeasedRun, failure: Failure) -> Outcome:
    report: dict[str, Any] = {"error": failure.error, "retryable": failure.retryable}
    if failure.failure_class is not None:
        report["failure_class"] = failure.failure_class
    if failure.retry_after is not None:
        report["retry_after"] = interval_text(failure.retry_after)
    text = encode(report, f"the error of run {run.run_id}")
    return Outcome(run, "failed", f"{run.key},{text[1:]}")


def released(run: LeasedRun) -> Outcome:
    return Outcome(run, "released", f'{run.key},"release":true}}')


def batch(outcomes: Sequence[Outcome]) -> str:
    """The argument of settle."""
    return f"[{','.join([outcome.text for outcome in outcomes])}]"


_REFUSED: Final[Mapping[str, str]] = {
    "payload_too_large": (
        "is larger than the installation allows; store it elsewhere and return a reference"
    ),
    "bad_payload": "is nested deeper than 100 levels or holds a number of more than 400 digits",
    "bad_outcome": "has a failure_class or retry_after that is out of range",
}


def refused(outcome: Outcome, reason: str | None) -> Outcome | None:
    """What to report instead, when the database could not store an outcome."""
    if reason is None or reason not in _REFUSED:
        return None
    what = "result" if outcome.kind == "completed" else "error"
    message = f"the {what} of run {outcome.run.run_id} {_REFUSED[reason]}"
    return instead(outcome, BadPayload(message))


def instead(outcome: Outcome, error: Exception) -> Outcome | None:
    """The failure to report in place of an outcome the database refused."""
    if outcome.last or outcome.kind == "released":
        return None
    return replace(failed(outcome.run, bad_output(error)), last=True)


def one_line(error: BaseException) -> str:
    """An error for the log."""
    return f"{type(error).__name__}: {_message(error).strip().partition(chr(10))[0]}"


def _message(error: BaseException) -> str:
    """Without the DETAIL and CONTEXT of Postgres, which may hold payloads."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    try:
        return str(error)
    except Exception:
        return "its message could not be formatted"


def describe(error: BaseException) -> dict[str, Any]:
    """Type, message and place of an error, bounded."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return {
        "type": type(error).__qualname__,
        "message": _storable(_message(error)[:LONGEST_MESSAGE]),
        "traceback": _storable(frames[-LONGEST_TRACEBACK:]),
    }


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
