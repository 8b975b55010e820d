"""Routes about queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from tidebase_pg import calls
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.channels import channels
from tidebase_pg.server.leases import seal
from tidebase_pg.server.objects import OneConfig, QueueConfig, Run
from tidebase_pg.server.routing import Ask, Topic, run_ids
from tidebase_pg.server.tracing import traced_text
from tidebase_pg.server.values import length, moment
from tidebase_pg.server.whole import enqueued_run
from tidebase_pg.types import QueueStats

topic = Topic("queues")


@topic.route("POST", "/queues/{queue}/enqueue", errors=(404, 409))
async def enqueue(ask: Ask, body: bodies.Enqueue) -> objects.EnqueuedRun:
    """Queue a run. With a dedupeKey at most one run of the queue with that key is active; with an
    Idempotency-Key the same request again gives the same run."""
    run_at = moment("runAt", body.run_at)
    call = ask.build(
        calls.enqueue,
        body.workflow_name,
        queue=ask.path["queue"],
        dedupe_key=body.dedupe_key,
        dedupe_for=length(body.dedupe_for_ms),
        priority=body.priority,
        delay=None if run_at is not None else length(body.delay_ms),
        run_at=run_at,
        max_attempts=body.max_attempts,
        deadline=length(body.deadline_ms),
        run_id=ask.idempotent_id,
        channels=await channels(ask, body.channels),
        recovery_url=body.recovery_webhook,
        key_hash=ask.identity.key_hash,
        lane=body.lane,
        lane_key=body.lane_key,
        cost=body.cost,
        also_lanes=bodies.other_lanes(body.also_lanes),
        after=run_ids(body.after),
        after_mode=body.after_mode,
        after_failure=body.after_failure,
    )
    metadata = traced_text(ask.headers, body.metadata)
    carrying = ask.carrying(input=body.input, metadata=metadata)
    run = await carrying.execute(enqueued_run(call))
    return objects.EnqueuedRun(Run.of(run), run.deduplicated)


@topic.route("POST", "/queues/claim")
async def claim(ask: Ask, body: bodies.Claim) -> objects.LeasedRuns:
    """Lease ready runs. Send leaseOwner with what is reported about them."""
    worker = ask.label(body.lease_owner)
    call = ask.build(
        calls.claim,
        queues=list(dict.fromkeys(body.queues)),
        max_runs=body.limit,
        lease=ask.gateway.settings.lease,
        worker=worker,
    )
    polled = (ask.identity.role, frozenset(body.queues))
    rows = await ask.gateway.polls.claim(polled, worker, lambda: ask.execute(call))
    leases = [(row.run_id, row.lease_id) for row in rows if row.lease_id is not None]
    return objects.LeasedRuns([Run.of(row) for row in rows], seal(leases))


@topic.route("GET", "/queues")
async def list_queues(ask: Ask) -> objects.Queues:
    """Every queue by name; completed, failed and cancelled are those of the last day."""
    settings = {row.queue: row.settings for row in await ask(calls.list_queues)}
    rows = await ask(calls.queue_stats)
    return objects.Queues([_queue(row, settings.get(row.queue)) for row in rows])


@topic.route("PUT", "/queues/{queue}/config")
async def configure_queue(ask: Ask, body: bodies.ConfigureQueue) -> OneConfig:
    """Change settings of a queue: absent stays as it is, null clears."""
    settings: dict[str, Any] = {}
    if body.concurrency is not UNSET:
        settings["concurrency"] = body.concurrency
    if body.rate_per_minute is not UNSET:
        settings["rate_limit"] = body.rate_per_minute
        settings["rate_period"] = "1 minute"
    if body.invoke_url is not UNSET:
        settings["push_url"] = body.invoke_url
    return OneConfig(
        QueueConfig.of(await ask(calls.set_queue, ask.path["queue"], settings, actor=ask.actor))
    )


@topic.route("POST", "/queues/{queue}/pause", optional_body=True)
async def pause_queue(ask: Ask) -> objects.Paused:
    """Claim nothing more from a queue; what runs goes on."""
    row = await ask(calls.set_queue, ask.path["queue"], {"paused": True}, actor=ask.actor)
    return objects.Paused(row.paused)


@topic.route("POST", "/queues/{queue}/resume", optional_body=True)
async def resume_queue(ask: Ask) -> objects.Paused:
    """Let a paused queue go on."""
    row = await ask(calls.set_queue, ask.path["queue"], {"paused": False}, actor=ask.actor)
    return objects.Paused(row.paused)


def _queue(row: QueueStats, settings: Mapping[str, Any] | None) -> objects.Queue:
    age = row.oldest_ready_age
    return objects.Queue(
        name=row.queue,
        queued=row.queued,
        running=row.running,
        failed=row.failed_day,
        completed=row.completed_day,
        cancelled=row.cancelled_day,
        paused=row.paused,
        ready=row.ready,
        parked=row.parked,
        oldest_ready_ms=None if age is None else int(age.total_seconds() * 1000),
        config=None
        if settings is None
        else QueueConfig(
            name=row.queue,
            concurrency=row.concurrency,
            rate_per_minute=objects.per_minute(row.rate_limit, row.rate_period),
            invoke_url=settings.get("push_url"),
        ),
    )
