"""Protocols of several calls, written once: generators that know neither await nor thread."""

from __future__ import annotations

import contextlib
import random
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

import psycopg

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.codecs import Codec
from tidebase_pg.documents import canonical, decode, encode
from tidebase_pg.errors import (
    BadPayload,
    CollidingKeys,
    Fail,
    IllegalTransition,
    InputMismatch,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Retry,
    RunCancelled,
    RunParked,
    Snooze,
    StepFailedHard,
    StepTimeout,
    Stop,
)
from tidebase_pg.names import Kind, Names, Use
from tidebase_pg.registry import Workflow
from tidebase_pg.types import LeasedRun, RunRow, StepStart
from tidebase_pg.values import (
    Duration,
    RunId,
    identifier,
    interval,
    interval_text,
    label,
    seconds,
    whole,
    worker_name,
)

T = TypeVar("T")

LONGEST_RETRY_DELAY: Final = 60.0
SHORTEST_PAUSE: Final = 0.005

LANE_PAUSE: Final = 0.1
"""Seconds until a step asks its lane again, while other steps of its run are under way."""
SHORTEST_WAIT: Final = 0.02
LONGEST_WAIT: Final = 1.0
CASCADE_ROUNDS: Final = 20
LONGEST_MESSAGE: Final = 4_000
LONGEST_TRACEBACK: Final = 8_000
LONGEST_NOTE: Final = 1_000
MOST_PARTS: Final = 20
"""So many errors of a group and causes are recorded."""
JITTER: Final = 0.1
"""The share of a delay that is added at random."""


@dataclass(slots=True)
class Invoke:
    """Ask the driver to call a function of the application, for at most `timeout` seconds."""

    function: Callable[[], Any]
    what: str
    timeout: float | None = None
    step: str | None = None
    """The step it is the function of."""


@dataclass(slots=True)
class DeferredBegin:
    """Ask the driver to begin a step that cannot have been begun before, and not to wait for the
    answer if it can be told later; `judge` says whether that stops the run."""

    call: Call[StepStart]
    judge: Callable[[StepStart], Stop | None]


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask the driver to wait so many seconds, less when the run stops."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Park:
    """Ask the driver to make a call that may park the run, once what the run has under way in other
    branches has ended; its answer is the call's."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Now:
    """Ask the driver what time it is for the database."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Ask the driver to run a child in this process, leased at that time of the clock."""

    row: RunRow
    workflow: Workflow
    since: float


Effect: TypeAlias = Call[Any] | DeferredBegin | Invoke | Pause | Park | Now | Attempt
Flow: TypeAlias = Generator[Effect, Any, T]


class Held(Protocol):
    """A run held under a lease; `stop` says why it no longer is, once that was recorded."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def lease_id(self) -> UUID: ...
    @property
    def stop(self) -> Stop | None: ...
    @property
    def parking(self) -> int: ...
    @property
    def names(self) -> Names: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def under_way(self) -> set[Any]: ...
    @property
    def used(self) -> dict[str, list[Mapping[str, Any]]]: ...
    @property
    def spent(self) -> list[Mapping[str, Any]]: ...
    def record_stop(self, stop: Stop) -> Stop: ...
    def claim(
        self, kind: Kind, name: str, *, key: str | None = None, input: str | None = None
    ) -> Use | None: ...


def ask(call: Call[T]) -> Flow[T]:
    return cast(T, (yield call))


def park(call: Call[T]) -> Flow[T]:
    return cast(T, (yield Park(call)))


def database_time() -> Flow[datetime]:
    """What the clock of the database says; that of this host counts nowhere."""
    return cast(datetime, (yield Now()))


def claimed(
    run: Held, kind: Kind, name: str, *, key: str | None = None, input: Any = None
) -> Flow[Use]:
    """The name this use of a name has. Raises StepInProgress when branches race for it."""
    given = None if input is None else canonical(input, f"the input of {kind} {name!r}")
    while (use := run.claim(kind, name, key=key, input=given)) is None:
        yield Pause(SHORTEST_PAUSE)
    return use


# Steps ------------------------------------------------------------------------------------


@dataclass(slots=True)
class StepPlan:
    """How a step is to be run: its contract with the database and its local retries."""

    name: str
    key: str | None = None
    input: Any = None
    contract: Mapping[str, Any] = field(default_factory=dict[str, Any])
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None
    returns: Any = None
    """The type its output is restored to."""
    approved_by: UUID | None = None
    """The gate that has to cover it."""
    estimate: Mapping[str, float] | None = None
    """What it is expected to use."""
    lane: str | None = None
    """Where it holds a place until it ends."""
    lane_key: str | None = None
    cost: int | None = None
    """How many units of the lane it is expected to use."""

    @property
    def harmless(self) -> bool:
        """Whether the step has no effects it names: executing it again is always right."""
        return (
            self.approved_by is None
            and not self.contract.get("side_effects")
            and "replay" not in self.contract
        )

    @property
    def deferrable(self) -> bool:
        """Whether it may run before the database knows that it began."""
        return self.harmless and self.lane is None


def plan_step(
    name: str,
    codec: Codec,
    *,
    key: str | None = None,
    input: Any = None,
    returns: Any = None,
    retries: int = 0,
    retry_delay: Duration = 1.0,
    timeout: Duration | None = None,
    side_effects: Sequence[str] | None = None,
    idempotency_key: str | None = None,
    replay: Literal["auto", "manual", "never"] | None = None,
    checkpoint_invariant: str | None = None,
    verified_by: str | None = None,
    approved_by: Any = None,
    estimate: Mapping[str, float] | None = None,
    lane: str | None = None,
    lane_key: str | None = None,
    cost: int | None = None,
) -> StepPlan:
    """Checks the options of a step. Raises ValueError or TypeError naming the wrong one."""
    limit = None if timeout is None else interval("timeout", timeout)
    contract: dict[str, Any] = {}
    if side_effects is not None:
        contract["side_effects"] = [side_effects] if isinstance(side_effects, str) else side_effects
    if limit is not None:
        contract["timeout"] = interval_text(limit)
    for option, value in (
        ("idempotency_key", idempotency_key),
        ("replay", replay),
        ("checkpoint_invariant", checkpoint_invariant),
        ("verified_by", verified_by),
    ):
        if value is not None:
            contract[option] = value
    return StepPlan(
        name,
        None if key is None else label("key", key),
        None if input is None else codec.dump(input, f"the input of step {name!r}"),
        contract,
        retries if retries == 0 else whole("retries", retries, 0, 1000),
        1.0 if retry_delay == 1.0 else seconds("retry_delay", retry_delay),
        None if limit is None else seconds("timeout", limit, least=0.001),
        returns,
        None
        if approved_by is None
        else identifier("approved_by", getattr(approved_by, "gate_id", approved_by)),
        estimate,
        lane,
        lane_key,
        cost,
    )


def step(run: Held, function: Callable[[], Any], plan: StepPlan, codec: Codec) -> Flow[Any]:
    """Run a function once and keep its answer; on a later attempt give the kept answer.

    What is given is always what was kept, so that a replay gives nothing else.
    """
    use = yield from claimed(run, "step", plan.name, key=plan.key, input=plan.input)
    if plan.name != use.assigned:
        plan = replace(plan, name=use.assigned)
    failures = 0
    try:
        while True:
            # That a harmless step began need not survive a crash of the server; its output does.
            early = use.first and run.fresh and plan.deferrable and not failures
            plan, done, output = yield from begun(run, use, plan, early=early)
            if done:
                break
            run.under_way.add(use)
            try:
                output = yield Invoke(function, f"step {plan.name!r}", plan.timeout, plan.name)
            except Exception as error:
                if run.stop is not None:
                    raise
                yield from fail(run, plan, error, failures)
                yield Pause(pause_before(failures, plan.retry_delay))
                failures += 1
            else:
                output = yield from complete(run, plan, output, codec)
                break
            finally:
                run.under_way.discard(use)
        use.done = True
        return codec.load(output, plan.returns, f"the output of step {plan.name!r}")
    finally:
        use.open = False


def pause_before(failures: int, delay: float) -> float:
    """Seconds before a step is repeated, a little different each time, so that what failed
    together is not repeated together."""
    return min(delay * 2.0**failures, LONGEST_RETRY_DELAY) * random.uniform(1.0, 1.0 + JITTER)


def open_step(run: Held, plan: StepPlan) -> Flow[tuple[Use, StepPlan, bool, Any]]:
    """Begin a step whose function is not called here; who begins it closes its use."""
    use = yield from claimed(run, "step", plan.name, key=plan.key, input=plan.input)
    try:
        plan, done, output = yield from begun(run, use, replace(plan, name=use.assigned))
    except BaseException:
        use.open = False
        raise
    if not done:
        run.under_way.add(use)
    return use, plan, done, output


def kept(report: Call[Any], what: str) -> Any:
    """What a report keeps, as a later attempt will get it."""
    return decode(report.arguments.get("output"), what)


def begun(
    run: Held, use: Use, plan: StepPlan, *, early: bool = False
) -> Flow[tuple[StepPlan, bool, Any]]:
    """A step as it is recorded, whether it is done, and its output."""
    while run.parking:
        yield Pause(SHORTEST_PAUSE)
    try:
        done, output = yield from begin(run, plan, relaxed=plan.harmless, early=early)
    except InputMismatch:
        if not run.names.otherwise(use):
            raise
        plan = replace(plan, name=use.assigned)
        done, output = yield from begin(run, plan, relaxed=plan.harmless)
    finally:
        use.begun = True
    return plan, done, output


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
        approved_by=plan.approved_by,
        estimate=plan.estimate,
        lane=plan.lane,
        lane_key=plan.lane_key,
        cost=plan.cost,
    )
    if relaxed:
        call = call.relax()
    start: StepStart
    start = yield DeferredBegin(call, partial(stopped, run, plan)) if early else call
    while start.action == "wait":
        # Other steps of the run are under way, which parking it would lose.
        yield Pause(LANE_PAUSE)
        start = yield call
    if (stop := stopped(run, plan, start)) is not None:
        raise run.record_stop(stop)
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
        case "lane":
            return RunParked(_without_place(run, plan))
        case _:
            return StepFailedHard(_failed_hard(run, plan))


def complete(run: Held, plan: StepPlan, output: Any, codec: Codec) -> Flow[Any]:
    """Report the output, and give it as it is kept; one that cannot be kept fails the step."""
    what = f"the output of step {plan.name!r}"
    try:
        report = calls.complete_step(
            run.run_id,
            run.lease_id,
            plan.name,
            output=codec.dump(output, what),
            used=run.used.get(plan.name),
        )
        yield from reported(run, plan, report.unread())
        run.used.pop(plan.name, None)
        return kept(report, what)
    except (BadPayload, PayloadTooLarge, InvalidArgument) as error:
        if isinstance(error, InvalidArgument):
            run.used.pop(plan.name, None)  # with it, the failure could not be reported either
        yield from fail(run, plan, error, plan.retries)


def reported(run: Held, plan: StepPlan, report: Call[T]) -> Flow[T]:
    """The answer to a report on a step, begun again if a crash of the server forgot its begin."""
    answer: T
    try:
        answer = yield report
    except (IllegalTransition, NotFound):
        if not plan.harmless:
            raise
        yield from begin(run, plan)
        answer = yield report
    return answer


def fail(run: Held, plan: StepPlan, error: Exception, failures: int) -> Flow[None]:
    """Report a failure; returns when the step is to be run again, else raises.

    After a timeout nobody knows whether the effect happened, so the database decides by the
    contract of the step; an error the function raised is repeated while retries are left.
    """
    said = verdict_of(error)
    again = failures < plan.retries and said is None and not final(error)
    known = not isinstance(error, StepTimeout)
    report = calls.fail_step(
        run.run_id,
        run.lease_id,
        plan.name,
        error=describe(error),
        retryable=(again and known) or isinstance(said, Retry | Snooze),
        used=run.used.get(plan.name),
    )
    verdict = yield from reported(run, plan, report)
    run.used.pop(plan.name, None)
    if verdict.decision == "manual_review":
        raise run.record_stop(RunParked(_in_review(run, plan))) from error
    if verdict.decision == "fail_hard":
        raise run.record_stop(StepFailedHard(_failed_hard(run, plan))) from error
    if not again:
        raise error


def _in_review(run: Held, plan: StepPlan) -> str:
    return (
        f"run {run.run_id} is parked: step {plan.name!r} ended ambiguously and an operator "
        "decides whether it is repeated"
    )


def _over_budget(run: Held, plan: StepPlan) -> str:
    return (
        f"run {run.run_id} is parked: too little is left of its budget or of an allowance for "
        f"step {plan.name!r}; raise it with set_budget or set_allowance"
    )


def _without_place(run: Held, plan: StepPlan) -> str:
    return f"run {run.run_id} is parked until lane {plan.lane!r} has a place for step {plan.name!r}"


def _failed_hard(run: Held, plan: StepPlan) -> str:
    return f"run {run.run_id} has failed: step {plan.name!r} must never be repeated"


# Runs by id -------------------------------------------------------------------------------


def open_run(
    workflow: str, run_id: RunId | None, create: Call[RunRow], lease: float
) -> Flow[RunRow]:
    """Create a run, or find the one with this id, and lease it unless it has completed.

    Raises InputMismatch when the id is of a run with another input than the one given.
    """
    row: RunRow | None = None
    if run_id is not None:
        with contextlib.suppress(NotFound):
            row = yield from ask(calls.get_run(run_id))
    if row is None:
        row = yield from ask(create)
    if row.workflow != workflow:
        raise ValueError(f"run {row.run_id} is of workflow {row.workflow!r}, not {workflow!r}")
    given: str | None = create.arguments.get("input")
    if given is not None and decode(given, "input") != decode(row.input_text, "the input"):
        raise InputMismatch(
            f"run {row.run_id} has another input than the one given",
            hint="Leave input out to go on with what is stored, or use another run_id.",
        )
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


def execute(
    run: Held, function: Callable[[Any], Any], read: Callable[[], Any], codec: Codec
) -> Flow[Any]:
    """One attempt of a run begun by its id: the function's answer, as it is kept, is the result.

    `read` reads the input."""
    try:
        given = read()
    except BadPayload as error:
        yield from _report(run, bad_input(error))
        raise
    try:
        result = yield Invoke(lambda: function(given), f"run {run.run_id}")
    except Exception as error:
        if run.stop is None:
            yield from record_failure(run, error)
        raise
    try:
        what = f"the result of run {run.run_id}"
        kept = codec.dump(result, what)
        report = calls.complete(run.run_id, run.lease_id, result=kept, used=run.spent)
        yield from ask(report.unread())
    except (BadPayload, PayloadTooLarge, InvalidArgument) as error:
        if isinstance(error, InvalidArgument):
            run.spent.clear()  # with it, the failure could not be reported either
        yield from _report(run, bad_output(error))
        raise
    run.spent.clear()
    return decode(report.arguments.get("result"), what)


def record_failure(run: Held, error: BaseException) -> Flow[None]:
    """Record how an attempt of a run begun by its id ended."""
    said = verdict_of(error)
    if isinstance(said, Snooze):
        release = calls.release(
            run.run_id,
            run.lease_id,
            delay=said.after,
            throttle=throttle_of(said),
            used=run.spent,
        )
        yield from ask(release.unread())
        run.spent.clear()
    else:
        yield from _report(run, failure(error))


def _report(run: Held, failure: Failure) -> Flow[None]:
    yield from ask(report_failure(run, failure))
    run.spent.clear()


def report_failure(run: Held, failure: Failure) -> Call[None]:
    return calls.fail(
        run.run_id,
        run.lease_id,
        error=failure.error,
        retryable=failure.retryable,
        failure_class=failure.failure_class,
        retry_after=failure.retry_after,
        used=run.spent,
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


@dataclass(slots=True)
class Outcome:
    """What became of one attempt, as one element of settle's outcomes."""

    run: LeasedRun
    kind: Literal["completed", "failed", "released"]
    text: str
    last: bool = False
    """Reported in place of an outcome that was refused; when refused too, nothing is left."""
    trace: Mapping[str, str] | None = None
    """What a propagator has written within the attempt."""
    used: Sequence[Mapping[str, Any]] = ()
    """What the attempt used beside its steps."""

    @property
    def full_text(self) -> str:
        """With the trace of the attempt, for the webhooks it makes, and what it used."""
        if not self.trace and not self.used:
            return self.text
        parts = [self.text[:-1]]
        if self.trace:
            parts.append(f'"trace":{encode(self.trace, "the trace of an attempt")}')
        if self.used:
            parts.append(f'"used":{encode(self.used, "what an attempt used")}')
        return f"{','.join(parts)}}}"


def failure(error: BaseException) -> Failure:
    """How an error raised by a workflow is recorded."""
    described = describe(error)
    match verdict_of(error):
        case Retry(after=after):
            return Failure(described, retry_after=jittered(after))
        case Fail(failure_class=failure_class):
            return Failure(described, retryable=False, failure_class=failure_class)
        case _:
            if final(error):
                return Failure(described, retryable=False, failure_class="bad_output")
            return Failure(described)


def final(error: BaseException) -> bool:
    """Whether a repetition would fail alike: what cannot be stored cannot be stored again."""
    return isinstance(error, BadPayload | PayloadTooLarge) and not isinstance(error, CollidingKeys)


def jittered(after: timedelta | None) -> timedelta | None:
    """A little more than was asked for, so that what failed together does not return together."""
    return None if after is None else after * random.uniform(1.0, 1.0 + JITTER)


def verdict_of(error: BaseException) -> Fail | Retry | Snooze | None:
    """What a workflow says about its attempt, also within a group of errors or as a cause."""
    found: Retry | Snooze | None = None
    for one in parts_of(error):
        if isinstance(one, Fail):
            return one
        if isinstance(one, RateLimited):
            # Of branches that were refused together, the one told to wait longest.
            if not isinstance(found, RateLimited) or found.after < one.after:
                found = one
        elif isinstance(one, Retry | Snooze):
            found = found or one
    return found


def parts_of(error: BaseException) -> Iterator[BaseException]:
    """An error, the members of a group, and what they were raised from; at most so many."""
    pending, seen = [error], set[int]()
    while pending and len(seen) < MOST_PARTS:
        one = pending.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            pending.extend(members_of(cast(BaseException, one)))
        if one.__cause__ is not None:
            pending.append(one.__cause__)


def bad_input(error: BadPayload) -> Failure:
    """The run whose input cannot be read will not become readable."""
    return Failure(describe(error), retryable=False, failure_class="bad_input")


def bad_output(error: Exception) -> Failure:
    """The result that cannot be stored."""
    return Failure(describe(error), retryable=False, failure_class="bad_output")


def completed(run: LeasedRun, result: Any, codec: Codec) -> Outcome:
    """Raises BadPayload when the result cannot be stored."""
    if result is None:
        return Outcome(run, "completed", f"{run.key}}}")
    what = f"the result of run {run.run_id}"
    text = encode(codec.dump(result, what), what)
    return Outcome(run, "completed", f'{run.key},"result":{text}}}')


def failed(run: LeasedRun, failure: Failure) -> Outcome:
    report: dict[str, Any] = {"error": failure.error, "retryable": failure.retryable}
    if failure.failure_class is not None:
        report["failure_class"] = failure.failure_class
    if failure.retry_after is not None:
        report["retry_after"] = interval_text(failure.retry_after)
    text = encode(report, f"the error of run {run.run_id}")
    return Outcome(run, "failed", f"{run.key},{text[1:]}")


def released(run: LeasedRun, said: Snooze | None = None) -> Outcome:
    """Hand a run back at no attempt, to be claimed after a delay, its whole lane if it says so."""
    report: dict[str, Any] = {"release": True}
    if said is not None:
        report["delay"] = interval_text(said.after)
        if (throttle := throttle_of(said)) is not None:
            report["throttle"] = throttle
    text = encode(report, f"the release of run {run.run_id}")
    return Outcome(run, "released", f"{run.key},{text[1:]}")


def throttle_of(said: Snooze) -> str | None:
    """Why the lane of the run is throttled."""
    return _storable(str(said)[:LONGEST_NOTE]) if isinstance(said, RateLimited) else None


def batch(outcomes: Sequence[Outcome], *, traced: bool = True) -> str:
    """The argument of settle; a schema of 0.1.0 knows nothing of traces, and of what was used."""
    texts = [outcome.full_text if traced else outcome.text for outcome in outcomes]
    return f"[{','.join(texts)}]"


_REFUSED: Final[Mapping[str, str]] = {
    "payload_too_large": (
        "is larger than the installation allows; store it elsewhere and return a reference"
    ),
    "bad_payload": "is nested deeper than 100 levels or holds a number of more than 400 digits",
    "bad_outcome": "has a failure_class or retry_after that is out of range, or an amount used",
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
    return replace(
        failed(outcome.run, bad_output(error)), last=True, trace=outcome.trace, used=outcome.used
    )


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


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """The errors a group holds."""
    return cast("tuple[BaseException, ...]", getattr(error, "exceptions", ()))


def describe(error: BaseException) -> dict[str, Any]:
    """Type, message and place of an error, its notes, members and causes; bounded."""
    return _described(error, [MOST_PARTS], set())


def _described(error: BaseException, left: list[int], seen: set[int]) -> dict[str, Any]:
    left[0] -= 1
    seen.add(id(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    length = LONGEST_TRACEBACK if len(seen) == 1 else LONGEST_TRACEBACK // 8
    found: dict[str, Any] = {
        "type": type(error).__qualname__,
        "message": _storable(_message(error)[:LONGEST_MESSAGE]),
        "traceback": _storable(frames[-length:]),
    }
    if notes := getattr(error, "__notes__", None):
        found["notes"] = [_storable(str(note)[:LONGEST_NOTE]) for note in notes[:MOST_PARTS]]
    if isinstance(error, BaseExceptionGroup):
        members = members_of(cast(BaseException, error))
        found["errors"] = [
            _described(one, left, seen) for one in members if left[0] > 0 and id(one) not in seen
        ]
        if len(found["errors"]) < len(members):
            found["more_errors"] = len(members) - len(found["errors"])
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    if cause is not None and left[0] > 0 and id(cause) not in seen:
        found["cause"] = _described(cause, left, seen)
    return found


def account(error: BaseException) -> str:
    """An error for the log, with its place, its notes, the members of a group, and its causes."""
    told: list[str] = []
    for one in parts_of(error):
        frames = "".join(traceback.format_tb(one.__traceback__))
        notes = "".join(f"{str(note)[:LONGEST_NOTE]}\n" for note in getattr(one, "__notes__", ()))
        told.append(f"{frames[-LONGEST_TRACEBACK:]}{one_line(one)}\n{notes}")
    return _storable("".join(told).rstrip())


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
