"""Acts of a caller: the functions of the schema by their names, over a plain connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import Clock, Connection, one, value
from tests.support import contents as contents

MINUTE = timedelta(minutes=1)
NOBODY = UUID("00000000-0000-7000-8000-000000000000")

MANY = frozenset(
    {"claim", "enqueue_many", "heartbeat", "list_events", "list_runs", "settle", "settle_and_claim"}
    | {
        "await_children",
        "list_child_runs",
        "outline_events",
        "list_children",
        "list_snapshots",
        "list_usage",
        "spawn_many",
    }
    | {
        "authenticate_key",
        "list_keys",
        "list_prices",
        "list_setting_changes",
        "gate_tokens",
        "report_steps",
    }
    | {
        "find_deliveries",
        "list_endpoints",
        "list_gates",
        "list_allowances",
        "list_lanes",
        "list_queues",
        "list_workers",
    }
    | {"next_fires", "outline_schedules", "run_time_buckets", "run_times", "throughput"}
    | {"claim_deliveries", "list_deliveries", "list_fires", "list_schedules", "state_versions"}
    | {"list_streams", "read_stream"}
)
DOCUMENTS = frozenset(
    {"also_lanes", "input", "metadata", "result", "error", "output"}
    | {"backoff", "channels", "contract", "events", "filters", "settings", "outcomes", "runs"}
    | {"budget", "children", "data", "limits", "options", "overrides", "patch", "payload", "rules"}
    | {"place"}
    | {"chunks", "reports", "state", "target", "used", "value"}
)
SCALARS = frozenset(
    {"cancel_many", "describe_gate", "describe_run", "note_gate", "explain_wait", "version"}
    | {"append_stream", "cancel_children", "send_event", "send_events", "watch_run"}
    | {"create_key", "revoke_key", "store_channel_secret", "renew_run", "refuse_report", "hold_run"}
    | {"count_runs", "error_groups", "find_runs", "outline_run", "overview", "redrive"}
    | {"search_runs"}
    | {
        "adopt",
        "await_work",
        "drop_allowance",
        "drop_lane",
        "drop_schedule",
        "next_fire",
        "next_wakeup",
        "pause",
        "prune",
    }
    | {"resume", "set_retention", "set_webhook_secret", "sign"}
)


class Tide:
    """`tide.enqueue(workflow="report")` is `select * from tide.enqueue(workflow => 'report')`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __getattr__(self, function: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            return self.call(function, **arguments)

        return call

    def call(self, function: str, **arguments: Any) -> Any:
        """The row of the answer; rows of those in MANY, the value of those in SCALARS."""
        given = ", ".join(f"{name} => %s" for name in arguments)
        query = f"select * from tide.{function}({given})"
        values = [
            as_json(given) if name in DOCUMENTS else given for name, given in arguments.items()
        ]
        if function in MANY:
            return self.connection.execute(query.encode(), values).fetchall()
        return (value if function in SCALARS else one)(self.connection, query, *values)

    def started(self, workflow: str = "report", **arguments: Any) -> Any:
        """A run of a queue, claimed: the row that claim returned."""
        lease = arguments.pop("lease", MINUTE)
        run_id = self.enqueue(workflow=workflow, **arguments).run_id
        (run,) = self.claim(queues=[arguments.get("queue", "default")], lease=lease)
        assert run.run_id == run_id
        return run

    def begun(self, workflow: str = "report", **arguments: Any) -> Any:
        """A plain run, begun."""
        return self.begin_run(run_id=self.create_run(workflow=workflow, **arguments).run_id)

    def finished(self, **arguments: Any) -> Any:
        """A run of a queue, completed."""
        run = self.started(**arguments)
        return self.complete(run_id=run.run_id, lease_id=run.lease_id)

    def log(self, run_id: UUID) -> list[str]:
        """The types of the events of a run, whose seq must be 1, 2, 3 up to last_seq."""
        events = self.list_events(run_id=run_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert self.get_run(run_id=run_id).last_seq == len(events)
        return [event.type for event in events]

    def last_event(self, run_id: UUID) -> Any:
        return self.list_events(run_id=run_id)[-1]

    def reconcile(self, batch: int = 100) -> dict[str, Any]:
        """Upkeep in which nothing fails, and its report."""
        report: dict[str, Any] = value(self.connection, "call tide.reconcile(batch => %s)", batch)
        failures = self.sweep_failures()
        assert failures == [], failures
        return report

    def sweep_failures(self) -> list[Any]:
        """What upkeep could not handle: sweep, key and error."""
        query = (
            "select sweep, key, error, sqlstate, failures from tide.sweep_failures order by 1, 2"
        )
        return self.connection.execute(query.encode()).fetchall()


def as_json(given: Any) -> Any:
    """A document as jsonb; text is passed on as the JSON it holds."""
    return given if isinstance(given, str | None) else Jsonb(given, dumps=_dumps)


def _dumps(document: Any) -> str:
    return json.dumps(document, default=str)


@pytest.fixture
def tide(connection: Connection) -> Tide:
    """The functions of the schema over one connection in autocommit mode."""
    # Only so that a wait nobody expected fails instead of hanging.
    connection.execute("set lock_timeout = '3s'")
    return Tide(connection)


@pytest.fixture
def hour(clock: Clock) -> Clock:
    """The clock, stopped at the next full hour: upkeep has little to catch up with."""
    clock.set(clock.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
    return clock


@contextmanager
def refused(sqlstate: str, *words: object) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """What is done inside fails with the code, and its message names the words."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    assert caught.value.sqlstate == sqlstate, caught.value
    message = caught.value.diag.message_primary or ""
    for word in words:
        assert str(word) in message, message
