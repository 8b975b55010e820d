"""What a run writes while it works, followed over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.runs.acts import Tide, contents
from tests.server.conftest import PATIENCE, Http
from tests.support import open_connection


@pytest.fixture
def worker(module_dsn: str) -> Iterator[Tide]:
    """The database behind the door, as a worker has it."""
    with open_connection(module_dsn) as connection:
        yield Tide(connection)


def follow(http: Http, run_id: Any, stream: str = "out", **options: Any) -> Iterator[Any]:
    """Each frame: its event, id and data; closes the stream when it is left."""
    headers = options.pop("headers", None)
    with http.client.stream(
        "GET",
        f"{http.prefix}/runs/run_{run_id.hex}/streams/{stream}",
        params=options,
        headers=headers,
        timeout=PATIENCE,
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        found: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, text = line.partition(": ")
            if line and name:
                found[name] = text
            elif found and not line:
                yield found["event"], int(found["id"]), json.loads(found["data"]).get("chunk")
                found = {}


def append(worker: Tide, run: Any, *chunks: Any, **options: Any) -> None:
    worker.append_stream(
        run_id=run.run_id, lease_id=run.lease_id, stream="out", chunks=list(chunks), **options
    )


def test_chunks_come_as_they_are_written_and_the_stream_ends_with_the_run(
    http: Http, worker: Tide
) -> None:
    run = worker.begun()
    append(worker, run, "two\nlines", {"a": 1})
    seen: list[Any] = []
    for item in follow(http, run.run_id):
        seen.append(item)
        if len(seen) == 2:
            append(worker, run, None)
        if len(seen) == 3:
            worker.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert seen == [
        ("chunk", 1, "two\nlines"),
        ("chunk", 2, {"a": 1}),
        ("chunk", 3, None),
        ("end", 3, None),
    ]


def test_a_reader_goes_on_where_it_was_and_is_told_of_what_is_void(
    http: Http, worker: Tide
) -> None:
    run = worker.begun()
    held = {"run_id": run.run_id, "lease_id": run.lease_id, "name": "write"}
    worker.begin_step(**held)
    append(worker, run, "a", "b", step="write")
    worker.fail_step(**held, error={"message": "x"}, retryable=True)
    worker.begin_step(**held)
    append(worker, run, "A", step="write")
    worker.complete_step(**held)
    worker.complete(run_id=run.run_id, lease_id=run.lease_id)
    last = {"last-event-id": "1"}
    for options in ({"after": 1}, {"headers": last}, {"headers": last, "after": 4}):
        assert list(follow(http, run.run_id, **options)) == [
            ("restart", 3, None),
            ("chunk", 4, "A"),
            ("end", 4, None),
        ]


def test_streams_of_a_run_are_listed(http: Http, worker: Tide) -> None:
    run = worker.begun()
    append(worker, run, 1, 2)
    (listed,) = http.get(f"/runs/run_{run.run_id.hex}/streams")["streams"]
    assert (listed["stream"], listed["chunks"], listed["lastPosition"]) == ("out", 2, 2)


def test_what_is_not_there_is_refused_before_the_stream_opens(http: Http, worker: Tide) -> None:
    run = worker.begun()
    worker.complete(run_id=run.run_id, lease_id=run.lease_id)
    known = f"/runs/run_{run.run_id.hex}/streams"
    assert http("GET", f"{known}/out")[0] == 404
    assert http("GET", f"/runs/run_{'0' * 32}/streams/out")[0] == 404
    assert http("GET", f"{known}/out?after=x")[0] == 400
    assert http("GET", f"{known}/out", headers={"last-event-id": "x"})[0] == 400


def test_followers_write_nothing(http: Http, worker: Tide) -> None:
    run = worker.begun()
    append(worker, run, "a")
    tables = ("watchers", "stream_chunks", "events", "runs_active", "waiters", "workers")
    before = contents(worker.connection)
    readers = [follow(http, run.run_id) for _ in range(5)]
    assert [next(reader) for reader in readers] == [("chunk", 1, "a")] * 5
    after = contents(worker.connection)
    assert [after[table] for table in tables] == [before[table] for table in tables]
    for reader in readers:
        reader.close()  # type: ignore[attr-defined]
