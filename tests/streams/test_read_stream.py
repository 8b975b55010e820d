"""read_stream gives what a run wrote from any position on, and says when nothing more comes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.runs.acts import NOBODY, Tide, refused
from tests.streams.test_append_stream import append, begin, complete, read
from tests.support import Clock, Connection, value
from tidebase_pg.values import told_as


def test_every_position_and_page_reads_the_same_chunks(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    for first in range(0, 30, 3):
        append(tide, run, *range(first, first + 3), step="write")
    complete(tide, run)
    for first in range(30, 50, 5):
        append(tide, run, *range(first, first + 5))
    everything = [(n + 1, "chunk", n) for n in range(50)]
    for after in range(51):
        for page in (1, 7, 100):
            assert read(tide, run, after=after, max_chunks=page) == everything[after:][:page]


def test_the_end_is_told_when_everything_was_read_and_the_run_has_ended(tide: Tide) -> None:
    run = tide.started()
    append(tide, run, "a", "b")
    assert read(tide, run, after=2) == []
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert read(tide, run, max_chunks=2) == [(1, "chunk", "a"), (2, "chunk", "b")]
    assert read(tide, run, after=1) == [(2, "chunk", "b"), (2, "end", None)]
    assert read(tide, run, after=2) == [(2, "end", None)]


def test_a_stream_nobody_wrote_to_is_empty_while_the_run_may_write(tide: Tide) -> None:
    run = tide.started()
    assert read(tide, run) == []
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD010", run.run_id, "out"):
        read(tide, run)
    with refused("TD010", NOBODY):
        tide.read_stream(run_id=NOBODY, stream="out")


@pytest.mark.parametrize("page", [0, 10001])
def test_bad_page_is_refused(tide: Tide, page: int) -> None:
    run = tide.started()
    with refused("22023", "max_chunks"):
        read(tide, run, max_chunks=page)
    with refused("22023", "stream"):
        read(tide, run, stream="")


def test_streams_of_a_run_are_listed_with_their_chunks(tide: Tide) -> None:
    run = tide.started()
    append(tide, run, "a", "b", stream="out")
    append(tide, run, 1, stream="log")
    listed = [(s.stream, s.chunks, s.last_position) for s in tide.list_streams(run_id=run.run_id)]
    assert listed == [("log", 1, 1), ("out", 2, 2)]
    assert tide.list_streams(run_id=tide.started().run_id) == []
    with refused("TD010", NOBODY):
        tide.list_streams(run_id=NOBODY)


def test_readers_of_a_watched_run_are_told_and_others_cost_nothing(
    tide: Tide, direct_dsn: str
) -> None:
    with Connection.connect(direct_dsn, autocommit=True) as listener:
        listener.execute("listen tide_streams")
        watched, other = tide.started(), tide.started()
        tide.watch_run(run_id=watched.run_id)
        append(tide, other, "a")
        append(tide, watched, "a")
        begin(tide, watched)
        append(tide, watched, "b", step="write")
        listener.execute("select 1")
        told = [note.payload for note in listener.notifies(timeout=0)]
    assert told == [str(told_as(watched.run_id))] * 2


def test_streams_are_removed_with_their_run(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    append(tide, run, "a")
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(timedelta(days=2))
    tide.prune(older_than=timedelta(days=1))
    assert value(tide.connection, "select count(*) from tide.stream_chunks") == 0
