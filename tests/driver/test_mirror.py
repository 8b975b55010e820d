"""The modules under calls/ mirror the functions of the schema, name by name."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import calls, types

pytestmark = pytest.mark.untouched

VIEWS = {"queue_stats", "pending_gates", "health"}
FUNCTIONS = sorted(set(calls.__all__) - VIEWS)
ROWS = {
    "runs": types.RunRow,
    "steps": types.StepRow,
    "events": types.EventRow,
    "queue_grants": types.QueueGrant,
    "queues": types.QueueRow,
    "lanes": types.LaneRow,
    "enqueued": types.Enqueued,
    "queue_stats": types.QueueStats,
    "gates": types.GateRow,
    "state_streams": types.StateRow,
    "state_versions": types.VersionRow,
    "usage": types.UsageRow,
    "pending_gates": types.PendingGate,
    "deliveries": types.DeliveryRow,
    "secret_grants": types.SecretGrant,
    "schedules": types.Schedule,
    "schedule_fires": types.Fire,
    "health": types.Health,
}
UNREAD = {
    "schedules": {"timing", "requested_by"},
    "steps": {"streamed", "approved_by"},
    "gates": {"origin_id", "used_by", "used_step", "answer_schema", "quorum", "assignees"}
    | {"not_requester", "escalate_at", "escalate_to", "escalated_at"},
    "runs": {"recovery_url", "recover_at", "recoveries", "dispatched_until", "dispatches"}
    | {"told_events", "requested_by", "session_id"}
    | {"lane", "lane_key", "lane_slot", "lane_key_slot", "followed", "dedupe_for"}
    | {"turn_at", "cost", "units_left"},
}
"""Columns that only the database understands, or that a schema one minor version older lacks."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_call_has_the_arguments_and_the_comment_of_its_function(
    connection: Connection, name: str
) -> None:
    row = connection.execute(
        """
        select
          p.proargnames[:p.pronargs] as names,
          p.pronargs - p.pronargdefaults as required,
          obj_description(p.oid, 'pg_proc') as comment
        from pg_proc as p
        where p.pronamespace = 'tide'::regnamespace
          and p.proname = %s
        """,
        (name,),
    ).fetchone()
    assert row is not None
    parameters = inspect.signature(getattr(calls, name)).parameters.values()
    names = [name for name in row.names or [] if name != "report"]
    assert [parameter.name for parameter in parameters] == names
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    assert [one.name for one in required] == names[: row.required]
    documented = (inspect.getdoc(getattr(calls, name)) or "").split("\n\n")[0]
    assert " ".join(documented.split()) == row.comment


def test_every_public_function_has_a_call(connection: Connection) -> None:
    rows = connection.execute(
        "select p.proname from pg_proc as p "
        "where p.pronamespace = 'tide'::regnamespace and p.proname !~ '^_'"
    )
    assert sorted(row.proname for row in rows) == FUNCTIONS


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_has_the_columns_of_its_relation_in_their_order(
    connection: Connection, name: str
) -> None:
    rows = connection.execute(
        "select a.attname from pg_attribute as a where a.attrelid = %s::regclass "
        "and a.attnum > 0 and not a.attisdropped order by a.attnum",
        (f"tide.{name}",),
    )
    record: Any = ROWS[name]
    assert [field.name.removesuffix("_text") for field in fields(record)] == [
        row.attname for row in rows if row.attname not in UNREAD.get(name, ())
    ]
