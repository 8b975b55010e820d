"""Calls that carry no lease: they act under the one the run has now, if the database lets them.

`hold_run` judges who calls and stands for the lease in the same statement; so what is judged is
what is acted on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar
from uuid import UUID

from msgspec import Raw

from tidebase_pg import calls, types
from tidebase_pg.call import NO_LEASE, Call, held
from tidebase_pg.errors import (
    IllegalTransition,
    LeaseLost,
    LeaseUnproven,
    NotFound,
    RunFinished,
    RunLeased,
    Stop,
)
from tidebase_pg.server import bodies, refusals
from tidebase_pg.server.channels import channels
from tidebase_pg.server.identity import read_id, wire_id
from tidebase_pg.server.leases import unseal
from tidebase_pg.server.objects import Run
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.routing import Ask
from tidebase_pg.server.tracing import traced

P = ParamSpec("P")
T = TypeVar("T")
Report = Literal["complete", "fail", "step", "gate", "child", "state"]

STEP_REFUSED = "step not found or lease lost"


def lease(text: str, run_id: UUID) -> UUID:
    """The lease in a leaseOwner. Raises 409 where there is none for this run."""
    found = unseal(text, run_id)
    if found is None:
        raise Refusal(409, "lease lost", code="lease_lost")
    return found


def caller(ask: Ask) -> tuple[str | None, str]:
    """Who calls, and what that is: a process of its own, a key, or an address."""
    if ask.worker is not None:
        return ask.worker, "process"
    if ask.identity.named:
        return ask.identity.name, "key" if ask.identity.shared else "process"
    return (None if ask.address is None else ask.label()), "address"


async def act(ask: Ask, report: Report, call: Call[T], **documents: Raw) -> T:
    """The answer of a call that takes a lease, made under the one its run has now.

    `documents` are what the call takes as it came; an error is judged as well. Raises what refuses
    the caller: inside a workflow the word that stops it.
    """
    run_id = call.arguments["run_id"]
    assert isinstance(run_id, UUID)
    worker, identity = caller(ask)
    hold = calls.hold_run(
        run_id, worker=worker, identity=identity, failing=True if report == "fail" else None
    )
    if "error" in documents:
        documents["hold.error"] = documents["error"]
    try:
        return await ask.carrying(**documents).plainly(held(call, hold))
    except LeaseLost as refused:
        await _note(ask, run_id, report, documents.get("error"))
        if ask.route.stops:
            raise refusals.stopped(refused) from None
        if isinstance(refused, LeaseUnproven):
            raise Refusal(409, str(refused), code="lease_unproven") from None
        raise over(await ask(calls.get_run, run_id)) from None
    except Stop as ended:
        if ask.route.stops:
            raise refusals.stopped(ended) from None
        raise over(await ask(calls.get_run, run_id)) from None


async def _note(ask: Ask, run_id: UUID, report: Report, error: Raw | None) -> None:
    """Have the log of the run say that a report was refused."""
    noting = ask if error is None else ask.carrying(error=error)
    await noting.plainly(calls.refuse_report(run_id, report, worker=caller(ask)[0]))


def over(row: types.RunRow) -> Refusal:
    """A run that has ended, or is another's, to who would act for it."""
    run = Run.of(row)
    if row.status == "cancelled":
        return Refusal(409, "run is cancelled", code="run_cancelled", run=run)
    if row.status in ("completed", "failed"):
        return Refusal(409, f"run already {row.status}", code="run_finished", run=run)
    return Refusal(409, "lease lost", code="lease_lost", run=run)


async def begin(ask: Ask, run_id: UUID) -> tuple[types.RunRow, UUID]:
    """Lease a run by its id; a failed plain run goes on from its checkpoints.

    Raises 409 as the SDKs know it.
    """
    length = ask.gateway.settings.lease
    call = calls.begin_run(run_id, worker=ask.label(), lease=length, resume=True)
    try:
        row = await ask.plainly(call)
    except RunLeased:
        run = await ask(calls.get_run, run_id)
        raise Refusal(409, "run is leased", leaseOwner=run.worker, code="run_leased") from None
    except IllegalTransition as error:
        raise Refusal(409, str(error), code="run_queued") from None
    except Stop:
        raise over(await ask(calls.get_run, run_id)) from None
    if row.lease_id is None:
        raise over(row)
    if row.parent_id is not None:
        await renew(ask, run_id)
    return row, row.lease_id


async def complete(ask: Ask, run_id: UUID, body: bodies.Complete) -> types.RunRow:
    """Finish a run for a caller without a lease; an equal result again is answered as before."""
    call = calls.complete(run_id, NO_LEASE, used=bodies.records(body.used))
    try:
        return await act(ask, "complete", call, result=body.result)
    except Refusal as refused:
        if refused.facts.get("code") != "run_finished":
            raise
        row = await ask(calls.get_run, run_id)
        if row.status == "completed" and _equal(row.result_text, body.result):
            return row
        raise


async def fail(ask: Ask, run_id: UUID, body: bodies.Fail) -> types.RunRow:
    """End an attempt for a caller without a lease."""
    named = bodies.failure_class(body.failure_class)
    used = bodies.records(body.used)
    call = calls.fail(run_id, NO_LEASE, failure_class=named, used=used)
    return await act(ask, "fail", call, error=bodies.error(body.error))


async def cancel(ask: Ask, run_id: UUID, reason: str | None, actor: str | None) -> types.RunRow:
    """Cancel a run. Raises 409 when it has ended otherwise."""
    try:
        return await ask(calls.cancel, run_id, reason=reason, actor=actor)
    except RunFinished:
        raise over(await ask(calls.get_run, run_id)) from None


async def spawn(ask: Ask, run_id: UUID, body: bodies.CreateChild) -> types.Spawned:
    """Make a child of a run for a caller without a lease."""
    options: dict[str, Any] = {
        "metadata": {
            **traced(ask.headers, bodies.mapping("metadata", body.metadata)),
            "parentRunId": wire_id("run", run_id),
            "parentEdgeName": body.name,
        }
    }
    if body.edge_type is not None:
        options["edge_type"] = body.edge_type
    if metadata := bodies.mapping("edgeMetadata", body.edge_metadata):
        options["edge_metadata"] = metadata
    if body.recovery_webhook is not None:
        options["recovery_url"] = body.recovery_webhook
    if named := await channels(ask, body.channels):
        options["channels"] = named
    if body.after is not None:
        options["after"] = [str(read_id("run", named) or named) for named in body.after]
    for name in ("lane", "lane_key", "cost", "after_mode", "after_failure"):
        if (value := getattr(body, name)) is not None:
            options[name] = value
    if body.also_lanes is not None:
        options["also_lanes"] = bodies.other_lanes(body.also_lanes)
    call = ask.build(
        calls.spawn,
        run_id,
        NO_LEASE,
        body.name,
        body.workflow_name,
        queue=body.queue,
        options=options,
    )
    try:
        made = await act(ask, "child", call, input=body.input)
    except NotFound as error:
        if error.message.startswith("lane ") or error.message.endswith("after names it"):
            raise
        raise refusals.missing("parent run") from None
    await alive(ask, run_id)
    return made


async def open_gate(ask: Ask, run_id: UUID, body: bodies.BeginGate) -> types.OpenGate:
    """Ask for a decision for a caller without a lease."""
    call = ask.build(
        calls.open_gate,
        run_id,
        NO_LEASE,
        body.name,
        body.prompt,
        capability=bodies.capability(body.capability),
        channels=await channels(ask, body.channels),
        on_change="ask",
    )
    opened = await act(ask, "gate", call, data=body.data)
    await alive(ask, run_id)
    return opened


async def write_state(
    ask: Ask, function: Callable[..., Call[types.VersionRow]], run_id: UUID, *arguments: Any,
    documents: dict[str, Raw], **options: Any,
) -> types.VersionRow:  # fmt: skip
    """Write state of a run for a caller without a lease.

    A run nobody has begun has no worker that could have lost it: anybody may write its state.
    """
    row = await ask(calls.get_run, run_id)
    call = ask.build(function, run_id, *arguments, **options)
    if row.status != "running" and row.attempt == 0 and row.finished_at is None:
        return await ask.carrying(**documents).execute(call)
    written = await act(ask, "state", call, **documents)
    await alive(ask, run_id)
    return written


async def renew(ask: Ask, run_id: UUID) -> None:
    """A sign of life: renew the lease of a run, and of those that wait for it in its process."""
    worker, identity = caller(ask)
    length = ask.gateway.settings.lease
    await ask.plainly(calls.renew_run(run_id, worker=worker, identity=identity, lease=length))


async def alive(ask: Ask, run_id: UUID) -> None:
    """After an accepted report: keep the leases of those that wait for a child in its process.

    Whether a run is such a child never changes, so it is asked once; and a tenth of a lease is soon
    enough.
    """
    signs = ask.gateway.signs
    if signs.due(run_id):
        if signs.is_child(run_id) is None:
            row = await ask(calls.get_run, run_id)
            signs.learn(run_id, row.parent_id is not None and row.queue is None)
        if signs.is_child(run_id):
            await renew(ask, run_id)


async def refused_step(
    ask: Ask, run_id: UUID, lease_id: UUID, error: Exception | Stop, said: Raw | None = None
) -> Refusal:
    """The answer to a report about a step that nobody waits for; its worker has to stop."""
    if isinstance(error, LeaseLost):
        noting = ask if said is None else ask.carrying(error=said)
        await noting.plainly(
            calls.refuse_report(run_id, "step", worker=caller(ask)[0], lost_lease_id=lease_id)
        )
    return Refusal(409, STEP_REFUSED, code="lease_lost")


def _equal(stored: str | None, given: Raw) -> bool:
    try:
        return bool(json.loads(stored or "null") == json.loads(bytes(given) or b"null"))
    except (ValueError, RecursionError):
        return False
