"""What answers are made of, as the SDKs know it; JSON of the database passes through unread."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from tidebase_pg import types
from tidebase_pg.server.identity import step_id, wire_id

Json: TypeAlias = Annotated[Raw, Meta(description="Any JSON value.")]
Time: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-06-12T10:30:00.000Z"])
]

NULL: Final = Raw(b"null")
EMPTY: Final = Raw(b"{}")

encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def time(moment: datetime | None) -> str | None:
    """UTC with exactly three decimals."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def known_time(moment: datetime) -> str:
    """The same of a time that is always there."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def document(text: str | None, absent: Raw = NULL) -> Raw:
    """JSON text of the database as it is."""
    return absent if text is None else Raw(text.encode())


class Run(Struct, rename="camel", kw_only=True, frozen=True):
    """One run."""

    id: str
    workflow_name: str
    input: Json
    metadata: Json
    status: str
    waiting_on: str | None
    """Why a parked run waits; it needs no worker meanwhile."""
    result: Json
    error: Json
    recovery_webhook: str | None
    lease_owner: str | None
    """The label of the worker; the lease itself is only in the answers to begin and claim."""
    lease_expires_at: Time | None
    attempt: int
    queue: str | None
    dedupe_key: str | None
    priority: int
    run_at: Time | None
    max_attempts: int
    deadline_at: Time | None
    cancel_requested_at: Time | None
    cancelled_at: Time | None
    cancel_reason: str | None
    cancel_actor: str | None
    failure_class: str | None
    created_at: Time
    updated_at: Time
    completed_at: Time | None

    @classmethod
    def of(cls, row: types.RunRow) -> Run:
        running = row.status == "running"
        ended = time(row.finished_at)
        cancelled = ended if row.status == "cancelled" else None
        return cls(
            id=wire_id("run", row.run_id),
            workflow_name=row.workflow,
            input=document(row.input_text, EMPTY),
            metadata=document(row.metadata_text, EMPTY),
            status=row.status,
            waiting_on=row.waiting_on,
            result=document(row.result_text),
            error=NULL if row.status == "completed" else document(row.error_text),
            recovery_webhook=getattr(row, "recovery_url", None),
            lease_owner=row.worker if running else None,
            lease_expires_at=time(row.leased_until) if running else None,
            attempt=row.attempt,
            queue=row.queue,
            dedupe_key=row.dedupe_key,
            priority=row.priority,
            run_at=time(row.run_at) if row.queue is not None else None,
            max_attempts=row.max_attempts,
            deadline_at=time(row.deadline_at),
            cancel_requested_at=cancelled,
            cancelled_at=cancelled,
            cancel_reason=row.cancel_reason,
            cancel_actor=row.cancel_actor,
            failure_class=None if row.failure_class == "error" else row.failure_class,
            created_at=known_time(row.created_at),
            updated_at=known_time(row.finished_at or row.started_at or row.created_at),
            completed_at=ended,
        )


class QueueConfig(Struct, rename="camel", kw_only=True, frozen=True):
    """What a queue is limited to, and where it is pushed."""

    name: str
    concurrency: int | None
    rate_per_minute: int | None
    invoke_url: str | None

    @classmethod
    def of(cls, row: types.QueueRow) -> QueueConfig:
        return cls(
            name=row.queue,
            concurrency=row.concurrency,
            rate_per_minute=row.rate_limit,
            invoke_url=row.push_url,
        )


class OneRun(Struct, frozen=True):
    run: Run


class Runs(Struct, frozen=True):
    runs: list[Run]
    next: str | None = None
    """What to give as `before` for the page after this one."""


class Health(Struct, frozen=True):
    ok: bool = True


Anything: TypeAlias = dict[str, Any]
_ = (Decimal, step_id)
