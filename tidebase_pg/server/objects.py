"""What answers are made of, as the SDKs know it; JSON of the database passes through unread."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta, Raw, Struct, structs

from tidebase_pg import types
from tidebase_pg.server.described import Edge
from tidebase_pg.server.described import Step as StoredStep
from tidebase_pg.server.identity import step_id, wire_id
from tidebase_pg.server.whole import recovery_url

Json: TypeAlias = Annotated[Raw, Meta(description="Any JSON value.")]
Time: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-06-12T10:30:00.000Z"])
]

Number: TypeAlias = Annotated[Decimal, Meta(extra_json_schema={"type": "number", "format": "any"})]
DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed"]
Anything: TypeAlias = dict[str, Any]

NULL: Final = Raw(b"null")
EMPTY: Final = Raw(b"{}")
_NULL: Final[Any] = msgspec.field(default_factory=lambda: NULL)
_EMPTY: Final[Any] = msgspec.field(default_factory=lambda: EMPTY)

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


def capability(stored: Raw) -> Raw:
    """Text that holds an object or an array is one; other text stays text."""
    if not bytes(stored).startswith(b'"'):
        return stored
    text: str = msgspec.json.decode(stored, type=str)
    if text[:1] in ("{", "["):
        try:
            msgspec.json.decode(text)
            return Raw(text.encode())
        except (msgspec.DecodeError, RecursionError):
            return stored
    return stored


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
    started_at: Time | None
    """When its last lease began; names that lease where one is revoked."""
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
            recovery_webhook=recovery_url(row),
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
            started_at=time(row.started_at),
            updated_at=known_time(row.finished_at or row.started_at or row.created_at),
            completed_at=ended,
        )


class Step(Struct, rename="camel", kw_only=True, frozen=True):
    """One checkpoint."""

    id: str
    run_id: str
    name: str
    input_hash: str | None = None
    input: Json = _NULL
    options: Json = _EMPTY
    resume_contract: ResumeContract
    status: str
    output: Json = _NULL
    error: Json = _NULL
    lease_owner: str | None = None
    lease_expires_at: Time | None = None
    attempt: int
    started_at: Time | None = None
    completed_at: Time | None = None
    created_at: Time | None = None
    updated_at: Time | None = None

    @classmethod
    def of(cls, run_id: UUID, row: types.StepRow) -> Step:
        return _step(
            run_id, row, row.input_hash.hex(), document(row.output_text), document(row.error_text)
        )

    @classmethod
    def described(cls, run: Run, run_id: UUID, row: StoredStep) -> Step:
        """As everything about a run has it."""
        step = _step(run_id, row, None, row.output, row.error)
        if row.status != "running":
            return step
        return structs.replace(
            step, lease_owner=run.lease_owner, lease_expires_at=run.lease_expires_at
        )


class ResumeContract(Struct, rename="camel", kw_only=True, frozen=True):
    """What a step says about doing it again."""

    side_effects: list[str] = []
    idempotency_key: str | None = None
    replay: str = "auto"
    checkpoint_invariant: str | None = None
    verified_by: str | None = None
    credentials: list[str] = []

    @classmethod
    def of(cls, row: types.StepRow | StoredStep) -> ResumeContract:
        return cls(
            side_effects=row.side_effects,
            idempotency_key=row.idempotency_key,
            replay=row.replay,
            checkpoint_invariant=row.checkpoint_invariant,
            verified_by=row.verified_by,
        )


def _step(
    run_id: UUID, row: types.StepRow | StoredStep, input_hash: str | None, output: Raw, error: Raw
) -> Step:
    started, ended = time(row.started_at), time(row.finished_at)
    return Step(
        id=step_id(row.name),
        run_id=wire_id("run", run_id),
        name=row.name,
        input_hash=input_hash,
        resume_contract=ResumeContract.of(row),
        status=row.status,
        output=output,
        error=error,
        attempt=row.attempt,
        started_at=started,
        completed_at=ended if row.status == "completed" else None,
        created_at=started,
        updated_at=ended or started,
    )


class Gate(Struct, rename="camel", kw_only=True, frozen=True):
    """A decision people make."""

    id: str
    run_id: str
    name: str
    prompt: str
    data: Json
    status: str
    decision: str | None
    actor: str | None
    decision_payload: Json
    capability: Json
    channels: list[Channel] = []
    resolve_token: str | None
    """Only for who may decide, and while it is pending."""
    created_at: Time
    updated_at: Time
    resolved_at: Time | None


class Channel(Struct, rename="camel", kw_only=True, frozen=True):
    """Where events of a run are sent."""

    id: str
    run_id: str
    type: str = "webhook"
    config: ChannelConfig
    events: list[str]
    created_at: Time


class ChannelConfig(Struct, rename="camel", frozen=True):
    url: str
    secret: None = None
    """Never shown."""


class StateVersion(Struct, rename="camel", kw_only=True, frozen=True):
    """One version of a stream of state."""

    id: str
    stream_id: str
    run_id: str
    step_id: None = None
    version: int
    value: Json
    patch: None = None
    label: str | None
    reason: str | None
    importance: str
    metadata: Json
    created_by: str | None
    created_at: Time
    stream: str
    """Its name."""

    @classmethod
    def of(cls, row: types.VersionRow) -> StateVersion:
        stream = _part(row.run_id, "stream", row.stream)
        return cls(
            id=wire_id("ver", uuid5(stream, str(row.version))),
            stream_id=wire_id("stream", stream),
            run_id=wire_id("run", row.run_id),
            version=row.version,
            value=document(row.value_text),
            label=row.label,
            reason=row.reason,
            importance=row.importance,
            metadata=document(row.metadata_text, EMPTY),
            created_by=row.created_by,
            created_at=known_time(row.created_at),
            stream=row.stream,
        )


class StateStream(Struct, rename="camel", kw_only=True, frozen=True):
    """A stream of state, as it is now."""

    id: str
    run_id: str
    name: str
    target_type: str
    target_id: str
    current_version: int
    current_value: Json
    metadata: Json = _EMPTY
    created_at: Time | None
    updated_at: Time | None


class State(Struct, rename="camel", kw_only=True, frozen=True):
    """The current value of a stream."""

    run_id: str
    value: Json
    version: int
    updated_at: Time

    @classmethod
    def of(cls, row: types.VersionRow) -> State:
        return cls(
            run_id=wire_id("run", row.run_id),
            value=document(row.value_text),
            version=row.version,
            updated_at=known_time(row.created_at),
        )


class Usage(Struct, rename="camel", kw_only=True, frozen=True):
    """What a run spent at one time."""

    id: str
    run_id: str
    step_id: str | None
    kind: str
    provider: str | None
    model: str | None
    label: str | None
    quantity: Number | None
    unit: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cost_usd: Number | None
    metadata: Json
    created_at: Time

    @classmethod
    def of(cls, row: types.UsageRow) -> Usage:
        return cls(
            id=wire_id("use", row.usage_id),
            run_id=wire_id("run", row.run_id),
            step_id=None if row.step is None else step_id(row.step),
            kind=row.kind,
            provider=row.provider,
            model=row.model,
            label=row.label,
            quantity=row.quantity,
            unit=row.unit,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            total_tokens=row.total_tokens,
            cost_usd=row.cost_usd,
            metadata=document(row.metadata_text, EMPTY),
            created_at=known_time(row.created_at),
        )


class RunEdge(Struct, rename="camel", kw_only=True, frozen=True):
    """How a child hangs on its parent."""

    id: str
    parent_run_id: str
    child_run_id: str
    name: str
    edge_type: str
    metadata: Json
    created_at: Time | None

    @classmethod
    def of(cls, parent_id: UUID, edge: Edge) -> RunEdge:
        return cls(
            id=wire_id("edge", _part(parent_id, "edge", edge.edge)),
            parent_run_id=wire_id("run", parent_id),
            child_run_id=wire_id("run", edge.child_id),
            name=edge.edge,
            edge_type=edge.edge_type,
            metadata=edge.metadata,
            created_at=time(edge.created_at),
        )


class Event(Struct, rename="camel", kw_only=True, frozen=True):
    """What happened to a run."""

    id: int
    run_id: str
    seq: int
    type: str
    payload: Json
    created_at: Time

    @classmethod
    def bare(cls, row: types.EventRow) -> Event:
        """What happened and when, without what it carries."""
        return cls(
            id=row.seq,
            run_id=wire_id("run", row.run_id),
            seq=row.seq,
            type=row.type,
            payload=EMPTY,
            created_at=known_time(row.created_at),
        )


class RecoveryAttempt(Struct, rename="camel", kw_only=True, frozen=True):
    """A webhook that asks an application to begin or resume a run."""

    id: str
    run_id: str
    reason: str | None
    webhook_url: str
    status: DeliveryStatus
    http_status: int | None
    response_body: str | None
    error_text: str | None
    created_at: Time
    completed_at: Time | None


class ChannelDelivery(Struct, rename="camel", kw_only=True, frozen=True):
    """A webhook with an event of a run."""

    id: str
    run_id: str
    channel_id: str | None = None
    gate_id: str | None
    event_type: str
    payload: Json
    status: DeliveryStatus
    http_status: int | None
    response_body: str | None
    error_text: str | None
    created_at: Time
    completed_at: Time | None


class OutboxDelivery(Struct, rename="camel", kw_only=True, frozen=True):
    """A webhook of the outbox, whatever it is about."""

    id: str
    run_id: str
    type: str
    gate_id: str | None
    endpoint: str
    status: str
    attempts: int
    max_attempts: int
    http_status: int | None
    error_text: str | None
    due_at: Time
    created_at: Time
    completed_at: Time | None

    @classmethod
    def of(cls, row: types.DeliveryRow) -> OutboxDelivery:
        return cls(
            id=wire_id("del", row.delivery_id),
            run_id=wire_id("run", row.run_id),
            type=row.type,
            gate_id=None if row.gate_id is None else wire_id("gate", row.gate_id),
            endpoint=row.endpoint,
            status=row.status,
            attempts=row.attempts,
            max_attempts=row.max_attempts,
            http_status=row.http_status,
            error_text=row.error,
            due_at=known_time(row.due_at),
            created_at=known_time(row.created_at),
            completed_at=time(row.finished_at),
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
            rate_per_minute=per_minute(row.rate_limit, row.rate_period),
            invoke_url=row.push_url,
        )


class Queue(Struct, rename="camel", kw_only=True, frozen=True):
    """What is in a queue; finished runs are those of the last day."""

    name: str
    queued: int
    running: int
    failed: int
    completed: int
    cancelled: int
    paused: bool
    ready: int
    parked: int
    oldest_ready_ms: int | None
    config: QueueConfig | None


class LaneKey(Struct, rename="camel", kw_only=True, frozen=True):
    """The runs of a lane with one key."""

    lane_key: str | None
    running: int
    waiting: int
    used: int | None = None


class Lane(Struct, rename="camel", kw_only=True, frozen=True):
    """What runs of many queues share; a number of runs that reaches countedTo may be more."""

    name: str
    running: int
    waiting: int
    counted_to: int
    keys: list[LaneKey]
    total: int | None
    per_key: int | None
    adaptive: bool
    adaptive_min: int | None
    adaptive_limit: int | None
    fair: bool
    weights: dict[str, int] | None
    units: int | None
    units_per_key: int | None
    period_ms: int
    unit: str | None
    used: int | None
    throttled_until: Time | None
    throttle_reason: str | None
    breaker_failures: int | None
    breaker_classes: list[str] | None
    breaker_delay_ms: int | None
    breaker_max_delay_ms: int | None
    failures: int | None
    failure: str | None
    opened_at: Time | None
    probe_at: Time | None
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: types.ListedLane) -> Lane:
        return cls(
            name=row.lane,
            running=row.running,
            waiting=row.waiting,
            counted_to=row.counted_to,
            keys=[LaneKey(**key) for key in row.keys],
            total=row.total,
            per_key=row.per_key,
            adaptive=row.adaptive,
            adaptive_min=row.adaptive_min,
            adaptive_limit=row.adaptive_limit,
            fair=row.fair,
            weights=row.weights,
            units=row.units,
            units_per_key=row.units_per_key,
            period_ms=row.period // timedelta(milliseconds=1),
            unit=row.unit,
            used=row.used,
            throttled_until=time(row.throttled_until),
            throttle_reason=row.throttle_reason,
            breaker_failures=row.breaker_failures,
            breaker_classes=row.breaker_classes,
            breaker_delay_ms=milliseconds(row.breaker_delay),
            breaker_max_delay_ms=milliseconds(row.breaker_max_delay),
            failures=row.failures,
            failure=row.failure,
            opened_at=time(row.opened_at),
            probe_at=time(row.probe_at),
            created_at=known_time(row.created_at),
            updated_at=known_time(row.updated_at),
        )


class OtherLane(Struct, rename="camel", frozen=True):
    """A lane beside the first one."""

    lane: str
    lane_key: str | None = None
    cost: int | None = None


class Schedule(Struct, rename="camel", kw_only=True, frozen=True):
    """What is enqueued when."""

    name: str
    cron: str
    workflow_name: str
    input: Json
    queue: str
    max_attempts: int | None
    enabled: bool
    paused: bool
    time_zone: str
    lane: str | None
    lane_key: str | None
    cost: int | None
    also_lanes: list[OtherLane]
    next_run_at: Time
    last_enqueued_at: Time | None
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: types.Schedule) -> Schedule:
        return cls(
            name=row.schedule,
            cron=row.cron,
            workflow_name=row.workflow,
            input=document(row.input_text, EMPTY),
            queue=row.queue,
            max_attempts=row.max_attempts if row.max_attempts is not None else 1,
            enabled=row.enabled,
            paused=row.paused,
            time_zone=row.time_zone,
            lane=row.lane,
            lane_key=row.lane_key,
            cost=row.cost,
            also_lanes=[OtherLane(**other) for other in row.also_lanes or ()],
            next_run_at=known_time(row.next_fire_at),
            last_enqueued_at=time(row.last_fire_at),
            created_at=known_time(row.created_at),
            updated_at=known_time(row.updated_at),
        )


class RunDetail(Struct, rename="camel", kw_only=True, frozen=True):
    """Everything about a run, read in one snapshot."""

    run: Run
    steps: list[Step]
    state: State | None
    state_streams: list[StateStream]
    state_versions: list[StateVersion]
    run_edges: list[RunEdge]
    child_runs: list[Run]
    recovery_attempts: list[RecoveryAttempt]
    channels: list[Channel]
    channel_deliveries: list[ChannelDelivery]
    gates: list[Gate]
    usage: list[Usage]
    events: list[Event]


class OneRun(Struct, frozen=True):
    run: Run


class Runs(Struct, frozen=True):
    runs: list[Run]
    next: str | None = None
    """What to give as `before` for the page after this one."""


class LeasedRun(Struct, rename="camel", frozen=True):
    run: Run
    lease_owner: str
    """The lease: send it with what is reported about the run."""


class LeasedRuns(Struct, rename="camel", frozen=True):
    runs: list[Run]
    lease_owner: str


class FailedRun(Struct, frozen=True):
    run: Run
    requeued: bool


class EnqueuedRun(Struct, frozen=True):
    run: Run
    deduplicated: bool


class ChildRun(Struct, frozen=True):
    run: Run
    edge: RunEdge
    created: bool


class OneRecovery(Struct, rename="camel", frozen=True):
    recovery_attempt: RecoveryAttempt


class BegunStep(Struct, rename="camel", kw_only=True, frozen=True, omit_defaults=True):
    """What to do about a step."""

    action: Literal["execute", "return", "input_mismatch", "cancelled", "wait"]
    step: Step | None = None
    lease_owner: str | None = None
    output: Json | msgspec.UnsetType = msgspec.UNSET
    expected_input_hash: str | None = None
    actual_input_hash: str | None = None
    reason: str | None = None
    """Why the workflow has to stop: cancelled, lease_lost, finished, review, budget, lane or
    failed."""


class OneStep(Struct, frozen=True):
    step: Step


class BegunGate(Struct, frozen=True):
    action: Literal["wait", "return"]
    gate: Gate


class WatchedGate(Struct, rename="camel", frozen=True):
    gate: Gate
    run_status: str


class OneGate(Struct, frozen=True):
    gate: Gate


class PendingGate(Struct, rename="camel", frozen=True):
    gate: Gate
    workflow_name: str
    queue: str | None


class PendingGates(Struct, frozen=True):
    gates: list[PendingGate]


class OneState(Struct, frozen=True):
    state: State


class OneVersion(Struct, rename="camel", frozen=True):
    state_version: StateVersion


class Versions(Struct, rename="camel", frozen=True):
    state_versions: list[StateVersion]


class StreamSummary(Struct, rename="camel", kw_only=True, frozen=True):
    """A stream of a run, and how many chunks can be read of it."""

    stream: str
    chunks: int
    last_position: int
    appended_at: Time

    @classmethod
    def of(cls, row: types.StreamSummary) -> StreamSummary:
        return cls(
            stream=row.stream,
            chunks=row.chunks,
            last_position=row.last_position,
            appended_at=known_time(row.appended_at),
        )


class Streams(Struct, frozen=True):
    streams: list[StreamSummary]


class OneSnapshot(Struct, frozen=True):
    snapshot: StateVersion


class Snapshots(Struct, frozen=True):
    snapshots: list[StateVersion]


class OneUsage(Struct, frozen=True):
    usage: Usage


class Usages(Struct, frozen=True):
    usage: list[Usage]


class Queues(Struct, frozen=True):
    queues: list[Queue]


class OneConfig(Struct, frozen=True):
    config: QueueConfig


class OneSchedule(Struct, frozen=True):
    schedule: Schedule


class Schedules(Struct, frozen=True):
    schedules: list[Schedule]


class OneLane(Struct, frozen=True):
    lane: Lane


class Lanes(Struct, frozen=True):
    lanes: list[Lane]


class ThrottledLane(Struct, rename="camel", frozen=True):
    lane: str
    throttled_until: Time | None
    throttle_reason: str | None


class Deleted(Struct, frozen=True):
    deleted: str


class OneDelivery(Struct, frozen=True):
    delivery: OutboxDelivery


class Deliveries(Struct, frozen=True):
    deliveries: list[OutboxDelivery]
    next: str | None = None


class Sent(Struct, frozen=True):
    sent: bool
    """Whether the run had not had an event of this name."""


class Wait(Struct, frozen=True):
    wait: Anything
    """Why the run is not running, as reasons."""


class FailureGroup(Struct, rename="camel", kw_only=True, frozen=True):
    """Runs that failed alike."""

    fingerprint: str
    failure_class: str | None
    step: str | None
    type: str | None
    message: str | None
    """With ids, quotations and numbers folded."""
    runs: int
    workflows: list[str]
    first_at: Time
    last_at: Time
    newest_run: str

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> FailureGroup:
        return cls(
            fingerprint=group["fingerprint"],
            failure_class=group["failure_class"],
            step=group["step"],
            type=group["type"],
            message=group["message"],
            runs=group["runs"],
            workflows=group["workflows"],
            first_at=known_time(datetime.fromisoformat(group["first_at"])),
            last_at=known_time(datetime.fromisoformat(group["last_at"])),
            newest_run=wire_id("run", UUID(group["newest_run"])),
        )


class FailureGroups(Struct, frozen=True):
    groups: list[FailureGroup]
    next: str | None = None


class FailedCount(Struct, rename="camel", frozen=True):
    """How many failed runs of a queue and class there are."""

    queue: str | None
    failure_class: str | None
    runs: int


class Redriven(Struct, rename="camel", kw_only=True, frozen=True):
    """What a redrive did, or would do."""

    runs: int
    """Retried, or counted."""
    groups: list[FailedCount]
    """What was counted, by queue and class; empty unless it was a dry run."""
    refused: int
    """Another active run has their dedupe key."""
    refused_runs: list[str]
    """The first of these."""
    passed: int
    """They have moved on meanwhile."""
    start: Json
    """Given as `place`, it retries exactly what was counted."""
    next: Json | None
    """Given as `place`, it goes on; null when all is done."""

    @classmethod
    def of(cls, page: Mapping[str, Any]) -> Redriven:
        return cls(
            runs=page["runs"],
            groups=[
                FailedCount(row["queue"], row["failure_class"], row["runs"])
                for row in page["groups"] or ()
            ],
            refused=page["refused"],
            refused_runs=[wire_id("run", UUID(run)) for run in page["refused_runs"]],
            passed=page["passed"],
            start=Raw(encode(page["start"])),
            next=None if page["next"] is None else Raw(encode(page["next"])),
        )


class SettingChange(Struct, rename="camel", kw_only=True, frozen=True):
    """What somebody changed of a queue, a schedule or the installation."""

    id: int
    changed_at: Time
    kind: str
    name: str | None
    actor: str | None
    before: Json
    after: Json

    @classmethod
    def of(cls, row: types.SettingChange) -> SettingChange:
        return cls(
            id=row.change_id,
            changed_at=known_time(row.changed_at),
            kind=row.kind,
            name=row.name,
            actor=row.actor,
            before=document(row.before_text, EMPTY),
            after=document(row.after_text, EMPTY),
        )


class SettingChanges(Struct, frozen=True):
    changes: list[SettingChange]
    next: int | None = None


class Paused(Struct, frozen=True):
    paused: bool


class Health(Struct, frozen=True):
    ok: bool = True


class Ready(Struct, frozen=True):
    ok: bool
    problems: list[str] = []


def milliseconds(length: timedelta | None) -> int | None:
    return None if length is None else length // timedelta(milliseconds=1)


def per_minute(limit: int | None, period: timedelta) -> int | None:
    """Starts a minute; what a queue with another period has, as a rate of a minute."""
    return None if limit is None else max(1, round(limit * 60 / period.total_seconds()))


def stream_id(run_id: UUID, name: str) -> str:
    """The same for the same stream of the same run."""
    return wire_id("stream", _part(run_id, "stream", name))


def _part(run_id: UUID, kind: str, name: str) -> UUID:
    return uuid5(run_id, f"{kind}:{name}")
