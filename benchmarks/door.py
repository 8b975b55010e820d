"""Calls through the HTTP door beside the same calls of the driver."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httptools

from benchmarks.crew import Step
from benchmarks.stage import execute, free_port
from tidebase_pg import Tidebase

QUEUE = "bench"


@contextmanager
def gateway(dsn: str, *, pool_size: int = 16, studio: bool = False) -> Iterator[int]:
    """The port of a gateway of one process over a database."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tidebase_pg", "--dsn", dsn, "serve", "--port", str(port),
            "--pool-size", str(pool_size), "--no-reconcile", "--no-deliver",
            *(() if studio else ("--no-studio",)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


class Line:
    """A kept connection that takes little time of its own, as load generators do.

    `http.client` reads the headers of an answer as an e-mail's: 0.15 ms of processor a call,
    beside 0.01 here and 0.7 in the gateway.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._body = bytearray()
        self._answered = False

    def close(self) -> None:
        self._socket.close()

    def on_body(self, part: bytes) -> None:
        """For httptools: a piece of the answer."""
        self._body += part

    def on_message_complete(self) -> None:
        """For httptools: the answer is whole."""
        self._answered = True

    def post(self, path: str, body: Any) -> Any:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        self._body.clear()
        self._answered = False
        answer = httptools.HttpResponseParser(self)
        self._socket.sendall(head.encode() + content)
        while not self._answered:
            received = self._socket.recv(65_536)
            if not received:
                raise RuntimeError(f"{path}: the gateway closed the connection")
            answer.feed_data(received)
        if answer.get_status_code() != 200:
            raise RuntimeError(f"{path}: {answer.get_status_code()} {bytes(self._body[:200])!r}")
        return json.loads(self._body)


def polled(dsn: str, port: int, workers: int, seconds: float) -> float:
    """Cores that the server takes while so many workers ask for runs once a second, over
    connections of their own and new ones, as the Python SDK has them."""
    ended = threading.Event()

    def ask(number: int) -> None:
        ended.wait(number / workers)
        while not ended.is_set():
            asked = time.monotonic()
            with closing(Line(port)) as line:
                line.post("/queues/claim", {"queues": [QUEUE]})
            ended.wait(max(0.0, 1.0 - (time.monotonic() - asked)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(min(3.0, seconds))
        began, before = time.monotonic(), taken(dsn)
        time.sleep(seconds)
        return (taken(dsn) - before) / (time.monotonic() - began)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def taken(dsn: str, but: str = "") -> float:
    """Seconds of processors that the backends of a database have used; this one is left out, and
    those of an application."""
    rows = execute(
        dsn,
        "select pid from pg_stat_activity where datname = current_database() "
        f"and pid <> pg_backend_pid() and application_name <> '{but or 'nobody'}'",
    )
    # In nanoseconds; the clock ticks of `stat` are too coarse for what an idle worker costs.
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for (pid,) in rows) / 1e9


def driver_enqueue(dsn: str) -> Step:
    tide = Tidebase(dsn)

    def step() -> int:
        tide.enqueue("noop", queue=QUEUE, input={"i": 1})
        return 1

    return step


def door_enqueue(port: int) -> Step:
    line = Line(port)

    def step() -> int:
        line.post(f"/queues/{QUEUE}/enqueue", {"workflowName": "noop", "input": {"i": 1}})
        return 1

    return step


def driver_drain(dsn: str) -> Step:
    """Claim one, complete it."""
    from tidebase_pg import calls

    tide = Tidebase(dsn)

    def step() -> int:
        tide.enqueue("noop", queue=QUEUE, input={"i": 1})
        for run in tide.execute(calls.claim(queues=[QUEUE])):
            assert run.lease_id is not None
            tide.execute(calls.complete(run.run_id, run.lease_id, result={"n": 1}))
            return 1
        return 0

    return step


def door_drain(port: int) -> Step:
    line = Line(port)

    def step() -> int:
        line.post(f"/queues/{QUEUE}/enqueue", {"workflowName": "noop", "input": {"i": 1}})
        for run in line.post("/queues/claim", {"queues": [QUEUE]})["runs"]:
            line.post(f"/runs/{run['id']}/complete", {"result": {"n": 1}})
            return 1
        return 0

    return step


def driver_step(dsn: str) -> Step:
    """Begin and complete steps of one run."""
    from tidebase_pg import calls

    tide = Tidebase(dsn)
    made = tide.execute(calls.create_run("noop"))
    run = tide.execute(calls.begin_run(made.run_id))
    assert run.lease_id is not None
    lease_id, names = run.lease_id, iter(range(10**9))

    def step() -> int:
        name = f"s{next(names)}"
        tide.execute(calls.begin_step(made.run_id, lease_id, name))
        tide.execute(calls.complete_step(made.run_id, lease_id, name, output={"n": 1}))
        return 1

    return step


def door_step(port: int) -> Step:
    line = Line(port)
    run_id = line.post("/runs/noop", {})["run"]["id"]
    lease = line.post(f"/runs/{run_id}/begin", {})["leaseOwner"]
    names = iter(range(10**9))

    def step() -> int:
        body = {"name": f"s{next(names)}", "inputHash": "h", "leaseOwner": lease}
        begun = line.post(f"/runs/{run_id}/steps/begin", body)["step"]["id"]
        path = f"/runs/{run_id}/steps/{begun}/complete"
        line.post(path, {"leaseOwner": lease, "output": {"n": 1}})
        return 1

    return step
