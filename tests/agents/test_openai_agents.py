"""OpenAI Agents in runs: answers and calls are made once, approvals park the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents.testing", reason="run: make test-agents")

from agents import (
    Agent,
    ModelResponse,
    RunConfig,
    Runner,
    SessionSettings,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage

from tests.agents.kills import ANSWERED, STARTED, Log, killed
from tests.support import Clock, open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Tidebase
from tidebase_pg.agents.conversations import AsyncConversations, Conversations
from tidebase_pg.agents.openai_agents import TideSession, durable_tool, run_agent
from tidebase_pg.errors import BadPayload, PayloadTooLarge

set_tracing_disabled(True)


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


@pytest.fixture
async def conversations(dsn: str) -> AsyncIterator[AsyncConversations]:
    async with AsyncConversations.from_conn_string(dsn) as conversations:
        await conversations.setup()
        yield conversations


def said(item: Any) -> str:
    content = item.get("content")
    if content is None:
        return str(item.get("output", item.get("name")))
    return content if isinstance(content, str) else str(content[0]["text"])


def clerk(paid: list[Any], asked: list[Any]) -> Agent[Any]:
    @function_tool
    def find(number: int) -> str:
        paid.append(("find", number))
        return f"order {number}"

    @function_tool(needs_approval=True)
    def refund(cents: int) -> str:
        paid.append(("refund", cents))
        return "refunded"

    def answer(call: ModelCall) -> Any:
        """By what the model is shown, so that a later attempt goes on in the middle."""
        asked.append(call.input)
        done = sum(
            isinstance(i, dict) and i.get("type") == "function_call_output" for i in call.input
        )
        turns = [
            function_call("find", {"number": 7}, call_id="c1"),
            function_call("refund", {"cents": 500}, call_id="c2"),
            assistant_message("All done."),
        ]
        return ModelResponse(
            output=[turns[done]],
            usage=Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12),
            response_id=None,
        )

    model = ScriptedModel([ModelStep.respond(answer)] * 4)
    tools = [durable_tool(find), durable_tool(refund, side_effects=["card"])]
    return Agent(name="clerk", model=model, tools=tools)


def register(tide: AsyncTidebase, paid: list[Any], asked: list[Any]) -> None:
    @tide.workflow("ask", max_attempts=3)
    async def ask(run: AsyncRun, input: Any) -> Any:
        output = (await run_agent(run, clerk(paid, asked), input)).final_output
        if run.attempt == 1:
            raise OSError("once more")
        return output


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_an_approval_parks_the_run_and_nothing_is_done_twice(
    atide: AsyncTidebase, decision: Any
) -> None:
    paid: list[Any] = []
    asked: list[Any] = []
    register(atide, paid, asked)
    backoff = {"base": 0, "jitter": 0}
    run_id = (await atide.enqueue("ask", input="Refund order 7.", backoff=backoff)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).waiting_on == "gate"
    (gate,) = await atide.gates.pending()
    assert gate.data == {"tool": "refund", "arguments": {"cents": 500}}
    await atide.gates.decide(gate.gate_id, decision, "ann")
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.result, row.attempt) == ("completed", "All done.", 2)
    refunds = [("refund", 500)] if decision == "approved" else []
    assert paid == [("find", 7), *refunds]
    assert len(asked) == 3
    used = await atide.runs.usage(run_id)
    assert [(u.step, u.input_tokens) for u in used] == [
        ("model", 10),
        ("model#2", 10),
        ("model#3", 10),
    ]


async def test_outside_of_a_run_the_agent_is_a_plain_agent() -> None:
    paid: list[Any] = []
    result = await Runner.run(clerk(paid, []), "Refund order 7.")
    assert len(result.interruptions) == 1
    assert paid == [("find", 7)]


async def test_another_question_never_gets_the_answer_of_the_first(atide: AsyncTidebase) -> None:
    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        answer = f"answer {run.attempt}"
        agent = Agent[Any](name="a", model=ScriptedModel([[assistant_message(answer)]]))
        result = await run_agent(run, agent, f"question {run.attempt}")
        if run.attempt == 1:
            raise OSError("once more")
        return result.final_output

    run_id = (await atide.enqueue("ask", backoff={"base": 0, "jitter": 0})).run_id
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.result) == ("completed", "answer 2")


BACKOFF = {"base": 0, "jitter": 0}


def echo(asked: list[list[str]], turns: int = 8) -> Agent[Any]:
    """Answers with the number of what it was shown."""

    def answer(call: ModelCall) -> Any:
        asked.append([said(item) for item in call.input])
        return [assistant_message(f"answer to {len(call.input)}")]

    return Agent(name="echo", model=ScriptedModel([ModelStep.respond(answer)] * turns))


async def test_a_conversation_goes_on_in_the_next_run_and_has_each_item_once(
    atide: AsyncTidebase, conversations: AsyncConversations
) -> None:
    asked: list[list[str]] = []

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        session = TideSession("ann", conversations)
        result = await run_agent(run, echo(asked), input, session=session)
        if run.attempt == 1:
            raise OSError("once more")
        return result.final_output

    for question in ("one?", "two?"):
        run_id = (await atide.enqueue("ask", input=question, backoff=BACKOFF)).run_id
        await atide.work(drain=True)
        row = await atide.runs.get(run_id)
        assert (row.status, row.attempt) == ("completed", 2)
    assert asked == [["one?"], ["one?", "answer to 1", "two?"]]
    kept = [said(one.item) for one in await conversations.read("ann")]
    assert kept == ["one?", "answer to 1", "two?", "answer to 3"]


async def test_what_others_say_meanwhile_changes_no_later_attempt(
    atide: AsyncTidebase, conversations: AsyncConversations
) -> None:
    asked: list[list[str]] = []
    other = TideSession("ann", conversations)

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        await run_agent(run, echo(asked), "mine?", session=TideSession("ann", conversations))
        if run.attempt == 1:
            await other.add_items([{"role": "user", "content": "theirs"}])
            raise OSError("once more")
        again = await run_agent(
            run, echo(asked), "again?", session=TideSession("ann", conversations)
        )
        return again.final_output

    run_id = (await atide.enqueue("ask", backoff=BACKOFF)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == "answer to 4"
    assert asked == [["mine?"], ["mine?", "answer to 1", "theirs", "again?"]]


async def test_an_approval_in_a_conversation_leaves_each_item_once(
    atide: AsyncTidebase, conversations: AsyncConversations
) -> None:
    paid: list[Any] = []

    @atide.workflow("ask", max_attempts=3)
    async def ask(run: AsyncRun, input: Any) -> Any:
        session = TideSession("ann", conversations)
        result = await run_agent(run, clerk(paid, []), input, session=session)
        if run.attempt == 1:
            raise OSError("once more")
        return result.final_output

    await atide.enqueue("ask", input="Refund order 7.", backoff=BACKOFF)
    await atide.work(drain=True)
    (gate,) = await atide.gates.pending()
    await atide.gates.decide(gate.gate_id, "approved", "ann")
    await atide.work(drain=True)
    kept = [said(one.item) for one in await conversations.read("ann")]
    assert kept == ["Refund order 7.", "find", "order 7", "refund", "refunded", "All done."]
    assert paid == [("find", 7), ("refund", 500)]


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
def test_killed_at_any_statement_a_conversation_has_each_item_once(
    direct_dsn: str, hour: Clock, moment: str, tmp_path: Path
) -> None:
    asyncio.run(set_up(direct_dsn))

    async def work(dsn: str, log: Log, name: str) -> None:
        async with AsyncTidebase(dsn) as tide, AsyncConversations.from_conn_string(dsn) as kept:

            @tide.workflow("ask")
            async def ask(run: AsyncRun, input: Any) -> Any:
                asked: list[list[str]] = []
                result = await run_agent(
                    run, echo(asked), "one?", session=TideSession(name, kept), stream="out"
                )
                for _ in asked:
                    log.note("asked")
                return result.final_output

            await tide.work(drain=True, lease=60)

    with Tidebase(direct_dsn) as tide, Conversations.from_conn_string(direct_dsn) as kept:
        for number in range(1, 200):
            log, name = Log(tmp_path / f"{number}"), f"ann{number}"
            kept.append(name, [{"role": "user", "content": "before"}])
            run_id = tide.enqueue("ask", max_attempts=5).run_id
            died = killed(
                direct_dsn,
                (number, moment),
                lambda dsn, log=log, name=name: work(dsn, log, name),  # type: ignore[misc]
            )
            hour.advance(timedelta(minutes=2))
            tide.reconcile()
            hour.advance(timedelta(minutes=10))
            asyncio.run(work(direct_dsn, log, name))
            assert tide.runs.get(run_id).result == "answer to 2"
            said_there = [said(one.item) for one in kept.read(name)]
            assert said_there == ["before", "one?", "answer to 2"], (number, said_there)
            if not died:
                break
    assert number > 8


async def set_up(dsn: str) -> None:
    async with AsyncConversations.from_conn_string(dsn) as conversations:
        await conversations.setup()


async def test_a_session_outside_of_runs_is_what_the_sdk_asks_of_one(
    conversations: AsyncConversations,
) -> None:
    asked: list[list[str]] = []
    session = TideSession("bob", conversations, session_settings=SessionSettings(limit=2))
    agent = echo(asked)
    for question in ("one?", "two?"):
        await Runner.run(agent, question, session=session)
    assert asked == [["one?"], ["one?", "answer to 1", "two?"]]
    config = RunConfig(session_settings=SessionSettings(limit=1))
    await Runner.run(agent, "three?", session=session, run_config=config)
    assert asked[-1] == ["answer to 3", "three?"]
    assert [said(item) for item in await session.get_items(2)] == ["three?", "answer to 2"]
    popped = await session.pop_item()
    assert popped is not None and said(popped) == "answer to 2"
    assert len(await session.get_items()) == 5
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.pop_item() is None


async def test_in_a_run_only_what_the_run_added_is_taken_back(
    atide: AsyncTidebase, conversations: AsyncConversations
) -> None:
    from tidebase_pg.agents.openai_agents.sessions import DurableSession

    session = TideSession("ann", conversations)
    items: Any = [{"role": "user", "content": str(number)} for number in range(4)]
    await session.add_items(items[:1])

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        durable = await DurableSession.begin(run, session)
        await durable.add_items(items[1:])
        assert await durable.pop_item() == items[3]
        assert await durable.get_items() == items[:3]
        assert await durable.get_items(1) == items[2:3]
        assert await durable.get_items(3) == items[:3]
        if run.attempt == 1:
            raise OSError("once more")
        assert [await durable.pop_item() for _ in range(2)] == [items[2], items[1]]
        with pytest.raises(RuntimeError, match="has no item to take back inside of run_agent"):
            await durable.pop_item()
        with pytest.raises(RuntimeError, match="has no session to clear"):
            await durable.clear_session()

    run_id = (await atide.enqueue("ask", backoff=BACKOFF)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).status == "completed"
    assert await session.get_items() == items[:1]


async def test_a_session_that_later_attempts_would_find_changed_is_refused(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> Any:
        session: Any = SQLiteSession("ann")
        await run_agent(run, echo([]), "one?", session=session)

    run_id = (await atide.enqueue("ask")).run_id
    await atide.work(drain=True)
    error = (await atide.runs.get(run_id)).error
    assert error is not None and "takes a TideSession and no SQLiteSession" in error["message"]


async def test_a_thousand_turns_take_the_bytes_of_a_thousand_turns(
    conversations: AsyncConversations, dsn: str
) -> None:
    turn = [{"role": role, "content": role * 50} for role in ("user", "assistant")]

    def size() -> int:
        with open_connection(dsn) as connection:
            return int(
                value(connection, "select pg_total_relation_size('tide_conversations.items')")
            )

    sizes = []
    for _ in range(2):
        for _ in range(500):
            await conversations.append("ann", turn)
        sizes.append(size())
    assert sizes[1] < 2.1 * sizes[0]
    assert len(await conversations.read("ann")) == 2000
    transcript = sum(len(str(one.item)) for one in await conversations.read("ann"))
    assert sizes[1] < 2.5 * transcript


async def test_what_cannot_be_kept_is_refused_before_a_model_is_asked(
    atide: AsyncTidebase, conversations: AsyncConversations
) -> None:
    asked: list[list[str]] = []
    inputs: list[Any] = [
        [{"role": "user", "content": [{"type": "input_text", "text": "a\0b"}]}],
        "x" * 20_000_000,
    ]

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> Any:
        session = TideSession(f"ann{input}", conversations)
        with pytest.raises((BadPayload, PayloadTooLarge)) as caught:
            await run_agent(run, echo(asked), inputs[input], session=session)
        return str(caught.value)

    ids = [(await atide.enqueue("ask", input=number)).run_id for number in range(2)]
    await atide.work(drain=True)
    results = [(await atide.runs.get(run_id)).result for run_id in ids]
    assert "conversation 'ann0'" in results[0] and "at $[0].content[0].text" in results[0]
    assert "conversation 'ann1' is too large" in results[1]
    assert asked == []
    for number in range(2):
        assert await conversations.read(f"ann{number}") == []


async def test_conversations_nobody_writes_to_go(
    conversations: AsyncConversations, dsn: str
) -> None:
    for name in "abc":
        await conversations.append(name, [1, 2])
    with open_connection(dsn) as connection:
        connection.execute(
            "update tide_conversations.conversations set touched_at = now() - interval '2 d' "
            "where conversation_id <> 'b'"
        )
    await conversations.append("c", [3])
    assert await conversations.delete_idle(86_400) == 1
    assert [len(await conversations.read(name)) for name in "abc"] == [0, 2, 3]


# Streaming -----------------------------------------------------------------------------------


async def test_text_is_streamed_while_it_comes_and_said_once(atide: AsyncTidebase) -> None:
    heard: list[tuple[int, str]] = []
    paid: list[Any] = []
    asked: list[Any] = []

    @atide.workflow("ask", max_attempts=3)
    async def ask(run: AsyncRun, input: Any) -> Any:
        async def on_event(event: Any) -> None:
            heard.append((run.attempt, event.type))

        result = await run_agent(run, clerk(paid, asked), input, stream="out", on_event=on_event)
        if run.attempt == 1:
            raise OSError("once more")
        return result.final_output

    run_id = (await atide.enqueue("ask", input="Refund order 7.", backoff=BACKOFF)).run_id
    await atide.work(drain=True)
    (gate,) = await atide.gates.pending()
    await atide.gates.decide(gate.gate_id, "approved", "ann")
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.result, row.attempt) == ("completed", "All done.", 2)
    assert paid == [("find", 7), ("refund", 500)]
    assert len(asked) == 3
    written = [item async for item in atide.runs.stream(run_id, "out")]
    assert [item.chunk for item in written if item.chunk is not None] == ["All done."]
    first = [kind for attempt, kind in heard if attempt == 1]
    later = [kind for attempt, kind in heard if attempt == 2]
    assert first.count("raw_response_event") > 3
    assert later.count("raw_response_event") == 3
    used = await atide.runs.usage(run_id)
    assert [u.input_tokens for u in used] == [10, 10, 10]


async def test_an_answer_that_was_not_streamed_is_streamed_from_its_step(
    atide: AsyncTidebase,
) -> None:
    asked: list[list[str]] = []

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        stream = "out" if run.attempt == 2 else None
        result = await run_agent(run, echo(asked), "one?", stream=stream)
        if run.attempt == 1:
            raise OSError("once more")
        usage = result.context_wrapper.usage
        return [result.final_output, usage.requests, len(result.raw_responses)]

    run_id = (await atide.enqueue("ask", backoff=BACKOFF)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == ["answer to 1", 1, 1]
    assert len(asked) == 1


async def test_who_listens_and_fails_fails_the_attempt_and_nothing_more_is_asked(
    atide: AsyncTidebase,
) -> None:
    paid: list[Any] = []
    asked: list[Any] = []

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> Any:
        async def on_event(event: Any) -> None:
            if event.type == "run_item_stream_event":
                raise OSError("the socket is closed")

        await run_agent(run, clerk(paid, asked), input, on_event=on_event)

    run_id = (await atide.enqueue("ask", input="Refund order 7.")).run_id
    await atide.work(drain=True)
    error = (await atide.runs.get(run_id)).error
    assert error is not None and error["message"] == "the socket is closed"
    assert len(asked) == 1


async def test_a_run_cancelled_while_it_streams_ends_as_cancelled(atide: AsyncTidebase) -> None:
    paid: list[Any] = []
    asked: list[Any] = []

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> Any:
        async def on_event(event: Any) -> None:
            if len(asked) == 1:
                await atide.runs.cancel(run.id, reason="enough")

        await run_agent(run, clerk(paid, asked), input, on_event=on_event)

    run_id = (await atide.enqueue("ask", input="Refund order 7.")).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).status == "cancelled"
    assert len(asked) == 1
