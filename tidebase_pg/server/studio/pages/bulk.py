"""The same act on many runs: counted before it is asked for, in batches, nothing twice.

What is being done stands sealed in the form: which filter, from which run on, since when. Whoever
posts it goes on where it stands, so it can be stopped, and resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.display import moment
from tidebase_pg.errors import NotFound, TideError
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.runs import read_filters

ACTS: Final[Mapping[str, str]] = {"cancel": "Cancel", "retry": "Retry", "fork": "Fork"}
BATCH: Final = 50
TIME: Final = 2.0
"""Seconds a batch takes at most, before the page says how far it is."""
ORIGINS: Final = ("first", "failed", "named")
STEPS: Final = 1000
"""Steps of a run, the last of them, among which the failed one is looked for."""
UNDONE: Final = ("failed", "failed_retryable", "manual_review")
COUNTING: Final = 10
"""Looks at ten thousand runs each before it says `and more`."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """What is being done, and how far it is."""

    act: str
    filters: dict[str, Any]
    chosen: list[str] | None
    """The runs that were ticked; None = all that match the filters."""
    began_at: str
    bulk_id: str
    before: str | None
    """Runs below this one are still to do."""
    place: dict[str, Any] | None
    """Where a redrive of all that match goes on."""
    count: int
    more: bool
    done: int = 0
    skipped: int = 0
    refused: int = 0
    reason: str = ""
    origin: str = "first"
    """Where forks begin: at the first step, the failed one, or the one named."""
    step: str = ""
    """The name of that one."""
    said: str = ""
    over: bool = False


async def prepare(visit: Visit) -> Response:
    """Count, fix the newest run, and ask."""
    act = visit.form.get("act", "")
    if act not in ACTS:
        raise ValueError(f"there is no act {act[:40]!r}")
    given = json.loads(visit.form.get("filters") or "{}")
    filters = read_filters(
        {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}, payload=True
    )
    chosen = [str(UUID(line)) for line in visit.form.get("run", "").split("\n") if line]
    everything = visit.form.get("scope") == "all"
    now = datetime.now(UTC).isoformat()
    start = Bulk(
        act, filters, None if everything else chosen, now, str(uuid4()), None, None, 0, False
    )
    if everything:
        start = await (_count_failed if act == "retry" else _count)(visit, start)
    else:
        start = replace(start, count=len(chosen), before=None)
    if filters.get("status") == "failed":
        start = replace(start, origin="failed")
    return await _question(visit, start)


async def _question(visit: Visit, bulk: Bulk, wrong: str | None = None) -> Response:
    """What is about to be done, before anything is; a fork also asks from where."""
    names: list[str] = []
    if bulk.act == "fork" and (example := await _example(visit, bulk)):
        outline = calls.outline_run(example, max_steps=200, max_events=1)
        names = [step["name"] for step in (await visit.ask(outline))["steps"]]
    return visit.page(
        "bulk.html",
        400 if wrong else 200,
        bulk=bulk,
        state=_sealed(visit, bulk),
        asked=True,
        acts=ACTS,
        names=names,
        wrong=wrong,
    )


async def _example(visit: Visit, bulk: Bulk) -> UUID | None:
    """The newest of the runs, whose steps are suggested."""
    if bulk.chosen is not None:
        return UUID(bulk.chosen[0]) if bulk.chosen else None
    if bulk.before is None:
        return None
    search = calls.search_runs(filters=bulk.filters, before=UUID(bulk.before), max_runs=1)
    found = (await visit.ask(search))["runs"]
    return UUID(found[0]["run_id"]) if found else None


async def _count(visit: Visit, start: Bulk) -> Bulk:
    count, before, newest = 0, None, None
    for _ in range(COUNTING):
        page = await visit.ask(calls.count_runs(filters=start.filters, before=before))
        count += page["count"]
        newest = newest or page["newest"]
        before = page["next"]
        if before is None:
            break
    # One above the newest: what is enqueued from now on is not hit.
    top = str(UUID(int=UUID(newest).int + 1)) if newest else None
    return replace(start, count=count, more=before is not None, before=top)


async def _count_failed(visit: Visit, start: Bulk) -> Bulk:
    if "waiting_on" in start.filters or start.filters.get("status") not in (
        None,
        "failed",
        "cancelled",
    ):
        return start
    count, place, first = 0, None, None
    for _ in range(COUNTING):
        page = await visit.ask(calls.redrive(start.filters, dry_run=True, place=place))
        count += page["runs"]
        first, place = first or page["start"], page["next"]
        if place is None:
            break
    return replace(start, count=count, more=place is not None, place=first)


async def go(visit: Visit) -> Response:
    """One batch; the page that answers holds the form of the next."""
    state = visit.studio.sessions.open_state(visit.session, visit.form.get("state", ""))
    if state is None:
        raise ValueError("this is no state of ours: begin again")
    bulk = Bulk(**state)
    if visit.form.get("reason"):
        bulk = replace(bulk, reason=visit.form["reason"].strip()[:500])
    if "origin" in visit.form:
        bulk = replace(bulk, origin=visit.form["origin"], step=visit.form.get("step", "").strip())
        if wrong := _unclear(bulk):
            return await _question(visit, bulk, wrong)
    if bulk.chosen is not None:
        bulk = await _ticked(visit, bulk)
    else:
        bulk = await (_redriven if bulk.act == "retry" else _matching)(visit, bulk)
    visit.studio.looks.forget()
    return visit.page(
        "bulk.html",
        bulk=bulk,
        state=_sealed(visit, bulk),
        asked=False,
        acts=ACTS,
        names=(),
        wrong=None,
    )


def _unclear(bulk: Bulk) -> str | None:
    """What the question about the step has to be asked again for."""
    if bulk.origin not in ORIGINS:
        return f"there is no {bulk.origin[:40]!r} to fork from"
    if bulk.origin == "named" and not bulk.step:
        return "Name the step to fork from."
    if bulk.origin != "named" and bulk.step:
        return f"Fork from the step named {bulk.step[:80]}, or not? Choose it, or empty the name."
    return None


async def _ticked(visit: Visit, bulk: Bulk) -> Bulk:
    assert bulk.chosen is not None
    ends = time.monotonic() + TIME
    rest = list(bulk.chosen)
    while rest and time.monotonic() < ends:
        bulk = await _one(visit, bulk, rest.pop(0))
    return replace(bulk, chosen=rest, over=not rest)


async def _matching(visit: Visit, bulk: Bulk) -> Bulk:
    ends = time.monotonic() + TIME
    while time.monotonic() < ends:
        if bulk.before is None:
            return replace(bulk, over=True)
        page = await visit.ask(
            calls.search_runs(filters=bulk.filters, before=bulk.before, max_runs=BATCH)
        )
        for run in page["runs"]:
            bulk = replace(await _one(visit, bulk, run["run_id"]), before=run["run_id"])
            if time.monotonic() >= ends:
                return bulk
        bulk = replace(bulk, before=page["next"], over=page["next"] is None)
        if bulk.over:
            break
    return bulk


async def _redriven(visit: Visit, bulk: Bulk) -> Bulk:
    ends = time.monotonic() + TIME
    while bulk.place is not None and time.monotonic() < ends:
        page = await visit.ask(
            calls.redrive(bulk.filters, place=bulk.place, max_runs=BATCH, actor=visit.actor)
        )
        bulk = replace(
            bulk,
            place=page["next"],
            done=bulk.done + page["runs"],
            skipped=bulk.skipped + page["passed"],
            refused=bulk.refused + page["refused"],
            said=f"the dedupe key of run {page['refused_runs'][0]} is taken"
            if page["refused"]
            else bulk.said,
        )
    return replace(bulk, over=bulk.place is None)


async def _one(visit: Visit, bulk: Bulk, run_id: str) -> Bulk:
    """Act on one run, unless it was done before, or has moved on since the question."""
    try:
        run = await visit.ask(calls.get_run(run_id))
        ended = run.finished_at is not None
        began = moment(bulk.began_at)
        assert began is not None
        if bulk.act == "cancel" and not ended:
            await visit.ask(calls.cancel(run_id, reason=bulk.reason or None, actor=visit.actor))
        elif (
            bulk.act == "retry"
            and run.status in ("failed", "cancelled")
            and run.finished_at is not None
            and run.finished_at < began
        ):
            await visit.ask(calls.retry(run_id, actor=visit.actor))
        elif bulk.act == "fork":
            at_step = await _step(visit, bulk, run_id)
            if at_step is None:
                return replace(bulk, skipped=bulk.skipped + 1)
            fork_id = uuid5(UUID(bulk.bulk_id), f"{run_id} {at_step}")
            key_hash = visit.identity.key_hash
            await visit.ask(calls.fork_run(run_id, at_step, fork_id=fork_id, key_hash=key_hash))
        else:
            return replace(bulk, skipped=bulk.skipped + 1)
    except TideError as error:
        return replace(bulk, refused=bulk.refused + 1, said=str(error)[:300])
    return replace(bulk, done=bulk.done + 1)


async def _step(visit: Visit, bulk: Bulk, run_id: str) -> str | None:
    """From which step of this run its fork begins; None where it has no such step."""
    if bulk.origin == "named":
        try:
            return (await visit.ask(calls.get_step(run_id, bulk.step))).name
        except NotFound:
            return None
    outline = await visit.ask(calls.outline_run(run_id, max_steps=1, max_events=1))
    steps: list[dict[str, Any]] = outline["steps"]
    if bulk.origin == "failed":
        after = max(0, outline["counts"]["steps"] - STEPS)
        last = calls.outline_run(run_id, after_step=after, max_steps=STEPS, max_events=1)
        found = (await visit.ask(last))["steps"]
        steps = [step for step in found if step["status"] in UNDONE][-1:]
    return steps[0]["name"] if steps else None


def _sealed(visit: Visit, bulk: Bulk) -> str:
    return visit.studio.sessions.seal_state(visit.session, asdict(bulk))
