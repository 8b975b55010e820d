"""Calls about runs: from create_run to explain_wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from tidebase_pg.call import Call, call
from tidebase_pg.documents import decode, optional
from tidebase_pg.types import Beat, DeliveryRow, Row, RunRow
from tidebase_pg.values import Duration, RunId, backoff_lengths


def create_run(
    workflow: str,
    *,
    input: Any = None,
    metadata: Mapping[str, Any] | None = None,
    deadline: Duration | None = None,
    max_attempts: int | None = None,
    budget: Mapping[str, Any] | None = None,
    run_id: RunId | None = None,
    backoff: Mapping[str, Any] | None = None,
    recovery_url: str | None = None,
    channels: Sequence[Mapping[str, Any]] | None = None,
    key_hash: bytes | None = None,
) -> Call[RunRow]:
    """Make a pending run, begun by its id; the same run_id again returns the run it made.
    recovery_url is asked to resume the run when it stalls; channels are sent its events. key_hash
    as enqueue.
    """
    return call(
        "create_run",
        RunRow.columns(),
        RunRow.one,
        workflow=workflow,
        input=optional(input, "input"),
        metadata=optional(metadata, "metadata"),
        deadline=deadline,
        max_attempts=max_attempts,
        budget=optional(budget, "budget"),
        run_id=run_id,
        backoff=optional(backoff and backoff_lengths(backoff), "backoff"),
        recovery_url=recovery_url,
        channels=optional(channels, "channels"),
        key_hash=key_hash,
    )


def begin_run(
    run_id: RunId,
    *,
    worker: str | None = None,
    lease: Duration | None = None,
    resume: bool | None = None,
) -> Call[RunRow]:
    """Lease by its id a pending run, a plain run whose lease expired, or a run that was pushed;
    with resume a failed plain run too, from its checkpoints. Completed: the run as it is; overdue:
    the run, cancelled; no attempt left: the run, failed; else TD001, TD003, TD004, TD030.
    """
    return call(
        "begin_run",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        worker=worker,
        lease=lease,
        resume=resume,
    )


def heartbeat(
    run_ids: Sequence[UUID], lease_ids: Sequence[UUID], *, lease: Duration | None = None
) -> Call[list[Beat]]:
    """Renew the leases of all runs of a worker: held, busy (yours and renewed as well, while
    another transaction holds the row), lost, cancelled or finished. Never waits, never revives a
    lost lease.
    """
    return call(
        "heartbeat",
        Beat.columns(),
        Beat.many,
        run_ids=list(run_ids),
        lease_ids=list(lease_ids),
        lease=lease,
    )


def complete(
    run_id: RunId,
    lease_id: UUID,
    *,
    result: Any = None,
    used: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> Call[RunRow]:
    """Finish a leased run successfully; the same call again gives the same answer. used, as in
    complete_step, is recorded with it, once, and settles its units in its lane.
    """
    return call(
        "complete",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        lease_id=lease_id,
        result=optional(result, f"the result of run {run_id}"),
        used=optional(used or None, f"what run {run_id} used"),
    )


def fail(
    run_id: RunId,
    lease_id: UUID,
    *,
    error: Mapping[str, Any] | None = None,
    retryable: bool | None = None,
    failure_class: str | None = None,
    retry_after: Duration | None = None,
    used: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> Call[RunRow]:
    """End a leased attempt with an error: another attempt after its backoff while any is left and
    the error is retryable, else the run has failed. The same call again gives the same answer.
    used is recorded with it, as in complete.
    """
    return call(
        "fail",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        lease_id=lease_id,
        error=optional(error, f"the error of run {run_id}"),
        retryable=retryable,
        failure_class=failure_class,
        retry_after=retry_after,
        used=optional(used or None, f"what run {run_id} used"),
    )


def hold_run(
    run_id: RunId,
    *,
    worker: str | None = None,
    identity: str | None = None,
    failing: bool | None = None,
    error: Mapping[str, Any] | None = None,
) -> Call[UUID]:
    """For callers that carry no lease: a stand-in for the lease_id of a running run, good until the
    transaction ends. identity says what worker names: one process, who holds a key, or an address
    that others may share. Others than the holder: TD002; a failure that may be another worker's:
    TD005.
    """
    return call(
        "hold_run",
        "hold_run",
        _id,
        run_id=run_id,
        worker=worker,
        identity=identity,
        failing=failing,
        error=optional(error, f"the error of run {run_id}"),
    )


def refuse_report(
    run_id: RunId,
    kind: str,
    *,
    worker: str | None = None,
    lost_lease_id: UUID | None = None,
    error: Mapping[str, Any] | None = None,
) -> Call[None]:
    """Log that the report of a worker that lost the run was refused, event report.refused, and with
    the lost_lease_id that this worker was told to stop. Renews nothing; without a lost lease it
    does nothing.
    """
    return call(
        "refuse_report",
        "true",
        _nothing,
        run_id=run_id,
        kind=kind,
        worker=worker,
        lost_lease_id=lost_lease_id,
        error=optional(error, f"the error of run {run_id}"),
    )


def renew_run(
    run_id: RunId,
    *,
    worker: str | None = None,
    identity: str | None = None,
    lease: Duration | None = None,
) -> Call[int]:
    """Renew the lease of a running run, and of the running ancestors that wait for it in the same
    process, for a caller without a lease; returns how many. Never waits, revives nothing.
    """
    return call(
        "renew_run",
        "renew_run",
        _number,
        run_id=run_id,
        worker=worker,
        identity=identity,
        lease=lease,
    )


def release(
    run_id: RunId,
    lease_id: UUID,
    *,
    delay: Duration | None = None,
    throttle: str | None = None,
    used: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> Call[RunRow]:
    """Hand a leased run back unfinished, as a worker does when it shuts down; the attempt is not
    counted. With throttle, why, the whole lane of the run is throttled for as long as delay says,
    or those of its steps under way; one without a lane waits alone. used is recorded with it, as in
    complete.
    """
    return call(
        "release",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        lease_id=lease_id,
        delay=delay,
        throttle=throttle,
        used=optional(used or None, f"what run {run_id} used"),
    )


def cancel(
    run_id: RunId,
    *,
    reason: str | None = None,
    actor: str | None = None,
    cascade: bool | None = None,
) -> Call[RunRow]:
    """Cancel an active run at once and for good, and its children soon after, unless cascade is
    false; again: the same row, first reason kept. Completed or failed: TD003.
    """
    return call(
        "cancel",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        reason=reason,
        actor=actor,
        cascade=cascade,
    )


def recover(run_id: RunId, *, reason: str | None = None) -> Call[DeliveryRow]:
    """Ask the application of a run to resume it, by its recovery_url: a failed run goes on from its
    checkpoints. Returns the webhook to be sent; without a recovery_url: TD030, ended otherwise:
    TD001 or TD003.
    """
    return call("recover", DeliveryRow.columns(), DeliveryRow.one, run_id=run_id, reason=reason)


def cancel_many(
    *,
    queue: str | None = None,
    workflow: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    reason: str | None = None,
    actor: str | None = None,
    max_runs: int | None = None,
) -> Call[int]:
    """Cancel active runs by queue, workflow and contained metadata, oldest first, and return how
    many. Passes over runs another transaction holds: repeat until it returns 0.
    """
    return call(
        "cancel_many",
        "cancel_many",
        _number,
        queue=queue,
        workflow=workflow,
        metadata=optional(metadata, "metadata"),
        reason=reason,
        actor=actor,
        max_runs=max_runs,
    )


def retry(
    run_id: RunId,
    *,
    actor: str | None = None,
    reset_attempts: bool | None = None,
    run_at: datetime | None = None,
) -> Call[RunRow]:
    """Let a failed or cancelled run go on from its checkpoints; an active run is returned as it
    is. Completed: TD030; dedupe key taken meanwhile: TD023.
    """
    return call(
        "retry",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        actor=actor,
        reset_attempts=reset_attempts,
        run_at=run_at,
    )


def redrive(
    filters: Mapping[str, Any],
    *,
    per_second: Decimal | float | None = None,
    dry_run: bool | None = None,
    place: Mapping[str, Any] | None = None,
    max_runs: int | None = None,
    reset_attempts: bool | None = None,
    actor: str | None = None,
) -> Call[dict[str, Any]]:
    """Retry failed runs by the filters of search_runs, newest first, in batches: at most max_runs a
    call, per_second of them a second (null = at once), each run once; go on with next as place.
    dry_run counts them by queue and class, among 10000 a call, and gives the start to retry exactly
    these. refused = their dedupe key is taken.
    """
    return call(
        "redrive",
        "redrive::text",
        _page,
        filters=optional(filters, "filters"),
        per_second=per_second,
        dry_run=dry_run,
        place=optional(place, "place"),
        max_runs=max_runs,
        reset_attempts=reset_attempts,
        actor=actor,
    )


def revoke_lease(
    run_id: RunId,
    *,
    note: str | None = None,
    actor: str | None = None,
    started_at: datetime | None = None,
) -> Call[RunRow]:
    """Take a running run from its worker, which is told, and put it back; the attempt is not
    counted. With started_at only the lease begun then, another one: TD030. Not leased: as it is;
    ended: TD003.
    """
    return call(
        "revoke_lease",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        note=note,
        actor=actor,
        started_at=started_at,
    )


def reschedule(run_id: RunId, run_at: datetime, *, priority: int | None = None) -> Call[RunRow]:
    """Move a queued run to another time and, if given, another priority; any other run: TD030.
    Beyond its deadline: 22023.
    """
    return call(
        "reschedule", RunRow.columns(), RunRow.one, run_id=run_id, run_at=run_at, priority=priority
    )


def fork_run(
    run_id: RunId,
    at_step: str | None = None,
    *,
    input: Any = None,
    overrides: Mapping[str, Any] | None = None,
    fork_id: RunId | None = None,
    key_hash: bytes | None = None,
) -> Call[RunRow]:
    """A new run with the checkpoints of another before a step (null = from the start, with none),
    outputs replaced by overrides (step name to output) and, if given, another input; the original
    stays as it is. Who forks requests the fork, with key_hash as enqueue. Unknown step: TD010.
    """
    return call(
        "fork_run",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        at_step=at_step,
        input=optional(input, "input"),
        overrides=optional(overrides, "overrides"),
        fork_id=fork_id,
        key_hash=key_hash,
    )


def get_run(run_id: RunId) -> Call[RunRow]:
    """The run, active or finished; unknown: TD010."""
    return call("get_run", RunRow.columns(), RunRow.one, run_id=run_id)


def describe_run(run_id: RunId) -> Call[dict[str, Any]]:
    """Everything about a run in one snapshot, as jsonb: run, steps, further lanes, gates, waits,
    children (newest 1000), deliveries (newest 1000), state, usage totals, events (newest 1000).
    """

    def read(rows: Sequence[Row]) -> dict[str, Any]:
        return cast("dict[str, Any]", decode(rows[0][0], f"the description of run {run_id}"))

    return call("describe_run", "describe_run::text", read, run_id=run_id)


def list_runs(
    *,
    status: str | None = None,
    queue: str | None = None,
    workflow: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    before: RunId | None = None,
    max_runs: int | None = None,
) -> Call[list[RunRow]]:
    """Runs, newest first; before = the last run_id of the page before."""
    return call(
        "list_runs",
        RunRow.columns(),
        RunRow.many,
        status=status,
        queue=queue,
        workflow=workflow,
        metadata=optional(metadata, "metadata"),
        before=before,
        max_runs=max_runs,
    )


def explain_wait(run_id: RunId) -> Call[dict[str, Any]]:
    """Why a run is not running, as jsonb: reasons such as not_due, review, paused, cap, rate,
    lane, throttled, provider, turn, no_worker, other_version, behind; none when it runs, may be
    claimed now or has ended.
    """

    def read(rows: Sequence[Row]) -> dict[str, Any]:
        return cast("dict[str, Any]", decode(rows[0][0], f"the explanation of run {run_id}"))

    return call("explain_wait", "explain_wait::text", read, run_id=run_id)


def _number(rows: Sequence[Row]) -> int:
    return cast(int, rows[0][0])


def find_runs(
    *,
    filters: Mapping[str, Any] | None = None,
    before: RunId | None = None,
    max_runs: int | None = None,
) -> Call[dict[str, Any]]:
    """Runs without what they carry, newest first, by status, waiting_on, queue, workflow,
    failure_class, created_after, created_before, finished_after, finished_before and the step they
    failed at. Looks at a bounded number: looked_to says how far, next where to go on.
    """
    return call(
        "find_runs",
        "find_runs::text",
        _page,
        filters=optional(filters, "filters"),
        before=before,
        max_runs=max_runs,
    )


def search_runs(
    *,
    filters: Mapping[str, Any] | None = None,
    before: RunId | None = None,
    max_runs: int | None = None,
) -> Call[dict[str, Any]]:
    """As find_runs, also by contained metadata, by text of the error and by fingerprint as of
    error_groups, with the beginning of each error.
    """
    return call(
        "search_runs",
        "search_runs::text",
        _page,
        filters=optional(filters, "filters"),
        before=before,
        max_runs=max_runs,
    )


def count_runs(
    *, filters: Mapping[str, Any] | None = None, before: RunId | None = None
) -> Call[dict[str, Any]]:
    """How many runs match the filters of search_runs among the newest 10000 of each partition; next
    = where to go on counting, null = that is all.
    """
    return call(
        "count_runs",
        "count_runs::text",
        _page,
        filters=optional(filters, "filters"),
        before=before,
    )


def error_groups(
    *,
    filters: Mapping[str, Any] | None = None,
    before: RunId | None = None,
    max_groups: int | None = None,
) -> Call[dict[str, Any]]:
    """Failed runs by kind of failure, most first: fingerprint, failure_class, step, type and
    message with ids, quotations and numbers folded, runs, first_at, last_at, newest_run. Takes the
    filters of search_runs but status and waiting_on, and looks at the newest 2000 failed runs:
    looked_to says how far, next where to go on.
    """
    return call(
        "error_groups",
        "error_groups::text",
        _page,
        filters=optional(filters, "filters"),
        before=before,
        max_groups=max_groups,
    )


def outline_run(
    run_id: RunId,
    *,
    after_step: int | None = None,
    max_steps: int | None = None,
    max_events: int | None = None,
) -> Call[dict[str, Any]]:
    """Everything about a run but what it carries, as jsonb: run, steps (max_steps of them after so
    many), counts, attempts, lanes, gates, waits, children, ancestors, original of a fork, forks,
    streams of state, streams written (50 of them), usage, spent, deliveries, events (the newest).
    """
    return call(
        "outline_run",
        "outline_run::text",
        _page,
        run_id=run_id,
        after_step=after_step,
        max_steps=max_steps,
        max_events=max_events,
    )


def _id(rows: Sequence[Row]) -> UUID:
    return cast(UUID, rows[0][0])


def _nothing(rows: Sequence[Row]) -> None:
    return None


def _page(rows: Sequence[Row]) -> dict[str, Any]:
    return cast("dict[str, Any]", decode(rows[0][0], "a page of runs"))
