"""What can be done about a run; each act is done once, and the database decides."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.display import moment
from tidebase_pg.server.studio.answers import read_json
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.run import mark
from tidebase_pg.types import RunRow


def _run_id(visit: Visit) -> UUID:
    return UUID(visit.path("run_id"))


def _page(visit: Visit) -> str:
    return f"/runs/{_run_id(visit)}"


async def _current(visit: Visit) -> tuple[RunRow, bool]:
    """The run now, and whether it is as the page showed it."""
    run = await visit.ask(calls.get_run(_run_id(visit)))
    facts = {"status": run.status, "attempt": run.attempt, "waiting_on": run.waiting_on}
    return run, mark(facts) == visit.form.get("seen", "")


def _changed(visit: Visit, run: RunRow) -> Response:
    text = (
        f"The run has changed since the page was loaded: it is {run.status} now, attempt "
        f"{run.attempt}. Nothing was done; look, and decide again."
    )
    return visit.done(_page(visit), text, "refused")


async def cancel(visit: Visit) -> Response:
    """Cancel the run, and its children in transactions of their own."""
    run, fresh = await _current(visit)
    if run.status == "cancelled":
        by = f" by {run.cancel_actor}" if run.cancel_actor else ""
        return visit.done(_page(visit), f"The run was cancelled already{by}.")
    if not fresh:
        return _changed(visit, run)
    reason = visit.form.get("reason", "").strip() or None
    await visit.ask(calls.cancel(run.run_id, reason=reason, actor=visit.actor))
    while await visit.ask(calls.cancel_children(run.run_id)):
        pass
    return visit.done(_page(visit), "Cancelled.")


async def retry(visit: Visit) -> Response:
    """Put a failed or cancelled run back to work; its checkpoints are kept."""
    run, fresh = await _current(visit)
    if run.status in ("queued", "pending", "running"):
        return visit.done(_page(visit), f"The run is back at work already: {run.status}.")
    if not fresh:
        return _changed(visit, run)
    await visit.ask(
        calls.retry(
            run.run_id, actor=visit.actor, reset_attempts=visit.form.get("keep") != "attempts"
        )
    )
    return visit.done(_page(visit), "Back to work; finished steps are kept.")


async def revoke(visit: Visit) -> Response:
    """Take the run from its worker; only the lease that the page showed."""
    began = moment(visit.form.get("started_at", ""))
    note = visit.form.get("note", "").strip() or None
    run = await visit.ask(
        calls.revoke_lease(_run_id(visit), note=note, actor=visit.actor, started_at=began)
    )
    return visit.done(_page(visit), f"The run is back: {run.status}. Its worker was told to stop.")


async def reschedule(visit: Visit) -> Response:
    """Another time or priority for a queued run."""
    run, fresh = await _current(visit)
    if not fresh:
        return _changed(visit, run)
    given = visit.form.get("run_at", "").strip()
    delay = visit.form.get("delay", "").strip()
    run_at = run.run_at or datetime.now(UTC)
    if given:
        run_at = datetime.fromisoformat(given)
        run_at = run_at if run_at.tzinfo else run_at.replace(tzinfo=UTC)
    elif delay:
        run_at = datetime.now(UTC) + timedelta(minutes=float(delay))
    priority = visit.form.get("priority", "").strip()
    await visit.ask(
        calls.reschedule(run.run_id, run_at, priority=int(priority) if priority else None)
    )
    return visit.done(_page(visit), "Rescheduled.")


async def budget(visit: Visit) -> Response:
    """Other limits of what the run may spend; a raise wakes a run that waits for it."""
    run = await visit.ask(calls.get_run(_run_id(visit)))
    old = json.dumps(run.budget, sort_keys=True)
    if visit.form.get("old", old) != old:
        return _changed(visit, run)
    limits: dict[str, Any] = {}
    for name, read in (("max_cost_usd", float), ("max_tokens", int), ("max_steps", int)):
        if given := visit.form.get(name, "").strip():
            limits[name] = read(given)
    await visit.ask(calls.set_budget(run.run_id, limits or None))
    return visit.done(_page(visit), "The budget is set.")


async def event(visit: Visit) -> Response:
    """Send the run an event."""
    run_id = _run_id(visit)
    payload = read_json(visit.form.get("payload", "").strip() or "null", "payload")
    name = visit.form.get("name", "").strip()
    run = await visit.ask(calls.get_run(run_id))
    if str(run.last_seq) != visit.form.get("last_seq", str(run.last_seq)):
        log = await visit.ask(calls.list_events(run_id, after=int(visit.form["last_seq"])))
        news = ", ".join(row.type for row in log[:5])
        return visit.done(
            _page(visit),
            f"The run has gone on since the page was loaded ({news}). Nothing was sent; look, "
            "and send it again if it is still wanted.",
            "refused",
        )
    if not visit.is_first():
        return visit.done(_page(visit), f"{name} was sent already.")
    await visit.ask(calls.send_event(run_id, name, payload=payload))
    return visit.done(_page(visit), f"Sent {name}.")


async def resolve(visit: Visit) -> Response:
    """Decide about a step in review."""
    run_id = _run_id(visit)
    name, decision = visit.form.get("step", ""), visit.form.get("decision", "")
    step = await visit.ask(calls.get_step(run_id, name))
    if step.status != "manual_review":
        by = f" by {step.decided_by}" if step.decided_by else ""
        text = f"{name} was decided already{by}: {step.status.replace('_', ' ')}."
        return visit.done(_page(visit), text, "refused")
    output = None
    if decision == "use_output":
        output = read_json(visit.form.get("output", "").strip() or "null", "output")
    await visit.ask(calls.resolve_step(run_id, name, decision, output=output, actor=visit.actor))
    said = {"retry": "is executed again", "use_output": "counts as done", "fail": "has failed"}
    return visit.done(_page(visit), f"{name} {said.get(decision, decision)}.")


async def fork(visit: Visit) -> Response:
    """A new run with the checkpoints before a step; posted twice, it is the same one."""
    run_id = _run_id(visit)
    at_step = visit.form.get("at_step", "")
    given, changes = visit.form.get("input", ""), visit.form.get("overrides", "")
    try:
        other = read_json(given, "input") if given.strip() else None
        overrides = read_json(changes or "{}", "outputs")
        if not isinstance(overrides, dict):
            raise ValueError("outputs is no JSON object: give step names and their outputs")
        made = await visit.ask(
            calls.fork_run(
                run_id,
                at_step,
                input=other,
                overrides=cast("dict[str, Any]", overrides),
                fork_id=UUID(visit.form.get("once", "")),
                key_hash=visit.identity.key_hash,
            )
        )
    except ValueError as error:
        run = await visit.ask(calls.get_run(run_id))
        seen = await visit.ask(calls.outline_run(run_id, max_steps=1000, max_events=1))
        return visit.page(
            "fork.html",
            400,
            run=run,
            steps=seen["steps"],
            at_step=at_step,
            input=given,
            overrides=changes,
            wrong=str(error),
        )
    return visit.done(f"/runs/{made.run_id}", "This is the fork; the original stays as it is.")
