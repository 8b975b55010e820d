"""The first page: what is wrong, and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.display import moment
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.charts import series
from tidebase_pg.server.studio.words import findings
from tidebase_pg.types import ListedQueue

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)


async def overview(visit: Visit) -> Response:
    """Health in words, throughput, pressure, decisions."""
    if visit.role == "approver":
        return visit.done("/gates", "Your key opens the decisions.")
    seen = await visit.look("overview", calls.overview())
    queues = await visit.look("queues", calls.list_queues())
    hour = await visit.look("hour", calls.throughput(duration=HOUR, bucket=MINUTE))
    day = await visit.look("day", calls.throughput(duration=DAY, bucket=QUARTER))
    now = moment(seen["now"])
    assert now is not None
    return visit.page(
        "overview.html",
        now=now,
        seen=seen,
        findings=findings(seen, queues),
        hour=series(hour, now, HOUR, MINUTE),
        day=series(day, now, DAY, QUARTER),
        queues=sorted(queues, key=pressure, reverse=True)[:7],
        all_queues=len(queues),
        running=sum(row["runs"] for row in seen["running"]),
        ready=sum(queue.ready for queue in queues),
    )


def pressure(queue: ListedQueue) -> tuple[Any, ...]:
    """Where it is tight: ready runs that wait long first, then what is at work."""
    age = queue.oldest_ready_age or timedelta()
    return (not queue.paused and age > timedelta(seconds=30), age, queue.ready, queue.running)
