"""Routes about runs."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.routing import Ask, Topic

topic = Topic("runs")


@topic.route("POST", "/runs/{workflow}")
async def create_run(ask: Ask, body: bodies.CreateRun) -> objects.OneRun:
    """Make a pending run, begun by its id."""
    run = await ask.carrying(input=body.input, metadata=body.metadata)(
        calls.create_run, ask.path["workflow"], recovery_url=body.recovery_webhook
    )
    return objects.OneRun(objects.Run.of(run))


@topic.route("GET", "/runs")
async def list_runs(ask: Ask, query: bodies.ListRuns) -> objects.Runs:
    """Runs, newest first, a page at a time."""
    rows = await ask(
        calls.list_runs,
        status=query.status,
        queue=query.queue,
        workflow=query.workflow,
        before=query.before,
        max_runs=query.limit,
    )
    runs = [objects.Run.of(row) for row in rows]
    return objects.Runs(runs, runs[-1].id if len(runs) == query.limit else None)
