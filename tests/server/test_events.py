"""The stream of a run: history, then live, in order and once."""

from __future__ import annotations

import asyncio
import resource
import threading
from typing import Any

import pytest

from tests.server.conftest import (
    PATIENCE,
    Http,
    Served,
    client_of,
    collect,
    listen,
    serving,
    wait_until,
)
from tests.support import Connection, value
from tidebase_pg.server import Settings
from tidebase_pg.server.hub import HEAVY

STREAMS = 1000


def finish(http: Http, run_id: str) -> None:
    http.post(f"/runs/{run_id}/cancel", {"reason": "done"})


def test_history_comes_first_then_what_happens(http: Http) -> None:
    run_id = http.run(input={"a": 1})
    http.put(f"/runs/{run_id}/state", {"value": {"progress": 1}})
    seen: list[dict[str, Any]] = []
    for event in listen(http, run_id):
        seen.append(event)
        if len(seen) == 2:
            http.put(f"/runs/{run_id}/state", {"value": {"progress": 2}})
            finish(http, run_id)
        if event["type"] == "run.cancelled":
            break
    assert [event["seq"] for event in seen] == [1, 2, 3, 4]
    assert [event["type"] for event in seen] == [
        "run.created", "state.updated", "state.updated", "run.cancelled",
    ]  # fmt: skip
    assert [event["payload"]["value"] for event in seen[1:3]] == [{"progress": 1}, {"progress": 2}]
    assert seen[0]["payload"]["input"] == {"a": 1}


def test_a_frame_is_an_id_and_one_line_of_data(http: Http) -> None:
    run_id = http.run(input={"text": "two\nlines"})
    with http.client.stream("GET", f"/runs/{run_id}/events") as answer:
        lines = answer.iter_lines()
        found = [next(lines) for _ in range(5)]
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert [line.partition(":")[0] for line in found[2:4]] == ["id", "data"]
    assert found[4] == ""


def test_last_event_id_wins_over_after(http: Http) -> None:
    run_id = http.run()
    http.put(f"/runs/{run_id}/state", {"value": 1})
    finish(http, run_id)
    seen = [
        event["seq"]
        for event in listen(http, run_id, headers={"last-event-id": "2"}, after=0, until="end")
    ]
    assert seen == [3]


def test_the_stream_stays_open_after_the_run_unless_asked(http: Http) -> None:
    run_id = http.run()
    finish(http, run_id)
    assert [event["seq"] for event in listen(http, run_id, until="end")] == [1, 2]
    stream = listen(http, run_id)
    assert [next(stream)["seq"], next(stream)["seq"]] == [1, 2]
    http.post(f"/runs/{run_id}/usage", {"costUsd": 1})
    assert next(stream)["type"] == "usage.recorded"
    stream.close()


def test_after_that_is_no_number_is_a_bad_request(http: Http) -> None:
    run_id = http.run()
    status, body = http("GET", f"/runs/{run_id}/events?after=x")
    assert (status, body["issues"][0]["path"]) == (400, ["after"])
    status, body = http("GET", f"/runs/{run_id}/events", headers={"last-event-id": "x"})
    assert (status, body["issues"][0]["path"]) == (400, ["Last-Event-ID"])


def test_an_unknown_run_has_no_stream(http: Http) -> None:
    assert http("GET", "/runs/run_" + "0" * 32 + "/events") == (404, {"error": "run not found"})


def test_silence_is_broken_by_comments(module_dsn: str) -> None:
    with (
        serving(Settings(dsn=module_dsn, keep_alive=0.05)) as served,
        client_of(served) as http,
    ):
        run_id = http.run()
        with http.client.stream("GET", f"/runs/{run_id}/events") as answer:
            lines = answer.iter_lines()
            assert any(line == ": keep-alive" for line in lines)


def test_what_eight_writers_do_is_told_in_order_by_two_replicas(
    served: Served, module_dsn: str, sql: Connection
) -> None:
    with serving(Settings(dsn=module_dsn)) as replica, client_of(served) as one:
        with client_of(replica) as other:
            run_id = one.run()
            told: dict[str, list[dict[str, Any]]] = {}

            def follow(name: str, http: Http) -> None:
                told[name] = collect(http, run_id, "run.cancelled")

            followers = [
                threading.Thread(target=follow, args=pair)
                for pair in (("one", one), ("other", other))
            ]

            def write(http: Http) -> None:
                for number in range(10):
                    http.put(f"/runs/{run_id}/state", {"value": number})

            writers = [
                threading.Thread(target=write, args=((one, other)[at % 2],)) for at in range(8)
            ]
            for thread in (*followers, *writers):
                thread.start()
            for thread in writers:
                thread.join()
            finish(one, run_id)
            for thread in followers:
                thread.join()
    log = [
        (row.seq, row.type)
        for row in sql.execute(
            "select * from tide.list_events(%s) order by seq", (run_id.removeprefix("run_"),)
        )
    ]
    assert len(log) == 82
    for events in told.values():
        assert [(event["seq"], event["type"]) for event in events] == log


def test_streams_outlive_the_connections_of_the_gateway(served: Served, sql: Connection) -> None:
    with client_of(served) as http:
        run_id = http.run()
        stream = listen(http, run_id)
        assert next(stream)["seq"] == 1
        sql.execute(
            "select pg_terminate_backend(a.pid) from pg_stat_activity as a "
            "where a.datname = current_database() and a.pid <> pg_backend_pid()"
        )
        wait_until(lambda: http("PUT", f"/runs/{run_id}/state", {"value": 1})[0] == 200)
        assert next(stream)["type"] == "state.updated"
        stream.close()


async def test_a_thousand_streams_share_one_listening_connection(
    served: Served, http: Http, sql: Connection
) -> None:
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 4 * STREAMS:
        pytest.skip(f"a process may open {most} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, 4 * STREAMS), most))
    runs = [await asyncio.to_thread(http.run) for _ in range(5)]
    port = int(served.url.rpartition(":")[2])
    opened = asyncio.Semaphore(0)

    async def follow(run_id: str) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /runs/{run_id}/events?until=end HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(request.encode())
        seen: list[int] = []
        while len(seen) < 2:
            line = await reader.readline()
            if line.startswith(b"id: "):
                seen.append(int(line.removeprefix(b"id: ")))
                opened.release()
        writer.close()
        return seen

    following = [asyncio.create_task(follow(runs[at % 5])) for at in range(STREAMS)]
    for _ in following:
        await asyncio.wait_for(opened.acquire(), PATIENCE)
    listening = value(
        sql,
        "select count(*) from pg_stat_activity as a where a.datname = current_database() "
        "and a.query = 'listen tide_events'",
    )
    assert listening == 1
    for run_id in runs:
        await asyncio.to_thread(finish, http, run_id)
    assert await asyncio.gather(*following) == [[1, 2]] * STREAMS
    await asyncio.to_thread(wait_until, lambda: served.gateway.streams == 0)


def test_a_reader_that_stops_reading_grows_nothing(served: Served, http: Http) -> None:
    run_id, _ = http.begun()
    with http.client.stream("GET", f"/runs/{run_id}/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        for number in range(40):
            http.put(f"/runs/{run_id}/state", {"value": "x" * 50_000, "label": str(number)})
        kept = [reader.weight for reader in served.gateway.hub.readers]
        assert max(kept) <= HEAVY
