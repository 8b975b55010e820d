"""What the event logs say about attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

from tidebase_pg.types import EventRow

BEGINS: Final = frozenset({"run.claimed", "run.started"})
ENDS: Final[Mapping[str, str]] = {
    "run.completed": "completed",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.parked": "parked",
}
LEASE_EXPIRED: Final = "lease_expired"


def attempts(events: Iterable[EventRow]) -> list[str]:
    """How each attempt of a run ended: completed, failed, retried, released, lost, parked,
    cancelled; the one under way is running."""
    found: list[str] = []
    for event in events:
        payload = as_object(event.payload)
        if event.type in BEGINS:
            found.append("running")
        elif not found or found[-1] != "running":
            continue
        elif event.type in ENDS:
            found[-1] = "lost" if unreported(payload) else ENDS[event.type]
        elif event.type == "run.requeued":
            found[-1] = requeued(payload)
    return found


def requeued(payload: Mapping[str, Any]) -> str:
    """Why a run went back to its queue."""
    reason = payload.get("reason")
    if reason == LEASE_EXPIRED:
        return "lost"
    return "released" if reason == "released" else "retried"


def as_object(document: Any) -> Mapping[str, Any]:
    """A JSON object; empty for every other document."""
    return cast("Mapping[str, Any]", document) if isinstance(document, Mapping) else {}


def unreported(payload: Mapping[str, Any]) -> bool:
    """Whether the run failed since its last worker never came back."""
    message = as_object(payload.get("error")).get("message")
    return isinstance(message, str) and message.startswith("the lease expired")


@dataclass(frozen=True)
class Report:
    """What a drain did, in the order in which it was done."""

    attempts_by_run: Mapping[UUID, Sequence[str]] = field(default_factory=dict[UUID, Sequence[str]])
    """How the attempts of this drain ended, by run."""
    statuses: Mapping[UUID, str] = field(default_factory=dict[UUID, str])
    """What the runs it touched are now; a parked run is `parked`."""

    def attempts(self, run: Any) -> list[str]:
        """How the attempts of one run ended, oldest first: a TestRun, an id, or its text."""
        return list(self.attempts_by_run.get(key(run), ()))

    def _with(self, status: str) -> list[UUID]:
        return [run_id for run_id, found in self.statuses.items() if found == status]

    @property
    def completed(self) -> list[UUID]:
        """Ids of the runs that have completed."""
        return self._with("completed")

    @property
    def failed(self) -> list[UUID]:
        """Ids of the runs that have failed."""
        return self._with("failed")

    @property
    def parked(self) -> list[UUID]:
        """Ids of the runs that wait for a person, a child, an event, a time or money."""
        return self._with("parked")


def key(run: Any) -> UUID:
    """The id of a run, given as a run or as an id."""
    found = getattr(run, "id", run)
    return found if isinstance(found, UUID) else UUID(str(found))
