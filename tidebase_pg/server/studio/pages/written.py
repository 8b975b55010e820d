"""What a run writes to its streams: the end of each on its page, all of one as a file, and live."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from tidebase_pg import calls
from tidebase_pg.display import visible
from tidebase_pg.documents import decode
from tidebase_pg.errors import BadPayload
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.streaming import ends_within
from tidebase_pg.server.studio.words import again
from tidebase_pg.types import StreamItem

SHOWN: Final = 5
"""Streams a page shows; those written to last."""
TAIL: Final = 500
"""Chunks of a stream that a page looks at."""
LETTERS: Final = 20_000
"""Letters of a stream a page shows: its end."""
PAGE: Final = 1000
SHORTEST: Final = 0.25
LONGEST: Final = 2.0
"""Seconds between two looks at the streams of a run at work, more the longer nothing came."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Chunks that were written one after the other by one execution, or the mark of another."""

    kind: str
    """chunk, or restart."""
    text: str
    step: str | None
    attempt: int
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Written:
    """The end of a stream."""

    stream: str
    pieces: Sequence[Piece]
    position: int
    cut: bool


def text_of(item: StreamItem) -> str:
    """A chunk as text: what is no text is JSON in a line of its own."""
    try:
        chunk = decode(item.chunk_text, "a chunk")
    except BadPayload:
        chunk = item.chunk_text
    said = chunk if isinstance(chunk, str) else f"{json.dumps(chunk, ensure_ascii=False)}\n"
    return visible(said, keep="\n\t")


def pieces(items: Sequence[StreamItem]) -> Iterator[Piece]:
    """Chunks together that belong together."""
    last: Piece | None = None
    for item in items:
        if item.kind == "end":
            continue
        kind = item.kind
        text = again(item.step, item.attempt) if kind == "restart" else text_of(item)
        by = (kind, item.step, item.attempt)
        if last and kind == "chunk" and (last.kind, last.step, last.attempt) == by:
            last = replace(last, text=(last.text + text)[-LETTERS:], ends=item.position)
            continue
        if last:
            yield last
        last = Piece(kind, text[-LETTERS:], item.step, item.attempt, item.position, item.position)
    if last:
        yield last


def newest(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The streams a page shows, by name."""
    found = sorted(seen["written"], key=lambda one: one["appended_at"], reverse=True)
    return sorted(found[:SHOWN], key=lambda one: one["stream"])


async def ends(visit: Visit, seen: Mapping[str, Any]) -> list[Written]:
    """The ends of the streams of a run, those that were written to last."""
    run_id = UUID(seen["run"]["run_id"])
    return [await _end(visit, run_id, one["stream"], one["last_position"]) for one in newest(seen)]


async def _end(visit: Visit, run_id: UUID, stream: str, last: int) -> Written:
    after = max(0, last - TAIL)
    call = calls.read_stream(run_id, stream, after=after, max_chunks=2 * TAIL)
    items = await visit.ask(call)
    kept: deque[Piece] = deque()
    letters, cut = 0, after > 0
    for piece in reversed(list(pieces(items))):
        if letters >= LETTERS:
            cut = True
            break
        room = LETTERS - letters
        cut = cut or len(piece.text) > room
        kept.appendleft(replace(piece, text=piece.text[-room:]))
        letters += len(piece.text)
    position = max((item.position for item in items), default=last)
    return Written(stream, tuple(kept), position, cut)


async def download(visit: Visit) -> Response:
    """All of a stream, as text."""
    run_id, stream = UUID(visit.path("run_id")), visit.query("stream")
    first = await visit.ask(calls.read_stream(run_id, stream, max_chunks=PAGE))

    async def body() -> AsyncGenerator[str]:
        page = first
        while page:
            yield "".join(text_of(item) for item in page if item.kind == "chunk")
            if page[-1].kind == "end":
                return
            after = page[-1].position
            page = await visit.ask(calls.read_stream(run_id, stream, after=after, max_chunks=PAGE))

    return StreamingResponse(
        body(),
        media_type="text/plain; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="{run_id}-stream.txt"',
            "content-security-policy": "default-src 'none'; sandbox",
        },
    )


async def follow(visit: Visit, run_id: UUID) -> AsyncGenerator[str]:
    """What is written from now on, and first how far each stream is."""
    known: dict[str, int] = {}
    pause = SHORTEST
    while True:
        seen = await visit.look(("log", run_id), calls.outline_run(run_id, max_steps=1))
        quiet = True
        for one in newest(seen):
            stream = one["stream"]
            if stream not in known:
                known[stream] = one["last_position"]
                yield _told("written", {"stream": stream, "position": known[stream]})
            if seen["run"]["status"] != "running" and one["last_position"] <= known[stream]:
                continue
            call = calls.read_stream(run_id, stream, after=known[stream], max_chunks=PAGE)
            items = await visit.ask(call)
            for piece in pieces(items):
                quiet, known[stream] = False, piece.ends
                yield _told(
                    piece.kind,
                    {
                        "stream": stream,
                        "begins": piece.begins,
                        "position": piece.ends,
                        "step": piece.step,
                        "attempt": piece.attempt,
                        "text": piece.text,
                    },
                )
        pause = min(2 * pause, LONGEST) if quiet else SHORTEST
        if await ends_within(visit, pause):
            return


def _told(event: str, facts: Mapping[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(facts)}\n\n"
