"""What may be said about steps, runs, writes and workers: the keyword options of the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol, TypedDict
from uuid import UUID

from tidebase_pg.values import Duration, RunId
from tidebase_pg.webhooks.dispatcher import DispatchOptions


class Approval(Protocol):
    """What names a gate: a decision, an opened gate, a row."""

    @property
    def gate_id(self) -> UUID: ...


class Contract(TypedDict, total=False):
    """What a step promises, frozen when it is first begun."""

    key: str | None
    """Tells uses of one name apart that run beside each other, as of an id or a page number."""
    input: Any
    """What the step depends on; another input under the same name raises InputMismatch, but in
    branches beside each other inputs tell uses of one name apart."""
    returns: Any
    """The type the output is restored to: a pydantic model, dataclass or TypedDict, list[Model]."""
    side_effects: Sequence[str] | None
    """What it does outside the run: "email.send"; "read" is harmless."""
    idempotency_key: str | None
    """The key the outside world deduplicates by; it makes a repetition safe."""
    replay: Literal["auto", "manual", "never"] | None
    """After an ambiguous end: execute again, let an operator decide, or fail the run."""
    checkpoint_invariant: str | None
    """For people: what is true once the step is done."""
    verified_by: str | None
    """For people: how to find out whether the effect happened."""
    approved_by: Approval | RunId | None
    """The gate that has to cover it: approved, its data the very input, and used by no other step.
    Raises NotApproved."""
    estimate: Mapping[str, float] | None
    """What it is expected to use, such as {"usd": 0.1, "tokens": 2000}: reserved in the budgets and
    allowances of the run until it ends. An upper bound makes overspending impossible."""
    lane: str | None
    """The lane in which it holds a place until it ends: `tide.lanes.set`. Without room the run is
    parked, or waits while other steps of it are under way."""
    lane_key: str | None
    """Whom it counts for within its lane, such as a customer."""
    cost: int | None
    """How many units of its lane it is expected to use; default 1."""


class StepOptions(Contract, total=False):
    """How a step is run."""

    retries: int
    """How often to repeat it in this attempt when its function raises; default 0."""
    retry_delay: Duration
    """Seconds before the first repetition, then twice as long each time, and a little more at
    random; default 1."""
    timeout: Duration | None
    """Seconds until StepTimeout is raised; default none."""


class VersionOptions(TypedDict, total=False):
    """What may be said about a version of the state."""

    stream: str | None
    """Default "run"; streams are independent of each other."""
    reason: str | None
    """For people: why."""
    importance: Literal["transient", "normal", "checkpoint", "milestone"] | None
    """Default "normal", of a save "milestone"."""
    metadata: Mapping[str, Any] | None
    """Free facts about this version."""
    created_by: str | None
    """For people: who or what wrote it."""


class WriteOptions(VersionOptions, total=False):
    """What may be said about a write."""

    label: str | None
    """A labelled version is a snapshot."""
    expected_version: int | None
    """Raises StateConflict at another version; 0 = not written yet."""


class SnapshotOptions(TypedDict, total=False):
    """What may be said about a snapshot."""

    target: Mapping[str, str] | None
    """What it is a picture of, {"type", "id"}; default the run."""
    reason: str | None
    """For people: why."""
    metadata: Mapping[str, Any] | None
    """Free facts about it."""
    created_by: str | None
    """For people: who or what made it."""


class UsageOptions(TypedDict, total=False):
    """What was spent. Amounts are not negative."""

    kind: str
    """Default "custom"; "llm", "tool"…"""
    step: str | None
    """The step it was spent in."""
    provider: str | None
    model: str | None
    label: str | None
    quantity: Decimal | float | None
    """So much of `unit`, for what is not counted in tokens."""
    unit: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    """Default: input and output together."""
    cost_usd: Decimal | float | None
    """Default: by the own prices of the database, else `list_cost_usd`."""
    list_cost_usd: Decimal | float | None
    """Default: the list price of the model, where genai-prices is installed."""
    metadata: Mapping[str, Any] | None
    request_key: str | None
    """The same key counts once per run, whatever attempt records it."""


class CreateOptions(TypedDict, total=False):
    """What may be said about a run that is begun by its id."""

    input: Any
    """Handed to the workflow; anything JSON can say, {} when left out."""
    metadata: Mapping[str, Any] | None
    """Free facts to find the run by."""
    deadline: Duration | None
    """Cancelled when not finished so many seconds from now."""
    max_attempts: int | None
    """How often it may be tried; default 1."""
    budget: Mapping[str, Any] | None
    """What it may spend: {"max_cost_usd", "max_tokens", "max_steps"}; default without limit."""
    recovery_url: str | None
    """Asked to resume the run when it stalls."""
    channels: Sequence[Mapping[str, Any]] | None
    """Where its events are sent: [{"type": "webhook", "url", "secret_name", "events"}]."""


class WorkOptions(TypedDict, total=False):
    """How a worker works."""

    queues: Sequence[str]
    """In this order; default: the queues the registered workflows name."""
    concurrency: int
    """Runs at once, 1 to 1000; default 1. Those of a batch count each."""
    lease: Duration
    """Seconds after which another worker may take over from a dead one; default 60."""
    poll: Duration
    """The longest pause in seconds between two looks at idle queues where the worker cannot be
    notified; default 1."""
    grace: Duration
    """Seconds the running runs have to end once the worker is stopped; default 30."""
    reconcile: Duration | bool
    """Seconds between two calls of reconcile; default 5; False leaves it to others."""
    drain: bool
    """Return when nothing is ready any more."""
    max_runs: int
    """Return after so many runs."""
    park_grace: Duration
    """Seconds for which a run that is to be parked waits for the steps its other branches have
    under way; default 300."""
    signals: bool
    """Stop at SIGTERM and SIGINT, in the main thread; default True, but False within a running
    server, whose signals they are."""
    name: str
    """Shown as the holder of its runs; default host, process and a random part."""
    listen: bool
    """Be notified of runs while idle, where the connection allows it; default True."""
    deliver: bool | DispatchOptions
    """Send webhooks too, over one more connection, perhaps with options of a dispatcher, such as
    {"allow": ["10.1.0.0/16"]}; default False."""
