"""Routes about children."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies, fencing
from tidebase_pg.server.described import Edge
from tidebase_pg.server.objects import EMPTY, ChildRun, Run, RunEdge, Runs
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.values import page_start

topic = Topic("children")


@topic.route("POST", "/runs/{id}/children", stops=True, errors=(404, 409))
async def create_child(ask: Ask, body: bodies.CreateChild) -> ChildRun:
    """Make a child of a run, once for each name. Without a queue the parent begins it by its id."""
    run_id = ask.run_id
    made = await fencing.spawn(ask, run_id, body)
    child = await ask(calls.get_run, made.child_id)
    edge = Edge(
        edge=body.name,
        child_id=made.child_id,
        edge_type=body.edge_type or "child",
        metadata=body.edge_metadata if bytes(body.edge_metadata) else EMPTY,
        created_at=child.created_at,
    )
    return ChildRun(Run.of(child), RunEdge.of(run_id, edge), made.created)


@topic.route("GET", "/runs/{id}/children", errors=(404,))
async def list_children(ask: Ask, query: bodies.ListChildren) -> Runs:
    """The children of a run, newest first, a page at a time."""
    rows = await ask(
        calls.list_child_runs,
        ask.run_id,
        before=page_start("run", query.before),
        max_runs=query.limit,
    )
    runs = [Run.of(row) for row in rows]
    return Runs(runs, runs[-1].id if len(runs) == query.limit else None)
