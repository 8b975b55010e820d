"""What MCP and LangGraph cannot have kept is named with its place before anything is done."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.kills import Log
from tests.support import open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase

UNKNOWN = "01890000-0000-7000-8000-000000000000"
LARGE = "x" * 20_000_000
HOSTILE = ["a\nb", "a\0b", "\ud800", "x" * 300, "'; drop table tide.runs --", ""]


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


def runs(dsn: str) -> int:
    with open_connection(dsn) as connection:
        found: int = value(connection, "select count(*) from tide.runs")
    return found


# MCP -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workflow": "report", "input": {"a": ["nul \0"]}}, "NUL"),
        ({"workflow": "report", "input": {"text": LARGE}}, "too large"),
        ({"workflow": "a\nb"}, "workflow"),
        ({"workflow": ""}, "workflow"),
        ({"workflow": "x" * 300}, "workflow"),
        ({"workflow": "report", "queue": "no such\nqueue"}, "queue"),
        ({"workflow": "report", "dedupe_key": "x" * 5000}, "dedupe_key"),
        ({"workflow": "report", "delay_seconds": -1}, "delay"),
        ({"workflow": "report", "delay_seconds": 1e300}, "delay"),
    ],
)
async def test_mcp_tells_the_model_what_is_wrong_and_makes_no_run(
    atide: AsyncTidebase, dsn: str, given: dict[str, Any], words: str
) -> None:
    pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")
    from mcp import Client

    from tests.agents.test_mcp import refusal
    from tidebase_pg.agents.mcp import server

    async with Client(server(atide)) as client:
        said = await refusal(client, "enqueue", **given)
    assert words.lower() in said.lower()
    assert len(said) < 1500, "a refusal does not repeat what was refused"
    assert runs(dsn) == 0


@pytest.mark.parametrize("name", ["x", "", "a\0b", "'; drop table tide.runs --", UNKNOWN])
async def test_mcp_names_ids_that_are_none(atide: AsyncTidebase, dsn: str, name: str) -> None:
    pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")
    from mcp import Client

    from tests.agents.test_mcp import refusal
    from tidebase_pg.agents.mcp import server

    async with Client(server(atide)) as client:
        for tool in ("describe_run", "explain_run", "list_events", "retry_run"):
            said = await refusal(client, tool, run_id=name)
            assert "run" in said.lower(), (tool, said)
        said = await refusal(client, "cancel_run", run_id=name, reason="no")
        assert "run" in said.lower()
        said = await refusal(client, "decide_gate", gate_id=name, decision="approved")
        assert "gate" in said.lower()
        said = await refusal(client, "list_runs", before=name) if len(name) < 36 else "before"
        assert "before" in said
    assert runs(dsn) == 0


@pytest.mark.parametrize("topic", ["nul \0", LARGE], ids=["nul", "large"])
async def test_a_task_of_mcp_that_cannot_be_kept_makes_no_run(
    atide: AsyncTidebase, dsn: str, topic: str
) -> None:
    pytest.importorskip("mcp.server.mcpserver", reason="run: make test-agents")
    from tests.agents.test_mcp import of_tasks

    async with of_tasks(atide) as client:
        result = await client.session.call_tool("report", {"topic": topic})
    assert result.is_error
    said = result.content[0].text
    assert ("NUL" if len(topic) < 10 else "too large") in said
    assert len(said) < 1500
    assert runs(dsn) == 0


# LangGraph -------------------------------------------------------------------------------


STATES: dict[str, Any] = {
    "lock": ({"a": threading.Lock()}, "cannot be serialized"),
    "generator": ({"a": (n for n in range(3))}, "cannot be serialized"),
    "recursive": ([], "cannot be serialized"),
}
STATES["recursive"][0].append({"again": STATES["recursive"][0]})


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_cannot_be_kept_is_named_with_its_channel(dsn: str, name: str) -> None:
    pytest.importorskip("langgraph.graph", reason="run: make test-agents")
    from tests.agents.test_langgraph_saver import config, values_of
    from tidebase_pg.agents.langgraph import TideSaver
    from tidebase_pg.errors import BadPayload

    state, words = STATES[name]
    with TideSaver.from_conn_string(dsn) as saver:
        saver.setup()
        checkpoint, versions = values_of(notes=state)
        with pytest.raises(BadPayload, match=words) as said:
            saver.put(config(), checkpoint, {}, versions)
        assert "channel 'notes' of thread 't'" in str(said.value)
        good, good_versions = values_of(notes={"a": 1})
        at = saver.put(config(), good, {}, good_versions)
        with pytest.raises(BadPayload, match="task one writes to channel 'notes'"):
            saver.put_writes(at, [("ok", {"b": 2}), ("notes", state)], "one")
        found = saver.get_tuple(at)
        assert found is not None and found.pending_writes == []


def test_a_state_of_twenty_megabytes_is_kept_and_one_above_the_limit_is_named(dsn: str) -> None:
    pytest.importorskip("langgraph.graph", reason="run: make test-agents")
    from tests.agents.test_langgraph_saver import config, values_of
    from tidebase_pg.agents.langgraph import TideSaver
    from tidebase_pg.errors import PayloadTooLarge

    with TideSaver.from_conn_string(dsn) as saver:
        saver.setup()
        checkpoint, versions = values_of(notes={"text": LARGE, "bytes": b"\0" * 1000})
        at = saver.put(config(), checkpoint, {}, versions)
        found = saver.get_tuple(at)
        assert found is not None
        assert found.checkpoint["channel_values"] == checkpoint["channel_values"]
        above, versions = values_of(notes=[{"text": LARGE + str(n)} for n in range(4)])
        with pytest.raises(PayloadTooLarge, match=r"channel 'notes' of thread 'u'\[3\].*64 MiB"):
            saver.put(config("u"), above, {}, versions)
        assert saver.get_tuple(config("u")) is None


@pytest.mark.parametrize("name", [one for one in HOSTILE if one])
def test_names_of_threads_are_kept_as_they_are_or_refused_by_name(dsn: str, name: str) -> None:
    pytest.importorskip("langgraph.graph", reason="run: make test-agents")
    from tests.agents.test_langgraph_saver import config, values_of
    from tidebase_pg.agents.langgraph import TideSaver

    with TideSaver.from_conn_string(dsn) as saver:
        saver.setup()
        checkpoint, versions = values_of(notes={"a": 1})
        if "\0" in name or "\ud800" in name:
            for act in (
                lambda: saver.put(config(name), checkpoint, {}, versions),
                lambda: saver.get_tuple(config(name)),
            ):
                with pytest.raises(ValueError, match="thread_id"):
                    act()
            return
        saver.put(config(name), checkpoint, {}, versions)
        found = saver.get_tuple(config(name))
        assert found is not None and found.config["configurable"]["thread_id"] == name
        saver.delete_thread(name)
        assert saver.get_tuple(config(name)) is None


async def test_a_node_whose_answer_cannot_be_kept_fails_the_run_and_is_named(
    atide: AsyncTidebase, dsn: str, tmp_path: Path
) -> None:
    pytest.importorskip("langgraph.graph", reason="run: make test-agents")
    from langgraph.graph import END, START, StateGraph

    from tests.agents.test_langgraph_runs import Order
    from tidebase_pg.agents.langgraph import AsyncTideSaver, run_graph, step_node

    log = Log(tmp_path / "log")

    async def count(state: Order) -> Order:
        log.note("count")
        return {"approved": threading.Lock()}

    async with AsyncTideSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        builder = StateGraph(Order)
        builder.add_node("count", step_node(count))
        builder.add_edge(START, "count")
        builder.add_edge("count", END)
        graph = builder.compile(checkpointer=saver)

        @atide.workflow("counts", max_attempts=3)
        async def counts(run: AsyncRun, input: Any) -> Any:
            return await run_graph(run, graph, {"item": "kite"})

        run_id = (await atide.enqueue(counts)).run_id
        await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert row.status == "failed"
    assert "count" in row.error["message"]
    assert log.lines() == ["count"]
