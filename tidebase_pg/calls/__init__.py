"""The functions of the schema as Python functions: same names, same arguments, one call each."""

from tidebase_pg.calls.events import list_events
from tidebase_pg.calls.queues import (
    claim,
    enqueue,
    enqueue_many,
    queue_stats,
    set_queue,
    settle,
    settle_and_claim,
)
from tidebase_pg.calls.runs import (
    begin_run,
    cancel,
    cancel_many,
    complete,
    create_run,
    describe_run,
    explain_wait,
    fail,
    get_run,
    heartbeat,
    list_runs,
    release,
    reschedule,
    retry,
)
from tidebase_pg.calls.steps import begin_step, complete_step, fail_step, resolve_step
from tidebase_pg.calls.upkeep import reconcile, version

__all__ = [
    "begin_run",
    "begin_step",
    "cancel",
    "cancel_many",
    "claim",
    "complete",
    "complete_step",
    "create_run",
    "describe_run",
    "enqueue",
    "enqueue_many",
    "explain_wait",
    "fail",
    "fail_step",
    "get_run",
    "heartbeat",
    "list_events",
    "list_runs",
    "queue_stats",
    "reconcile",
    "release",
    "reschedule",
    "resolve_step",
    "retry",
    "set_queue",
    "settle",
    "settle_and_claim",
    "version",
]
