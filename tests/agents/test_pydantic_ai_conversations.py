"""Conversations of pydantic-ai in Postgres: what its own store in memory does, and in runs once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="run: make test-agents")

from pydantic_ai import Agent, UserError, models
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

from tests.agents.kills import ANSWERED, STARTED, Log, killed
from tests.support import Clock, open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Tidebase
from tidebase_pg.agents.pydantic_ai import TideConversationStore, TideDurability, running
from tidebase_pg.errors import BadPayload

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[TideConversationStore]:
    async with TideConversationStore.from_conn_string(dsn) as store:
        await store.setup()
        yield store


def said(text: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(text)])


def texts(conversation: Conversation | None) -> list[Any] | None:
    if conversation is None:
        return None
    return [getattr(message.parts[0], "content", None) for message in conversation.messages]


def entries(dsn: str) -> int:
    with open_connection(dsn) as connection:
        return int(value(connection, "select count(*) from tide_conversations.entries"))


async def test_a_conversation_is_loaded_as_it_was_saved(store: TideConversationStore) -> None:
    call = ToolCallPart("refund", {"cents": 500, "rate": 1.0}, tool_call_id="c1")
    picture = BinaryContent(b"\x00\xff" * 10, media_type="application/pdf")
    conversation = Conversation(
        messages=[
            ModelRequest(parts=[UserPromptPart(["kités", picture])], metadata={"a": [None]}),
            ModelResponse(parts=[call], model_name="m", provider_details={"x": 2**60}),
        ],
        usage=RunUsage(requests=2, input_tokens=7, tool_calls=1, details={"audio": 3}),
        conversation_id="ann",
        deferred_tool_requests=DeferredToolRequests(
            approvals=[call], metadata={"c1": {"why": "?"}}
        ),
    )
    await store.save(conversation, scope="acme")
    loaded = await store.load("ann")
    assert loaded is not None
    assert loaded.messages == conversation.messages
    assert loaded.usage == conversation.usage
    assert loaded.deferred_tool_requests == conversation.deferred_tool_requests
    assert loaded.revision == conversation.revision
    assert await store.load("ann", scope="other") is None
    assert await store.load("bob") is None


@pytest.mark.parametrize("seed", range(6))
async def test_random_saves_branches_forks_and_deletes_are_those_of_the_store_in_memory(
    store: TideConversationStore, dsn: str, seed: int
) -> None:
    memory = InMemoryConversationStore()
    random = Random(seed)
    names = ["a", "b", "c", "d"]

    async def act(store: ConversationStore, what: str, name: str, other: str, n: int) -> Any:
        try:
            if what == "save":
                conversation = await store.load(name) or Conversation(conversation_id=name)
                conversation.messages += [said(f"{n}"), said(f"{n} more")]
                return len(await store.save(conversation, scope=f"s{n % 2}" if n < 3 else None))
            if what == "window":
                conversation = await store.load(name, limit=n)
                assert conversation is not None
                conversation.messages.append(said(f"w{n}"))
                return len(await store.save(conversation))
            if what == "rewrite":
                conversation = await store.load(name)
                assert conversation is not None
                whole = Conversation(
                    messages=[*conversation.messages[:n], said(f"r{n}")],
                    conversation_id=name,
                    revision=conversation.revision,
                )
                return len(await store.save(whole))
            if what == "branch":
                loaded = await store.load(name)
                assert loaded is not None and loaded.revision is not None
                return texts(await store.branch(name, at=n, expected_revision=loaded.revision))
            if what == "fork":
                return texts(await store.fork(name, at=n, new_conversation_id=other))
            if what == "stale":
                conversation = Conversation(conversation_id=name, messages=[said("stale")])
                return len(await store.save(conversation))
            await store.delete(name)
        except (ConversationConflict, UserError, AssertionError) as error:
            return type(error)
        return None

    kinds = ["save", "save", "save", "window", "rewrite", "branch", "fork", "stale", "delete"]
    for _ in range(60):
        given = (
            random.choice(kinds),
            random.choice(names),
            random.choice(names),
            random.randrange(5),
        )
        assert await act(store, *given) == await act(memory, *given), given
        for name in names:
            assert texts(await store.load(name)) == texts(await memory.load(name)), (given, name)
        assert entries(dsn) == len(memory._entries), given
    listed = [record.conversation_id for record in await store.list_conversations()]
    assert listed == [record.conversation_id for record in await memory.list_conversations()]
    scoped = [
        record.conversation_id for record in await store.list_conversations(scope="s1", limit=2)
    ]
    expected = await memory.list_conversations(scope="s1", limit=2)
    assert scoped == [record.conversation_id for record in expected]


async def test_of_two_who_save_at_once_one_is_told(store: TideConversationStore) -> None:
    await store.save(Conversation(conversation_id="ann", messages=[said("0")]))
    loaded = [await store.load("ann") for _ in range(5)]
    for number, one in enumerate(loaded):
        assert one is not None
        one.messages.append(said(f"by {number}"))
    found = await asyncio.gather(
        *[store.save(one) for one in loaded if one is not None], return_exceptions=True
    )
    assert sum(isinstance(one, ConversationConflict) for one in found) == 4
    assert len((await store.load("ann")).messages) == 2  # type: ignore[union-attr]


async def test_forks_and_deletes_at_once_leave_no_history_without_its_beginning(
    store: TideConversationStore, dsn: str
) -> None:
    for number in range(10):
        conversation = Conversation(conversation_id="base", messages=[said("0"), said("1")])
        await store.save(conversation)

        async def fork(name: str) -> None:
            await store.fork("base", new_conversation_id=name)

        forks = [f"{number}/{place}" for place in range(4)]
        await asyncio.gather(
            *[fork(name) for name in forks], store.delete("base"), return_exceptions=True
        )
        for name in forks:
            found = await store.load(name)
            assert found is None or texts(found) == ["0", "1"]
            await store.delete(name)
        await store.delete("base")
        assert entries(dsn) == 0


async def test_idle_conversations_go_with_the_messages_that_no_other_shares(
    store: TideConversationStore, dsn: str
) -> None:
    base = Conversation(conversation_id="old", messages=[said("0")])
    await store.save(base)
    await store.fork("old", new_conversation_id="fork")
    base = await store.load("old") or base
    base.messages.append(said("1"))
    await store.save(base)
    await store.save(Conversation(conversation_id="older", messages=[said("2")]))
    assert await store.delete_idle(60.0) == 0
    with open_connection(dsn) as connection:
        connection.execute(
            "update tide_conversations.records set updated_at = updated_at - interval '91 d' "
            "where conversation_id <> 'fork'"
        )
    with pytest.raises(ValueError, match="idle is not valid"):
        await store.delete_idle(0)
    assert await store.delete_idle(90 * 86_400.0) == 2
    assert await store.load("old") is None
    assert texts(await store.load("fork")) == ["0"]
    assert entries(dsn) == 1


async def test_what_is_no_json_is_refused_with_its_place(store: TideConversationStore) -> None:
    conversation = Conversation(conversation_id="ann", messages=[said("fine"), said("a\0b")])
    with pytest.raises(BadPayload, match=r"conversation 'ann' .* at \$\[1\]\.message\.parts\[0\]"):
        await store.save(conversation)
    assert await store.load("ann") is None


# In runs -------------------------------------------------------------------------------------


def clerk(asked: list[Any]) -> Agent[None, str]:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(len(messages))
        return ModelResponse(parts=[TextPart(f"answer to {len(messages)}")])

    return Agent(FunctionModel(answer), name="clerk", capabilities=[TideDurability()])


async def talk(
    run: AsyncRun, store: TideConversationStore, agent: Agent[None, str], text: str
) -> str:
    conversation = await store.load_for(run, "ann")
    with running(run):
        result = await agent.run(text, conversation=conversation)
    await store.save_for(run, result)
    return result.output


async def test_a_conversation_goes_on_in_the_next_run(
    dsn: str, store: TideConversationStore
) -> None:
    asked: list[Any] = []
    async with AsyncTidebase(dsn) as tide:

        @tide.workflow("ask", max_attempts=2)
        async def ask(run: AsyncRun, input: Any) -> Any:
            output = await talk(run, store, clerk(asked), input)
            if run.attempt == 1:
                raise OSError("once more")
            return output

        for question, expected in (("one?", "answer to 1"), ("two?", "answer to 3")):
            backoff = {"base": 0, "jitter": 0}
            run_id = (await tide.enqueue("ask", input=question, backoff=backoff)).run_id
            await tide.work(drain=True)
            assert (await tide.runs.get(run_id)).result == expected
    assert asked == [1, 3]
    assert texts(await store.load("ann")) == ["one?", "answer to 1", "two?", "answer to 3"]


async def test_who_saves_over_what_somebody_else_said_is_told(
    dsn: str, store: TideConversationStore
) -> None:
    async with AsyncTidebase(dsn) as tide:

        @tide.workflow("ask")
        async def ask(run: AsyncRun, input: Any) -> Any:
            conversation = await store.load_for(run, "ann")
            await store.save(Conversation(conversation_id="ann", messages=[said("theirs")]))
            with running(run):
                result = await clerk([]).run("mine", conversation=conversation)
            with pytest.raises(ConversationConflict):
                await store.save_for(run, result)

        run_id = (await tide.enqueue("ask")).run_id
        await tide.work(drain=True)
        assert (await tide.runs.get(run_id)).status == "completed"
    assert texts(await store.load("ann")) == ["theirs"]


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
def test_killed_at_any_statement_a_conversation_has_each_message_once(
    direct_dsn: str, hour: Clock, moment: str, tmp_path: Path
) -> None:
    async def prepare() -> None:
        async with TideConversationStore.from_conn_string(direct_dsn) as store:
            await store.setup()

    async def reset() -> None:
        async with TideConversationStore.from_conn_string(direct_dsn) as store:
            await store.delete("ann")

    async def kept() -> list[Any] | None:
        async with TideConversationStore.from_conn_string(direct_dsn) as store:
            return texts(await store.load("ann"))

    async def work(dsn: str, log: Log) -> None:
        async with (
            AsyncTidebase(dsn) as tide,
            TideConversationStore.from_conn_string(dsn) as store,
        ):

            @tide.workflow("ask")
            async def ask(run: AsyncRun, input: Any) -> Any:
                return await talk(run, store, clerk([]), "one?")

            await tide.work(drain=True, lease=60)

    asyncio.run(prepare())
    with Tidebase(direct_dsn) as tide:
        for number in range(1, 200):
            log = Log(tmp_path / f"{number}")
            asyncio.run(reset())
            run_id = tide.enqueue("ask", max_attempts=5).run_id
            died = killed(direct_dsn, (number, moment), lambda dsn, log=log: work(dsn, log))  # type: ignore[misc]
            hour.advance(timedelta(minutes=2))
            tide.reconcile()
            hour.advance(timedelta(minutes=10))
            asyncio.run(work(direct_dsn, log))
            assert tide.runs.get(run_id).result == "answer to 1", number
            assert asyncio.run(kept()) == ["one?", "answer to 1"], number
            if not died:
                break
    assert number > 8
