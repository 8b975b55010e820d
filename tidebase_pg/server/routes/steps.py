"""Routes about steps."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tidebase_pg import calls
from tidebase_pg.errors import InputMismatch, NotFound, Stop
from tidebase_pg.server import bodies, fencing, objects, refusals
from tidebase_pg.server.contracts import contract, estimate, known_input
from tidebase_pg.server.identity import step_id, wire_id
from tidebase_pg.server.leases import unseal
from tidebase_pg.server.objects import BegunStep, OneStep, Step
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.routing import Ask, Topic

topic = Topic("steps")

_HASHES = re.compile(r"is ([0-9a-f]{64}), this one is ([0-9a-f]{64})")


@topic.route("POST", "/runs/{id}/steps/begin", errors=(404,))
async def begin_step(ask: Ask, body: bodies.BeginStep) -> BegunStep:
    """Ask for a step: execute it, or return its stored output. `cancelled` says that the workflow
    has to stop, and why; `wait` that its lane has no room while other steps are under way: ask
    again."""
    run_id = ask.run_id
    lease_id = unseal(body.lease_owner or "", run_id)
    options = bodies.options(body.options)
    agreed = contract(options)
    if lease_id is None:
        await ask(calls.get_run, run_id)
        return BegunStep(action="cancelled", reason="lease_lost")
    given = known_input(body.input, body.input_hash)
    try:
        start = await ask.carrying(input=given)(
            calls.begin_step,
            run_id,
            lease_id,
            body.name,
            contract=agreed,
            estimate=estimate(options),
            lane=body.lane,
            lane_key=body.lane_key,
            cost=body.cost,
        )
    except Stop as error:
        await fencing.refused_step(ask, run_id, lease_id, error)
        return BegunStep(action="cancelled", reason=refusals.reason(error))
    except InputMismatch as error:
        hashes = _HASHES.search(error.detail or "")
        return BegunStep(
            action="input_mismatch",
            step=Step.of(run_id, await ask(calls.get_step, run_id, body.name)),
            expected_input_hash=hashes[1] if hashes else None,
            actual_input_hash=hashes[2] if hashes else None,
        )
    await fencing.alive(ask, run_id)
    match start.action:
        case "replay":
            output = objects.document(start.output_text)
            step = _step(
                run_id, body, agreed, status="completed", attempt=start.attempt, output=output
            )
            return BegunStep(action="return", step=step, output=output)
        case "execute":
            step = _step(run_id, body, agreed, status="running", attempt=start.attempt)
            return BegunStep(action="execute", step=step, lease_owner=body.lease_owner)
        case "wait":
            return BegunStep(action="wait")
        case _:
            return BegunStep(action="cancelled", reason=start.action)


@topic.route("POST", "/runs/{id}/steps/{step}/complete", errors=(409,))
async def complete_step(ask: Ask, body: bodies.CompleteStep) -> OneStep:
    """Store the output of a step; the same report again is answered as before."""
    run_id, name = ask.run_id, ask.step
    lease_id = unseal(body.lease_owner, run_id)
    if lease_id is None:
        raise lost()
    try:
        row = await ask.carrying(output=body.output)(calls.complete_step, run_id, lease_id, name)
    except (Stop, NotFound) as error:
        raise await fencing.refused_step(ask, run_id, lease_id, error) from None
    await fencing.alive(ask, run_id)
    return OneStep(Step.of(run_id, row))


@topic.route("POST", "/runs/{id}/steps/{step}/fail", errors=(409,))
async def fail_step(ask: Ask, body: bodies.FailStep) -> OneStep:
    """Report that a step failed; its contract decides what becomes of it."""
    run_id, name = ask.run_id, ask.step
    lease_id = unseal(body.lease_owner, run_id)
    if lease_id is None:
        raise lost()
    error_text = bodies.error(body.error)
    try:
        await ask.carrying(error=error_text)(
            calls.fail_step, run_id, lease_id, name, retryable=body.retryable
        )
    except (Stop, NotFound) as error:
        raise await fencing.refused_step(ask, run_id, lease_id, error, error_text) from None
    await fencing.alive(ask, run_id)
    return OneStep(Step.of(run_id, await ask(calls.get_step, run_id, name)))


@topic.route("POST", "/runs/{id}/steps/{step}/resolve", errors=(404, 409))
async def resolve_step(ask: Ask, body: bodies.ResolveStep) -> OneStep:
    """Decide about a step in review: retry it, use an output, or fail the run."""
    run_id = ask.run_id
    row = await ask.carrying(output=body.output)(
        calls.resolve_step, run_id, ask.step, body.decision, actor=body.actor or ask.actor
    )
    return OneStep(Step.of(run_id, row))


def lost() -> Refusal:
    return Refusal(409, fencing.STEP_REFUSED, code="lease_lost")


def _step(
    run_id: Any,
    body: bodies.BeginStep,
    agreed: dict[str, Any],
    *,
    status: str,
    attempt: int,
    output: msgspec.Raw = objects.NULL,
) -> Step:
    return Step(
        id=step_id(body.name),
        run_id=wire_id("run", run_id),
        name=body.name,
        input_hash=body.input_hash,
        resume_contract=objects.ResumeContract(
            side_effects=agreed.get("side_effects", []),
            idempotency_key=agreed.get("idempotency_key"),
            replay=agreed.get("replay", "auto"),
            checkpoint_invariant=agreed.get("checkpoint_invariant"),
            verified_by=agreed.get("verified_by"),
        ),
        status=status,
        output=output,
        attempt=attempt,
    )
