"""Rows as the schema returns them. JSON stays text until asked for, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Self, TypeAlias, cast
from uuid import UUID

from tidebase_pg.documents import decode
from tidebase_pg.errors import BadPayload

Row = tuple[Any, ...]

SettingKind: TypeAlias = Literal["queue", "lane", "schedule", "installation", "price", "allowance"]
"""What settings belong to."""


class Record:
    """A dataclass whose fields are the columns to select, in their order.

    A field `<column>_text` is a jsonb column read as text, parsed by the property `<column>`;
    so one unreadable document cannot spoil the rows beside it.
    """

    __slots__ = ()

    @classmethod
    @cache
    def columns(cls, row: str = "") -> str:
        """The select list; `row` is a prefix such as `(claimed).`."""
        return ", ".join(_expression(name, row) for name in _names(cls))

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
    if name == "fresh":
        # It was made and it was claimed: nothing else has happened.
        unset = " and ".join(
            f"{row}{name} is null" for name in ("forked_from", "parent_id", "budget")
        )
        return f"({row}last_seq = 2 and {unset}) as fresh"
    if name == "begins":
        return f"({row}last_seq = 2) as begins"
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
    parent_id: UUID | None
    forked_from: UUID | None
    waiting_for: str | None
    """Which one it waits for: a gate id, a name, or for children the condition."""
    open_gates: int
    budget_text: str | None = field(repr=False)

    @property
    def budget(self) -> Any:
        """The limits of what the run may spend; None = those of its queue, taken at claim."""
        return decode(self.budget_text, f"the budget of run {self.run_id}")

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


class _Held:
    """A run and its lease."""

    __slots__ = ("_key",)

    run_id: UUID
    lease_id: UUID
    _key: str

    @property
    def key(self) -> str:
        """How a document that reports on the run begins."""
        try:
            return self._key
        except AttributeError:
            self._key = f'{{"run_id":"{_text(self.run_id)}","lease_id":"{_text(self.lease_id)}"'
            return self._key


def _text(given: UUID) -> str:
    """What str() gives, in half the time."""
    digits = given.int.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(slots=True)
class LeasedRun(_Held, Record):
    """What a worker needs of a run it has just leased. Frozen, each would take five times as long
    to make."""

    run_id: UUID
    lease_id: UUID = field(repr=False)
    workflow: str
    attempt: int
    max_attempts: int
    input_text: str = field(repr=False)
    metadata_text: str = field(repr=False)
    fresh: bool
    """Whether no step of the run can have been begun before, and no budget counts them."""
    begins: bool = False
    """Whether the run was never leased before."""

    @property
    def input(self) -> Any:
        """What the run was enqueued with. Raises BadPayload when Python cannot read it."""
        return decode(self.input_text, "the input of run {}", self.run_id)

    @property
    def metadata(self) -> Any:
        """Free facts given by the enqueuer. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, "the metadata of run {}", self.run_id)


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
    position: int

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
    budget_text: str | None = field(repr=False)
    push_url: str | None
    """Where its runs are pushed to; None = workers claim them."""
    push_secret: str | None
    """The name of the secret that signs what is pushed; None = default."""
    retention_keeps: list[str]
    """What stays when retention removes a run: gates, usage."""
    gate_channels_text: str | None = field(repr=False)
    operator_urls: bool
    """Whether only operators choose channels and recovery URLs of its runs."""

    @property
    def gate_channels(self) -> Any:
        """Channels of every gate of the queue, which are sent its token; None = none."""
        return decode(self.gate_channels_text, f"the gate_channels of queue {self.queue}")

    @property
    def budget(self) -> Any:
        """The budget of runs that have none of their own."""
        return decode(self.budget_text, f"the budget of queue {self.queue}")


@dataclass(frozen=True, slots=True)
class QueueGrant(Record):
    """Which logins may use a restricted queue, `tide.queue_grants`."""

    queue: str
    role: str
    verbs: list[str]
    granted_at: datetime
    granted_by: str


@dataclass(frozen=True, slots=True)
class SecretGrant(Record):
    """Whose a secret of webhooks is, `tide.secret_grants`."""

    name: str
    queues: list[str]
    roles: list[str]
    granted_at: datetime
    granted_by: str


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
    """What begin_step decided: execute, replay, review, budget or failed."""

    action: str
    output_text: str | None = field(repr=False)
    attempt: int
    replay: str


@dataclass(slots=True)
class StepAnswer(Record):
    """What report_steps says to one report: execute, replay, or single = nothing was done."""

    ordinal: int
    """Which report, from 1."""
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


@dataclass(frozen=True, slots=True)
class GateRow(Record):
    """A decision people make about a run, `tide.gates`."""

    run_id: UUID
    name: str
    gate_id: UUID
    status: str
    """pending, approved, rejected or canceled."""
    prompt: str
    data_text: str = field(repr=False)
    capability: str | None
    token_hash: bytes | None = field(repr=False)
    """None in every answer."""
    expires_at: datetime | None
    on_timeout: str
    actor: str | None
    payload_text: str | None = field(repr=False)
    created_at: datetime
    resolved_at: datetime | None

    @property
    def data(self) -> Any:
        """What the decision is about. Raises BadPayload when Python cannot read it."""
        return decode(self.data_text, f"the data of gate {self.gate_id}")

    @property
    def payload(self) -> Any:
        """What came with the decision. Raises BadPayload when Python cannot read it."""
        return decode(self.payload_text, f"the payload of gate {self.gate_id}")


@dataclass(frozen=True, slots=True)
class OpenGate(Record):
    """The answer of open_gate; the token that resolves the gate is in the first answer only, and
    in what is sent to its channels."""

    gate_id: UUID
    status: str
    payload_text: str | None = field(repr=False)
    actor: str | None
    token: str | None = field(repr=False)

    @property
    def payload(self) -> Any:
        """What came with the decision. Raises BadPayload when Python cannot read it."""
        return decode(self.payload_text, f"the payload of gate {self.gate_id}")


@dataclass(frozen=True, slots=True)
class AwaitedGate(Record):
    """The answer of await_gate."""

    parked: bool
    status: str
    payload_text: str | None = field(repr=False)
    actor: str | None


@dataclass(frozen=True, slots=True)
class GateStatus(Record):
    """A gate and the status of its run."""

    run_id: UUID
    name: str
    status: str
    prompt: str
    data_text: str = field(repr=False)
    payload_text: str | None = field(repr=False)
    actor: str | None
    expires_at: datetime | None
    run_status: str

    @property
    def data(self) -> Any:
        """What the decision is about. Raises BadPayload when Python cannot read it."""
        return decode(self.data_text, f"the data of gate {self.name!r} of run {self.run_id}")

    @property
    def payload(self) -> Any:
        """What came with the decision. Raises BadPayload when Python cannot read it."""
        return decode(self.payload_text, f"the payload of gate {self.name!r} of run {self.run_id}")


@dataclass(frozen=True, slots=True)
class PendingGate(Record):
    """A decision somebody is asked for, `tide.pending_gates`."""

    gate_id: UUID
    run_id: UUID
    workflow: str
    queue: str | None
    name: str
    prompt: str
    data_text: str = field(repr=False)
    capability: str | None
    created_at: datetime
    expires_at: datetime | None
    on_timeout: str

    @property
    def data(self) -> Any:
        """What the decision is about. Raises BadPayload when Python cannot read it."""
        return decode(self.data_text, f"the data of gate {self.gate_id}")


@dataclass(frozen=True, slots=True)
class ListedGate(PendingGate):
    """A decision somebody is asked for, with who decides and who has, as `list_gates` tells it."""

    answer_schema_text: str | None = field(repr=False)
    quorum: int
    """So many different actors have to approve."""
    assignees: list[str]
    """Who may decide; empty = everybody who may decide at all."""
    not_requester: bool
    requested_by: str | None
    escalate_at: datetime | None
    escalate_to: list[str]
    """Who may decide as well from `escalate_at` on."""
    votes_text: str = field(repr=False)

    @property
    def answer_schema(self) -> Any:
        """What the payload of an approval looks like; None = any JSON."""
        return decode(self.answer_schema_text, f"the answer of gate {self.gate_id}")

    @property
    def votes(self) -> Any:
        """Who has decided so far: actor, decision, payload, comment, created_at of each."""
        return decode(self.votes_text, f"the votes of gate {self.gate_id}")


@dataclass(frozen=True, slots=True)
class Spawned(Record):
    """The answer of spawn: the child, and whether it is new."""

    child_id: UUID
    created: bool
    status: str


@dataclass(frozen=True, slots=True)
class SpawnedMany(Record):
    """One answer of spawn_many."""

    edge: str
    child_id: UUID
    created: bool
    status: str


@dataclass(frozen=True, slots=True)
class AwaitedChild(Record):
    """One child a run waited for; with `parked` the others are null and the run has no worker."""

    parked: bool
    edge: str
    child_id: UUID
    status: str
    result_text: str | None = field(repr=False)
    error_text: str | None = field(repr=False)

    @property
    def result(self) -> Any:
        """What its workflow returned. Raises BadPayload when Python cannot read it."""
        return decode(self.result_text, f"the result of child {self.edge!r}")

    @property
    def error(self) -> Any:
        """Why it failed. Raises BadPayload when Python cannot read it."""
        return decode(self.error_text, f"the error of child {self.edge!r}")


@dataclass(frozen=True, slots=True)
class GateToken(Record):
    """A token that decides a pending gate."""

    gate_id: UUID
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity(Record):
    """Whose key it is, the answer of authenticate_key."""

    name: str
    role: str
    shared: bool


@dataclass(frozen=True, slots=True)
class KeyRow(Record):
    """A key of the HTTP door, without its token."""

    name: str
    role: str
    shared: bool
    """Whether several workers use it."""
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    """None while it was never used; else exact to a minute."""
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChildRow(Record):
    """A child of a run."""

    edge: str
    child_id: UUID
    edge_type: str
    workflow: str
    status: str
    detached: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Slept(Record):
    """The answer of sleep."""

    parked: bool
    due_at: datetime


@dataclass(frozen=True, slots=True)
class AwaitedEvent(Record):
    """The answer of await_event."""

    parked: bool
    received: bool
    payload_text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """What is enqueued when, `tide.schedules`."""

    schedule: str
    cron: str
    time_zone: str
    workflow: str
    input_text: str = field(repr=False)
    queue: str
    priority: int
    max_attempts: int | None
    deadline: timedelta | None
    metadata_text: str = field(repr=False)
    misfire: str
    """What becomes of fires nobody was there for: one, skip or all."""
    overlap: str
    """allow, or skip = no run while an earlier one is active."""
    enabled: bool
    """As declared."""
    paused: bool
    """As an operator says."""
    next_fire_at: datetime
    """In the past when nobody has been there to fire it."""
    last_fire_at: datetime | None
    last_run_id: UUID | None
    created_at: datetime
    updated_at: datetime
    lane: str | None
    """The lane of its runs; None = none."""
    lane_key: str | None
    cost: int | None
    """How many units of their lane its runs cost; None = 1."""
    also_lanes_text: str | None = field(repr=False)

    @property
    def also_lanes(self) -> list[dict[str, Any]] | None:
        """The further lanes of its runs; None = none."""
        found: list[dict[str, Any]] | None = decode(
            self.also_lanes_text, f"the further lanes of schedule {self.schedule!r}"
        )
        return found

    @property
    def input(self) -> Any:
        """What its runs are enqueued with. Raises BadPayload when Python cannot read it."""
        return decode(self.input_text, f"the input of schedule {self.schedule!r}")

    @property
    def metadata(self) -> Any:
        """Free facts of its runs. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, f"the metadata of schedule {self.schedule!r}")


@dataclass(frozen=True, slots=True)
class Fire(Record):
    """What became of one time of a schedule, `tide.schedule_fires`."""

    schedule: str
    fire_at: datetime
    outcome: str
    """enqueued, by_hand, overlap = an earlier run was active, or missed."""
    fires: int
    """missed: how many, from fire_at to last_at; counted up to 1000."""
    last_at: datetime | None
    run_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Health(Record):
    """Whether upkeep runs, and what should be young or none, `tide.health`; None = none."""

    paused_at: datetime | None
    pause_reason: str | None
    last_tick_age: timedelta | None
    """Since a claim last carried the small tick; grows while no worker claims, None = never."""
    last_reconcile_age: timedelta | None
    """None = reconcile was never called."""
    oldest_expired_lease_age: timedelta | None
    oldest_ready_run_age: timedelta | None
    oldest_due_schedule_age: timedelta | None
    oldest_due_delivery_age: timedelta | None
    dead_deliveries: int
    open_breakers: int
    """Hosts to which nothing is sent for a while, after failures."""
    poison_rows: int
    """Rows that upkeep failed on and tries again later."""
    leaked_slots: int
    oldest_transaction_age: timedelta | None
    vacuum_horizon_age: int | None
    """So many transactions ago ended what vacuum may remove."""


@dataclass(frozen=True, slots=True)
class DeliveryRow(Record):
    """One webhook of the outbox, `tide.deliveries`."""

    run_id: UUID
    delivery_id: UUID
    type: str
    gate_id: UUID | None
    url: str
    endpoint: str
    """Scheme, host and port of the url."""
    secret_name: str
    body: str = field(repr=False)
    """The JSON text, the same at every attempt."""
    token: str | None = field(repr=False)
    """None in every answer."""
    status: str
    """pending, delivered, dead = given up, or dropped = nobody needs it any more."""
    attempts: int
    max_attempts: int
    due_at: datetime
    expires_at: datetime
    lease_id: UUID | None = field(repr=False)
    ended_lease_id: UUID | None = field(repr=False)
    http_status: int | None
    response: str | None = field(repr=False)
    """The beginning of what came back last."""
    error: str | None
    logged: bool
    """Whether the event delivery.failed was written."""
    created_at: datetime
    finished_at: datetime | None
    trace: dict[str, str] | None
    """traceparent and tracestate of the attempt whose outcome made it."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery(Record):
    """What a dispatcher has to send, `claim_deliveries`."""

    delivery_id: UUID
    lease_id: UUID = field(repr=False)
    run_id: UUID
    type: str
    attempt: int
    url: str
    secret_name: str
    headers_text: str = field(repr=False)
    body: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Id and time, and the signatures where the database holds the secret."""
        return cast("dict[str, str]", decode(self.headers_text, "the headers of a delivery"))


@dataclass(frozen=True, slots=True)
class DeliveryStatus(Record):
    """Where a delivery stands after a report, `finish_delivery`."""

    status: str
    attempts: int
    due_at: datetime
    """When it is sent again, while pending."""


@dataclass(frozen=True, slots=True)
class StateRow(Record):
    """The current value of a state stream, `tide.state_streams`; version 0 = not written yet."""

    run_id: UUID
    stream: str
    version: int
    value_text: str | None = field(repr=False)
    updated_at: datetime | None

    @property
    def value(self) -> Any:
        """What was written last. Raises BadPayload when Python cannot read it."""
        return decode(self.value_text, f"stream {self.stream!r} of run {self.run_id}")


@dataclass(frozen=True, slots=True)
class VersionRow(Record):
    """One version of a state stream, `tide.state_versions`."""

    run_id: UUID
    stream: str
    version: int
    value_text: str = field(repr=False)
    label: str | None
    reason: str | None
    importance: str
    metadata_text: str = field(repr=False)
    created_by: str | None
    created_at: datetime

    @property
    def value(self) -> Any:
        """What was written. Raises BadPayload when Python cannot read it."""
        return decode(self.value_text, f"{self.stream!r} {self.version} of run {self.run_id}")

    @property
    def metadata(self) -> Any:
        """Free facts of whoever wrote it. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, f"the metadata of {self.stream!r} {self.version}")


@dataclass(frozen=True, slots=True)
class UsageRow(Record):
    """What a run spent at one time, `tide.usage`."""

    run_id: UUID
    usage_id: UUID
    request_key: str | None
    kind: str
    step: str | None
    provider: str | None
    model: str | None
    label: str | None
    quantity: Decimal | None
    unit: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cost_usd: Decimal | None
    metadata_text: str = field(repr=False)
    created_at: datetime

    @property
    def metadata(self) -> Any:
        """Free facts of whoever recorded it. Raises BadPayload when Python cannot read them."""
        return decode(self.metadata_text, f"the metadata of usage {self.usage_id}")


@dataclass(frozen=True, slots=True)
class PriceRow(Record):
    """What a model costs, in dollars for a million tokens, `tide.prices`."""

    provider: str
    """"*" = any provider that has no price of its own."""
    model: str
    input_usd: Decimal | None
    output_usd: Decimal | None
    """None in the answer to its removal."""
    set_at: datetime
    set_by: str


@dataclass(frozen=True, slots=True)
class AllowanceRow(Record):
    """What the runs of a scope may spend together, `tide.allowances`."""

    allowance_id: UUID
    scope: str
    unit: str
    """usd = what usage costs, tokens = its total, else the quantity of usage with this unit."""
    per: str
    """How long a window is: ever, day, month, or an interval."""
    time_zone: str
    """Where days and months begin."""
    amount: Decimal
    """What may be spent in a window."""
    estimate: Decimal
    """What a step reserves that says nothing of this unit."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ListedAllowance(Record):
    """An allowance and what is left of it in its window, `list_allowances`."""

    scope: str
    unit: str
    per: str
    time_zone: str
    amount: Decimal
    estimate: Decimal
    spent: Decimal
    reserved: Decimal
    """By steps under way."""
    left_over: Decimal
    """Never negative: more may be spent than the amount, by a step that used more than it said."""
    waiting: int
    """Runs that wait for it, counted to 10001 and no further."""
    began_at: datetime | None
    resets_at: datetime | None
    """When the window ends and the whole amount is there again; None = never."""


@dataclass(frozen=True, slots=True)
class SettingChange(Record):
    """What was changed of a queue, a lane, a schedule, the installation, a price or an allowance,
    `tide.setting_changes`."""

    change_id: int
    changed_at: datetime
    kind: SettingKind
    name: str | None
    """Of the queue, lane or schedule; of a price provider/model; of an allowance scope, unit/per;
    None = the installation."""
    actor: str | None
    login: str
    before_text: str = field(repr=False)
    after_text: str = field(repr=False)

    @property
    def before(self) -> dict[str, Any]:
        """What was set, of all that changed; empty when the schedule or price is new."""
        return cast("dict[str, Any]", decode(self.before_text, "before"))

    @property
    def after(self) -> dict[str, Any]:
        """What was set then; empty when the schedule was dropped or the price removed."""
        return cast("dict[str, Any]", decode(self.after_text, "after"))


@dataclass(frozen=True, slots=True)
class StreamItem(Record):
    """Something read from a stream of a run.

    `kind` is "chunk"; "restart", when what `step` (None: the workflow itself) wrote before is
    void, because it is executed again; or "end", when the run has ended and everything was read.
    """

    position: int
    kind: Literal["chunk", "restart", "end"]
    chunk_text: str | None = field(repr=False)
    step: str | None
    attempt: int

    @property
    def chunk(self) -> Any:
        """What was written. Raises BadPayload when Python cannot read it."""
        return decode(self.chunk_text, f"chunk {self.position}")


@dataclass(frozen=True, slots=True)
class StreamSummary(Record):
    """A stream of a run, and how many chunks can be read of it."""

    stream: str
    chunks: int
    last_position: int
    appended_at: datetime


@dataclass(frozen=True, slots=True)
class ListedQueue(Record):
    """A queue as consoles show it, `list_queues`; runs are counted to 10001 and no further."""

    queue: str
    paused: bool
    dispatch: str
    """workers = they claim its runs, push = these are sent to an application."""
    ready: int
    running: int
    delayed: int
    parked: int
    oldest_ready_age: timedelta | None
    concurrency: int | None
    slots_busy: int
    rate_limit: int | None
    rate_period: timedelta | None
    rate_left: int | None
    settings_text: str | None = field(repr=False)

    @property
    def settings(self) -> Any:
        """Every setting of the queue by name; None = it has the defaults."""
        return decode(self.settings_text, f"the settings of queue {self.queue}")


@dataclass(frozen=True, slots=True)
class LaneRow(Record):
    """The limits of a lane, `tide.lanes`."""

    lane: str
    total: int | None
    """How many of its runs may run at once; None = any number."""
    per_key: int | None
    """How many runs with one key may run at once; None = any number."""
    created_at: datetime
    updated_at: datetime
    units: int | None
    """How many units its runs may use within any period; None = any number."""
    units_per_key: int | None
    """How many units runs with one key may use within any period; None = any number."""
    period: timedelta
    unit: str | None
    """What of recorded usage counts as used; None = nothing, so what a run costs."""
    throttled_until: datetime | None
    """No run of it is claimed before; None or past = it is not throttled."""
    throttle_reason: str | None
    fair: bool | None
    """Whether its keys are served in turn; None = they are not."""
    weights_text: str | None = field(repr=False)
    breaker_failures: int | None
    """After how many failures in a row its breaker opens; None = it has none."""
    breaker_classes: list[str] | None
    breaker_delay: timedelta | None
    """How long after it opened the first run probes; None = 30 seconds."""
    breaker_max_delay: timedelta | None
    """The longest time between two probes; None = 10 minutes."""
    opened_at: datetime | None
    """Since when its breaker is open; None = it is closed."""
    probe_at: datetime | None
    probe_id: UUID | None
    probed_at: datetime | None
    probes: int
    """How many probes have failed since it opened."""
    adaptive: bool | None
    """Whether a refused run halves how many may run at once; None = it does not."""
    adaptive_min: int | None
    """What it is never halved below; None = 1."""
    adaptive_limit: int | None
    """How many may run at once since runs were refused; None = total."""
    adaptive_round: UUID | None
    cut_at: datetime | None

    @property
    def weights(self) -> Any:
        """How many turns keys have while another has one: {"acme": 3}; None = all have one."""
        return decode(self.weights_text, f"the weights of lane {self.lane}")


@dataclass(frozen=True, slots=True)
class ListedLane(Record):
    """A lane and who is in it, `list_lanes`; runs are counted to counted_to and no further."""

    lane: str
    total: int | None
    per_key: int | None
    running: int
    waiting: int
    """Runs that a claim found without a place."""
    keys_text: str = field(repr=False)
    created_at: datetime
    updated_at: datetime
    throttled_until: datetime | None
    """No run of it is claimed before; None = it is not throttled."""
    throttle_reason: str | None
    breaker_failures: int | None
    """After how many failures in a row its breaker opens; None = it has none."""
    breaker_classes: list[str] | None
    breaker_delay: timedelta | None
    breaker_max_delay: timedelta | None
    failures: int | None
    """In a row, with the probes that failed while it is open."""
    failure: str | None
    """The last of them."""
    opened_at: datetime | None
    """Since when its breaker is open; None = it is closed."""
    probe_at: datetime | None
    """From when on a run may probe."""
    fair: bool
    """Whether its keys are served in turn."""
    weights_text: str | None = field(repr=False)
    units: int | None
    units_per_key: int | None
    period: timedelta
    unit: str | None
    used: int | None
    """How many of its units are used in the period; None = it counts none."""
    adaptive: bool
    """Whether a refused run halves how many may run at once."""
    adaptive_min: int | None
    """What it is never halved below; None = 1."""
    adaptive_limit: int | None
    """How many may run at once now, at most total; None = it is not adaptive."""
    counted_to: int
    """A number of runs that reaches it may be more."""

    @property
    def weights(self) -> Any:
        """How many turns keys have while another has one: {"acme": 3}; None = all have one."""
        return decode(self.weights_text, f"the weights of lane {self.lane}")

    @property
    def keys(self) -> Any:
        """The twenty keys with most runs: [{"lane_key", "running", "waiting"}], with
        "used", units in the period, where they are limited."""
        return decode(self.keys_text, f"the keys of lane {self.lane}")


@dataclass(frozen=True, slots=True)
class Bucket(Record):
    """How many runs ended in a span of time, `throughput`."""

    queue: str | None
    """None = all queues together."""
    begins_at: datetime
    completed: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class RunTimes(Record):
    """How long runs of a queue or lane waited and worked, `run_times`; None where none did."""

    name: str
    """Of the queue or lane."""
    runs: int | None
    """How many waits were counted."""
    wait_p50: timedelta | None
    """Half of them waited no longer for their start."""
    wait_p95: timedelta | None
    wait_p99: timedelta | None
    run_p50: timedelta | None
    """Half of them took no longer from their last start to their end."""
    run_p95: timedelta | None
    run_p99: timedelta | None


@dataclass(frozen=True, slots=True)
class TimeBucket(Record):
    """How many runs of a queue took up to so many seconds, `run_time_buckets`."""

    queue: str
    measure: str
    """"wait" for the start, or "run"."""
    up_to: float
    """Seconds; the last is infinity."""
    runs: int
    seconds: float
    """What all runs of the queue took together."""


@dataclass(frozen=True, slots=True)
class ListedWorker(Record):
    """A worker and what it holds, `list_workers`."""

    worker: str | None
    """None = it gave no name."""
    queues: list[str] | None
    workflows: list[str] | None
    """None = every workflow, or nothing is known of it."""
    seen_at: datetime | None
    """When it last claimed, to ten seconds; None = it did not claim lately."""
    running: int
    expired: int
    """How many of its leases have ended."""
    oldest_started_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScheduleOutline(Record):
    """A schedule without input and metadata, and its last fires, `outline_schedules`."""

    schedule: str
    cron: str
    time_zone: str
    workflow: str
    queue: str
    misfire: str
    overlap: str
    enabled: bool
    paused: bool
    next_fire_at: datetime
    updated_at: datetime
    fires_text: str = field(repr=False)

    @property
    def fires(self) -> Any:
        """The last ten fires, newest first: fire_at, outcome, fires, run_id, status of the run."""
        return decode(self.fires_text, f"the fires of schedule {self.schedule!r}")


@dataclass(frozen=True, slots=True)
class ListedEndpoint(Record):
    """A host that webhooks go to, `list_endpoints`."""

    endpoint: str
    failures: int
    """In a row."""
    proven: bool
    """Whether a delivery went well since the last failure."""
    open_until: datetime | None
    """Nothing is sent to it before."""
    answered_at: datetime | None
    pending: int
    oldest_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryOutline(Record):
    """A webhook of the outbox without what it carries, `find_deliveries`."""

    delivery_id: UUID
    run_id: UUID
    type: str
    gate_id: UUID | None
    endpoint: str
    status: str
    attempts: int
    max_attempts: int
    http_status: int | None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
