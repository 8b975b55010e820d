"""What an application does with the driver of the release before; run with its wheel in front."""

from __future__ import annotations

import sys
from typing import Any

from tidebase_pg import Run, Tidebase, version

assert version.__version__ == "0.1.0", version.__version__

tide = Tidebase(sys.argv[1])


@tide.workflow("double", max_attempts=2)
def double(run: Run, input: Any) -> Any:
    twice: int = run.step("times", lambda: input["n"] * 2)
    run.sleep("pause", 0)
    return twice


@tide.workflow("ask")
def ask(run: Run, input: Any) -> Any:
    return run.gate("approve", "Send it?").decision


doubled = tide.enqueue(double, input={"n": 21}).run_id
asked = tide.enqueue(ask).run_id
cancelled = tide.enqueue(double, delay=3600).run_id
tide.work(drain=True)
(gate,) = tide.gates.pending()
tide.gates.decide(gate.gate_id, "approved", "ann")
tide.work(drain=True)
tide.runs.cancel(cancelled, reason="not needed")

assert tide.runs.get(doubled).result == 42
assert tide.runs.get(asked).result == "approved"
assert tide.runs.get(cancelled).status == "cancelled"
sys.stdout.write("done\n")
