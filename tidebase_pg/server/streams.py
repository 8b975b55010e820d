"""Answers as they go out: whole ones, and streams of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Final
from uuid import UUID

from starlette.types import Receive, Scope, Send

from tidebase_pg.server.gateway import events_for

if TYPE_CHECKING:
    from tidebase_pg.server.objects import Event
    from tidebase_pg.server.routing import Ask

LAST: Final = frozenset({"run.completed", "run.failed", "run.cancelled"})


class Answer:
    """One answer."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, extra: Mapping[str, str]
    ) -> None:
        bare = self.status in (204, 304)
        fields = {**self.headers, **extra}
        if not bare:
            fields["content-length"] = str(len(self.body))
        await send(head(self.status, fields))
        sent = b"" if bare or scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": sent})


class EventStream(Answer):
    """Server-sent events of one run, for as long as the client stays."""

    def __init__(self, ask: Ask, pages: AsyncGenerator[list[Event]], *, until_end: bool) -> None:
        super().__init__(
            200,
            b"",
            {
                "content-type": "text/event-stream",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
            },
        )
        self._ask = ask
        self._pages = pages
        self._until_end = until_end

    @classmethod
    async def open(cls, ask: Ask, run_id: UUID, after: int, *, until_end: bool) -> EventStream:
        """Raises what refuses the stream, before anything is sent."""
        from tidebase_pg.server.payloads import Reader

        ask.gateway.check_streams(ask.identity)
        await ask.gateway.hub.look_up(ask.client, run_id, events_for(ask.identity))
        pages = ask.gateway.subscribe(ask.identity, run_id, after)
        return cls(ask, Reader(ask, run_id).pages(pages), until_end=until_end)

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, extra: Mapping[str, str]
    ) -> None:
        gateway = self._ask.gateway
        with gateway.stream_of(self._ask.identity):
            await send(head(200, {**self.headers, **extra}))
            if scope["method"] == "HEAD":
                await self._pages.aclose()
                await send({"type": "http.response.body", "body": b""})
                return
            pump = asyncio.create_task(self._pump(send))
            gone = asyncio.create_task(_gone(receive))
            ending = asyncio.create_task(gateway.ending.wait())
            try:
                await asyncio.wait({pump, gone, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = pump.done()
                for task in (pump, gone, ending):
                    task.cancel()
                await asyncio.gather(pump, gone, ending, return_exceptions=True)
                with contextlib.suppress(RuntimeError):
                    await self._pages.aclose()
            if not gone.done() or gone.cancelled():
                last = b"" if ended else b": this gateway is ending; connect again\n\n"
                await send({"type": "http.response.body", "body": last})

    async def _pump(self, send: Send) -> None:
        from tidebase_pg.server.objects import encode

        # The head goes out with the first bytes; a client waits for it.
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        async for page in self._pages:
            frames = b"".join(
                b"id: %d\ndata: %s\n\n" % (event.seq, one_line(encode(event))) for event in page
            )
            body = frames or b": keep-alive\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if self._until_end and page and page[-1].type in LAST:
                return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def one_line(document: bytes) -> bytes:
    """JSON has line breaks only between its parts; there a blank does as well."""
    return document.replace(b"\n", b" ").replace(b"\r", b" ")


def head(status: int, fields: Mapping[str, str]) -> dict[str, object]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in fields.items()
        ],
    }
