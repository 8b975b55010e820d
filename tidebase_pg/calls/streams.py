"""Calls about the streams of runs: what they write while they work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from tidebase_pg.call import Call, call
from tidebase_pg.documents import encode
from tidebase_pg.types import Row, StreamItem, StreamSummary
from tidebase_pg.values import RunId


def append_stream(
    run_id: RunId,
    lease_id: UUID,
    stream: str,
    chunks: Sequence[Any],
    *,
    step: str | None = None,
    after: int | None = None,
) -> Call[int]:
    """Append chunks, an array, to a stream of a leased run and return the position of the last.
    step is the running step they belong to; what it, or the workflow itself, wrote in an earlier
    execution is void. after is the position answered last: then the same call again appends
    nothing.
    """
    texts = [encode(chunk, f"a chunk of stream {stream!r}") for chunk in chunks]
    return append_text(run_id, lease_id, stream, texts, step=step, after=after)


def append_text(
    run_id: RunId,
    lease_id: UUID,
    stream: str,
    texts: Sequence[str],
    *,
    step: str | None = None,
    after: int | None = None,
) -> Call[int]:
    """`append_stream` of chunks that are JSON text already."""
    append = call(
        "append_stream",
        "append_stream",
        _position,
        run_id=run_id,
        lease_id=lease_id,
        stream=stream,
        chunks=f"[{','.join(texts)}]",
        step=step,
        after=after,
    )
    # What a crash of the server may take back, an attempt writes again.
    return append.relax()


def read_stream(
    run_id: RunId, stream: str, *, after: int | None = None, max_chunks: int | None = None
) -> Call[list[StreamItem]]:
    """What a run wrote to a stream beyond position after, oldest first. kind: chunk; restart =
    what this step, or the workflow itself, wrote before is void; end = the run has ended, nothing
    more comes. Unknown run, or an ended run without such a stream: TD010.
    """
    return call(
        "read_stream",
        StreamItem.columns(),
        StreamItem.many,
        run_id=run_id,
        stream=stream,
        after=after,
        max_chunks=max_chunks,
    )


def list_streams(run_id: RunId) -> Call[list[StreamSummary]]:
    """The streams of a run by name, with how many chunks can be read of each."""
    return call("list_streams", StreamSummary.columns(), StreamSummary.many, run_id=run_id)


def _position(rows: Sequence[Row]) -> int:
    return cast(int, rows[0][0])
