"""The program `tidebase-pg serve`: how it starts, ends, and outlives what it stands on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import PATIENCE, Http, listen, wait_until
from tests.servers import Absent, Bouncer, RunningServer, free_port
from tests.support import Databases, open_connection, value

COMMAND = [sys.executable, "-m", "tidebase_pg"]


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("TIDEBASE_") and name != "PORT"
    }
    return {**kept, **more}


def refused(*arguments: str, **more: str) -> tuple[int, str]:
    """How a program that does not start ends, and what it says."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(**more), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


@contextmanager
def program(dsn: str, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], Http]]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--dsn", dsn, "serve", "--port", str(port), *arguments],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: process.poll() is not None or answers(client))
            yield process, Http(client)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_it_refuses_to_serve_everybody_without_being_told(module_dsn: str) -> None:
    code, said = refused("--dsn", module_dsn, "serve", "--host", "0.0.0.0")
    assert code == 1
    assert "TIDEBASE_API_KEY" in said
    assert "--insecure-open" in said


@pytest.mark.parametrize(
    ("name", "given"), [("TIDEBASE_LEASE_MS", "soon"), ("TIDEBASE_LEASE_MS", "1"), ("PORT", "x")]
)
def test_a_wrong_setting_is_named(module_dsn: str, name: str, given: str) -> None:
    code, said = refused("--dsn", module_dsn, "serve", **{name: given})
    assert code == 1
    assert name in said
    assert given in said


def test_a_missing_schema_is_told_with_what_to_run(
    databases: Databases, server: RunningServer
) -> None:
    with databases.database() as name:
        code, said = refused("--dsn", server.dsn(name), "serve")
        assert code == 3
        assert "tidebase-pg install" in said
        with program(server.dsn(name), TIDEBASE_AUTO_MIGRATE="1") as (_, http):
            assert http.get("/runs")["runs"] == []


def test_what_tidebase_users_set_is_understood(module_dsn: str) -> None:
    with program(
        module_dsn,
        TIDEBASE_API_KEY="key-1",
        TIDEBASE_LEASE_MS="90000",
        TIDEBASE_CORS_ORIGIN="https://app.example",
    ) as (_, http):
        assert http("GET", "/runs")[0] == 401
        headers = {"authorization": "Bearer key-1"}
        run_id = http.post("/runs/w", {}, headers=headers)["run"]["id"]
        begun = http.answer("POST", f"/runs/{run_id}/begin", headers=headers)
        assert begun.headers["access-control-allow-origin"] == "https://app.example"
        with open_connection(module_dsn) as sql:
            assert value(
                sql,
                "select r.lease = '90 seconds' from tide.runs_active as r where r.run_id = %s",
                run_id.removeprefix("run_"),
            )


def test_it_reconciles_unless_told_not_to(module_dsn: str) -> None:
    with program(module_dsn) as (_, http):
        wait_until(lambda: http("GET", "/ready")[0] == 200)


def test_sigterm_ends_streams_and_the_program(module_dsn: str) -> None:
    with program(module_dsn, "--no-reconcile", "--no-deliver") as (process, http):
        run_id = http.run()
        with http.client.stream("GET", f"/runs/{run_id}/events") as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("data: ") for line in lines)
            process.send_signal(signal.SIGTERM)
            assert ": this gateway is ending; connect again" in list(lines)
        assert process.wait(60) == 0


def test_a_killed_gateway_loses_nothing_it_has_answered(module_dsn: str) -> None:
    with program(module_dsn, "--no-reconcile", "--no-deliver") as (process, http):
        key = {"idempotency-key": "killed-1"}
        run_id = http.post("/runs/w", {"input": 1}, headers=key)["run"]["id"]
        lease = http.post(f"/runs/{run_id}/begin")["leaseOwner"]
        begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
        step = http.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
        process.kill()
        process.wait(60)
    with program(module_dsn, "--no-reconcile", "--no-deliver") as (_, http):
        assert http.post("/runs/w", {"input": 1}, headers=key)["run"]["id"] == run_id
        done = {"leaseOwner": lease, "output": 1}
        http.post(f"/runs/{run_id}/steps/{step}/complete", done)
        assert http.post(f"/runs/{run_id}/complete", {"result": 2})["run"]["status"] == "completed"
        seen = [event["type"] for event in listen(http, run_id, until="end")]
    assert seen == [
        "run.created", "run.started", "step.started", "step.completed", "run.completed",
    ]  # fmt: skip


def test_headers_are_neither_long_nor_slow(module_dsn: str) -> None:
    with program(module_dsn, "--no-reconcile", "--no-deliver") as (_, http):
        address = (http.client.base_url.host, http.client.base_url.port or 0)
        with socket.create_connection(address, timeout=PATIENCE) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n")
            sent = 0
            try:
                while sent < 1_000_000:
                    line.sendall(b"x-filler: " + b"y" * 1000 + b"\r\n")
                    sent += 1012
                answer = line.recv(1000)
            except OSError:
                answer = b""
            assert not answer.startswith(b"HTTP/1.1 200")
        with socket.create_connection(address, timeout=PATIENCE) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nhost: ")
            assert line.recv(1000) == b""
        assert http.get("/health") == {"ok": True}


def test_several_processes_share_a_port(module_dsn: str) -> None:
    with program(module_dsn, "--workers", "2", "--no-reconcile", "--no-deliver") as (process, http):
        run_id = http.run()
        assert http.get(f"/runs/{run_id}")["run"]["id"] == run_id
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_it_serves_from_behind_pgbouncer(
    databases: Databases, template: str, server: RunningServer
) -> None:
    # Another user runs it, who may not look into the folders of pytest.
    folder = tempfile.TemporaryDirectory(prefix="tide-bouncer-")
    try:
        bouncer = Bouncer(Path(folder.name), server)
    except Absent as absent:
        pytest.skip(str(absent))
    with folder, databases.database(template) as name:
        try:
            front = bouncer.start()
            with program(front.dsn(name)) as (_, http):
                run_id, lease = http.begun()
                begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
                with closing(listen(http, run_id)) as stream:
                    assert next(stream)["type"] == "run.created"
                    assert http.post(f"/runs/{run_id}/steps/begin", begin)["action"] == "execute"
                    http.post(f"/runs/{run_id}/complete", {})
                    seen = [next(stream)["type"] for _ in range(3)]
        finally:
            bouncer.stop()
    assert seen == ["run.started", "step.started", "run.completed"]


def test_dev_serves_its_own_database(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "dev", "--data", str(tmp_path / "data"), "--serve", "--port", str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: process.poll() is not None or answers(client))
            assert Http(client).run()
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"http://127.0.0.1:{port}" in said
