"""Rows as the schema returns them. JSON stays text until asked for, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self, cast
from uuid import UUID

from tidebase_pg.documents import decode
from tidebase_pg.errors import BadPayload

Row = tuple[Any, ...]


class Record:
    """A dataclass whose fields are the columns to select, in their order.

    A field `<column>_text` is a jsonb column read as text, parsed by the property `<column>`;
    so one unreadable document cannot spoil the rows beside it.
    """

    __slots__ = ()

    @classmethod
    def columns(cls, row: str = "") -> str:
        """The select list; `row` is a prefix such as `(claimed).`."""
        return _columns(cast(Any, cls), row)

    def facts(self) -> dict[str, Any]:
        """For people: the columns without the lease id, JSON parsed where Python can read it."""
        return {
            name.removesuffix("_text"): _readable(name, getattr(self, name))
            for name in _names(self)
            if name != "lease_id"
        }

    @classmethod
    def many(cls, rows: Sequence[Row]) -> list[Self]:
        return [cls(*row) for row in rows]

    @classmethod
    def one(cls, rows: Sequence[Row]) -> Self:
        return cls(*rows[0])


@cache
def _columns(record: Any, row: str) -> str:
    return ", ".join(_expression(name, row) for name in _names(record))


def _names(record: type[Record] | Record) -> list[str]:
    return [field.name for field in fields(cast(Any, record))]


def _readable(name: str, value: Any) -> Any:
    if not name.endswith("_text"):
        return value
    try:
        return decode(value, name)
    except BadPayload:
        return value


def _expression(name: str, row: str) -> str:
    if name.endswith("_text"):
        column = name.removesuffix("_text")
        return f"{row}{column}::text as {column}"
    if name == "run_at":
        return f"nullif({row}run_at, 'infinity') as run_at"
    return f"{row}{name}"


@dataclass(frozen=True, slots=True)
class RunRow(Record):
    """One run, `tide.runs`."""

    run_id: UUID
    workflow: str
    queue: str | None
    status: str
    waiting_on: str | None
    dedupe_key: str | None
    priority: int
    attempt: int
    max_attempts: int
    last_seq: int
    slot: int | None
    ready: bool
    run_at: datetime | None
    """Not before this time; None while the run is parked."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    leased_until: datetime | None
    lease: timedelta | None
    lease_id: UUID | None = field(repr=False)
    worker: str | None
    ended_by: str | None
    failure_class: str | None
    cancel_reason: str | None
    cancel_actor: str | None
    input_text: str = field(repr=False)
    metadata_text: str = field(repr=False)
    result_text: str | None = field(repr=False)
    error_text: str | None = field(repr=False)
    backoff_text: str | None = field(repr=False)
    deadline: timedelta | None

    @property
    def input(self) -> Any:
        """What the run was enqueued with. Raises BadPayload when Python cannot read it."""
        return decode(self.input_text, f"the input of run {self.run_id}")

    @property
    def metadata(self) -> Any:
        """Free facts given by the enqueuer. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, f"the metadata of run {self.run_id}")

    @property
    def result(self) -> Any:
        """What the workflow returned; None before. Raises BadPayload when unreadable."""
        return decode(self.result_text, f"the result of run {self.run_id}")

    @property
    def error(self) -> Any:
        """The last error: type, message, traceback. Raises BadPayload when unreadable."""
        return decode(self.error_text, f"the error of run {self.run_id}")

    @property
    def backoff(self) -> Any:
        """The delays between attempts of this run; None = as the queue says."""
        return decode(self.backoff_text, f"the backoff of run {self.run_id}")

    @property
    def finished(self) -> bool:
        """Completed, failed or cancelled."""
        return self.finished_at is not None


@dataclass(frozen=True, slots=True)
class LeasedRun(Record):
    """What a worker needs of a run it has just leased."""

    run_id: UUID
    lease_id: UUID = field(repr=False)
    workflow: str
    attempt: int
    max_attempts: int
    input_text: str = field(repr=False)
    metadata_text: str = field(repr=False)

    @property
    def input(self) -> Any:
        """What the run was enqueued with. Raises BadPayload when Python cannot read it."""
        return decode(self.input_text, f"the input of run {self.run_id}")

    @property
    def metadata(self) -> Any:
        """Free facts given by the enqueuer. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, f"the metadata of run {self.run_id}")


@dataclass(frozen=True, slots=True)
class StepRow(Record):
    """One checkpoint, `tide.steps`."""

    run_id: UUID
    name: str
    status: str
    attempt: int
    replay: str
    side_effects: list[str]
    idempotency_key: str | None
    checkpoint_invariant: str | None
    verified_by: str | None
    timeout: timedelta | None
    input_hash: bytes
    lease_id: UUID | None = field(repr=False)
    started_at: datetime
    finished_at: datetime | None
    output_text: str | None = field(repr=False)
    error_text: str | None = field(repr=False)
    decided_by: str | None

    @property
    def output(self) -> Any:
        """What the step returned. Raises BadPayload when Python cannot read it."""
        return decode(self.output_text, f"the output of step {self.name!r} of run {self.run_id}")

    @property
    def error(self) -> Any:
        """Why the step failed. Raises BadPayload when Python cannot read it."""
        return decode(self.error_text, f"the error of step {self.name!r} of run {self.run_id}")


@dataclass(frozen=True, slots=True)
class EventRow(Record):
    """One event of a run, `tide.events`; seq is 1, 2, 3… without gap."""

    run_id: UUID
    seq: int
    type: str
    created_at: datetime
    payload_text: str = field(repr=False)

    @property
    def payload(self) -> Any:
        """The facts of the event. Raises BadPayload when Python cannot read them."""
        return decode(self.payload_text, f"the payload of event {self.seq} of run {self.run_id}")


@dataclass(frozen=True, slots=True)
class QueueRow(Record):
    """The settings of a queue, `tide.queues`."""

    queue: str
    paused: bool
    concurrency: int | None
    rate_limit: int | None
    rate_period: timedelta
    max_attempts: int | None
    backoff_base: timedelta | None
    backoff_max: timedelta | None
    backoff_jitter: float | None
    retention: timedelta | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class QueueStats(Record):
    """What is in a queue and what it did lately, `tide.queue_stats`."""

    queue: str
    paused: bool
    queued: int
    ready: int
    delayed: int
    parked: int
    running: int
    oldest_ready_age: timedelta | None
    concurrency: int | None
    slots_busy: int
    rate_limit: int | None
    rate_period: timedelta
    rate_left: int | None
    completed_hour: int
    failed_hour: int
    cancelled_hour: int
    completed_day: int
    failed_day: int
    cancelled_day: int


@dataclass(frozen=True, slots=True)
class Enqueued(Record):
    """The answer of enqueue: the run, and whether it was there before."""

    run_id: UUID
    deduplicated: bool
    status: str


@dataclass(frozen=True, slots=True)
class EnqueuedMany(Record):
    """One answer of enqueue_many; ordinal is the place in the list given, from 1."""

    ordinal: int
    run_id: UUID
    deduplicated: bool


@dataclass(frozen=True, slots=True)
class Beat(Record):
    """The answer to the heartbeat of one run: held, busy, lost, cancelled or finished."""

    run_id: UUID
    state: str


@dataclass(frozen=True, slots=True)
class StepStart(Record):
    """What begin_step decided: execute, replay, review or failed."""

    action: str
    output_text: str | None = field(repr=False)
    attempt: int
    replay: str


@dataclass(frozen=True, slots=True)
class StepFailure(Record):
    """What fail_step decided: auto_retry, safe_replay, manual_review or fail_hard."""

    status: str
    decision: str
    run_status: str


@dataclass(frozen=True, slots=True)
class Verdict(Record):
    """How the database judged one outcome."""

    run_id: UUID
    accepted: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The answer of settle_and_claim: outcomes refused or repeated, and the new runs."""

    verdicts: list[Verdict]
    claimed: list[LeasedRun]
