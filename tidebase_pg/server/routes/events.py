"""Routes about events: the stream of a run."""

from __future__ import annotations

from tidebase_pg.server import bodies
from tidebase_pg.server.refusals import BadBody
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.streams import EventStream

topic = Topic("events")


@topic.route("GET", "/runs/{id}/events", errors=(404,), media="text/event-stream")
async def follow(ask: Ask, query: bodies.Follow) -> EventStream:
    """Events of a run with seq > after, then live; one frame each, `id` its seq, `data` one line of
    JSON. Last-Event-ID wins over `after`. Stays open when the run ends, unless until=end."""
    after = query.after
    last = ask.headers.get("last-event-id")
    if last:
        if not last.isascii() or not last.isdecimal() or int(last) >= 2**31:
            raise BadBody(["Last-Event-ID"], "no number of an event: send the last `id` seen")
        after = int(last)
    return await EventStream.open(ask, ask.run_id, after, until_end=query.until == "end")
