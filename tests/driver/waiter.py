"""The program of the tests that kill a process while its run waits: run with a mode."""

from __future__ import annotations

import sys
from typing import Any

from tidebase_pg import Run, Tidebase


def gated() -> None:
    tide = Tidebase()

    @tide.workflow("gated")
    def gated(run: Run, input: Any) -> Any:
        before = run.step("before", lambda: "once")
        return [before, run.gate("approve", "Go on?").approved]

    tide.work(poll=0.05)


def charge() -> None:
    """A database step; the proxy before the server kills this process at some statement."""
    tide = Tidebase()

    @tide.workflow("charge", max_attempts=2)
    def charge(run: Run, input: Any) -> Any:
        with run.transaction("charge") as tx:
            if not tx.done:
                tx.connection.execute("insert into charges (run_id) values (%s)", (run.id,))
                tx.connection.execute("update totals set charges = charges + 1")
                tx.complete({"charged": 7})
        return tx.output

    tide.work(poll=0.05, reconcile=False, max_runs=1)


if __name__ == "__main__":
    {"gated": gated, "charge": charge}[sys.argv[1]]()
