"""append_stream writes chunks of a leased run, fenced, and at most once however often repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, value


def append(tide: Tide, run: Any, *chunks: Any, stream: str = "out", **options: Any) -> int:
    position: int = tide.append_stream(
        run_id=run.run_id, lease_id=run.lease_id, stream=stream, chunks=list(chunks), **options
    )
    return position


def read(tide: Tide, run: Any, stream: str = "out", **options: Any) -> list[tuple[int, str, Any]]:
    rows = tide.read_stream(run_id=run.run_id, stream=stream, **options)
    return [(row.position, row.kind, row.chunk) for row in rows]


def rows(tide: Tide, run: Any) -> int:
    found: int = value(
        tide.connection,
        "select count(*) from tide.stream_chunks as s where s.run_id = %s",
        run.run_id,
    )
    return found


def begin(tide: Tide, run: Any, name: str = "write") -> str:
    action: str = tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name=name).action
    return action


def complete(tide: Tide, run: Any, name: str = "write") -> None:
    tide.complete_step(run_id=run.run_id, lease_id=run.lease_id, name=name)


def lost(tide: Tide, run: Any, hour: Clock) -> Any:
    """The worker of the run dies; another one claims it."""
    hour.advance(2 * MINUTE)
    tide.reconcile()
    (again,) = tide.claim(queues=["default"])
    assert again.run_id == run.run_id
    return again


def test_chunks_are_numbered_from_one_in_each_stream(tide: Tide) -> None:
    run = tide.started()
    assert append(tide, run, "a", "b") == 2
    assert append(tide, run, {"c": 3}, None) == 4
    assert append(tide, run, "x", stream="log") == 1
    assert read(tide, run) == [
        (1, "chunk", "a"),
        (2, "chunk", "b"),
        (3, "chunk", {"c": 3}),
        (4, "chunk", None),
    ]
    assert read(tide, run, "log") == [(1, "chunk", "x")]


def test_the_same_batch_sent_again_is_appended_once(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    for step in (None, "write"):
        after = append(tide, run, "a", "a", step=step)
        first = append(tide, run, "b", step=step, after=after)
        again = append(tide, run, "b", step=step, after=after)
        assert first == again == after + 1
        assert append(tide, run, "b", step=step, after=first) == first + 1


def test_a_repeat_is_recognised_though_another_step_wrote_between(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run, "one")
    begin(tide, run, "two")
    assert append(tide, run, "1", step="one", after=0) == 1
    assert append(tide, run, "2", step="two", after=0) == 2
    assert append(tide, run, "1", step="one", after=0) == 1
    assert [chunk for _, _, chunk in read(tide, run)] == ["1", "2"]


def test_a_worker_that_lost_its_lease_writes_nothing(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    append(tide, run, "a")
    lost(tide, run, hour)
    before = contents(tide.connection)
    with refused("TD002", run.run_id):
        append(tide, run, "b")
    assert contents(tide.connection) == before


def test_ended_and_unknown_runs_take_no_chunk(tide: Tide) -> None:
    run = tide.started()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id):
        append(tide, run, "a")
    with refused("TD010", NOBODY):
        tide.append_stream(run_id=NOBODY, lease_id=NOBODY, stream="out", chunks=["a"])
    cancelled = tide.started()
    tide.cancel(run_id=cancelled.run_id)
    with refused("TD001", cancelled.run_id):
        append(tide, cancelled, "a")


def test_only_a_running_step_of_this_attempt_writes(tide: Tide) -> None:
    run = tide.started()
    with refused("TD010", "write"):
        append(tide, run, "a", step="write")
    begin(tide, run)
    append(tide, run, "a", step="write")
    complete(tide, run)
    with refused("TD030", "write", "completed"):
        append(tide, run, "b", step="write")


def test_rows_of_a_step_become_one_when_it_completes(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    for number in range(40):
        append(tide, run, f"{number} a", f"{number} b", step="write")
    before = read(tide, run)
    assert rows(tide, run) == 40
    complete(tide, run)
    assert rows(tide, run) == 1
    assert read(tide, run) == before
    for after in (0, 1, 39, 79, 80):
        assert read(tide, run, after=after) == before[after:]


def test_rows_become_one_whichever_way_the_completion_is_reported(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    append(tide, run, "a", step="write")
    append(tide, run, "b", step="write")
    report = {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "name": "write"}
    tide.connection.execute(
        "select * from tide.report_steps(jsonb_build_array(%s::jsonb))",
        (json.dumps({**report, "complete": True}),),
    )
    assert rows(tide, run) == 1
    assert read(tide, run) == [(1, "chunk", "a"), (2, "chunk", "b")]


def test_steps_that_write_at_once_keep_their_order(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run, "one")
    begin(tide, run, "two")
    for number in range(3):
        append(tide, run, f"1.{number}", step="one")
        append(tide, run, f"1.{number} b", step="one")
        append(tide, run, f"2.{number}", step="two")
    before = read(tide, run)
    complete(tide, run, "one")
    complete(tide, run, "two")
    assert read(tide, run) == before
    assert rows(tide, run) == 6


def test_large_rows_are_joined_to_a_quarter_of_a_megabyte(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    for _ in range(8):
        # Digests do not compress: each row has some 80 kB.
        append(
            tide,
            run,
            *[
                row.digest
                for row in tide.connection.execute(
                    "select encode(sha256(random()::text::bytea), 'hex') as digest "
                    "from generate_series(1, 1200)"
                )
            ],
            step="write",
        )
    before = read(tide, run, max_chunks=10000)
    complete(tide, run)
    assert 2 <= rows(tide, run) <= 4
    assert read(tide, run, max_chunks=10000) == before


def test_a_step_that_is_begun_once_more_takes_back_what_it_wrote(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    append(tide, run, "intro", stream="log")
    begin(tide, run, "first")
    append(tide, run, "kept", step="first")
    complete(tide, run, "first")
    begin(tide, run)
    append(tide, run, "a", "b", step="write")
    again = lost(tide, run, hour)
    assert begin(tide, again, "first") == "replay"
    assert begin(tide, again) == "execute"
    assert read(tide, again) == [(1, "chunk", "kept"), (4, "restart", None)]
    append(tide, again, "A", step="write")
    complete(tide, again)
    assert read(tide, again, after=3) == [(4, "restart", None), (5, "chunk", "A")]
    assert read(tide, again, "log") == [(1, "chunk", "intro")]


def test_a_step_repeated_within_an_attempt_takes_back_what_it_wrote(tide: Tide) -> None:
    run = tide.started()
    begin(tide, run)
    append(tide, run, "a", step="write")
    tide.fail_step(
        run_id=run.run_id, lease_id=run.lease_id, name="write", error={"m": 1}, retryable=True
    )
    begin(tide, run)
    append(tide, run, "b", step="write", after=1)
    complete(tide, run)
    assert read(tide, run) == [(2, "restart", None), (3, "chunk", "b")]


def test_what_the_workflow_itself_wrote_is_void_in_its_next_attempt(
    tide: Tide, hour: Clock
) -> None:
    run = tide.started(max_attempts=3)
    append(tide, run, "a", "b")
    again = lost(tide, run, hour)
    assert read(tide, again) == [(1, "chunk", "a"), (2, "chunk", "b")]
    append(tide, again, "A", after=2)
    assert read(tide, again) == [(3, "restart", None), (4, "chunk", "A")]
    # Handing back a run does not count as an attempt, and it is one all the same.
    tide.release(run_id=again.run_id, lease_id=again.lease_id)
    (third,) = tide.claim(queues=["default"])
    assert third.attempt == again.attempt
    append(tide, third, "3")
    assert read(tide, third) == [(5, "restart", None), (6, "chunk", "3")]


@pytest.mark.parametrize("stream", [None, "", "a\nb", "x" * 257])
def test_bad_name_is_refused_and_nothing_changes(tide: Tide, stream: str | None) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", "stream"):
        append(tide, run, "a", stream=stream)  # type: ignore[arg-type]
    assert contents(tide.connection) == before


@pytest.mark.parametrize("chunks", [None, "null", "{}", '"a"', "[]", [1] * 10001])
def test_bad_chunks_are_refused_and_nothing_changes(tide: Tide, chunks: Any) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", "chunks"):
        tide.append_stream(run_id=run.run_id, lease_id=run.lease_id, stream="out", chunks=chunks)
    assert contents(tide.connection) == before


def test_a_chunk_above_the_limit_is_refused_with_its_size(tide: Tide) -> None:
    run = tide.started()
    with refused("TD040", "chunks", 2**20 + 4):
        append(tide, run, "x" * 2**20)
    assert rows(tide, run) == 0


def test_a_stream_holds_a_million_chunks(tide: Tide) -> None:
    run = tide.started()
    for _ in range(99):
        append(tide, run, *range(10000))
    assert append(tide, run, *range(9999)) == 999_999
    with refused("TD040", "out", run.run_id, "999999 chunks"):
        append(tide, run, 1, 2)
    assert append(tide, run, 1) == 1_000_000
    assert read(tide, run, after=999_998) == [(999_999, "chunk", 9998), (1_000_000, "chunk", 1)]
