"""Both savers pass LangGraph's own conformance suite whole, optional capabilities included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.conformance", reason="run: make test-agents")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from tidebase_pg.agents.langgraph import AsyncTideSaver, TideSaver


class Threaded(BaseCheckpointSaver[str]):
    """The suite speaks async only: here its calls reach the sync saver in a thread."""

    def __init__(self, saver: TideSaver) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver

    async def aput(self, *args: Any) -> Any:
        return await asyncio.to_thread(self.saver.put, *args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        await asyncio.to_thread(lambda: self.saver.put_writes(*args, **options))

    async def aget_tuple(self, config: Any) -> Any:
        return await asyncio.to_thread(self.saver.get_tuple, config)

    async def alist(self, config: Any, **options: Any) -> AsyncIterator[Any]:
        for found in await asyncio.to_thread(lambda: list(self.saver.list(config, **options))):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.saver.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.saver.delete_for_runs, run_ids)

    async def acopy_thread(self, source: str, target: str) -> None:
        await asyncio.to_thread(self.saver.copy_thread, source, target)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.saver.prune(thread_ids, strategy=strategy))


@pytest.mark.parametrize("kind", ["async", "sync", "async without memory"])
async def test_the_saver_passes_every_test_of_every_capability(
    empty_dsn: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "async without memory":
        monkeypatch.setattr("tidebase_pg.agents.langgraph.values.MOST_REMEMBERED", 0)

    @checkpointer_test(name=f"tide {kind}")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        if kind != "sync":
            async with AsyncTideSaver.from_conn_string(empty_dsn) as made:
                await made.setup()
                yield made
        else:
            with TideSaver.from_conn_string(empty_dsn) as plain:
                plain.setup()
                yield Threaded(plain)

    report = await validate(saver)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert report.passed_all()
    assert {name for name, result in report.results.items() if not result.passed} == set()
    assert len(report.results) == 8
    assert sum(result.tests_passed for result in report.results.values()) >= 60
