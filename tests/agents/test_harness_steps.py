"""Steps of pydantic-ai-harness in Postgres: what its own stores do, and each message kept once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

pytest.importorskip("pydantic_ai_harness.step_persistence", reason="run: make test-harness")

from pydantic_ai import Agent, models
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
from pydantic_ai.models.test import TestModel
from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    InMemoryStepStore,
    RunRecord,
    StepEvent,
    StepPersistence,
    StepStore,
    ToolEffectRecord,
    continue_run,
)

from tests.support import open_connection, value
from tidebase_pg.agents.harness import TideStepStore
from tidebase_pg.errors import BadPayload, PayloadTooLarge

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[TideStepStore]:
    async with TideStepStore.from_conn_string(dsn) as store:
        await store.setup()
        yield store


def said(text: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(text)])


def snapshot(run_id: str, *texts: str, **given: Any) -> ContinuableSnapshot:
    messages = [said(text) for text in texts]
    return ContinuableSnapshot(run_id=run_id, step_index=len(texts), messages=messages, **given)


def count(dsn: str, table: str) -> int:
    with open_connection(dsn) as connection:
        return int(value(connection, f"select count(*) from tide_harness.{table}"))


async def test_everything_is_read_as_it_was_written(store: TideStepStore) -> None:
    assert isinstance(store, StepStore)
    east = timezone(timedelta(hours=2))
    run = RunRecord(
        run_id="r", conversation_id="c", metadata={"nul": "\0"}, started_at=datetime.now(east)
    )
    await store.register_run(run)
    event = StepEvent(run_id="r", kind="run_failed", step_index=3, error="half a line\0")
    await store.append_event(event)
    effect = ToolEffectRecord(tool_call_id="t", tool_name="pay", run_id="r", status="started")
    await store.record_tool_effect(effect)
    picture = BinaryContent(b"\x00\xff" * 10, media_type="application/pdf")
    call = ToolCallPart("refund", {"cents": 500, "rate": 1.0}, tool_call_id="c1")
    saved = ContinuableSnapshot(
        run_id="r",
        step_index=2,
        conversation_id="c",
        messages=[
            ModelRequest(parts=[UserPromptPart(["kités \0", picture])], metadata={"a": [None]}),
            ModelResponse(parts=[call], model_name="m", provider_details={"x": 2**60}),
        ],
    )
    await store.save_snapshot(saved)
    assert await store.get_run(run_id="r") == run
    assert await store.list_events(run_id="r") == [event]
    assert await store.get_tool_effect(run_id="r", tool_call_id="t") == effect
    assert await store.latest_snapshot(run_id="r") == saved
    empty = replace(saved, messages=[], step_index=9)
    await store.save_snapshot(empty)
    assert await store.list_snapshots(run_id="r") == [saved, empty]


async def test_nothing_is_known_of_what_was_never_written(store: TideStepStore) -> None:
    assert await store.get_run(run_id="x") is None
    assert await store.list_runs() == []
    assert await store.list_events(run_id="x") == []
    assert await store.latest_snapshot(run_id="x") is None
    assert await store.list_snapshots(run_id="x") == []
    assert await store.get_tool_effect(run_id="x", tool_call_id="t") is None
    assert await store.list_unresolved_tool_effects(run_id="x") == []


async def test_a_run_is_registered_once_by_one_of_many(store: TideStepStore) -> None:
    async def register(number: int) -> bool:
        record = RunRecord(run_id="r", registration_id=str(number))
        try:
            await store.register_run(record)
        except ValueError:
            return False
        return True

    assert sum(await asyncio.gather(*map(register, range(8)))) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_random_calls_are_answered_as_by_the_store_in_memory(
    store: TideStepStore, seed: int
) -> None:
    random = Random(seed)
    most = random.choice([None, 1, 3])
    memory = InMemoryStepStore(max_snapshots_per_run=most)
    store._max_snapshots = most
    runs = ["a", "b", "c"]
    began = datetime(2030, 1, 1, tzinfo=UTC)
    registered: set[str] = set()
    history: dict[str, list[str]] = {run: [] for run in runs}
    for number in range(80):
        run = random.choice(runs)
        place: Any = {"conversation_id": random.choice([None, "x", "y"])}
        key = random.choice([None, f"k{random.randrange(9)}"])
        kind = random.choice(["run", "event", "grow", "grow", "rewrite", "effect"])
        at = began + timedelta(seconds=random.randrange(90), microseconds=number)
        for one in (store, memory):
            if kind == "run" and run not in registered:
                parent = "a" if run == "b" else None
                await one.register_run(
                    RunRecord(run_id=run, parent_run_id=parent, started_at=at, **place)
                )
            elif kind == "event":
                await one.append_event(
                    StepEvent(
                        run_id=run,
                        kind="tool_call_started",
                        step_index=number,
                        timestamp=at,
                        idempotency_key=key,
                        **place,
                    )
                )
            elif kind in ("grow", "rewrite"):
                before = history[run] if kind == "grow" else history[run][: number % 4]
                state = "interrupted" if number % 3 == 0 else "complete"
                messages = [
                    ModelRequest(parts=[UserPromptPart(text, timestamp=began)], timestamp=began)
                    for text in [*before, str(number)]
                ]
                saved = ContinuableSnapshot(
                    run_id=run,
                    step_index=number,
                    messages=messages,
                    timestamp=at,
                    state=state,
                    idempotency_key=key and f"{number}:saved",
                    **place,
                )
                await one.save_snapshot(saved)
                if key:
                    await one.save_snapshot(saved)
            elif kind == "effect":
                status = Random(number).choice(["started", "completed", "failed"])
                await one.record_tool_effect(
                    ToolEffectRecord(
                        tool_call_id=f"t{number % 4}",
                        tool_name="pay",
                        run_id=run,
                        status=status,
                        started_at=at,
                    )
                )
        if kind == "run":
            registered.add(run)
        if kind in ("grow", "rewrite"):
            history[run] = [*(history[run] if kind == "grow" else []), str(number)][-9:]

    async def answers(one: Any) -> list[Any]:
        found: list[Any] = [
            await one.list_runs(),
            await one.list_runs(conversation_id="x"),
            await one.list_runs(parent_run_id="a"),
            await one.list_runs(conversation_id="x", parent_run_id="a"),
        ]
        for run in runs:
            found.append(await one.get_run(run_id=run))
            found.append(await one.list_events(run_id=run))
            found.append(await one.list_unresolved_tool_effects(run_id=run))
            found += [await one.get_tool_effect(run_id=run, tool_call_id=f"t{n}") for n in range(4)]
            for all_of_them in (False, True):
                found.append(await one.latest_snapshot(run_id=run, include_interrupted=all_of_them))
                found.append(await one.list_snapshots(run_id=run, include_interrupted=all_of_them))
        return found

    assert await answers(store) == await answers(memory)


async def test_the_newest_complete_snapshot_stays_beside_the_newest(dsn: str) -> None:
    async with TideStepStore.from_conn_string(dsn, max_snapshots_per_run=2) as store:
        await store.setup()
        await store.save_snapshot(snapshot("r", "a"))
        for number in range(4):
            await store.save_snapshot(snapshot("r", "a", *"b" * number, state="interrupted"))
        kept = await store.list_snapshots(run_id="r", include_interrupted=True)
        assert [(one.step_index, one.state) for one in kept] == [
            (1, "complete"),
            (3, "interrupted"),
            (4, "interrupted"),
        ]
    with pytest.raises(ValueError, match="max_snapshots_per_run"):
        TideStepStore(dsn, max_snapshots_per_run=0)


async def test_runs_of_a_conversation_keep_each_message_once(
    store: TideStepStore, dsn: str
) -> None:
    """A thousand turns, each a run of its own, as a chat has them; another process at the end."""
    turns, texts = 200, [f"turn {number}" for number in range(200)]
    messages = [said(text) for text in texts]
    for turn in range(1, turns + 1):
        await store.save_snapshot(
            ContinuableSnapshot(
                run_id=f"r{turn}",
                step_index=0,
                messages=messages[:turn],
                conversation_id="ann",
            )
        )
    assert count(dsn, "messages") == turns
    async with TideStepStore.from_conn_string(dsn) as other:
        await other.save_snapshot(
            ContinuableSnapshot(
                run_id="next",
                step_index=0,
                messages=[*messages, said("more")],
                conversation_id="ann",
            )
        )
        assert count(dsn, "messages") == turns + 1
        assert await continue_run(other, run_id="r7") == messages[:7]
        assert await continue_run(other, run_id="next") == [
            *messages[:turns],
            *(
                (await other.latest_snapshot(run_id="next")).messages[turns:]  # type: ignore[union-attr]
            ),
        ]


async def test_a_save_after_others_have_removed_the_conversation_is_whole(
    store: TideStepStore, dsn: str
) -> None:
    await store.save_snapshot(snapshot("r", "a", "b", conversation_id="c"))
    async with TideStepStore.from_conn_string(dsn) as other:
        assert await other.delete_conversation("c") is True
        assert await other.delete_conversation("c") is False
    again = snapshot("r", "a", "b", "c", conversation_id="c")
    first = await store.latest_snapshot(run_id="r")
    assert first is None
    await store.save_snapshot(again)
    assert await store.latest_snapshot(run_id="r") == again


async def test_saves_beside_removals_are_whole_or_not_there(store: TideStepStore, dsn: str) -> None:
    messages = [said(str(number)) for number in range(30)]

    async def save() -> None:
        for turn in range(1, 30):
            await store.save_snapshot(
                ContinuableSnapshot(
                    run_id=f"r{turn % 3}",
                    step_index=turn,
                    messages=messages[:turn],
                    conversation_id="c",
                )
            )

    async def remove() -> None:
        async with TideStepStore.from_conn_string(dsn) as other:
            for _ in range(30):
                await other.delete_conversation("c")

    await asyncio.gather(save(), save(), remove())
    for run in range(3):
        for one in await store.list_snapshots(run_id=f"r{run}"):
            assert one.messages == messages[: one.step_index]


async def test_idle_conversations_go_with_all_they_have(store: TideStepStore, dsn: str) -> None:
    for run, place in (("old", "c"), ("old too", None), ("new", "d")):
        await store.register_run(RunRecord(run_id=run, conversation_id=place))
        await store.append_event(
            StepEvent(run_id=run, kind="run_started", step_index=0, idempotency_key="k")
        )
        await store.save_snapshot(snapshot(run, "a", conversation_id=place, idempotency_key="k"))
        await store.record_tool_effect(
            ToolEffectRecord(tool_call_id="t", tool_name="pay", run_id=run, status="started")
        )
    with open_connection(dsn) as connection:
        connection.execute(
            "update tide_harness.conversations set touched_at = now() - interval '91 d' "
            "where conversation_id in ('c', 'old too')"
        )
    assert await store.delete_idle(90 * 86_400) == 2
    tables = [
        "conversations",
        "runs",
        "events",
        "messages",
        "snapshots",
        "snapshot_keys",
        "effects",
    ]
    assert {table: count(dsn, table) for table in tables} == dict.fromkeys(tables, 1)
    assert [run.run_id for run in await store.list_runs()] == ["new"]
    await store.register_run(RunRecord(run_id="alone"))
    assert await store.delete_run("alone") is True
    with pytest.raises(ValueError, match="idle is not valid"):
        await store.delete_idle(0)


async def test_what_cannot_be_stored_is_named_before_anything_is_written(
    store: TideStepStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    bad: list[ModelMessage] = [
        said("fine"),
        ModelResponse(parts=[ToolCallPart("refund", cyclic)]),
    ]
    with pytest.raises(BadPayload, match="message 1 of run 'r'"):
        await store.save_snapshot(ContinuableSnapshot(run_id="r", step_index=0, messages=bad))
    with pytest.raises(BadPayload, match=r"message 0 of run 'r'.*surrogate"):
        await store.save_snapshot(snapshot("r", "\ud800"))
    with pytest.raises(BadPayload, match=r"run_id 'r\\x00' holds a NUL at 1"):
        await store.register_run(RunRecord(run_id="r\0"))
    with pytest.raises(BadPayload, match=r"conversation_id .* holds half a character at 0"):
        await store.list_runs(conversation_id="\ud800")
    monkeypatch.setattr("tidebase_pg.agents.harness.steps.MOST_BYTES", 2**20)
    with pytest.raises(PayloadTooLarge, match="snapshot 2 of run 'r' are above"):
        await store.save_snapshot(snapshot("r", "x" * 2**19, "y" * 2**19))
    assert count(dsn, "runs") == 0


async def test_an_agent_that_crashed_goes_on_from_where_it_was(store: TideStepStore) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("look", {}, tool_call_id="c1")])
        raise ConnectionError("the provider is away")

    agent = Agent(FunctionModel(answer), capabilities=[StepPersistence(store=store)])

    @agent.tool_plain
    def look() -> str:
        return "high tide at noon"

    with pytest.raises(ConnectionError):
        await agent.run("When?", run_id="first", conversation_id="ann")
    kinds = [event.kind for event in await store.list_events(run_id="first")]
    assert kinds[0] == "run_started" and kinds[-1] == "run_failed"
    assert "tool_call_completed" in kinds
    assert await store.list_unresolved_tool_effects(run_id="first") == []
    history = await continue_run(store, run_id="first", include_interrupted=True)
    other = Agent(TestModel(call_tools=[]), capabilities=[StepPersistence(store=store)])
    result = await other.run(
        "Go on.", message_history=history, run_id="second", conversation_id="ann"
    )
    assert len(result.all_messages()) > len(history)
    runs = await store.list_runs(conversation_id="ann")
    assert [run.run_id for run in runs] == ["first", "second"]
    assert (await continue_run(store, run_id="second"))[-1] == result.all_messages()[-1]
    assert isinstance(result.all_messages()[-1].parts[0], TextPart)
