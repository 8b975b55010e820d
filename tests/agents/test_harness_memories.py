"""Memories of pydantic-ai-harness in Postgres: what its own stores do, each change done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

pytest.importorskip("pydantic_ai_harness.memory", reason="run: make test-harness")

from pydantic_ai import Agent, models
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness import Memory
from pydantic_ai_harness.memory import (
    InMemoryStore,
    MemoryConflictError,
    MemoryOperation,
    MemoryOperationConflictError,
    MemoryStore,
    MetadataMemoryStore,
    SearchableMemoryStore,
)

from tests.support import open_connection, value
from tidebase_pg.agents.harness import TideMemoryStore
from tidebase_pg.errors import BadPayload

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[TideMemoryStore]:
    async with TideMemoryStore.from_conn_string(dsn) as store:
        await store.setup()
        yield store


PATHS = ["a.md", "a/b.md", "a/b/c.md", "a/d.md", "ab.md", "A.md", "z_z/main.md"]
WORDS = ["tide", "moon", "kite", "Heron", "tide tide"]
BAD_PATHS = ["../escape.md", "/absolute.md", "a//b.md", "a/../../b.md", "a b.md", "a/./b", "kité"]


@pytest.mark.parametrize("seed", range(6))
async def test_random_calls_are_answered_as_by_the_store_in_memory(
    store: TideMemoryStore, seed: int
) -> None:
    assert isinstance(store, MemoryStore)
    assert isinstance(store, MetadataMemoryStore)
    assert isinstance(store, SearchableMemoryStore)
    random = Random(seed)
    memory = InMemoryStore()
    versions: dict[str, dict[str | None, str | None]] = {"tide": {}, "memory": {}}

    async def act(one: Any, name: str, given: dict[str, Any]) -> Any:
        known = versions[name]
        path, kind = given["path"], given["kind"]
        expected = "0" if given["stale"] else known.get(path)
        try:
            if kind in ("write", "delete"):
                asked: dict[str, Any] = {
                    "expected_version": expected,
                    "operation": given["operation"],
                }
                if kind == "write":
                    done = await one.write_with_metadata(
                        path, given["content"], metadata=given["metadata"], **asked
                    )
                else:
                    done = await one.delete(path, **asked)
                if not done.replayed:
                    known[path] = done.version
                return done.replayed, done.existed, done.version is None
            if kind == "read":
                file = await one.read(path, max_chars=given["most"])
                if file is None:
                    return None
                assert file.version == known[path]
                return file.content, file.operation_id, file.truncated, file.metadata
            if kind == "operation" and given["operation"]:
                done = await one.get_operation(given["operation"])
                return done and (done.replayed, done.existed)
            if kind == "list":
                return await one.list_paths(given["prefix"], limit=given["most"])
            return await one.search(
                given["prefix"],
                given["content"],
                limit=given["most"],
                max_files=Random(given["most"]).randrange(5),
                max_chars=80,
                max_file_chars=given["most"],
            )
        except (MemoryConflictError, MemoryOperationConflictError) as error:
            return type(error)

    for _ in range(150):
        operation = MemoryOperation(f"o{random.randrange(9)}", f"f{random.randrange(2)}")
        given = {
            "kind": random.choice(
                ["write", "write", "write", "delete", "read", "operation", "list", "search"]
            ),
            "path": random.choice(PATHS),
            "content": " ".join(random.choices(WORDS, k=random.randrange(4))),
            "metadata": random.choice([None, {}, {"by": "ann", "nül": "1"}]),
            "operation": random.choice([None, operation]),
            "prefix": random.choice(["", "a", "a/", "a/b/", "a.md", "z"]),
            "most": random.randrange(1, 12),
            "stale": random.random() < 0.2,
        }
        ours, theirs = await act(store, "tide", given), await act(memory, "memory", given)
        assert ours == theirs, given


async def test_versions_do_not_come_again(store: TideMemoryStore) -> None:
    first = await store.write("main.md", "same", expected_version=None)
    await store.delete("main.md", expected_version=first.version)
    again = await store.write("main.md", "same", expected_version=None)
    assert again.version != first.version
    with pytest.raises(MemoryConflictError, match=r"'main\.md'"):
        await store.write("main.md", "stale", expected_version=first.version)


async def test_of_many_writers_of_one_version_one_wins(store: TideMemoryStore) -> None:
    first = await store.write("main.md", "0", expected_version=None)

    async def write(number: int) -> bool:
        try:
            await store.write("main.md", str(number), expected_version=first.version)
        except MemoryConflictError:
            return False
        return True

    assert sum(await asyncio.gather(*map(write, range(8)))) == 1


async def test_an_operation_sent_many_times_at_once_is_done_once(store: TideMemoryStore) -> None:
    operation = MemoryOperation("run-1:call-1", "write:main.md")

    async def write(number: int) -> Any:
        return await store.write("main.md", "x", expected_version=None, operation=operation)

    done = await asyncio.gather(*map(write, range(8)))
    assert sorted(one.replayed for one in done) == [False, *[True] * 7]
    assert len({one.version for one in done}) == 1
    with pytest.raises(MemoryOperationConflictError, match="'run-1:call-1' was reused"):
        await store.delete(
            "main.md", expected_version=None, operation=MemoryOperation(operation.id, "other")
        )


async def test_an_operation_that_met_a_conflict_may_be_tried_again(store: TideMemoryStore) -> None:
    operation = MemoryOperation("o", "f")
    with pytest.raises(MemoryConflictError):
        await store.write("main.md", "x", expected_version="9", operation=operation)
    assert await store.get_operation(operation) is None
    done = await store.write("main.md", "x", expected_version=None, operation=operation)
    assert not done.replayed


async def test_old_receipts_go_and_memories_stay(store: TideMemoryStore, dsn: str) -> None:
    for name in ("old", "new"):
        operation = MemoryOperation(name, "f")
        await store.write(f"{name}.md", "x", expected_version=None, operation=operation)
    with open_connection(dsn) as connection:
        connection.execute(
            "update tide_harness.receipts set made_at = now() - interval '31 d' "
            "where operation_id = 'old'"
        )
        assert await store.delete_receipts(30 * 86_400) == 1
        assert value(connection, "select count(*) from tide_harness.receipts") == 1
    assert await store.list_paths(limit=9) == ["new.md", "old.md"]
    with pytest.raises(ValueError, match="idle is not valid"):
        await store.delete_receipts(0)


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_what_is_no_path_is_refused(store: TideMemoryStore, path: str) -> None:
    with pytest.raises(ValueError, match="invalid memory path"):
        await store.read(path, max_chars=10)
    with pytest.raises(ValueError, match="invalid memory path"):
        await store.write(path, "x", expected_version=None)
    with pytest.raises(ValueError, match="invalid memory path"):
        await store.delete(path, expected_version=None)
    with pytest.raises(ValueError, match="invalid memory path"):
        await store.list_paths(path, limit=1)
    with pytest.raises(ValueError, match="invalid memory path"):
        await store.search(path, "x", limit=1, max_files=1, max_chars=1, max_file_chars=1)


async def test_bad_input_is_named(store: TideMemoryStore) -> None:
    with pytest.raises(ValueError, match="max_chars"):
        await store.read("a.md", max_chars=0)
    with pytest.raises(ValueError, match="limit"):
        await store.list_paths(limit=0)
    with pytest.raises(TypeError, match="metadata"):
        await store.write_with_metadata(
            "a.md",
            "x",
            expected_version=None,
            metadata={"a": 1},  # type: ignore[dict-item]
        )
    with pytest.raises(BadPayload, match=r"content 'tide.* holds a NUL at 4"):
        await store.write("a.md", "tide\0", expected_version=None)
    with pytest.raises(BadPayload, match="holds half a character at 1"):
        await store.write("a.md", "x\ud800", expected_version=None)


async def test_an_agent_notes_down_what_the_next_one_reads(store: TideMemoryStore) -> None:
    seen: list[str] = []

    def note(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(str(messages))
        if len(messages) == 1:
            arguments = {"content": "Ann flies kites."}
            return ModelResponse(parts=[ToolCallPart("write_memory", arguments)])
        return ModelResponse(parts=[TextPart("Noted.")])

    agent = Agent(FunctionModel(note), capabilities=[Memory(store)])
    assert (await agent.run("Remember that Ann flies kites.")).output == "Noted."
    (path,) = await store.list_paths(limit=9)
    file = await store.read(path, max_chars=100)
    assert file is not None and "Ann flies kites." in file.content
    seen.clear()
    reader = Agent(
        FunctionModel(lambda messages, info: ModelResponse(parts=[TextPart(str(messages))])),
        capabilities=[Memory(store)],
    )
    assert "Ann flies kites." in (await reader.run("What does Ann do?")).output
