"""A task is made by one server process, which is killed, and polled from another over stdio."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from pydantic import BaseModel

from tidebase_pg import AsyncTidebase
from tidebase_pg.agents.mcp import TaskTool, TideTasks, server

ROOT = Path(__file__).parents[2]
WORKFLOW = "generate-report"


class Topic(BaseModel):
    topic: str


def task_tools() -> list[TaskTool]:
    return [TaskTool("report", WORKFLOW, Topic, "Write a report on a topic.")]


def serve() -> None:
    """What the process runs: it says its id in the name of a tool, so that the test may kill it."""
    tide = AsyncTidebase()
    made = server(tide, tasks=TideTasks(tide, task_tools()))

    async def pid() -> int:
        """The process that serves."""
        return os.getpid()

    made.add_tool(pid)
    made.run("stdio")


async def test_a_task_outlives_the_server_that_made_it(direct_dsn: str) -> None:
    from tests.agents.test_mcp import KnowsTasks, ask, begun, register

    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from tests.agents.test_mcp_process import serve; serve()"],
        cwd=str(ROOT),
        env={**os.environ, "TIDEBASE_DSN": direct_dsn, "PYTHONPATH": str(ROOT)},
    )
    with pytest.raises(BaseException):  # noqa: B017
        async with Client(parameters, extensions=[KnowsTasks()]) as first:
            task = await begun(first)
            found: Any = (await first.call_tool("pid", {})).structured_content
            os.kill(found["result"], signal.SIGKILL)
            await ask(first, "get", taskId=task["taskId"])
    async with Client(parameters, extensions=[KnowsTasks()]) as second:
        assert (await ask(second, "get", taskId=task["taskId"]))["status"] == "working"
        async with AsyncTidebase(direct_dsn) as tide:
            register(tide)
            await tide.work(drain=True)
        done = await ask(second, "get", taskId=task["taskId"])
    assert done["result"]["structuredContent"] == {"published": True, "topic": "tides"}
