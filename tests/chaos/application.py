"""The workload: workflows whose every effect is written down, as a worker process.

`python -m tests.chaos.application sync|async FOLDER`, on the database TIDEBASE_DSN names.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.history import SPENT, Log
from tidebase_pg import AsyncRun, AsyncTidebase, Event, Fail, Run, Tidebase

LEASE = 3.0
BUDGET = {"max_tokens": 15, "allowances": ["house"]}
"""Of a run that spends: its third step has to wait until somebody raises the limit."""
WORDS = 2
BACKOFF = {"base": "200 ms", "max": "2 s", "jitter": 0.5}


def sync_application(log: Log) -> Tidebase:
    tide = Tidebase()

    def step(run: Run, name: str, seconds: float = 0.0) -> Any:
        def effect() -> str:
            log.effect(run.id, name, run.attempt)
            time.sleep(seconds)
            return f"{name} of {run.id}"

        answer = run.step(name, effect)
        log.write("kept", run_id=run.id, step=name, attempt=run.attempt)
        assert answer == f"{name} of {run.id}", answer
        return answer

    def spend(run: Run, name: str) -> None:
        def effect() -> None:
            log.effect(run.id, name, run.attempt)
            run.usage.record(kind="llm", total_tokens=SPENT, step=name, request_key=name)

        run.step(name, effect, estimate={"tokens": SPENT})
        log.write("kept", run_id=run.id, step=name, attempt=run.attempt)

    @tide.workflow("order", queue="orders")
    def order(run: Run, input: dict[str, Any]) -> str:
        step(run, "first", random.random() * 0.05)
        with run.transaction("ledger") as tx:
            if not tx.done:
                tx.connection.execute("insert into ledger (run_id) values (%s)", [run.id])
                tx.complete({"written": True})
        if input.get("fails") and run.attempt < 2:
            raise RuntimeError("an error of the application")
        if input.get("ask") and not run.gate("ask", "Go on?", data=input, timeout=20).approved:
            raise Fail("rejected")
        if input.get("nap"):
            run.sleep("nap", 0.3)
        if input.get("hears"):
            for place in range(WORDS):
                event = run.wait_event("word", timeout=20)
                log.write("heard a word", run_id=run.id, place=place, word=_payload(event))
        if input.get("spends"):
            for turn in range(3):
                spend(run, f"spend {turn}")
        if input.get("children"):
            run.fanout(
                "parts",
                [{"workflow": "part", "input": {"n": n}} for n in range(input["children"])],
                queue="parts", on_failure="collect",
            )  # fmt: skip
        step(run, "last", random.random() * 0.05)
        return "done"

    @tide.workflow("part", queue="parts")
    def part(run: Run, input: dict[str, Any]) -> int:
        step(run, "part")
        return int(input["n"])

    @tide.workflow("tick", queue="orders")
    def tick(run: Run, input: Any) -> None:
        step(run, "tick")

    return tide


def async_application(log: Log) -> AsyncTidebase:
    tide = AsyncTidebase()

    async def step(run: AsyncRun, name: str) -> Any:
        async def effect() -> str:
            log.effect(run.id, name, run.attempt)
            await asyncio.sleep(random.random() * 0.05)
            return f"{name} of {run.id}"

        answer = await run.step(name, effect)
        log.write("kept", run_id=run.id, step=name, attempt=run.attempt)
        return answer

    async def spend(run: AsyncRun, name: str) -> None:
        async def effect() -> None:
            log.effect(run.id, name, run.attempt)
            await run.usage.record(kind="llm", total_tokens=SPENT, step=name, request_key=name)

        await run.step(name, effect, estimate={"tokens": SPENT})
        log.write("kept", run_id=run.id, step=name, attempt=run.attempt)

    @tide.workflow("order", queue="orders")
    async def order(run: AsyncRun, input: dict[str, Any]) -> str:
        await step(run, "first")
        async with run.transaction("ledger") as tx:
            if not tx.done:
                await tx.connection.execute("insert into ledger (run_id) values (%s)", [run.id])
                await tx.complete({"written": True})
        if input.get("fails") and run.attempt < 2:
            raise RuntimeError("an error of the application")
        if input.get("ask"):
            decision = await run.gate("ask", "Go on?", data=input, timeout=20)
            if not decision.approved:
                raise Fail("rejected")
        if input.get("nap"):
            await run.sleep("nap", 0.3)
        if input.get("hears"):
            for place in range(WORDS):
                event = await run.wait_event("word", timeout=20)
                log.write("heard a word", run_id=run.id, place=place, word=_payload(event))
        if input.get("spends"):
            for turn in range(3):
                await spend(run, f"spend {turn}")
        if input.get("children"):
            await run.fanout(
                "parts",
                [{"workflow": "part", "input": {"n": n}} for n in range(input["children"])],
                queue="parts", on_failure="collect",
            )  # fmt: skip
        await step(run, "last")
        return "done"

    @tide.workflow("part", queue="parts")
    async def part(run: AsyncRun, input: dict[str, Any]) -> int:
        await step(run, "part")
        return int(input["n"])

    @tide.workflow("tick", queue="orders")
    async def tick(run: AsyncRun, input: Any) -> None:
        await step(run, "tick")

    return tide


def _payload(event: Event | None) -> Any:
    return None if event is None else event.payload


def work_until_told(log: Log, work: Callable[[], Any]) -> None:
    """Work until a signal ends it. A worker that finds no database at first says so and ends, and a
    process manager starts it again, as here. One that has executed anything goes on whatever
    happens to the database."""
    while True:
        try:
            work()
            return
        except psycopg.Error as error:
            if log.kinds["effect"] or log.kinds["did"]:
                raise
            log.write("did not begin", error=str(error))
            time.sleep(0.1)


def main(colour: str, folder: Path) -> None:
    logging.disable(logging.WARNING)
    log = Log(folder, f"worker-{colour}")
    options: Any = {
        "queues": ["orders", "parts"], "concurrency": 6, "lease": LEASE, "reconcile": 1,
        "poll": 0.5,
    }  # fmt: skip
    if colour == "sync":
        tide = sync_application(log)
        work_until_told(log, lambda: tide.work(**options))
    else:
        async_tide = async_application(log)
        work_until_told(log, lambda: asyncio.run(async_tide.work(**options)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
