"""Routes about what runs write while they work: their streams, listed and followed."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies
from tidebase_pg.server.chunks import ChunkStream
from tidebase_pg.server.objects import Streams, StreamSummary
from tidebase_pg.server.refusals import BadBody
from tidebase_pg.server.routing import Ask, Topic

topic = Topic("streams")


@topic.route("GET", "/runs/{id}/streams", errors=(404,))
async def list_streams(ask: Ask) -> Streams:
    """The streams of a run by name, with how many chunks can be read of each."""
    rows = await ask(calls.list_streams, ask.run_id)
    return Streams(streams=[StreamSummary.of(row) for row in rows])


@topic.route("GET", "/runs/{id}/streams/{stream}", errors=(404,), media="text/event-stream")
async def read_stream(ask: Ask, query: bodies.ReadStream) -> ChunkStream:
    """What a run wrote to a stream beyond a position, then live: `event` is chunk, restart (what
    this step wrote before is void, since it is executed again) or end, `id` the position.
    Last-Event-ID wins over `after`. Ends with the run."""
    after = query.after
    last = ask.headers.get("last-event-id")
    if last:
        if not last.isascii() or not last.isdecimal() or int(last) >= 2**31:
            raise BadBody(["Last-Event-ID"], "no position: send the last `id` seen")
        after = int(last)
    return await ChunkStream.begin(ask, ask.run_id, ask.path["stream"], after)
