"""The stream of a run: history, then live, in order and once."""

from __future__ import annotations

import asyncio
import resource
import threading
from contextlib import closing
from typing import Any

import pytest

from tests.server.conftest import (
    PATIENCE,
    Http,
    Served,
    client_of,
    collect,
    fresh,
    listen,
    serving,
    wait_until,
)
from tests.support import Connection, value
from tidebase_pg.server import Settings
from tidebase_pg.server.hub import HEAVY
from tidebase_pg.server.payloads import SINGLY

STREAMS = 1000


def finish(http: Http, run_id: str) -> None:
    http.post(f"/runs/{run_id}/cancel", {"reason": "done"})


def test_history_comes_first_then_what_happens(http: Http) -> None:
    run_id = http.run(input={"a": 1})
    http.put(f"/runs/{run_id}/state", {"value": {"progress": 1}})
    seen: list[dict[str, Any]] = []
    with closing(listen(http, run_id)) as events:
        for event in events:
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


def test_events_tell_what_users_of_the_wire_read(http: Http) -> None:
    run_id, lease = http.begun()
    options = {
        "sideEffects": ["mail"], "idempotencyKey": "k", "replay": "auto",
        "checkpointInvariant": "sent", "verifiedBy": "the mailbox",
    }  # fmt: skip
    for name, report in (("a", "complete"), ("b", "fail")):
        begin = {"name": name, "inputHash": "h", "leaseOwner": lease, "options": options}
        step = http.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
        body = {"leaseOwner": lease, "error": {"m": 1}, "retryable": True}
        http.post(f"/runs/{run_id}/steps/{step}/{report}", body)
    ask = {"name": "g", "prompt": "ok?", "data": {"d": 1}, "capability": {"scopes": ["x"]}}
    gate = http.post(f"/runs/{run_id}/gates/begin", ask)["gate"]
    decision = {"token": gate["resolveToken"], "decision": "approved", "actor": "ann"}
    http.post(f"/runs/{run_id}/gates/{gate['id']}/resolve", decision)
    http.post(f"/runs/{run_id}/usage", {"costUsd": 0.5})
    http.post(f"/runs/{run_id}/complete", {})
    whole = http.get(f"/runs/{run_id}")["events"]
    assert collect(http, run_id, "run.completed") == whole
    assert collect(http, run_id, "run.completed", after=2) == whole[2:]
    told = {event["type"]: event["payload"] for event in whole}
    contract = told["step.started"]["resumeContract"]
    assert contract == told["step.failed"]["resumeContract"]
    assert (contract["sideEffects"], contract["idempotencyKey"]) == (["mail"], "k")
    completed = told["step.completed"]
    assert (completed["checkpointInvariant"], completed["verifiedBy"]) == ("sent", "the mailbox")
    assert told["step.failed"]["retryable"] is True
    for word, status in (("gate.created", "pending"), ("gate.resolved", "approved")):
        shown = told[word]["gate"]
        assert (shown["id"], shown["prompt"], shown["status"]) == (gate["id"], "ok?", status)
        assert (shown["data"], shown["capability"]) == ({"d": 1}, {"scopes": ["x"]})
        assert told[word]["resolveUrl"].endswith(f"/gates/{gate['id']}/resolve")
        assert gate["resolveToken"] not in str(told[word])
    assert told["usage.recorded"]["usage"]["createdAt"] is not None


def test_the_steps_of_a_long_page_have_their_contracts(http: Http) -> None:
    run_id, lease = http.begun()
    for number in range(SINGLY + 1):
        begin = {"name": str(number), "inputHash": "h", "leaseOwner": lease}
        options = {"options": {"sideEffects": [f"e{number}"]}}
        http.post(f"/runs/{run_id}/steps/begin", begin | options)
    finish(http, run_id)
    started = [
        event["payload"]
        for event in collect(http, run_id, "run.cancelled", after=2)
        if event["type"] == "step.started"
    ]
    effects = [payload["resumeContract"]["sideEffects"] for payload in started]
    assert effects == [[f"e{number}"] for number in range(SINGLY + 1)]


def test_a_claim_tells_its_queue(http: Http) -> None:
    queue = fresh("q")
    run_id = http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})["run"]["id"]
    http.post("/queues/claim", {"queues": [queue], "leaseOwner": "w1"})
    claimed = collect(http, run_id, "run.claimed", after=1)[-1]["payload"]
    assert (claimed["queue"], claimed["leaseOwner"]) == (queue, "w1")


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
    with closing(listen(http, run_id)) as stream:
        assert [next(stream)["seq"], next(stream)["seq"]] == [1, 2]
        http.post(f"/runs/{run_id}/usage", {"costUsd": 1})
        assert next(stream)["type"] == "usage.recorded"


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
        with closing(listen(http, run_id)) as stream:
            assert next(stream)["seq"] == 1
            sql.execute(
                "select pg_terminate_backend(a.pid) from pg_stat_activity as a "
                "where a.datname = current_database() and a.pid <> pg_backend_pid()"
            )
            wait_until(lambda: http("PUT", f"/runs/{run_id}/state", {"value": 1})[0] == 200)
            assert next(stream)["type"] == "state.updated"


async def test_a_thousand_streams_share_one_listening_connection(
    served: Served, http: Http, sql: Connection
) -> None:
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 4 * STREAMS:
        pytest.skip(f"a process may open {most} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, 4 * STREAMS), most))
    runs = [await asyncio.to_thread(http.run) for _ in range(5)]
    port = int(served.url.rpartition(":")[2])
    opening = asyncio.Semaphore(served.settings.pool_size)  # more wait for a connection, not long
    opened = asyncio.Semaphore(0)

    async def seq(reader: asyncio.StreamReader) -> int:
        while not (line := await reader.readline()).startswith(b"id: "):
            assert line and not line.startswith(b"HTTP/1.1 5"), line
        return int(line.removeprefix(b"id: "))

    async def follow(run_id: str) -> list[int]:
        async with opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            request = f"GET /runs/{run_id}/events?until=end HTTP/1.1\r\nhost: x\r\n\r\n"
            writer.write(request.encode())
            first = await seq(reader)
        opened.release()
        seen = [first, await seq(reader)]
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
