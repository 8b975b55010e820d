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
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos import application
from tests.chaos.application import LEASE
from tests.chaos.history import Log
from tidebase_pg import AsyncRun, Run

BLOCKED = LEASE * 1.2
SLOTS = 6


def census(log: Log, colour: str, loop: asyncio.AbstractEventLoop | None) -> None:
    """Says twice a second what the process holds."""
    while True:
        time.sleep(0.5)
        try:
            tasks = 0 if loop is None else len(asyncio.all_tasks(loop))
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


def did_not_begin(log: Log, error: psycopg.Error) -> None:
    """A worker that finds no database at first says so and ends, and a process manager starts it
    again, as here. One that has executed anything goes on whatever happens to the database."""
    if log.kinds["effect"]:
        raise error
    log.write("did not begin", error=str(error))
    time.sleep(0.1)


def main(colour: str, folder: Path) -> None:
    logging.basicConfig(filename=folder / f"{colour}-{os.getpid()}.log", level=logging.WARNING)
    stacks = (folder / f"stacks-{colour}-{os.getpid()}.txt").open("w")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    log = Log(folder, f"worker-{colour}")
    options: Any = {
        "queues": ["orders", "parts", "blockers"], "concurrency": SLOTS, "lease": LEASE,
        "reconcile": 1, "poll": 0.5, "grace": 5,
    }  # fmt: skip

    def watched(loop: asyncio.AbstractEventLoop | None) -> None:
        threading.Thread(
            target=census, args=(log, colour, loop), name="census", daemon=True
        ).start()

    if colour == "sync":
        tide = application.sync_application(log)

        @tide.workflow("blocker", queue="blockers")
        def blocker(run: Run, input: Any) -> None:
            run.step("block", lambda: time.sleep(BLOCKED))

        watched(None)
        while True:
            try:
                tide.work(**options)
                break
            except psycopg.Error as error:
                did_not_begin(log, error)
    else:
        async_tide = application.async_application(log)

        @async_tide.workflow("blocker", queue="blockers")
        async def async_blocker(run: AsyncRun, input: Any) -> None:
            time.sleep(BLOCKED)  # noqa: ASYNC251 what people do

        async def work() -> None:
            watched(asyncio.get_running_loop())
            while True:
                try:
                    await async_tide.work(**options)
                    break
                except psycopg.Error as error:
                    did_not_begin(log, error)

        asyncio.run(work())
    log.write("ended", pid=os.getpid())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
