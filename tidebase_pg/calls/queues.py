"""Calls about queues: enqueue, claim, settle and the settings of a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import encode, optional
from tidebase_pg.types import (
    Bucket,
    Enqueued,
    EnqueuedMany,
    LeasedRun,
    ListedQueue,
    ListedWorker,
    QueueGrant,
    QueueRow,
    QueueStats,
    Row,
    RunRow,
    RunTimes,
    Settlement,
    TimeBucket,
    Verdict,
)
from tidebase_pg.values import Duration, RunId, backoff_lengths


def enqueue(
    workflow: str,
    *,
    input: Any = None,
    queue: str | None = None,
    dedupe_key: str | None = None,
    priority: int | None = None,
    delay: Duration | None = None,
    run_at: datetime | None = None,
    max_attempts: int | None = None,
    deadline: Duration | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_conflict: str | None = None,
    budget: Mapping[str, Any] | None = None,
    run_id: RunId | None = None,
    backoff: Mapping[str, Any] | None = None,
    channels: Sequence[Mapping[str, Any]] | None = None,
    recovery_url: str | None = None,
    key_hash: bytes | None = None,
    lane: str | None = None,
    lane_key: str | None = None,
    after: Sequence[RunId] | None = None,
    after_mode: str | None = None,
    after_failure: str | None = None,
    debounce: Duration | None = None,
    dedupe_for: Duration | None = None,
    cost: int | None = None,
    also_lanes: Sequence[Mapping[str, Any]] | None = None,
) -> Call[Enqueued]:
    """Queue a run. With a dedupe key, at most one run of the queue with that key is active:
    on_conflict return gives that run, replace gives it all that is new unless it has begun,
    raise is TD023, cancel ends that run and makes the new one. debounce, with delay, is replace
    that puts off the start to at most so long after the first enqueue. dedupe_for keeps the key
    taken for so long after the end of the run, which return and replace then give. run_id makes
    the call repeatable; channels are sent the events of the run. key_hash, the sha256 of its
    token, says which key of the HTTP door requests it. lane and lane_key are those of set_lane; a
    lane that is not set: TD010; cost = its units there, null = 1; more than the lane allows:
    22023; also_lanes = at most 4 further lanes, {lane, lane_key, cost} each, all of which it holds
    while it runs. after are runs that have to end first: all, or by after_mode any one that
    completes; after_failure says what it means that they did not complete: cancel (the default) or
    fail this run, or run it; one that does not exist: TD010.
    """
    return call(
        "enqueue",
        Enqueued.columns(),
        Enqueued.one,
        workflow=workflow,
        input=optional(input, "input"),
        queue=queue,
        dedupe_key=dedupe_key,
        priority=priority,
        delay=delay,
        run_at=run_at,
        max_attempts=max_attempts,
        deadline=deadline,
        metadata=optional(metadata, "metadata"),
        on_conflict=on_conflict,
        budget=optional(budget, "budget"),
        run_id=run_id,
        backoff=optional(backoff and backoff_lengths(backoff), "backoff"),
        channels=optional(channels, "channels"),
        recovery_url=recovery_url,
        key_hash=key_hash,
        lane=lane,
        lane_key=lane_key,
        after=after,
        after_mode=after_mode,
        after_failure=after_failure,
        debounce=debounce,
        dedupe_for=dedupe_for,
        cost=cost,
        also_lanes=optional(also_lanes, "also_lanes"),
    )


def enqueue_many(
    queue: str, runs: Sequence[Mapping[str, Any]], *, key_hash: bytes | None = None
) -> Call[list[EnqueuedMany]]:
    """Queue many runs, all or none: an array of objects with the argument names of enqueue; at
    most 100000. One row for each, ordinal counted from 1. after may name elements before by their
    place, from 0. key_hash as enqueue.
    """
    return call(
        "enqueue_many",
        EnqueuedMany.columns(),
        EnqueuedMany.many,
        queue=queue,
        runs=encode(runs, "runs"),
        key_hash=key_hash,
    )


def claim(
    *,
    queues: Sequence[str] | None = None,
    max_runs: int | None = None,
    lease: Duration | None = None,
    worker: str | None = None,
    workflows: Sequence[str] | None = None,
    session_id: UUID | None = None,
    holding: Sequence[UUID] | None = None,
) -> Call[list[RunRow]]:
    """Lease up to max_runs ready runs of the queues, in their order; never waits for another
    worker. Caps and rates are exact; paused queues and overdue runs are passed over. With
    session_id, a secret of the worker process, and holding, the runs it knows of, runs it was given
    before and does not know of come first.
    """
    return call(
        "claim",
        RunRow.columns(),
        RunRow.many,
        queues=queues,
        max_runs=max_runs,
        lease=lease,
        worker=worker,
        workflows=workflows,
        session_id=session_id,
        holding=holding,
    )


def settle(outcomes: str) -> Call[list[Verdict]]:
    """Report the outcomes of leased runs, each judged alone: result, or error with retryable,
    failure_class and retry_after, or release with delay. used is recorded with it, as in complete;
    of runs with a budget only by itself: the reason single says that nothing was done. trace, an
    object with traceparent and tracestate, goes with the webhooks it makes. One row for each, in
    order.

    `outcomes` is JSON text, an array as `flows.batch` writes it.
    """
    return call("settle", Verdict.columns(), Verdict.many, outcomes=outcomes)


def settle_and_claim(
    outcomes: str,
    *,
    queues: Sequence[str] | None = None,
    max_runs: int | None = None,
    lease: Duration | None = None,
    worker: str | None = None,
    workflows: Sequence[str] | None = None,
    session_id: UUID | None = None,
    holding: Sequence[UUID] | None = None,
    ahead: int | None = None,
) -> Call[Settlement]:
    """Settle outcomes and claim new runs in one transaction. A row with accepted set is an outcome
    that was not plainly accepted; a row with lease_id set is a new run.
    session_id and holding are those of claim. Up to ahead runs more are claimed where nothing
    limits them: of queues without a cap or a rate, and of no lane.

    `outcomes` is JSON text, an array as `flows.batch` writes it.
    """
    return call(
        "settle_and_claim",
        _SETTLEMENT,
        _settlement,
        outcomes=outcomes,
        queues=queues,
        max_runs=max_runs,
        lease=lease,
        worker=worker,
        workflows=workflows,
        session_id=session_id,
        holding=holding,
        ahead=ahead,
    )


def set_queue(
    queue: str, settings: Mapping[str, Any], *, actor: str | None = None
) -> Call[QueueRow]:
    """Change settings of a queue: absent keys stay as they are, null clears. Caps hold for
    claims that begin after the commit; running runs are never stopped, they count.
    """
    return call(
        "set_queue",
        QueueRow.columns(),
        QueueRow.one,
        queue=queue,
        settings=encode(settings, "settings"),
        actor=actor,
    )


def await_work(
    worker: str, *, queues: Sequence[str] | None = None, duration: Duration | None = None
) -> Call[timedelta]:
    """Register an idle worker: it is notified on channel tide_work when a run of its queues is
    ready; the payload is * or a uuid of the first 16 bytes of the sha256 of its name, so give one
    that cannot be guessed. Returns how long nothing can become ready by itself. Listen first, then
    register, then claim once more, then wait; duration 0 withdraws.
    """
    return call(
        "await_work", "await_work", _length, worker=worker, queues=queues, duration=duration
    )


def next_wakeup(*, queues: Sequence[str] | None = None) -> Call[timedelta | None]:
    """How long no run of these queues can become ready by itself: until the next delay, schedule,
    time-out or lease ends; null = never, 0 = now. What is enqueued meanwhile is not foreseen.
    """
    return call("next_wakeup", "next_wakeup", _length_or_none, queues=queues)


def grant_queue(queue: str, role: str, *, verbs: Sequence[str] | None = None) -> Call[QueueGrant]:
    """Restrict a queue to logins that are members of the role, beside those granted before. The
    login counts, not set role. Needs the right to call the functions as well.
    """
    return call(
        "grant_queue", QueueGrant.columns(), QueueGrant.one, queue=queue, role=role, verbs=verbs
    )


def revoke_queue(queue: str, role: str) -> Call[bool]:
    """Take back what grant_queue gave; false = there was nothing. With its last grant gone a queue
    is open again to everybody who may call the functions.
    """
    return call("revoke_queue", "revoke_queue", truth, queue=queue, role=role)


def queue_stats() -> Call[list[QueueStats]]:
    """The view of every queue: its settings, what waits in it and what it did lately."""
    return call("queue_stats", QueueStats.columns(), QueueStats.many, "view")


def _length(rows: Sequence[Row]) -> timedelta:
    return cast(timedelta, rows[0][0])


def _length_or_none(rows: Sequence[Row]) -> timedelta | None:
    return cast("timedelta | None", rows[0][0])


_SETTLEMENT = "accepted, reason, run_id, " + LeasedRun.columns("(claimed).").removeprefix(
    "(claimed).run_id, "
)
"""Flat columns are newer than the oldest schema this driver works with, which has claimed only."""


def _settlement(rows: Sequence[Row]) -> Settlement:
    return Settlement(
        verdicts=[Verdict(row[2], row[0], row[1]) for row in rows if row[0] is not None],
        claimed=[LeasedRun(*row[2:]) for row in rows if row[0] is None],
    )


def list_queues(*, queues: Sequence[str] | None = None) -> Call[list[ListedQueue]]:
    """All queues, or those given: settings, what its cap and rate leave, and runs by state, each
    counted to 10001 and no further.
    """
    return call("list_queues", ListedQueue.columns(), ListedQueue.many, queues=queues)


def throughput(
    *,
    duration: Duration | None = None,
    bucket: Duration | None = None,
    queues: Sequence[str] | None = None,
) -> Call[list[Bucket]]:
    """How many runs of queues ended in each bucket of the last up to two days, of all together or
    of each queue given; buckets in which none did are left out.
    """
    return call(
        "throughput",
        Bucket.columns(),
        Bucket.many,
        duration=duration,
        bucket=bucket,
        queues=queues,
    )


def run_times(
    *,
    duration: Duration | None = None,
    per: str | None = None,
    names: Sequence[str] | None = None,
) -> Call[list[RunTimes]]:
    """How long runs of each queue, or per lane of each lane, waited for their start and worked, in
    their last attempt: the half, 95 and 99 percent of those that ended in the hours of the last
    duration, at most two days, took no longer; within 19 percent. Counted a minute or so after the
    end.
    """
    return call(
        "run_times", RunTimes.columns(), RunTimes.many, duration=duration, per=per, names=names
    )


def run_time_buckets() -> Call[list[TimeBucket]]:
    """How many runs of each queue waited, and worked, up to so many seconds, ever since; each row
    counts those of the rows before it, and seconds is what all of them took. As histograms of
    Prometheus are.
    """
    return call("run_time_buckets", TimeBucket.columns(), TimeBucket.many)


def list_workers() -> Call[list[ListedWorker]]:
    """Workers that claimed lately or hold runs: what they claim, when they were last seen, how many
    runs they hold; expired = leases that ended. A look at 10000 running runs.
    """
    return call("list_workers", ListedWorker.columns(), ListedWorker.many)
