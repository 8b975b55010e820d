"""Values of the wire turned into those of calls, and back; a wrong one is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tidebase_pg.server import bodies
from tidebase_pg.server.identity import read_id
from tidebase_pg.server.refusals import BadBody, Refusal


def moment(name: str, text: str | None) -> datetime | None:
    """A time with its zone. Raises 400."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadBody([name], "no time: give one such as 2026-06-12T10:30:00Z") from None
    if found.tzinfo is None:
        raise BadBody([name], "the time has no zone: add Z, or an offset such as +02:00")
    return found


def length(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)


def page_start(prefix: str, text: str | None, name: str = "before") -> UUID | None:
    """The id in a query. Raises 400."""
    if text is None:
        return None
    found = read_id(prefix, text)
    if found is None:
        raise Refusal(
            400,
            "invalid request query",
            issues=[{"path": [name], "message": "no id: give one as an answer has it"}],
        )
    return found


def snapshot_target(run_id: UUID, target: bodies.Target | None) -> Mapping[str, Any] | None:
    """As the schema takes it; the run itself is the default there, however its id is written."""
    if target is None or (target.type == "run" and read_id("run", target.id) == run_id):
        return None
    return {"type": target.type, "id": target.id}
