"""The program of the tests that need a worker process: run with a mode; talks over its pipes."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase

MIDDLE = 7
"""Of what batches send the one that hangs: the third of the second batch of four."""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(path: str, line: str) -> int:
    with Path(path).open("a") as file:
        return file.write(line + "\n")


def sync(concurrency: int) -> None:
    tide = Tidebase()
    sent: list[int] = []

    @tide.workflow("killed", max_attempts=3)
    def killed(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: note(input["log"], "first"))
        run.step("second", lambda: hang(input["log"]))
        return first

    @tide.workflow("effect", max_attempts=3)
    def effect(run: Run, input: Any) -> Any:
        run.step("send", lambda: hang(input["log"]), side_effects=["mail"])

    @tide.workflow("batched", batch=4, max_attempts=3)
    def batched(runs: list[Run], inputs: list[Any]) -> list[int]:
        return [
            run.step("send", lambda one=one: send(one))
            for run, one in zip(runs, inputs, strict=True)
        ]

    def send(input: Any) -> int:
        note(input["log"], str(input["number"]))
        sent.append(input["number"])
        if len(sent) == MIDDLE:
            say("in the middle")
            sys.stdin.readline()
        return int(input["number"])

    def hang(log: str) -> None:
        note(log, "second")
        say("in the middle")
        sys.stdin.readline()

    tide.work(concurrency=concurrency, lease=3, poll=0.05, grace=60)


def asynchronous(concurrency: int) -> None:
    tide = AsyncTidebase()
    sent: list[int] = []

    @tide.workflow("killed", max_attempts=3)
    async def killed(run: AsyncRun, input: Any) -> Any:
        first = await run.step("first", lambda: note(input["log"], "first"))
        await run.step("second", lambda: hang(input["log"]))
        return first

    @tide.workflow("batched", batch=4, max_attempts=3)
    async def batched(runs: list[AsyncRun], inputs: list[Any]) -> list[int]:
        return [
            await run.step("send", lambda one=one: send(one))
            for run, one in zip(runs, inputs, strict=True)
        ]

    async def send(input: Any) -> int:
        note(input["log"], str(input["number"]))
        sent.append(input["number"])
        if len(sent) == MIDDLE:
            say("in the middle")
            await asyncio.to_thread(sys.stdin.readline)
        return int(input["number"])

    async def hang(log: str) -> None:
        note(log, "second")
        say("in the middle")
        await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(tide.work(concurrency=concurrency, lease=3, poll=0.05, grace=60))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    mode, concurrency = sys.argv[1:]
    if mode == "async":
        asynchronous(int(concurrency))
    else:
        sync(int(concurrency))
