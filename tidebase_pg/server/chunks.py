"""Server-sent events of one stream of a run: chunks as they are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final, cast
from uuid import UUID

from starlette.types import Send

from tidebase_pg import calls
from tidebase_pg.server.routing import Ask
from tidebase_pg.server.streams import EventStream, one_line
from tidebase_pg.types import StreamItem

PAGE: Final = 1000
SHORTEST: Final = 0.1
LONGEST: Final = 1.0
"""Seconds between two looks, more the longer nothing came; looking writes nothing."""


class ChunkStream(EventStream):
    """The chunks of one stream of a run, until the run has ended."""

    @classmethod
    async def begin(cls, ask: Ask, run_id: UUID, stream: str, after: int) -> ChunkStream:
        """Raises what refuses the stream, before anything is sent."""
        ask.gateway.check_streams(ask.identity)
        await ask(calls.read_stream, run_id, stream, after=after, max_chunks=1)
        pages = cast("AsyncGenerator[list[Any]]", follow(ask, run_id, stream, after))
        return cls(ask, pages, until_end=True)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        async for page in cast("AsyncGenerator[list[StreamItem]]", self._pages):
            body = b"".join(map(frame, page)) or b": keep-alive\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def follow(
    ask: Ask, run_id: UUID, stream: str, after: int
) -> AsyncGenerator[list[StreamItem]]:
    """Pages of a stream; an empty one now and then while nothing is written."""
    hub, client = ask.gateway.hub, ask.client
    pause, silent = SHORTEST, 0.0
    while True:
        call = calls.read_stream(run_id, stream, after=after, max_chunks=PAGE)
        page = await hub.apart(client.execute(call))
        if page:
            pause, silent = SHORTEST, 0.0
            after = page[-1].position
            yield page
            if page[-1].kind == "end":
                return
            continue
        if silent >= ask.gateway.settings.keep_alive:
            silent = 0.0
            yield []
        await asyncio.sleep(pause)
        silent += pause
        pause = min(pause * 2, LONGEST)


def frame(item: StreamItem) -> bytes:
    """One chunk as it goes out; what it holds stays the text that the database gave."""
    facts = json.dumps({"position": item.position, "step": item.step, "attempt": item.attempt})
    chunk = "" if item.chunk_text is None else f', "chunk": {item.chunk_text}'
    data = one_line(f"{facts[:-1]}{chunk}}}".encode())
    return b"event: %s\nid: %d\ndata: %s\n\n" % (item.kind.encode(), item.position, data)
