"""What event streams of pages have in common: how they wait, and how two become one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from tidebase_pg.server.studio.application import Visit


async def ends_within(visit: Visit, seconds: float) -> bool:
    """Wait for the next look; whether the server takes its leave meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await visit.studio.gateway.ending.wait()
    except TimeoutError:
        return False
    return True


async def together(*sources: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """The lines of all sources as they come, until the last of them has ended."""
    waiting = {asyncio.ensure_future(anext(source)): source for source in sources}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = waiting.pop(task)
                try:
                    line = task.result()
                except StopAsyncIteration:
                    continue
                yield line
                waiting[asyncio.ensure_future(anext(source))] = source
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for source in sources:
            await source.aclose()
