"""A tool for MCP clients whose calls are runs: asked for through one server, answered by another.

pip install 'tidebase-pg[mcp]'
tidebase-pg work clerk_mcp:tide --lease 5s
python clerk_mcp.py serve                     # over stdio, as MCP clients start it
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Literal

from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import BaseModel, ConfigDict, Field
from world import note, pay

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.mcp import TASKS, TaskTool, TideTasks, server

tide = AsyncTidebase()


class Refund(BaseModel):
    order: int


@tide.workflow("clerk", max_attempts=3)
async def clerk(run: AsyncRun, input: dict[str, Any]) -> str:
    def find() -> int:
        note("asked 1")
        return 500

    cents = await run.step("find", find)
    decision = await run.gate("refund", "Refund this order?", data={"cents": cents})
    if not decision.approved:
        return "We are sorry."
    key = f"refund:{run.id}"
    await run.step("pay", lambda: pay(cents, key), side_effects=["bank"], idempotency_key=key)
    return "You get 5.00 back."


TOOL = TaskTool("refund", "clerk", Refund, "Refund an order, once a person has agreed.")
mcp_server = server(tide, tasks=TideTasks(tide, [TOOL]))


# The side of the client, until clients know tasks by themselves ------------------------------


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Handle(Open, Result):
    """What a call answers instead of a result."""

    result_type: Literal["task"] = Field(alias="resultType")


class TaskParams(Open, RequestParams):
    pass


class TaskAnswer(Open, Result):
    pass


class TaskRequest(Request[TaskParams, str]):
    method: str
    params: TaskParams


class KnowsTasks(ClientExtension):
    """Says that this client takes a task for an answer."""

    identifier = TASKS

    def claims(self) -> Sequence[ResultClaim[Any]]:
        async def resolve(handle: Handle, ctx: ClaimContext) -> CallToolResult:
            raise NotImplementedError("ask for the task with tasks/get")

        return [ResultClaim(result_type="task", model=Handle, resolve=resolve)]


async def begin(client: Client, order: int) -> dict[str, Any]:
    """The task that a call of the tool is."""
    arguments = {"order": order}
    answer = await client.session.call_tool("refund", arguments, allow_claimed=True)
    return answer.model_dump(by_alias=True)


async def ask(client: Client, method: str, **params: Any) -> dict[str, Any]:
    """tasks/get, tasks/update or tasks/cancel."""
    request = TaskRequest(method=f"tasks/{method}", params=TaskParams(**params))
    answer = await client.session.send_request(request, TaskAnswer)
    return answer.model_dump(by_alias=True)


async def demonstrate() -> None:
    """Ask through one server, which ends; answer the question and get the result by another."""
    async with tide:
        async with Client(mcp_server, extensions=[KnowsTasks()]) as client:
            task = await begin(client, 7)
        await tide.work(drain=True)
        async with Client(mcp_server, extensions=[KnowsTasks()]) as client:
            asked = await ask(client, "get", taskId=task["taskId"])
            print(asked["status"], asked["statusMessage"])
            yes = {"action": "accept", "content": {"decision": "approved"}}
            answers = dict.fromkeys(asked["inputRequests"], yes)
            await ask(client, "update", taskId=task["taskId"], inputResponses=answers)
            await tide.work(drain=True)
            done = await ask(client, "get", taskId=task["taskId"])
            print(done["result"]["content"][0]["text"])


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        mcp_server.run("stdio")
    else:
        asyncio.run(demonstrate())
