"""What requests carry: bodies and queries, each field with its limits. Unknown keys are passed
over, and null for an optional field is the same as leaving it out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from tidebase_pg.server.refusals import BadBody
from tidebase_pg.types import SettingKind

Json: TypeAlias = Annotated[Raw, Meta(description="Any JSON value.")]
Object: TypeAlias = Annotated[
    Raw, Meta(description="A JSON object.", extra_json_schema={"type": "object"})
]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Name: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,127}$", examples=["report"])
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=10 * 366 * 86_400_000)]
Small: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=1000)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Units: TypeAlias = Annotated[int, Meta(ge=1, le=10**12)]
Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=100)]
Amount: TypeAlias = Annotated[float, Meta(ge=0)]
Moment: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-06-12T10:30:00Z"])
]

NONE: Final[Any] = msgspec.field(default_factory=Raw)
_CLASS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,127}")


class Body(Struct, rename="camel"):
    """A JSON object."""

    def __post_init__(self) -> None:
        for field in _objects(type(self)):
            raw = bytes(getattr(self, field))
            if raw not in (b"", b"null") and not raw.startswith(b"{"):
                raise ValueError(f"Expected `object` - at `$.{_camel(field)}`")


_OBJECTS: Final[dict[type[Body], tuple[str, ...]]] = {}


def _objects(kind: type[Body]) -> tuple[str, ...]:
    found = _OBJECTS.get(kind)
    if found is None:
        found = _OBJECTS[kind] = tuple(
            field.name for field in msgspec.structs.fields(kind) if field.type == Object
        )
    return found


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


class Channel(Body, kw_only=True):
    """Where events are sent."""

    type: Literal["webhook"] = "webhook"
    url: Text
    secret: Text | None = None
    """Signs what is sent; 16 to 256 bytes. Never shown again. From a key that may set secrets."""
    secret_name: Text | None = None
    """The secret that signs what is sent, by the name an operator gave it."""
    events: list[str] | None = None
    """Types of events; none = all."""


Channels: TypeAlias = Annotated[list[Channel], Meta(max_length=10)]


class OtherLane(Body, kw_only=True):
    """A lane of a run beside its first one."""

    lane: Name
    lane_key: Text | None = None
    cost: Units | None = None
    """Of the units of this lane; absent = 1."""


OtherLanes: TypeAlias = Annotated[list[OtherLane], Meta(max_length=4)]


class CreateRun(Body, kw_only=True):
    input: Json = NONE
    metadata: Object = NONE
    recovery_webhook: Text | None = None
    channels: Channels | None = None


class ListRuns(Body, kw_only=True):
    status: Literal["pending", "queued", "running", "completed", "failed", "cancelled"] | None = (
        None
    )
    queue: Name | None = None
    workflow: Name | None = None
    before: str | None = None
    """The `next` of the page before."""
    limit: Limit = 100


class Failures(Body, kw_only=True):
    """Which failed runs; what is left out is any."""

    queue: Name | None = None
    workflow: Name | None = None
    failure_class: Name | None = None
    step: Text | None = None
    """Of the step that failed."""
    error: Text | None = None
    """Text within the error, in any case."""
    fingerprint: Text | None = None
    """The kind of failure, as `GET /failures` tells it."""
    finished_after: Moment | None = None
    """Failed then or later."""
    finished_before: Moment | None = None
    """Failed before then."""


class ListFailures(Failures, kw_only=True):
    before: str | None = None
    """The `next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Redrive(Failures, kw_only=True):
    dry_run: bool = False
    """Only count them."""
    per_second: Amount | None = None
    """So many of them a second; left out, all are due at once."""
    place: Object = NONE
    """Where to go on: the `next` of the answer before, or the `start` of a count."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    reset_attempts: bool = True
    """False = each gets one more attempt."""


class Heartbeat(Body, kw_only=True):
    lease_owner: Text | None = None


class Used(Body, kw_only=True):
    kind: Text | None = None
    provider: Text | None = None
    model: Text | None = None
    label: Text | None = None
    quantity: Amount | None = None
    unit: Text | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    cost_usd: Amount | None = None
    metadata: Object = NONE


MuchUsed: TypeAlias = Annotated[list[Used], Meta(max_length=1000)]


class Complete(Body, kw_only=True):
    result: Json = NONE
    used: MuchUsed | None = None
    """What the attempt used: recorded with it, once, and settled with its lane."""


class Fail(Body, kw_only=True):
    error: Json = NONE
    failure_class: str | None = None
    used: MuchUsed | None = None


class Cancel(Body, kw_only=True):
    reason: Text | None = None
    actor: Text | None = None


class Recover(Body, kw_only=True):
    reason: Text = "manual"


class CreateChild(Body, kw_only=True):
    name: Text
    workflow_name: Name
    input: Json = NONE
    metadata: Object = NONE
    recovery_webhook: Text | None = None
    channels: Channels | None = None
    queue: Name | None = None
    """Workers claim it there; without it the parent begins it by its id."""
    lane: Name | None = None
    """Whose limits hold for it; only with a queue."""
    lane_key: Text | None = None
    cost: Units | None = None
    """Of the units of its lane; absent = 1."""
    also_lanes: OtherLanes | None = None
    """Further lanes that it holds a place in while it runs."""
    after: Annotated[list[Text], Meta(max_length=1000)] | None = None
    """Children of the same run by name, or runs by id, that have to end first: with a queue."""
    after_mode: Literal["all", "any"] | None = None
    after_failure: Literal["cancel", "fail", "run"] | None = None
    edge_type: Text | None = None
    edge_metadata: Object = NONE


class ListChildren(Body, kw_only=True):
    before: str | None = None
    """The `next` of the page before."""
    limit: Limit = 100


class Retry(Body, kw_only=True):
    reset_attempts: bool | None = None
    run_at: Moment | None = None
    actor: Text | None = None


class Release(Body, kw_only=True):
    lease_owner: Text
    delay_ms: Milliseconds | None = None
    throttle: Text | None = None
    """Why no run of its lane is claimed before either."""
    used: MuchUsed | None = None


class Reschedule(Body, kw_only=True):
    run_at: Moment
    priority: Small | None = None


class RevokeLease(Body, kw_only=True):
    started_at: Text | None = None
    """The lease that is meant, by the startedAt of the run: a newer one is left alone, 409."""
    note: Text | None = None
    actor: Text | None = None


class Fork(Body, kw_only=True):
    at_step: Text | None = None
    """The name of the first step that is done again; without it all are."""
    input: Json = NONE
    overrides: Object = NONE
    """Outputs by name of step."""


class Budget(Body, kw_only=True):
    max_cost_usd: Amount | None = None
    max_tokens: Count | None = None
    max_steps: Count | None = None
    allowances: list[Text] | None = None
    """Scopes; absent = those it has."""


class SendEvent(Body, kw_only=True):
    name: Text
    payload: Json = NONE


class BeginStep(Body, kw_only=True):
    name: Text
    input_hash: Text
    """sha256 of the canonical JSON of `input`, or what the caller knows the step by."""
    input: Json = NONE
    options: Object = NONE
    lease_owner: str | None = None
    lane: Name | None = None
    """Where the step holds a place until it ends; without room the run is parked, or is to wait."""
    lane_key: Text | None = None
    cost: Units | None = None
    """Of the units of its lane; absent = 1."""


class CompleteStep(Body, kw_only=True):
    lease_owner: str
    output: Json = NONE


class FailStep(Body, kw_only=True):
    lease_owner: str
    error: Json = NONE
    retryable: bool | None = None
    resume_decision: Any = None
    """Passed over: the database decides from the contract of the step."""


class ResolveStep(Body, kw_only=True):
    decision: Literal["retry", "use_output", "fail"]
    output: Json = NONE
    actor: Text | None = None


class BeginGate(Body, kw_only=True):
    name: Text
    prompt: Text
    data: Json = NONE
    channels: Channels | None = None
    capability: Json = NONE
    timeout_ms: Milliseconds | None = None
    """The client's own limit; the gate stays open."""


class ResolveGate(Body, kw_only=True):
    token: Text
    decision: Literal["approved", "rejected", "canceled"]
    actor: Text | None = None
    payload: Json = NONE


class SetState(Body, kw_only=True):
    value: Json
    stream: Text | None = None
    label: Text | None = None
    reason: Text | None = None
    importance: Literal["transient", "normal", "checkpoint", "milestone"] | None = None
    metadata: Object = NONE
    created_by: Text | None = None


class PatchState(SetState, kw_only=True):
    value: Object


class SaveState(Body, kw_only=True):
    label: Text
    stream: Text | None = None
    reason: Text | None = None
    importance: Literal["transient", "normal", "checkpoint", "milestone"] | None = None
    metadata: Object = NONE
    created_by: Text | None = None


class ListVersions(Body, kw_only=True):
    stream: str | None = None
    labeled: str | None = None
    """Only the word `true` asks for labelled versions."""


class Target(Body, kw_only=True):
    type: Text
    id: Text


class CreateSnapshot(Body, kw_only=True):
    label: Text
    state: Json
    target: Target | None = None
    reason: Text | None = None
    metadata: Object = NONE
    created_by: Text | None = None


class RecordUsage(Used, kw_only=True):
    step_id: str | None = None


class Enqueue(Body, kw_only=True):
    workflow_name: Name
    input: Json = NONE
    metadata: Object = NONE
    dedupe_key: Text | None = None
    dedupe_for_ms: Annotated[int, Meta(ge=1, le=366 * 86_400_000)] | None = None
    """How long after the end of the run its key stays taken."""
    delay_ms: Milliseconds | None = None
    run_at: Moment | None = None
    """Beats delayMs."""
    max_attempts: Attempts | None = None
    priority: Small | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=10 * 366 * 86_400_000)] | None = None
    recovery_webhook: Text | None = None
    channels: Channels | None = None
    lane: Name | None = None
    """Whose limits hold for it, beside those of its queue."""
    lane_key: Text | None = None
    """Whom it counts for within its lane."""
    cost: Units | None = None
    """Of the units of its lane; absent = 1."""
    also_lanes: OtherLanes | None = None
    """Further lanes that it holds a place in while it runs."""
    after: Annotated[list[str], Meta(max_length=1000)] | None = None
    """Runs that have to end first."""
    after_mode: Literal["all", "any"] | None = None
    after_failure: Literal["cancel", "fail", "run"] | None = None


class Claim(Body, kw_only=True):
    queues: Annotated[list[Name], Meta(min_length=1, max_length=1000)]
    limit: Annotated[int, Meta(ge=1, le=100)] | None = None
    lease_owner: str | None = None
    """The label of the worker, for people."""


class ConfigureQueue(Body, kw_only=True):
    concurrency: Positive | msgspec.UnsetType | None = msgspec.UNSET
    rate_per_minute: Positive | msgspec.UnsetType | None = msgspec.UNSET
    invoke_url: Text | msgspec.UnsetType | None = msgspec.UNSET


class SetLane(Body, kw_only=True):
    total: Positive | msgspec.UnsetType | None = msgspec.UNSET
    per_key: Positive | msgspec.UnsetType | None = msgspec.UNSET
    adaptive: bool | msgspec.UnsetType | None = msgspec.UNSET
    adaptive_min: Positive | msgspec.UnsetType | None = msgspec.UNSET
    fair: bool | msgspec.UnsetType | None = msgspec.UNSET
    weights: dict[str, Positive] | msgspec.UnsetType | None = msgspec.UNSET
    units: Units | msgspec.UnsetType | None = msgspec.UNSET
    units_per_key: Units | msgspec.UnsetType | None = msgspec.UNSET
    period_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    unit: Text | msgspec.UnsetType | None = msgspec.UNSET
    breaker_failures: Positive | msgspec.UnsetType | None = msgspec.UNSET
    breaker_classes: list[Text] | msgspec.UnsetType | None = msgspec.UNSET
    breaker_delay_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    breaker_max_delay_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET


class Throttle(Body, kw_only=True):
    until: Moment | None = None
    for_ms: Milliseconds | None = None
    """So long from now; `until` beats it."""
    reason: Text | None = None


class SetSchedule(Body, kw_only=True):
    cron: Text
    workflow_name: Name
    input: Json = NONE
    queue: Name | None = None
    max_attempts: Attempts | None = None
    enabled: bool | None = None
    lane: Name | msgspec.UnsetType | None = msgspec.UNSET
    """Of its runs; absent stays as it is, null = none. With it count laneKey, cost, alsoLanes."""
    lane_key: Text | None = None
    cost: Units | None = None
    also_lanes: OtherLanes | None = None


class Follow(Body, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    token: str | None = None
    until: Literal["end"] | None = None


class ReadStream(Body, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    token: str | None = None


class ListDeliveries(Body, kw_only=True):
    status: Literal["pending", "delivered", "dead", "dropped"] | None = None
    run_id: str | None = None
    before: str | None = None
    limit: Limit = 100


class ListChanges(Body, kw_only=True):
    kind: SettingKind | None = None
    name: Text | None = None
    before: Positive | None = None
    """The last id of the page before."""
    limit: Limit = 100


class Pause(Body, kw_only=True):
    reason: Text | None = None


def options(raw: Raw) -> dict[str, Any]:
    """The options of a step."""
    if bytes(raw) in (b"", b"null"):
        return {}
    found: dict[str, Any] = msgspec.json.decode(raw)
    return found


def error(raw: Raw) -> Raw:
    """An error as it is stored: an object, empty when none was given."""
    text = bytes(raw)
    if text in (b"", b"null"):
        return Raw(b"{}")
    return raw


def failure_class(given: str | None) -> str | None:
    """A name of the schema, or none: others are dropped."""
    return given if given is not None and _CLASS.fullmatch(given) else None


def mapping(name: str, raw: Raw) -> dict[str, Any]:
    """An object that something is added to. Raises 400 where Python cannot read it."""
    if bytes(raw) in (b"", b"null"):
        return {}
    try:
        found: dict[str, Any] = json.loads(bytes(raw))
    except (ValueError, RecursionError):
        raise BadBody([name], "cannot be read: use numbers of fewer digits") from None
    return found


def other_lanes(given: list[OtherLane] | None) -> list[dict[str, Any]] | None:
    """Further lanes as a run takes them."""
    if given is None:
        return None
    return [{"lane": other.lane, "lane_key": other.lane_key, "cost": other.cost} for other in given]


def capability(raw: Raw) -> str | None:
    """What is stored of a capability: text as it is, all else as JSON text."""
    text = bytes(raw)
    if text in (b"", b"null"):
        return None
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return text.decode()


def records(used: Sequence[Used] | None) -> list[dict[str, Any]] | None:
    """What an attempt used, as the schema takes it."""
    if used is None:
        return None
    found: list[dict[str, Any]] = []
    for one in used:
        record = {name: getattr(one, name) for name in one.__struct_fields__ if name != "metadata"}
        if metadata := mapping("metadata", one.metadata):
            record["metadata"] = metadata
        found.append({name: value for name, value in record.items() if value is not None})
    return found
