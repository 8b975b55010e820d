"""Over HTTP a key may do what its role may, acts under its name, and opens nothing once revoked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.agents.test_mcp import KnowsTasks, ask, begun, call, refusal, register
from tests.agents.test_mcp_process import task_tools
from tests.roles.test_truth_table import MAY
from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.mcp import ROLES, TideTasks, server

FUNCTIONS = {
    "list_runs": "list_runs",
    "describe_run": "describe_run",
    "explain_run": "explain_wait",
    "list_events": "list_events",
    "read_stream": "read_stream",
    "list_queues": "list_queues",
    "list_gates": "list_gates",
    "enqueue": "enqueue",
    "cancel_run": "cancel",
    "retry_run": "retry",
    "decide_gate": "decide_gate",
    "tasks/create": "enqueue",
    "tasks/get": "list_runs",
    "tasks/cancel": "cancel",
    "tasks/update": "decide_gate",
}


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


@pytest.fixture
async def url(atide: AsyncTidebase) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    made = server(atide, url=url, tasks=TideTasks(atide, task_tools()))
    config = uvicorn.Config(made.streamable_http_app(), log_level="error", ws="none")
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    yield url
    running.should_exit = True
    await serving


@asynccontextmanager
async def client_of(url: str, token: str | None) -> AsyncIterator[Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, extensions=[KnowsTasks()]) as client:
            yield client


async def status(url: str, token: str | None) -> int:
    headers = {"Accept": "application/json, text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx2.AsyncClient() as http:
        return int((await http.post(url, json=message, headers=headers)).status_code)


def test_keys_may_do_what_the_database_grants_to_their_roles() -> None:
    letters = {"c": "client", "w": "worker", "o": "operator", "v": "viewer", "a": "approver"}
    assert FUNCTIONS.keys() == ROLES.keys()
    for tool, function in FUNCTIONS.items():
        granted = {letters[letter] for letter in MAY[function].strip().replace(" ", "")}
        assert set(ROLES[tool]) == granted, tool


@pytest.mark.parametrize("token", [None, "tide_unknown", "x" * 5000])
async def test_without_a_key_nothing_is_answered(url: str, token: str | None) -> None:
    assert await status(url, token) == 401


async def test_each_key_may_do_what_its_role_may_under_its_name(
    url: str, atide: AsyncTidebase
) -> None:
    tokens = {role: await atide.keys.create(f"my-{role}", role) for role in ("client", "operator")}
    tokens["viewer"] = await atide.keys.create("my-viewer", "viewer")
    async with client_of(url, tokens["client"]) as client:
        made = await call(client, "enqueue", workflow="report")
        said = await refusal(client, "retry_run", run_id=made["run_id"])
        assert said.endswith(
            "key 'my-client' has the role client; retry_run takes a key of operator"
        )
        assert "operator or approver" in await refusal(
            client, "decide_gate", gate_id=made["run_id"], decision="approved"
        )
    async with client_of(url, tokens["viewer"]) as client:
        assert [row["queue"] for row in await call(client, "list_queues")] == ["default"]
        assert "client or operator" in await refusal(client, "list_runs")
    async with client_of(url, tokens["operator"]) as client:
        assert "takes a key of client" in await refusal(client, "enqueue", workflow="report")
        await call(client, "cancel_run", run_id=made["run_id"], reason="not wanted")
        events = await call(client, "list_events", run_id=made["run_id"])
        assert events[-1]["payload"]["actor"] == "my-operator"


async def test_tasks_take_keys_too(url: str, atide: AsyncTidebase) -> None:
    register(atide)
    client_key = await atide.keys.create("asks", "client")
    approver_key = await atide.keys.create("decides", "approver")
    async with client_of(url, client_key) as client:
        task: Any = await begun(client, "secret")
        await atide.work(drain=True)
        waiting = await ask(client, "get", taskId=task["taskId"])
        answers = {key: {"action": "accept"} for key in waiting["inputRequests"]}
        with pytest.raises(Exception, match="operator or approver"):
            await ask(client, "update", taskId=task["taskId"], inputResponses=answers)
    async with client_of(url, approver_key) as approver:
        refused: Any = await approver.session.call_tool("report", {"topic": "tides"})
        assert refused.is_error and "takes a key of client" in refused.content[0].text
        with pytest.raises(Exception, match="client or operator"):
            await ask(approver, "get", taskId=task["taskId"])
        await ask(approver, "update", taskId=task["taskId"], inputResponses=answers)
    gate = await atide.gates.get(next(iter(answers)))
    assert (gate.status, gate.actor) == ("approved", "decides")


async def test_the_key_requests_a_run_and_not_the_login_of_the_server(
    url: str, atide: AsyncTidebase
) -> None:
    app, boss = (
        await atide.keys.create("app", "client"),
        await atide.keys.create("boss", "operator"),
    )
    async with client_of(url, app) as client:
        await call(client, "enqueue", workflow="asks")

    @atide.workflow("asks")
    async def asks(run: AsyncRun, input: object) -> None:
        await run.gate("pay", "Pay?", not_requester=True)

    await atide.work(drain=True)
    (gate,) = await atide.gates.pending()
    described = await atide.gates.describe(gate.gate_id)
    assert described["requested_by"] == "key app"
    decision = {"gate_id": str(gate.gate_id), "decision": "approved"}
    async with client_of(url, boss) as client:
        decided = await call(client, "decide_gate", **decision)
    assert (decided["status"], decided["actor"]) == ("approved", "boss")


async def test_a_revoked_key_opens_nothing_any_more(url: str, atide: AsyncTidebase) -> None:
    token = await atide.keys.create("leaver", "operator")
    assert await status(url, token) != 401
    await atide.keys.revoke("leaver")
    assert await status(url, token) == 401
