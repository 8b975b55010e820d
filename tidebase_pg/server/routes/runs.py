"""Routes about runs."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.server import bodies, fencing, objects, outlines
from tidebase_pg.server.channels import channels, recovery
from tidebase_pg.server.details import detail
from tidebase_pg.server.identity import wire_id
from tidebase_pg.server.leases import seal, unseal
from tidebase_pg.server.objects import OneRun, Run
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.streams import Answer
from tidebase_pg.server.tracing import traced_text
from tidebase_pg.server.values import length, moment, page_start

topic = Topic("runs")


@topic.route("POST", "/runs/{workflow}", errors=(409,))
async def create_run(ask: Ask, body: bodies.CreateRun) -> OneRun:
    """Make a pending run, begun by its id. With an Idempotency-Key the same request again gives the
    same run."""
    row = await ask.carrying(input=body.input, metadata=traced_text(ask.headers, body.metadata))(
        calls.create_run,
        ask.path["workflow"],
        run_id=ask.idempotent_id,
        recovery_url=body.recovery_webhook,
        channels=await channels(ask, body.channels),
        key_hash=ask.identity.key_hash,
    )
    return OneRun(Run.of(row))


@topic.route("GET", "/runs")
async def list_runs(ask: Ask, query: bodies.ListRuns) -> objects.Runs:
    """Runs, newest first, a page at a time. A viewer sees nothing of what they carry."""
    before = page_start("run", query.before)
    if ask.identity.role == "viewer":
        return await outlines.list_runs(ask, query, before)
    rows = await ask(
        calls.list_runs,
        status=query.status,
        queue=query.queue,
        workflow=query.workflow,
        before=before,
        max_runs=query.limit,
    )
    runs = [Run.of(row) for row in rows]
    return objects.Runs(runs, runs[-1].id if len(runs) == query.limit else None)


@topic.route("GET", "/runs/{id}", errors=(404,))
async def get_run(ask: Ask) -> objects.RunDetail | Answer:
    """Everything about a run, in one snapshot. Its ETag changes with every event of the run."""
    if ask.identity.role == "viewer":
        return await outlines.get_run(ask, ask.run_id)
    return await detail(ask, ask.run_id)


@topic.route("POST", "/runs/{id}/begin", optional_body=True, errors=(404, 409))
async def begin_run(ask: Ask) -> objects.LeasedRun:
    """Lease a pending run, or resume a failed one from its checkpoints."""
    row, lease_id = await fencing.begin(ask, ask.run_id)
    return objects.LeasedRun(Run.of(row), seal([(row.run_id, lease_id)]))


@topic.route("POST", "/runs/{id}/heartbeat", optional_body=True, errors=(404, 409))
async def heartbeat(ask: Ask, body: bodies.Heartbeat) -> OneRun:
    """Renew the lease of a run."""
    if body.lease_owner is None:
        issue = {"path": ["leaseOwner"], "message": "give that of the answer to begin or claim"}
        raise Refusal(400, "leaseOwner is required", issues=[issue])
    run_id = ask.run_id
    lease_id = unseal(body.lease_owner, run_id)
    state = "lost"
    if lease_id is not None:
        beats = await ask(calls.heartbeat, [run_id], [lease_id], lease=ask.gateway.settings.lease)
        state = beats[0].state
    run = Run.of(await ask(calls.get_run, run_id))
    if state in ("held", "busy"):
        await fencing.alive(ask, run_id)
        return OneRun(run)
    if run.status == "cancelled":
        raise Refusal(409, "run is cancelled", code="run_cancelled", run=run)
    raise Refusal(409, "lease lost", code="lease_lost", run=run)


@topic.route("POST", "/runs/{id}/complete", errors=(404, 409))
async def complete(ask: Ask, body: bodies.Complete) -> OneRun:
    """Finish a run successfully. The same result again is answered as before."""
    return OneRun(Run.of(await fencing.complete(ask, ask.run_id, body)))


@topic.route("POST", "/runs/{id}/fail", errors=(404, 409))
async def fail(ask: Ask, body: bodies.Fail) -> objects.FailedRun:
    """End an attempt with an error: another attempt while any is left, else the run has failed."""
    run = Run.of(await fencing.fail(ask, ask.run_id, body))
    return objects.FailedRun(run, requeued=run.status == "queued")


@topic.route("POST", "/runs/{id}/cancel", optional_body=True, errors=(404, 409))
async def cancel(ask: Ask, body: bodies.Cancel) -> OneRun:
    """Cancel a run for good, its children with it. Again: the same run with its first reason."""
    row = await fencing.cancel(ask, ask.run_id, body.reason, body.actor)
    while await ask(calls.cancel_children, row.run_id):
        pass
    return OneRun(Run.of(row))


@topic.route("POST", "/runs/{id}/recover", optional_body=True, errors=(404, 422))
async def recover(ask: Ask, body: bodies.Recover) -> objects.OneRecovery:
    """Ask the application of a run to resume it; the webhook is sent after the answer."""
    return objects.OneRecovery(await recovery(ask, ask.run_id, body.reason))


@topic.route("POST", "/runs/{id}/retry", optional_body=True, errors=(404, 409))
async def retry(ask: Ask, body: bodies.Retry) -> OneRun:
    """Let a failed or cancelled run go on from its checkpoints."""
    row = await ask(
        calls.retry,
        ask.run_id,
        actor=body.actor or ask.actor,
        reset_attempts=body.reset_attempts,
        run_at=moment("runAt", body.run_at),
    )
    return OneRun(Run.of(row))


@topic.route("POST", "/runs/{id}/release", errors=(404, 409))
async def release(ask: Ask, body: bodies.Release) -> OneRun:
    """Hand a leased run back unfinished; the attempt is not counted."""
    run_id = ask.run_id
    lease_id = fencing.lease(body.lease_owner, run_id)
    row = await ask(
        calls.release,
        run_id,
        lease_id,
        delay=length(body.delay_ms),
        throttle=body.throttle,
        used=bodies.records(body.used),
    )
    return OneRun(Run.of(row))


@topic.route("POST", "/runs/{id}/reschedule", errors=(404, 409))
async def reschedule(ask: Ask, body: bodies.Reschedule) -> OneRun:
    """Move a queued run to another time and, if given, another priority."""
    run_at = moment("runAt", body.run_at)
    assert run_at is not None
    return OneRun(Run.of(await ask(calls.reschedule, ask.run_id, run_at, priority=body.priority)))


@topic.route("POST", "/runs/{id}/revoke-lease", optional_body=True, errors=(404, 409))
async def revoke_lease(ask: Ask, body: bodies.RevokeLease) -> OneRun:
    """Take a running run from its worker and put it back; the attempt is not counted. With the
    startedAt of the run as it was shown, a lease begun since then is left alone."""
    began = moment("startedAt", body.started_at)
    if began is not None:
        # Shown in milliseconds, and judged by the database to the microsecond.
        there = (await ask(calls.get_run, ask.run_id)).started_at
        began = there if objects.time(there) == objects.time(began) else began
    row = await ask(
        calls.revoke_lease,
        ask.run_id,
        note=body.note,
        actor=body.actor or ask.actor,
        started_at=began,
    )
    return OneRun(Run.of(row))


@topic.route("POST", "/runs/{id}/fork", errors=(404, 409))
async def fork(ask: Ask, body: bodies.Fork) -> OneRun:
    """A new run with the checkpoints of another before a step, or from the start without one; the
    original stays as it is."""
    row = await ask.carrying(input=body.input, overrides=body.overrides)(
        calls.fork_run,
        ask.run_id,
        body.at_step,
        fork_id=ask.idempotent_id,
        key_hash=ask.identity.key_hash,
    )
    return OneRun(Run.of(row))


@topic.route("GET", "/runs/{id}/wait", errors=(404,))
async def explain_wait(ask: Ask) -> objects.Wait:
    """Why a run is not running: not due, parked, paused, a cap, a rate, no worker, others before
    it."""
    return objects.Wait(await ask(calls.explain_wait, ask.run_id))


@topic.route("PUT", "/runs/{id}/budget", errors=(404, 409))
async def set_budget(ask: Ask, body: bodies.Budget) -> OneRun:
    """Set what a run may spend; absent = no limit. A run parked on it goes on if it suffices."""
    given = {
        "max_cost_usd": body.max_cost_usd,
        "max_tokens": body.max_tokens,
        "max_steps": body.max_steps,
        "allowances": body.allowances,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    return OneRun(Run.of(await ask(calls.set_budget, ask.run_id, limits or None)))


@topic.route("POST", "/runs/{id}/events", errors=(404, 409))
async def send_event(ask: Ask, body: bodies.SendEvent) -> objects.Sent:
    """Send a run an event it waits for, or will wait for."""
    sent = await ask.carrying(payload=body.payload)(calls.send_event, ask.run_id, body.name)
    return objects.Sent(sent)


@topic.route("GET", "/failures")
async def list_failures(ask: Ask, query: bodies.ListFailures) -> objects.FailureGroups:
    """Failed runs by kind of failure, most first, among the newest 2000 of them."""
    page = await ask(
        calls.error_groups,
        filters=_failed(query),
        before=page_start("run", query.before),
        max_groups=query.limit,
    )
    found = [objects.FailureGroup.of(group) for group in page["groups"]]
    return objects.FailureGroups(
        found, None if page["next"] is None else wire_id("run", UUID(page["next"]))
    )


@topic.route("POST", "/failures/redrive")
async def redrive(ask: Ask, body: bodies.Redrive) -> objects.Redriven:
    """Retry failed runs, newest first, each once: a batch; go on with next as place. dryRun counts
    them."""
    place = bytes(body.place)
    page = await ask(
        calls.redrive,
        _failed(body),
        per_second=body.per_second,
        dry_run=body.dry_run,
        place=json.loads(place) if place not in (b"", b"null") else None,
        max_runs=body.limit,
        reset_attempts=body.reset_attempts,
        actor=ask.actor,
    )
    return objects.Redriven.of(page)


def _failed(given: bodies.Failures) -> dict[str, Any]:
    """The filters, as the database reads them."""
    filters: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("queue", "workflow", "failure_class", "step", "error", "fingerprint")
    }
    for name, camel in (("finished_after", "finishedAfter"), ("finished_before", "finishedBefore")):
        when = moment(camel, getattr(given, name))
        filters[name] = None if when is None else when.isoformat()
    return {name: value for name, value in filters.items() if value is not None}
