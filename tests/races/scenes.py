"""Runs in the state a race begins from."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from tests.support import Connection, one, value


class Leased(NamedTuple):
    run_id: UUID
    lease_id: UUID


def queued(connection: Connection, **options: Any) -> UUID:
    """A queued run; options are arguments of enqueue."""
    given = {"workflow": "work", **options}
    named = ", ".join(f"{name} => %s" for name in given)
    run_id: UUID = value(connection, f"select (tide.enqueue({named})).run_id", *given.values())
    return run_id


def leased(connection: Connection, *, lease: str = "60 s", **options: Any) -> Leased:
    """A run that a worker has just claimed; options are arguments of enqueue."""
    run_id = queued(connection, **options)
    queue = options.get("queue", "default")
    row = one(
        connection,
        "select c.run_id, c.lease_id from tide.claim(array[%s], lease => %s) as c",
        queue,
        lease,
    )
    assert row.run_id == run_id
    return Leased(row.run_id, row.lease_id)


def history(connection: Connection, run_id: UUID) -> list[str]:
    """The types of the events of a run, after a look at their numbers: 1, 2, 3 without a gap."""
    rows = connection.execute(
        "select seq, type from tide.event_log where run_id = %s order by seq", (run_id,)
    ).fetchall()
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [row.type for row in rows]


def busy_slots(connection: Connection) -> int:
    count: int = value(
        connection, "select count(*) from tide.slots as s where s.run_id is not null"
    )
    return count
