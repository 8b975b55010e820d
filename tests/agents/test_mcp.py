"""The MCP server, over its in-memory transport: operators, and workflows as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal
from uuid import uuid4

import pytest

pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")

from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import BaseModel, ConfigDict, Field

from tests.agents.test_mcp_process import WORKFLOW, Topic, task_tools
from tests.support import Connection
from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.mcp import TASKS, TideTasks, server


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structured = result.structured_content or {}
    return structured.get("result", structured)


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def test_an_operator_finds_a_run_learns_why_it_waits_and_cancels_it(
    atide: AsyncTidebase,
) -> None:
    async with Client(server(atide, actor="ann")) as client:
        made = await call(client, "enqueue", workflow="report", input={"n": 1}, delay_seconds=60)
        (listed,) = await call(client, "list_runs", workflow="report")
        assert (listed["run_id"], listed["status"]) == (made["run_id"], "queued")
        why = await call(client, "explain_run", run_id=made["run_id"])
        assert "not_due" in str(why) or "run_at" in str(why)
        assert (await call(client, "describe_run", run_id=made["run_id"]))["run"]["input"] == {
            "n": 1
        }
        await call(client, "cancel_run", run_id=made["run_id"], reason="not wanted")
        events = await call(client, "list_events", run_id=made["run_id"])
        assert events[-1]["payload"]["actor"] == "ann"
        again = await call(client, "retry_run", run_id=made["run_id"])
        assert again["status"] == "queued"
        queues = await call(client, "list_queues")
        assert [queue["queue"] for queue in queues] == ["default"]


async def test_refusals_are_told_to_the_model_with_their_remedy(atide: AsyncTidebase) -> None:
    async with Client(server(atide)) as client:
        assert "does not exist" in await refusal(client, "explain_run", run_id=str(uuid4()))
        assert "workflow" in await refusal(client, "enqueue", workflow="a\nb")
        assert await refusal(client, "describe_run", run_id="x")


async def test_a_login_does_what_its_roles_allow_and_no_more(
    atide: AsyncTidebase, dsn: str, connection: Connection
) -> None:
    login = f"mcp_{uuid4().hex}"
    run_id = (await atide.enqueue("report")).run_id
    connection.execute(f"create role {login} login in role tide_client".encode())
    try:
        async with AsyncTidebase(f"{dsn}&user={login}" if "?" in dsn else dsn) as limited:
            async with Client(server(limited)) as client:
                assert await call(client, "enqueue", workflow="report")
                said = await refusal(client, "retry_run", run_id=str(run_id))
                assert "group role operator" in said
    finally:
        connection.execute(f"drop role {login}".encode())


async def test_a_read_only_server_offers_nothing_that_changes_anything(
    atide: AsyncTidebase,
) -> None:
    async with Client(server(atide, read_only=True)) as client:
        tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} == {
        *("list_runs", "describe_run", "explain_run", "list_events"),
        *("read_stream", "list_queues", "list_gates"),
    }
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)


# Tasks ------------------------------------------------------------------------------------


class TaskParams(RequestParams):
    model_config = ConfigDict(extra="allow")


class Answer(Result):
    model_config = ConfigDict(extra="allow")


class Ask(Request[TaskParams, str]):
    method: str
    params: TaskParams


async def ask(client: Client, method: Literal["get", "update", "cancel"], **params: Any) -> Any:
    request = Ask(method=f"tasks/{method}", params=TaskParams(**params))
    answer = await client.session.send_request(request, Answer)  # type: ignore[arg-type]
    return answer.model_dump(by_alias=True)


class Handle(Result):
    """What a call of a tool answers instead of a result."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = Field(alias="resultType")


class KnowsTasks(ClientExtension):
    """A client that takes handles as they are."""

    identifier = TASKS

    def claims(self) -> Sequence[ResultClaim[Any]]:
        async def never(handle: Handle, ctx: ClaimContext) -> CallToolResult:
            raise AssertionError("handles are polled by the test")

        return [ResultClaim(result_type="task", model=Handle, resolve=never)]


def of_tasks(tide: AsyncTidebase) -> Client:
    made = server(tide, tasks=TideTasks(tide, task_tools()))
    return Client(made, extensions=[KnowsTasks()])


async def begun(client: Client, topic: str = "tides") -> Any:
    result = await client.session.call_tool("report", {"topic": topic}, allow_claimed=True)
    return result.model_dump(by_alias=True)


def register(tide: AsyncTidebase) -> None:
    @tide.workflow(WORKFLOW)
    async def report(run: AsyncRun, input: dict[str, Any]) -> Any:
        if input["topic"] == "secret":
            decision = await run.gate("publish", "Publish it?", data={"topic": "secret"})
            if not decision.approved:
                return {"published": False}
        if input["topic"] == "bad":
            raise RuntimeError("no such topic")
        return {"published": True, "topic": input["topic"]}


async def test_a_call_becomes_a_task_and_its_result_is_there_when_the_run_ends(
    atide: AsyncTidebase,
) -> None:
    register(atide)
    async with of_tasks(atide) as client:
        (tool,) = [t for t in (await client.list_tools()).tools if t.name == "report"]
        assert tool.input_schema["required"] == ["topic"]
        task = await begun(client)
        assert (task["resultType"], task["status"], task["ttlMs"]) == ("task", "working", None)
        assert (await ask(client, "get", taskId=task["taskId"]))["status"] == "working"
        await atide.work(drain=True)
        done = await ask(client, "get", taskId=task["taskId"])
        assert (done["status"], done["resultType"]) == ("completed", "complete")
        assert done["result"]["structuredContent"] == {"published": True, "topic": "tides"}


async def test_a_run_that_waits_for_people_asks_the_client_and_goes_on_by_the_answer(
    atide: AsyncTidebase,
) -> None:
    register(atide)
    async with of_tasks(atide) as client:
        for action, published in (("accept", True), ("decline", False)):
            task = await begun(client, "secret")
            await atide.work(drain=True)
            waiting = await ask(client, "get", taskId=task["taskId"])
            assert waiting["status"] == "input_required"
            ((key, question),) = waiting["inputRequests"].items()
            assert question["method"] == "elicitation/create"
            assert "Publish it?" in question["params"]["message"]
            answer = {"action": action, "content": {"decision": "approved", "comment": "fine"}}
            await ask(client, "update", taskId=task["taskId"], inputResponses={key: answer})
            # The same answer once more is no error.
            await ask(client, "update", taskId=task["taskId"], inputResponses={key: answer})
            await atide.work(drain=True)
            done = await ask(client, "get", taskId=task["taskId"])
            assert done["result"]["structuredContent"]["published"] is published


async def test_a_task_that_failed_says_so_and_one_that_is_cancelled_too(
    atide: AsyncTidebase,
) -> None:
    register(atide)
    async with of_tasks(atide) as client:
        failed, cancelled = await begun(client, "bad"), await begun(client)
        await ask(client, "cancel", taskId=cancelled["taskId"])
        await atide.work(drain=True)
        answer = await ask(client, "get", taskId=failed["taskId"])
        assert answer["status"] == "completed"
        assert answer["result"]["isError"] is True
        assert "no such topic" in answer["result"]["content"][0]["text"]
        assert (await ask(client, "get", taskId=cancelled["taskId"]))["status"] == "cancelled"


async def test_unknown_tasks_and_other_runs_are_no_tasks(atide: AsyncTidebase) -> None:
    other = (await atide.enqueue("other")).run_id
    async with of_tasks(atide) as client:
        for task_id in (str(other), str(uuid4()), "x"):
            with pytest.raises(MCPError, match="no task"):
                await ask(client, "get", taskId=task_id)


async def test_a_client_that_knows_no_tasks_gets_the_result_or_learns_which_run_goes_on(
    atide: AsyncTidebase,
) -> None:
    register(atide)
    made = server(atide, tasks=TideTasks(atide, task_tools(), inline=30))
    async with Client(made) as client:
        working = asyncio.create_task(atide.work(max_runs=1))
        result = await client.call_tool("report", {"topic": "tides"})
        assert result.structured_content == {"published": True, "topic": "tides"}
        await working
    hasty = server(atide, tasks=TideTasks(atide, task_tools(), inline=0.01))
    async with Client(hasty) as client:
        result = await client.call_tool("report", {"topic": "tides"})
        assert result.is_error and "goes on" in str(result.content)


async def test_bad_arguments_make_no_run(atide: AsyncTidebase) -> None:
    async with of_tasks(atide) as client:
        result = await client.session.call_tool("report", {"topic": 7})
        assert result.is_error
    assert await atide.runs.list() == []
    assert issubclass(Topic, BaseModel)
