"""pydantic-ai agents in runs: what was committed is never done again, and waits hold no worker."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="run: make test-agents")

from pydantic_ai import Agent, DeferredToolResults, ModelRetry, models
from pydantic_ai.capabilities import RequestInput
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, RunContext, ToolDenied

from tests.agents.kills import ANSWERED, STARTED, Log, killed, statements
from tests.support import Clock, Connection, open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.agents.pydantic_ai import (
    TideApprovals,
    TideDurability,
    idempotency_key,
    refuse,
    resolve,
    running,
)

models.ALLOW_MODEL_REQUESTS = False

KEYED = {"tidebase": {"side_effects": ["card"], "idempotency_key": True}}
UNKEYED = {"tidebase": {"side_effects": ["card"]}}


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


def returned(messages: list[ModelMessage]) -> list[str]:
    """The tools whose results the model has been given."""
    return [
        part.tool_name
        for message in messages
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


def script(*turns: list[tuple[str, dict[str, Any]]]) -> Callable[..., ModelResponse]:
    """A model that calls these tools, turn by turn, and then says what they were."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn < len(turns):
            return ModelResponse(
                parts=[
                    ToolCallPart(tool, arguments, tool_call_id=f"{turn}-{place}")
                    for place, (tool, arguments) in enumerate(turns[turn])
                ]
            )
        return ModelResponse(parts=[TextPart(", ".join(returned(messages)))])

    return answer


def workflow(tide: AsyncTidebase, agent: Agent[Any, Any]) -> None:
    @tide.workflow("ask", max_attempts=10)
    async def ask(run: AsyncRun, input: Any) -> Any:
        with running(run):
            return (await agent.run(input)).output


async def finished(tide: AsyncTidebase, run_id: Any) -> Any:
    await tide.work(drain=True)
    return await tide.runs.get(run_id)


def steps(connection: Connection, run_id: Any) -> dict[str, str]:
    rows = connection.execute(
        "select s.name, s.status from tide.steps as s where s.run_id = %s order by s.position",
        (run_id,),
    ).fetchall()
    return {row.name: row.status for row in rows}


async def test_requests_and_tools_are_steps_and_their_cost_is_in_the_ledger(
    atide: AsyncTidebase, connection: Connection
) -> None:
    model = FunctionModel(script([("search", {"topic": "tides"})], [("count", {"n": 2})]))
    agent = Agent(model, name="clerk", capabilities=[TideDurability()])

    @agent.tool_plain
    def search(topic: str) -> str:
        return f"about {topic}"

    @agent.tool_plain
    async def count(n: int) -> int:
        return n + 1

    workflow(atide, agent)
    run_id = (await atide.enqueue("ask", input="When?")).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.result) == ("completed", "search, count")
    assert list(steps(connection, run_id)) == [
        "clerk__model.request",
        "clerk__function_toolset__<agent>.call_tool:search[0-0]",
        "clerk__model.request#2",
        "clerk__function_toolset__<agent>.call_tool:count[1-0]",
        "clerk__model.request#3",
    ]
    used = await atide.runs.usage(run_id)
    assert [record.step for record in used] == [
        "clerk__model.request",
        "clerk__model.request#2",
        "clerk__model.request#3",
    ]
    assert all((record.input_tokens or 0) > 0 for record in used)
    assert {record.model for record in used} == {model.model_name}


async def test_an_agent_outside_of_a_run_is_a_plain_agent(
    atide: AsyncTidebase, connection: Connection
) -> None:
    agent = Agent(TestModel(), name="clerk", capabilities=[TideDurability()])
    assert (await agent.run("Hello")).output == "success (no tool calls)"
    assert value(connection, "select count(*) from tide.steps") == 0


def test_an_agent_runs_in_a_sync_workflow_too(dsn: str, connection: Connection) -> None:
    model = FunctionModel(script([("search", {"topic": "tides"})]))
    agent = Agent(model, name="clerk", capabilities=[TideDurability()])
    calls: list[str] = []

    @agent.tool_plain
    def search(topic: str) -> str:
        calls.append(topic)
        return topic

    with Tidebase(dsn) as tide:

        @tide.workflow("ask", max_attempts=2)
        def ask(run: Run, input: Any) -> Any:
            with running(run):
                output = agent.run_sync(input).output
            if run.attempt == 1:
                raise OSError("once more")
            return output

        run_id = tide.enqueue("ask", input="When?", backoff={"base": 0, "jitter": 0}).run_id
        tide.work(drain=True)
        assert tide.runs.get(run_id).result == "search"
    assert calls == ["tides"]
    assert len(steps(connection, run_id)) == 3


async def test_agents_that_run_at_once_keep_their_names_apart(
    atide: AsyncTidebase, connection: Connection
) -> None:
    requests: Counter[str] = Counter()

    async def slow(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        topic = str(messages[0].parts[-1].content)  # type: ignore[union-attr]
        requests[topic] += 1
        await asyncio.sleep(0.02 if topic == "a" else 0)
        return script([("look", {"topic": topic})])(messages, info)

    agent = Agent(FunctionModel(slow), name="clerk", capabilities=[TideDurability()])

    @agent.tool_plain
    async def look(topic: str) -> str:
        return topic

    @atide.workflow("both", max_attempts=2)
    async def both(run: AsyncRun, input: Any) -> Any:
        with running(run):
            results = await asyncio.gather(*(agent.run(topic) for topic in ("a", "b")))
        if run.attempt == 1:
            raise OSError("once more")
        return [result.output for result in results]

    backoff = {"base": 0, "jitter": 0}
    run_id = (await atide.enqueue("both", backoff=backoff)).run_id
    row = await finished(atide, run_id)
    assert row.result == ["look", "look"]
    assert requests == {"a": 2, "b": 2}
    assert len(steps(connection, run_id)) == 6


async def test_another_question_never_gets_the_answer_of_the_first(atide: AsyncTidebase) -> None:
    asked: list[str] = []

    def answer(messages: list[Any], info: Any) -> Any:
        asked.append(str(messages[-1].parts[-1].content))
        return ModelResponse(parts=[TextPart(f"answer to {asked[-1]}")])

    agent = Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        with running(run):
            output = (await agent.run(f"question {run.attempt}")).output
        if run.attempt == 1:
            raise OSError("once more")
        return output

    run_id = (await atide.enqueue("ask", backoff={"base": 0, "jitter": 0})).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.result) == ("completed", "answer to question 2")
    assert asked == ["question 1", "question 2"]


async def test_what_is_no_json_fails_the_run_at_once_and_is_named(atide: AsyncTidebase) -> None:
    model = FunctionModel(script([("lock", {})]))
    agent = Agent(model, name="clerk", capabilities=[TideDurability()])
    called: list[int] = []

    @agent.tool_plain
    def lock() -> Any:
        called.append(1)
        return [threading.Lock()]

    workflow(atide, agent)
    run_id = (await atide.enqueue("ask", input="Lock it.", max_attempts=5)).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.attempt, called) == ("failed", 1, [1])
    for words in ("call_tool:lock[0-0]", "JSON", "tools"):
        assert words in row.error["message"], row.error


async def test_a_tool_that_wants_another_try_gets_it_and_the_refusal_replays(
    atide: AsyncTidebase,
) -> None:
    called: list[int] = []

    def picky(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn < 2:
            call = ToolCallPart("guess", {"n": turn}, tool_call_id=f"g{turn}")
            return ModelResponse(parts=[call])
        return ModelResponse(parts=[TextPart("done")])

    agent = Agent(FunctionModel(picky), name="clerk", capabilities=[TideDurability()])

    @agent.tool_plain
    def guess(n: int) -> str:
        called.append(n)
        if n == 0:
            raise ModelRetry("higher")
        return "right"

    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        with running(run):
            output = (await agent.run("guess")).output
        if run.attempt == 1:
            raise OSError("once more")
        return output

    run_id = (await atide.enqueue("ask", backoff={"base": 0, "jitter": 0})).run_id
    assert (await finished(atide, run_id)).result == "done"
    assert called == [0, 1]


def test_a_model_request_costs_two_calls_of_the_database_at_most_and_so_does_a_tool(
    dsn: str,
) -> None:
    async def work(dsn: str, turns: int) -> None:
        model = FunctionModel(script(*[[("look", {"n": n})] for n in range(turns)]))
        agent = Agent(model, name="clerk", capabilities=[TideDurability()])

        @agent.tool_plain
        async def look(n: int) -> int:
            return n

        async with AsyncTidebase(dsn) as tide:
            workflow(tide, agent)
            await tide.work(drain=True)

    counts = []
    for turns in (5, 25):
        with Tidebase(dsn) as tide:
            tide.enqueue("ask", input="Look.")
        counts.append(statements(dsn, lambda dsn, turns=turns: work(dsn, turns)))
    assert counts[1] - counts[0] <= 20 * (2 + 2), counts
    with Tidebase(dsn) as tide:
        (first, second) = tide.runs.list(max_runs=2)
        spent = [len(tide.runs.usage(run.run_id)) for run in (second, first)]
    assert spent == [6, 26]


# What is handed in --------------------------------------------------------------------------


async def test_pictures_and_bytes_in_a_question_are_no_hindrance(
    atide: AsyncTidebase, connection: Connection
) -> None:
    asked: list[int] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(1)
        return ModelResponse(parts=[TextPart("a kite")])

    agent = Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])

    @atide.workflow("look", max_attempts=2)
    async def look(run: AsyncRun, input: Any) -> Any:
        picture = BinaryContent(bytes(range(256)) * input["times"], media_type="image/png")
        with running(run):
            output = (await agent.run(["What is this?", picture])).output
        if run.attempt == 1:
            raise OSError("once more")
        return output

    backoff = {"base": 0, "jitter": 0}
    run_id = (await atide.enqueue("look", input={"times": 4000}, backoff=backoff)).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.result, len(asked)) == ("completed", "a kite", 1)
    assert kept_bytes(connection, run_id) < 10_000, "the picture is kept as a hash only"


async def test_a_transcript_of_twenty_megabytes_is_sent_and_its_hash_is_kept(
    atide: AsyncTidebase, connection: Connection
) -> None:
    lengths: list[int] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        lengths.append(sum(len(str(part.content)) for m in messages for part in m.parts))  # type: ignore[union-attr]
        return ModelResponse(parts=[TextPart("long")])

    agent = Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])

    @atide.workflow("ask")
    async def ask(run: AsyncRun, input: Any) -> Any:
        history = [
            ModelRequest(parts=[UserPromptPart("tides " * 35_000)]),
            ModelResponse(parts=[TextPart("and kites " * 21_000)]),
        ] * 50
        with running(run):
            return (await agent.run("Well?", message_history=history)).output

    row = await finished(atide, (await atide.enqueue(ask)).run_id)
    assert (row.status, row.result) == ("completed", "long")
    assert lengths[0] > 20_000_000
    assert kept_bytes(connection, row.run_id) < 10_000


async def test_an_answer_above_the_limit_fails_the_run_at_once_and_says_what_to_do(
    atide: AsyncTidebase,
) -> None:
    asked: list[int] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(1)
        return ModelResponse(parts=[TextPart("x" * 2_000_000)])

    agent = Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])
    workflow(atide, agent)
    run_id = (await atide.enqueue("ask", input="All of it.", max_attempts=5)).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.attempt, len(asked)) == ("failed", 1, 1)
    for words in ("output", "too large", "max_payload_bytes"):
        assert words in row.error["message"], row.error
    assert len(await atide.runs.usage(run_id)) == 1, "it was paid"


async def test_what_a_tool_cannot_be_told_again_is_named_before_anything_is_done(
    atide: AsyncTidebase,
) -> None:
    called: list[Any] = []
    agent = Agent(
        FunctionModel(script([("mark", {"place": "nan"})])),
        name="clerk",
        capabilities=[TideDurability()],
    )

    @agent.tool_plain
    def mark(place: float) -> str:
        called.append(place)
        return "marked"

    workflow(atide, agent)
    run_id = (await atide.enqueue("ask", input="Mark it.", max_attempts=5)).run_id
    row = await finished(atide, run_id)
    assert row.status == "failed" and called == []
    assert "call_tool:mark[0-0]" in row.error["message"]
    assert "cannot be written as JSON" in row.error["message"]


async def test_what_n_turns_keep_grows_linearly_and_stays_below_two_and_a_half_transcripts(
    atide: AsyncTidebase, connection: Connection
) -> None:
    words = "tides are the rise and fall of sea levels " * 60

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(f"{len(messages)} {words}")])

    agent = Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])

    @atide.workflow("talk")
    async def talk(run: AsyncRun, input: Any) -> int:
        history: list[ModelMessage] = []
        with running(run):
            for turn in range(input["turns"]):
                result = await agent.run(f"{turn}? {words}", message_history=history)
                history = result.all_messages()
        return len(ModelMessagesTypeAdapter.dump_json(history))

    kept, transcripts = {}, {}
    for turns in (10, 40):
        row = await finished(atide, (await atide.enqueue(talk, input={"turns": turns})).run_id)
        assert row.status == "completed", row.error
        kept[turns], transcripts[turns] = kept_bytes(connection, row.run_id), row.result
    assert kept[40] < 4.4 * kept[10], kept
    assert kept[40] < 2.5 * transcripts[40], (kept, transcripts)


def kept_bytes(connection: Connection, run_id: Any) -> int:
    """What is stored about a run: rows of its steps, events, usage and state, as text."""
    total = 0
    for table in ("steps", "events", "usage", "state_versions", "stream_chunks"):
        size = "coalesce(sum(octet_length(t::text)), 0)"
        query = f"select {size} from tide.{table} as t where t.run_id = %s"
        total += int(value(connection, query, run_id))
    return total


# Waiting ------------------------------------------------------------------------------------


def refunds(tokens: list[str], paid: list[int], capability: Any) -> Agent[Any, Any]:
    model = FunctionModel(script([("refund", {"cents": 500})]))
    agent = Agent(model, name="clerk", capabilities=[TideDurability(), capability])

    @agent.tool_plain(requires_approval=True, metadata=UNKEYED)
    def refund(cents: int) -> str:
        paid.append(cents)
        return "paid"

    return agent


def asking(tokens: list[str]) -> RequestInput[Any]:
    async def ask(ctx: RunContext[Any], requests: DeferredToolRequests, token: str) -> None:
        tokens.append(token)

    return RequestInput(ask, timeout=timedelta(hours=1))


@pytest.mark.parametrize("approved", [True, False])
async def test_a_run_that_waits_for_input_is_parked_and_goes_on_by_its_token(
    atide: AsyncTidebase, connection: Connection, approved: bool
) -> None:
    tokens: list[str] = []
    paid: list[int] = []
    workflow(atide, refunds(tokens, paid, asking(tokens)))
    run_id = (await atide.enqueue("ask", input="Refund, please.")).run_id
    row = await finished(atide, run_id)
    assert (row.status, row.waiting_on, paid) == ("queued", "gate", [])
    assert len(tokens) == 1
    decision: Any = True if approved else ToolDenied("too much")
    await resolve(atide, tokens[0], DeferredToolResults(approvals={"0-0": decision}), actor="ann")
    row = await finished(atide, run_id)
    assert (row.status, row.attempt) == ("completed", 1)
    assert paid == ([500] if approved else [])
    assert len(tokens) == 1
    assert len([name for name in steps(connection, run_id) if "model.request" in name]) == 2


async def test_a_refused_or_late_answer_is_told_to_the_model(
    atide: AsyncTidebase, hour: Clock
) -> None:
    tokens: list[str] = []
    paid: list[int] = []
    workflow(atide, refunds(tokens, paid, asking(tokens)))
    first = (await atide.enqueue("ask", input="Refund, please.")).run_id
    await finished(atide, first)
    second = (await atide.enqueue("ask", input="Refund, please.")).run_id
    await finished(atide, second)
    await refuse(atide, tokens[0], "nobody is here")
    hour.advance(timedelta(hours=2))
    await atide.reconcile()
    for run_id in (first, second):
        assert (await finished(atide, run_id)).status == "completed"
    assert paid == []


async def test_a_wrong_token_is_named(atide: AsyncTidebase) -> None:
    with pytest.raises(ValueError, match="no token of an agent"):
        await resolve(atide, "x", True)


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_approvals_show_tool_and_arguments_and_are_decided_like_any_gate(
    atide: AsyncTidebase, decision: Any
) -> None:
    paid: list[int] = []
    workflow(atide, refunds([], paid, TideApprovals()))
    run_id = (await atide.enqueue("ask", input="Refund, please.")).run_id
    assert (await finished(atide, run_id)).waiting_on == "gate"
    (gate,) = await atide.gates.pending()
    assert gate.data == [{"id": "0-0", "tool": "refund", "arguments": {"cents": 500}}]
    await atide.gates.decide(gate.gate_id, decision, "ann")
    assert (await finished(atide, run_id)).status == "completed"
    assert paid == ([500] if decision == "approved" else [])


# Kills --------------------------------------------------------------------------------------

TOOLSET = "clerk__function_toolset__<agent>.call_tool"


def shop(log: Log, metadata: Any) -> Agent[Any, Any]:
    """An agent that searches, then charges a card; each execution is noted by its step."""

    async def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        log.note(f"clerk__model.request{f'#{turn + 1}' if turn else ''}")
        return script([("search", {"topic": "x"})], [("charge", {"cents": 5})])(messages, info)

    agent = Agent(FunctionModel(model), name="clerk", capabilities=[TideDurability()])

    @agent.tool_plain
    async def search(topic: str) -> str:
        log.note(f"{TOOLSET}:search[0-0]")
        return topic

    @agent.tool_plain(metadata=metadata)
    async def charge(cents: int) -> str:
        log.note(f"{TOOLSET}:charge[1-0]")
        log.note(f"key {idempotency_key()}")
        return "charged"

    return agent


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
@pytest.mark.parametrize("metadata", [KEYED, UNKEYED], ids=["keyed", "unkeyed"])
def test_killed_at_any_statement_nothing_committed_is_done_again(
    direct_dsn: str, hour: Clock, moment: str, metadata: Any, tmp_path: Path
) -> None:
    ended: Counter[str] = Counter()

    async def work(dsn: str, log: Log) -> None:
        async with AsyncTidebase(dsn) as tide:
            workflow(tide, shop(log, metadata))
            await tide.work(drain=True, lease=60)

    with open_connection(direct_dsn) as connection, Tidebase(direct_dsn) as tide:
        for number in range(1, 200):
            log = Log(tmp_path / f"{number}")
            run_id = tide.enqueue("ask", input="Buy.", max_attempts=5).run_id
            died = killed(direct_dsn, (number, moment), lambda dsn, log=log: work(dsn, log))
            before = Counter(log.lines())
            committed = {n for n, s in steps(connection, run_id).items() if s == "completed"}
            hour.advance(timedelta(minutes=2))
            tide.reconcile()
            hour.advance(timedelta(minutes=10))
            asyncio.run(work(direct_dsn, log))
            row = tide.runs.get(run_id)
            after = Counter(log.lines())
            keys = {line for line in after if line.startswith("key ")}
            executed = {name: times for name, times in after.items() if name not in keys}
            for name in committed:
                assert after[name] == before[name] == 1, (number, name)
            spent = [record.step for record in tide.runs.usage(run_id)]
            requests = {name for name in steps(connection, run_id) if "model.request" in name}
            assert len(spent) == len(set(spent)) and set(spent) <= requests, (number, spent)
            assert row.status != "completed" or len(spent) == 3, (number, spent)
            assert all(times <= 2 for times in executed.values()), (number, after)
            assert sum(times == 2 for times in executed.values()) <= 1, (number, after)
            ended[row.waiting_on or row.status] += 1
            if row.status == "completed":
                assert row.result == "search, charge"
                assert len(keys) == 1
                assert metadata is KEYED or after["key None"] == 1
            else:
                # Whether the card was charged nobody knows: somebody has to say.
                assert metadata is UNKEYED and row.waiting_on == "review", (number, row)
                assert executed.get(f"{TOOLSET}:charge[1-0]", 0) <= 1
                tide.runs.cancel(run_id)
            if not died:
                break
    assert not died
    assert number > 8
    assert ended["completed"] > 5
    assert (ended["review"] > 0) == (metadata is UNKEYED), ended
