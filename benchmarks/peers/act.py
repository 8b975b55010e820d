"""One command of one adapter, in a process and an interpreter of its own.

python act.py PEER COMMAND DSN '{"json": "args"}'; the last line beginning with RESULT answers.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import peer


def paced(enqueue, count, interval):
    """One job each so many seconds, whatever the one before took."""
    sent = []
    tick = time.time() + 0.05
    for number in range(count):
        time.sleep(max(0.0, tick - time.time()))
        enqueue([number])
        sent.append((number, time.time()))
        tick += interval
    return sent


def work(adapter, durable, concurrency, output):
    """Until told to stop over stdin; then writes what was handled when."""
    seen = []

    def on_job(number):
        seen.append((number, time.time()))

    def watch():
        sys.stdin.readline()
        Path(output).write_text(json.dumps(seen))
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    (adapter.durable_worker if durable else adapter.worker)(on_job, concurrency)
    time.sleep(3600)


def act(kind, command, dsn, given):
    adapter = kind(dsn)
    if command == "info":
        return {"pending_sql": kind.pending_sql, "left_sql": kind.left_sql}
    if command == "drain":
        return peer.drain(kind, dsn, **given)
    if command == "enqueue":
        enqueue, chunk = adapter.enqueuer(), given["chunk"] or adapter.bulk_chunk
        enqueue(list(range(min(chunk, 10))))
        began, processor, done = time.time(), time.process_time(), 0
        while done < given["most"] and time.time() - began < given["seconds"]:
            enqueue(list(range(done, done + chunk)))
            done += chunk
        took = time.time() - began
        return {"rate": done / took, "jobs": done, "processor": time.process_time() - processor}
    if command == "paced":
        return {"sent": paced(adapter.enqueuer(), **given)}
    if command in ("work", "durable_work"):
        return work(adapter, command == "durable_work", given["concurrency"], given["output"])
    return getattr(adapter, command)(**given)


if __name__ == "__main__":
    name, command, dsn, given = sys.argv[1:5]
    kind = importlib.import_module(f"peer_{name}").Peer
    print("RESULT " + json.dumps(act(kind, command, dsn, json.loads(given))), flush=True)
    os._exit(0)  # without what libraries say at their end
