"""Routes about the state of runs: streams, versions, snapshots."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies, fencing
from tidebase_pg.server.objects import (
    OneSnapshot,
    OneState,
    OneVersion,
    Snapshots,
    State,
    StateVersion,
    Versions,
)
from tidebase_pg.server.refusals import BadBody
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.values import snapshot_target

topic = Topic("state")


@topic.route("PUT", "/runs/{id}/state", stops=True, errors=(404, 409))
async def set_state(ask: Ask, body: bodies.SetState) -> OneState:
    """Replace the value of a stream; every write is a version."""
    row = await fencing.write_state(
        ask,
        calls.set_state,
        ask.run_id,
        None,
        documents={"value": body.value, "metadata": body.metadata},
        stream=body.stream,
        label=body.label,
        reason=body.reason,
        importance=body.importance,
        created_by=body.created_by,
    )
    return OneState(State.of(row))


@topic.route("PATCH", "/runs/{id}/state", stops=True, errors=(404, 409))
async def patch_state(ask: Ask, body: bodies.PatchState) -> OneState:
    """Merge the top level of an object into a stream; null is a value like any other."""
    run_id = ask.run_id
    if not bytes(body.value).startswith(b"{"):
        raise BadBody(["value"], "Expected `object`: give the keys to change")
    row = await fencing.write_state(
        ask,
        calls.patch_state,
        run_id,
        {},
        documents={"patch": body.value, "metadata": body.metadata},
        stream=body.stream,
        label=body.label,
        reason=body.reason,
        importance=body.importance,
        created_by=body.created_by,
        mode="shallow",
    )
    return OneState(State.of(row))


@topic.route("POST", "/runs/{id}/state/save", stops=True, errors=(404, 409))
async def save_state(ask: Ask, body: bodies.SaveState) -> OneVersion:
    """Label the current value of a stream."""
    row = await fencing.write_state(
        ask,
        calls.save_state,
        ask.run_id,
        body.label,
        documents={"metadata": body.metadata},
        stream=body.stream,
        reason=body.reason,
        importance=body.importance or "milestone",
        created_by=body.created_by,
    )
    return OneVersion(StateVersion.of(row))


@topic.route("GET", "/runs/{id}/state/versions", errors=(404,))
async def state_versions(ask: Ask, query: bodies.ListVersions) -> Versions:
    """The versions of one stream or all, oldest first."""
    rows = await ask(
        calls.state_versions,
        ask.run_id,
        stream=query.stream,
        labeled=True if query.labeled == "true" else None,
    )
    return Versions([StateVersion.of(row) for row in rows])


@topic.route("POST", "/runs/{id}/snapshots", stops=True, errors=(404, 409))
async def create_snapshot(ask: Ask, body: bodies.CreateSnapshot) -> OneSnapshot:
    """Keep a state under a label, in a stream of its own."""
    run_id = ask.run_id
    row = await fencing.write_state(
        ask,
        calls.create_snapshot,
        run_id,
        body.label,
        None,
        documents={"state": body.state, "metadata": body.metadata},
        target=snapshot_target(run_id, body.target),
        reason=body.reason,
        created_by=body.created_by,
    )
    return OneSnapshot(StateVersion.of(row))


@topic.route("GET", "/runs/{id}/snapshots", errors=(404,))
async def list_snapshots(ask: Ask) -> Snapshots:
    """All labelled versions, newest first."""
    rows = await ask(calls.list_snapshots, ask.run_id)
    return Snapshots([StateVersion.of(row) for row in rows])
