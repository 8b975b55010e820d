"""Streams in Python: written a batch at a time, followed from any place, cheap."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.agents.kills import ANSWERED, STARTED, killed
from tests.runs.acts import hour as hour
from tests.support import Clock, Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    BadPayload,
    NotFound,
    PayloadTooLarge,
    Run,
    Tidebase,
    calls,
)

AGAIN = {"base": 0, "jitter": 0}


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


@pytest.fixture
def tide(dsn: str) -> Iterator[Tidebase]:
    with Tidebase(dsn) as tide:
        yield tide


async def read(tide: AsyncTidebase, run_id: Any, stream: str = "out", after: int = 0) -> list[Any]:
    return [(i.kind, i.chunk, i.step) async for i in tide.runs.stream(run_id, stream, after=after)]


async def test_what_a_step_writes_is_read_in_order_and_the_stream_ends_with_the_run(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        async def answer() -> str:
            for token in ("High ", "tide ", {"at": "noon"}):
                await run.stream("out").write(token)
            return "done"

        await run.stream("out").write("begins")
        await run.step("answer", answer)
        await run.stream("out").write("ends")

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert await read(atide, run_id) == [
        ("chunk", "begins", None),
        ("chunk", "High ", "answer"),
        ("chunk", "tide ", "answer"),
        ("chunk", {"at": "noon"}, "answer"),
        ("chunk", "ends", None),
        ("end", None, None),
    ]
    assert [(s.stream, s.chunks) for s in await atide.runs.streams(run_id)] == [("out", 5)]


def test_a_sync_workflow_writes_and_a_sync_reader_follows(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> None:
        def answer() -> None:
            for number in range(5):
                run.stream("out").write(number)

        run.step("answer", answer)

    run_id = tide.enqueue(w).run_id
    worker = threading.Thread(target=lambda: tide.work(drain=True))
    worker.start()
    chunks = [item.chunk for item in tide.runs.stream(run_id, "out") if item.kind == "chunk"]
    worker.join()
    assert chunks == [0, 1, 2, 3, 4]


async def test_a_reader_sees_chunks_while_the_step_runs(atide: AsyncTidebase) -> None:
    go_on = asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        async def answer() -> None:
            await run.stream("out").write("first")
            await go_on.wait()
            await run.stream("out").write("second")

        await run.step("answer", answer)

    run_id = (await atide.enqueue(w)).run_id
    working = asyncio.create_task(atide.work(drain=True))
    seen: list[Any] = []
    async for item in atide.runs.stream(run_id, "out"):
        seen.append(item.chunk)
        go_on.set()
    await working
    assert seen == ["first", "second", None]


async def test_a_step_that_is_executed_again_takes_its_chunks_back(atide: AsyncTidebase) -> None:
    tries: list[int] = []

    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> None:
        async def answer() -> None:
            tries.append(len(tries))
            await run.stream("out").write(f"try {len(tries)}")
            if len(tries) < 3:
                raise OSError("again")

        await run.step("first", lambda: None)
        await run.step("answer", answer, retries=1, retry_delay=0)

    run_id = (await atide.enqueue(w, backoff=AGAIN)).run_id
    await atide.work(drain=True)
    everything = await read(atide, run_id)
    assert everything == [
        ("restart", None, "answer"),
        ("chunk", "try 3", "answer"),
        ("end", None, None),
    ]


async def test_a_step_begun_by_its_block_writes_under_its_name(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        async with run.begin_step("turn") as step:
            await run.stream("out", step="turn").write("a")
            await step.complete(1)

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await read(atide, run_id))[0] == ("chunk", "a", "turn")


async def test_bad_chunks_are_named_and_the_rest_is_written(atide: AsyncTidebase) -> None:
    errors: list[Any] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        stream = run.stream("out")
        await stream.write("before")
        for bad in (float("nan"), b"x", object()):
            try:
                await stream.write(bad)
            except BadPayload as error:
                errors.append(str(error))
        try:
            await stream.write("x" * 2**21)
        except PayloadTooLarge as error:
            errors.append(str(error))
        await stream.write("after")

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert len(errors) == 4
    assert all("'out'" in error for error in errors[:3])
    assert "chunks is too large" in errors[3]
    chunks = [chunk for kind, chunk, _ in await read(atide, run_id) if kind == "chunk"]
    assert chunks[-1] == "after"
    with pytest.raises(NotFound, match="other"):
        await read(atide, run_id, "other")


async def test_readers_from_every_place_read_the_same(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        async def answer() -> None:
            for number in range(30):
                await run.stream("out").write(number)
                if number % 7 == 0:
                    await run.stream("out").flush()

        await run.step("answer", answer)

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    for after in range(31):
        found = [chunk for kind, chunk, _ in await read(atide, run_id, after=after)]
        assert found == [*range(after, 30), None]


async def test_a_thousand_chunks_cost_a_fiftieth_of_a_thousand_rows(
    atide: AsyncTidebase, connection: Connection
) -> None:
    """Of WAL, beside a call for each chunk, in which the step has the same begin and end."""
    tokens = [f" w{number % 97}" for number in range(1000)]
    wal: dict[str, int] = {}

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        async def gathered(stream: str) -> None:
            for token in tokens:
                await run.stream(stream).write(token)

        async def single() -> None:
            for token in tokens:
                await run.stream("single").write(token)
                await run.stream("single").flush()

        several = {f"gathered {n}": partial(gathered, f"gathered {n}") for n in range(3)}
        work: dict[str, Any] = {"warm": lambda: None, **several, "single": single}
        for name, function in work.items():
            before = value(connection, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            await run.step(name, function)
            after = value(connection, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            wal[name] = int(after - before)

    connection.execute("checkpoint")
    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    kept = dict(
        connection.execute(
            "select s.stream, count(*) from tide.stream_chunks as s where s.run_id = %s group by 1",
            (run_id,),
        ).fetchall()
    )
    assert kept == {"gathered 0": 1, "gathered 1": 1, "gathered 2": 1, "single": 1}
    # The least of them: the server writes something of its own now and then.
    least = min(size for name, size in wal.items() if name.startswith("gathered"))
    assert least * 50 < wal["single"], wal
    found = [chunk for kind, chunk, _ in await read(atide, run_id, "gathered 0") if kind == "chunk"]
    assert found == tokens


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
def test_killed_at_any_statement_a_stream_has_what_its_last_execution_wrote(
    direct_dsn: str, hour: Clock, moment: str
) -> None:
    async def work(dsn: str) -> None:
        async with AsyncTidebase(dsn) as tide:

            @tide.workflow("w", max_attempts=5)
            async def w(run: AsyncRun, input: Any) -> None:
                async def answer(part: int) -> None:
                    for number in range(3):
                        await run.stream("out").write([part, number])
                        await run.stream("out").flush()

                for part in (1, 2):
                    await run.step(f"part {part}", partial(answer, part))

            await tide.work(drain=True, lease=60)

    async def follow(run_id: Any, after: int) -> list[Any]:
        async with AsyncTidebase(direct_dsn) as tide:
            return [item async for item in tide.runs.stream(run_id, "out", after=after)]

    with Tidebase(direct_dsn) as tide:
        for number in range(1, 200, 4):
            run_id = tide.enqueue("w", max_attempts=5).run_id
            died = killed(direct_dsn, (number, moment), work)
            before = tide.execute(calls.read_stream(run_id, "out"))
            hour.advance(timedelta(minutes=2))
            tide.reconcile()
            hour.advance(timedelta(minutes=10))
            asyncio.run(work(direct_dsn))
            whole = asyncio.run(follow(run_id, 0))
            chunks = [item.chunk for item in whole if item.kind == "chunk"]
            assert chunks == [[part, n] for part in (1, 2) for n in range(3)], number
            # A reader that had seen some of it is told what is void, or has seen nothing void.
            seen = before[-1].position if before else 0
            rest = asyncio.run(follow(run_id, seen))
            void = {item.step for item in rest if item.kind == "restart"}
            kept = [item.chunk for item in before if item.kind == "chunk" and item.step not in void]
            assert kept + [i.chunk for i in rest if i.kind == "chunk"] == chunks, number
            if not died:
                break
    assert not died
    assert number > 8
