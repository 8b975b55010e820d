"""The worker of the storm: the workload of the campaign, watched for what it leaves behind.

`python -m tests.chaos.besieged sync|async FOLDER`, on the database TIDEBASE_DSN names. SIGUSR1
writes where every thread is into a file of the folder.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos import application
from tests.chaos.application import LEASE
from tests.chaos.history import Log
from tidebase_pg import AsyncRun, Run

BLOCKED = LEASE * 1.2
SLOTS = 6


def census(log: Log, colour: str, loops: Sequence[asyncio.AbstractEventLoop]) -> None:
    """Says twice a second what the process holds, and the last of the loops it has begun."""
    while True:
        time.sleep(0.5)
        try:
            tasks = len(asyncio.all_tasks(loops[-1])) if loops else 0
        except RuntimeError:  # the set has changed meanwhile
            continue
        sockets = 0
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                kind = str(descriptor.readlink())
            except OSError:
                continue
            sockets += kind.startswith("socket:")
        threads = sorted(thread.name for thread in threading.enumerate())
        log.write(
            "census", pid=os.getpid(), colour=colour, tasks=tasks, sockets=sockets, threads=threads
        )


def main(colour: str, folder: Path) -> None:
    logging.basicConfig(filename=folder / f"{colour}-{os.getpid()}.log", level=logging.WARNING)
    stacks = (folder / f"stacks-{colour}-{os.getpid()}.txt").open("w")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    log = Log(folder, f"worker-{colour}")
    options: Any = {
        "queues": ["orders", "parts", "blockers"], "concurrency": SLOTS, "lease": LEASE,
        "reconcile": 1, "poll": 0.5, "grace": 5,
    }  # fmt: skip
    loops: list[asyncio.AbstractEventLoop] = []
    threading.Thread(target=census, args=(log, colour, loops), name="census", daemon=True).start()
    if colour == "sync":
        tide = application.sync_application(log)

        @tide.workflow("blocker", queue="blockers")
        def blocker(run: Run, input: Any) -> None:
            run.step("block", lambda: time.sleep(BLOCKED))

        application.work_until_told(log, lambda: tide.work(**options))
    else:
        async_tide = application.async_application(log)

        @async_tide.workflow("blocker", queue="blockers")
        async def async_blocker(run: AsyncRun, input: Any) -> None:
            time.sleep(BLOCKED)  # noqa: ASYNC251 what people do

        async def work() -> None:
            loops.append(asyncio.get_running_loop())
            await async_tide.work(**options)

        application.work_until_told(log, lambda: asyncio.run(work()))
    log.write("ended", pid=os.getpid())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
