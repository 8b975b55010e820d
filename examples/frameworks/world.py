"""What the examples do outside: a model that is asked, a bank that pays. Both are noted in a file.

No network is used: the models answer from a script. The file stands for the bills that come
later, so what is in it once was paid for once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidebase_pg import AsyncTidebase

BOOK = Path(os.environ.get("BOOK", "book.txt"))
BANK_SECONDS = float(os.environ.get("BANK_SECONDS", "0"))


def note(line: str) -> None:
    with BOOK.open("a") as book:
        book.write(f"{line}\n")


def noted() -> list[str]:
    return BOOK.read_text().splitlines() if BOOK.exists() else []


async def pay(cents: int, key: str | None) -> str:
    """Pay, once for each key as banks do; the answer takes BANK_SECONDS."""
    line = f"paid {cents} for {key}"
    if line not in noted():
        note(line)
        await asyncio.sleep(BANK_SECONDS)
    return f"paid {cents}"


async def demonstrate(tide: AsyncTidebase, workflow: Callable[..., Any]) -> None:
    """Enqueue a run, work until it waits for a person, say yes, work on, print the result."""
    async with tide:
        run_id = (await tide.enqueue(workflow, input={"order": 7})).run_id
        await tide.work(drain=True)
        for gate in await tide.gates.pending():
            if gate.run_id == run_id:
                print(f"{gate.prompt} {gate.data}")
                await tide.gates.decide(gate.gate_id, "approved", "ann")
        await tide.work(drain=True)
        print((await tide.runs.get(run_id)).result)
