"""The program of the tests that need a worker process: run with a mode; talks over its pipes."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(path: str, line: str) -> int:
    with Path(path).open("a") as file:
        return file.write(line + "\n")


def sync() -> None:
    tide = Tidebase()

    @tide.workflow("killed", max_attempts=3)
    def killed(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: note(input["log"], "first"))
        run.step("second", lambda: hang(input["log"]))
        return first

    @tide.workflow("effect", max_attempts=3)
    def effect(run: Run, input: Any) -> Any:
        run.step("send", lambda: hang(input["log"]), side_effects=["mail"])

    def hang(log: str) -> None:
        note(log, "second")
        say("in the middle")
        sys.stdin.readline()

    tide.work(lease=3, poll=0.05, grace=60)


def asynchronous() -> None:
    tide = AsyncTidebase()

    @tide.workflow("killed", max_attempts=3)
    async def killed(run: AsyncRun, input: Any) -> Any:
        first = await run.step("first", lambda: note(input["log"], "first"))
        await run.step("second", lambda: hang(input["log"]))
        return first

    async def hang(log: str) -> None:
        note(log, "second")
        say("in the middle")
        await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(tide.work(lease=3, poll=0.05, grace=60))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if sys.argv[1] == "async":
        asynchronous()
    else:
        sync()
