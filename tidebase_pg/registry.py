"""The workflows an application has registered, and the calls that enqueue them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import (
    Any,
    Final,
    Literal,
    NotRequired,
    Protocol,
    Required,
    TypeAlias,
    TypedDict,
    Unpack,
    cast,
)

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.codecs import Codec, DefaultCodec, input_kind
from tidebase_pg.errors import Stop
from tidebase_pg.types import Enqueued, EnqueuedMany, LaneRow, LeasedRun, QueueRow, Schedule
from tidebase_pg.values import (
    Duration,
    RunId,
    backoff_lengths,
    identifier,
    interval,
    interval_text,
    moment,
    new_run_id,
    seconds,
    text,
    units,
    whole,
)

DEFAULT_QUEUE = "default"
VERSION_MARK = "@"
"""Between the name of a workflow and its version, in the name that its runs have."""
PARK_GRACE = 300.0
"""Seconds for which a run that is to be parked waits for what its other branches have under way."""
MOST_IN_BATCH: Final = 1000
"""Runs a worker holds at once at the most."""


LaneKey: TypeAlias = Callable[[Any], str | None]
"""Says by the input of a run whom it counts for within its lane."""
LaneCost: TypeAlias = int | Callable[[Any], int | None]
"""How many units of its lane a run is expected to use, or what says so by its input."""
OtherLanes: TypeAlias = "Sequence[OtherLane] | Callable[[Any], Sequence[OtherLane] | None]"
"""Further lanes of a run, or what says by its input which."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many runs a workflow takes at once."""

    most: int
    wait: float
    """Seconds for which the first of them waits for more."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A registered function, and how its runs are enqueued unless the caller says otherwise."""

    name: str
    """With its version, if it has one: "report@2"."""
    function: Callable[..., Any]
    queue: str
    max_attempts: int | None = None
    deadline: timedelta | None = None
    budget: Mapping[str, Any] | None = None
    kind: Any = None
    """What its input is, as its annotation says; None = what JSON gives."""
    version: int | None = None
    lane: str | None = None
    lane_key: LaneKey | None = None
    dedupe_for: timedelta | None = None
    batch: BatchSize | None = None
    """Set when its function takes lists of runs and inputs, and gives a list of answers."""
    lane_cost: LaneCost | None = None
    also_lanes: OtherLanes | None = None
    asynchronous: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "asynchronous", inspect.iscoroutinefunction(self.function))

    @property
    def unversioned(self) -> str:
        """The name that all its versions share."""
        return self.name.partition(VERSION_MARK)[0]

    def given(self, leased: LeasedRun, codec: Codec) -> Any:
        """The input of a run, as the workflow wants it. Raises BadPayload when it does not fit."""
        if self.kind is None and type(codec) is DefaultCodec:
            return leased.input
        return codec.load(leased.input, self.kind, f"the input of run {leased.run_id}")

    def add_options(self, options: dict[str, Any]) -> None:
        """Put a run that is made without a lane into that of the workflow; keep its key taken."""
        if self.dedupe_for is not None and options.get("dedupe_key") is not None:
            options.setdefault("dedupe_for", self.dedupe_for)
        if self.lane is None or options.get("lane") is not None:
            return
        options["lane"] = self.lane
        if self.lane_key is not None and options.get("lane_key") is None:
            key = self.lane_key(options.get("input"))
            if key is not None:
                options["lane_key"] = text("lane_key", key)
        if self.lane_cost is not None and options.get("cost") is None:
            cost = self.lane_cost
            expected = cost(options.get("input")) if callable(cost) else cost
            if expected is not None:
                options["cost"] = units("cost", expected)
        if self.also_lanes is not None and options.get("also_lanes") is None:
            others = self.also_lanes
            options["also_lanes"] = others(options.get("input")) if callable(others) else others


class OtherLane(TypedDict):
    """A lane of a run beside its first one."""

    lane: str
    lane_key: NotRequired[str | None]
    """Whom the run counts for there, such as a customer."""
    cost: NotRequired[int | None]
    """How many of its units the run is expected to use; default 1."""


class RunOptions(TypedDict, total=False):
    """What may be said about a run, enqueued alone or among many."""

    input: Any
    """Handed to the workflow; anything JSON can say, {} when left out."""
    queue: str | None
    """Default: the queue the workflow was registered with, else "default"."""
    dedupe_key: str | None
    """At most one queued or running run of the queue has this key."""
    priority: int | None
    """Higher is claimed first; default 0."""
    delay: Duration | None
    """Not before so many seconds from now."""
    run_at: datetime | None
    """Not before this time; beats delay."""
    max_attempts: int | None
    """How often it may be tried; default as registered, else as the queue says, else 1."""
    deadline: Duration | None
    """Cancelled when not finished so many seconds from now."""
    metadata: Mapping[str, Any] | None
    """Free facts to find the run by."""
    on_conflict: Literal["return", "replace", "raise", "cancel"] | None
    """When the dedupe key is taken; default "return", the run that has it."""
    dedupe_for: Duration | None
    """The key stays taken for so many seconds after the end of the run."""
    debounce: Duration | None
    """Later enqueues of the key replace it and put it off, to so many seconds from the first."""
    run_id: RunId | None
    """An id of your own (`new_run_id()`), so that the call may be sent again."""
    backoff: Mapping[str, Any] | None
    """Delays between attempts: {"base": seconds, "max": seconds, "jitter": 0.1}."""
    budget: Mapping[str, Any] | None
    """What it may spend: {"max_cost_usd", "max_tokens", "max_steps"}; default that of the queue."""
    channels: Sequence[Mapping[str, Any]] | None
    """Where its events are sent: [{"type": "webhook", "url", "secret_name", "events"}]."""
    recovery_url: str | None
    """Posted to when an attempt is lost, so that its application takes the run up again."""
    lane: str | None
    """The lane whose limits hold for it, beside those of its queue: `tide.lanes.set`."""
    lane_key: str | None
    """Whom it counts for within its lane, such as a customer."""
    cost: int | None
    """How many units of its lane it is expected to use; default 1."""
    also_lanes: Sequence[OtherLane] | None
    """Up to four further lanes that it holds a place in while it runs."""
    after_mode: Literal["all", "any"] | None
    """"all" (the default) have to complete, or "any" one of them."""
    after_failure: Literal["cancel", "fail", "run"] | None
    """What it means for this run that they did not: default "cancel"."""


class EnqueueOptions(RunOptions, total=False):
    """What may be said about a run when it is enqueued."""

    key_hash: bytes | None
    """Which key of the HTTP door requests it, by the sha256 of its token; default the login."""
    after: Sequence[RunId] | None
    """Runs that have to end first."""


class NewRun(RunOptions):
    """One run of enqueue_many."""

    workflow: str | Callable[..., Any]
    after: NotRequired[Sequence[RunId | int] | None]
    """Runs that have to end first; ids, or places from 0 of runs before it among the many."""


class ChildFacts(TypedDict, total=False):
    """What may be said about a child, alone or of a fan-out."""

    input: Any
    """Handed to the workflow; anything JSON can say, {} when left out."""
    priority: int | None
    """Higher is claimed first; default 0."""
    delay: Duration | None
    """Not before so many seconds from now."""
    run_at: datetime | None
    """Not before this time; beats delay."""
    max_attempts: int | None
    """How often it may be tried; default as registered, else as the queue says, else 1."""
    deadline: Duration | None
    """Cancelled when not finished so many seconds from now."""
    metadata: Mapping[str, Any] | None
    """Free facts to find the run by."""
    backoff: Mapping[str, Any] | None
    """Delays between attempts: {"base": seconds, "max": seconds, "jitter": 0.1}."""
    budget: Mapping[str, Any] | None
    """What it may spend, besides what its ancestors may."""
    detached: bool
    """It outlives a cancellation of its parent."""
    lane: str | None
    """The lane whose limits hold for it, beside those of its queue: `tide.lanes.set`."""
    lane_key: str | None
    """Whom it counts for within its lane, such as a customer."""
    cost: int | None
    """How many units of its lane it is expected to use; default 1."""
    also_lanes: Sequence[OtherLane] | None
    """Up to four further lanes that it holds a place in while it runs."""
    after_mode: Literal["all", "any"] | None
    """"all" (the default) have to complete, or "any" one of them."""
    after_failure: Literal["cancel", "fail", "run"] | None
    """What it means for this child that they did not: default "cancel"."""


class ChildOptions(ChildFacts, total=False):
    """What may be said about a child."""

    after: Sequence[RunId] | None
    """Who has to end first: children of this run by name, runs by id. Workers run it then."""


class NewChild(ChildFacts):
    """One child of a fan-out."""

    workflow: str | Callable[..., Any]
    name: NotRequired[str]
    """Default: its place in the list, from 0."""
    after: NotRequired[Sequence[RunId | int] | None]
    """Who has to end first: children before it by name or place, runs by id. Workers run it."""


@dataclass(frozen=True, slots=True)
class NewEdge:
    """A child to be spawned; `options` as the schema takes them."""

    edge: str
    workflow: str
    input: Any
    queue: str | None
    options: dict[str, Any]
    of_run: Callable[[str], Workflow]
    """The workflow of the child as it was made: on replay perhaps of another version."""

    def element(self) -> dict[str, Any]:
        """As an element of spawn_many."""
        element = {"edge": self.edge, "workflow": self.workflow, **self.options}
        for key, value in (("input", self.input), ("queue", self.queue)):
            if value is not None:
                element[key] = value
        return element


class QueueSettings(TypedDict, total=False):
    """The settings of a queue; what is left out stays, None clears."""

    concurrency: int | None
    """At most so many runs at once."""
    rate_limit: int | None
    """At most so many starts in every rate_period."""
    rate_period: Duration | None
    """Default one minute."""
    max_attempts: int | None
    """For runs enqueued without their own."""
    backoff_base: Duration | None
    """Before the second attempt; then twice as long each time. Default 5 seconds."""
    backoff_max: Duration | None
    """The longest back-off; default 5 minutes."""
    backoff_jitter: float | None
    """The share of the back-off added at random, 0 to 1; default 0.1."""
    retention: Duration | None
    """How long finished runs are kept; default for ever."""
    retention_keeps: Sequence[Literal["gates", "usage"]] | None
    """What stays when a run is removed; default nothing."""
    budget: Mapping[str, Any] | None
    """Of runs enqueued without their own: {"max_cost_usd", "max_tokens", "max_steps"}."""
    push_url: str | None
    """Where runs are pushed to; workers do not claim them then."""
    push_secret: str | None
    """The name of the secret that signs what is pushed; default "default"."""
    gate_channels: Sequence[Mapping[str, Any]] | None
    """Channels of every gate of the queue, which are sent its token."""
    operator_urls: bool | None
    """While true only operators choose channels and recovery URLs of its runs."""
    paused: bool
    """While true nothing is claimed."""


class LaneSettings(TypedDict, total=False):
    """What may be set on a lane; None clears."""

    total: int | None
    """At most so many of its runs at once."""
    per_key: int | None
    """At most so many runs with one lane_key at once."""
    adaptive: bool | None
    """A refused run, `RateLimited`, halves how many run at once; completed ones raise it again."""
    adaptive_min: int | None
    """It is never halved below; default 1."""
    fair: bool | None
    """Its keys are served in turn, whatever waits behind each of them."""
    weights: Mapping[str, int] | None
    """How many turns keys have while another has one: 1 to 100; default 1 each."""
    breaker_failures: int | None
    """After so many failures in a row of breaker_classes only a run that probes is claimed."""
    breaker_classes: Sequence[str] | None
    """The failures that count: names of exceptions, or failure classes."""
    breaker_delay: Duration | None
    """Until the first probe; default 30 seconds. Each probe that fails doubles it."""
    breaker_max_delay: Duration | None
    """The longest time between two probes; default 10 minutes."""
    units: int | None
    """At most so many units used by its runs within any period."""
    units_per_key: int | None
    """At most so many units used by runs with one lane_key within any period."""
    period: Duration | None
    """How long what was used counts; default one minute."""
    unit: str | None
    """What of recorded usage counts: "tokens", or a unit of quantities; default what runs cost."""


class ScheduleOptions(TypedDict, total=False):
    """What is enqueued when."""

    cron: Required[str]
    """Five fields, or @hourly, @daily, @weekly, @monthly, @yearly."""
    workflow_name: Required[str | Callable[..., Any]]
    """The workflow, by name or as its function."""
    input: Any
    """Handed to the workflow; anything JSON can say, {} when left out."""
    queue: str | None
    """Default: the queue the workflow was registered with, else "default"."""
    time_zone: str | None
    """What the fields of cron mean, as "Europe/Berlin"; default UTC."""
    misfire: Literal["one", "skip", "all"] | None
    """Of times nobody was there for: the latest (default), none, or each, at most 100."""
    overlap: Literal["allow", "skip"] | None
    """Whether a run may start while an earlier one is active; default "allow"."""
    actor: str | None
    """Who declares it, for the log of changes."""
    max_attempts: int | None
    """How often a run may be tried; default as registered, else as the queue says, else 1."""
    priority: int | None
    """Higher is claimed first; default 0."""
    deadline: Duration | None
    """A run is cancelled when not finished so many seconds after it was enqueued."""
    metadata: Mapping[str, Any] | None
    """Free facts to find the runs by; schedule and fire_at are added."""
    key_hash: bytes | None
    """Which key of the HTTP door requests its runs, as of enqueue; default the login."""
    lane: str | None
    """The lane whose limits hold for its runs, beside those of their queue: `tide.lanes.set`."""
    lane_key: str | None
    """Whom they count for within their lane, such as a customer."""
    cost: int | None
    """How many units of their lane each is expected to use; default 1."""
    also_lanes: Sequence[OtherLane] | None
    """Up to four further lanes that each holds a place in while it runs."""
    enabled: bool | None
    """False = declared, but never fired; default True."""


class SessionObserver(Protocol):
    """What goes along with a session. It must not hold the session, which would then never be given
    up."""

    def enter(self) -> None:
        """The block of the session begins here."""

    def leave(self) -> None:
        """Its block is left."""

    def end(self, error: Exception | Stop | None, *, handed_back: bool) -> None:
        """It has ended, by this error or Stop; said once, in any thread."""


class Registry:
    """Workflows by name and by function."""

    def __init__(self, *, asynchronous: bool, codec: Codec | None = None) -> None:
        self._asynchronous = asynchronous
        self.codec: Codec = DefaultCodec() if codec is None else codec
        self.around_runs: list[Callable[..., Any]] = []
        self.around_steps: list[Callable[..., Any]] = []
        self.run_metadata: list[Callable[[], Mapping[str, Any]]] = []
        """What the metadata of every run made here gets besides what is given."""
        self.on_session: list[Callable[[Any], SessionObserver]] = []
        """Asked for what goes along with each session that begins here."""
        self.on_usage: list[Callable[[Mapping[str, Any]], None]] = []
        """Told of all usage that runs record here."""
        self.park_grace = PARK_GRACE
        self._by_name: dict[str, Workflow] = {}
        self._newest: dict[str, Workflow] = {}
        """By the name without a version; one registered without a version is the oldest."""
        self._by_function: dict[Callable[..., Any], Workflow] = {}

    def register(
        self,
        name: str,
        function: Callable[..., Any],
        queue: str,
        max_attempts: int | None,
        deadline: Duration | None,
        budget: Mapping[str, Any] | None = None,
        version: int | None = None,
        lane: str | None = None,
        lane_key: LaneKey | None = None,
        dedupe_for: Duration | None = None,
        batch: int | None = None,
        batch_wait: Duration | None = None,
        lane_cost: LaneCost | None = None,
        also_lanes: OtherLanes | None = None,
    ) -> None:
        """Raises ValueError for a name taken by another function, TypeError for a wrong one."""
        if not callable(function):
            raise TypeError(f"workflow {name!r} must be a function, not {type(function).__name__}")
        if not self._asynchronous and inspect.iscoroutinefunction(function):
            raise TypeError(f"workflow {name!r} is async: register it with AsyncTidebase")
        if VERSION_MARK in text("name", name):
            raise ValueError(f"workflow {name!r}: the version goes into an argument, version=2")
        if version is not None:
            name = f"{name}{VERSION_MARK}{whole('version', version, 1, 2**31 - 1)}"
        taken = self._by_name.get(name)
        if taken is not None and not _same_place(taken.function, function):
            raise ValueError(f"workflow {name!r} is registered already, for {taken.function!r}")
        if lane_key is not None and lane is None:
            raise ValueError(f"workflow {name!r} has a lane_key and no lane: give the lane too")
        if lane_key is not None and not callable(lane_key):
            raise TypeError(
                f"lane_key of workflow {name!r} must be a function of the input, "
                f"not {type(lane_key).__name__}"
            )
        if lane_cost is not None and lane is None:
            raise ValueError(f"workflow {name!r} has a lane_cost and no lane: give the lane too")
        if lane_cost is not None and not callable(lane_cost):
            units("lane_cost", lane_cost)
        if also_lanes is not None and lane is None:
            raise ValueError(f"workflow {name!r} has also_lanes and no lane: give the lane too")
        workflow = Workflow(
            name,
            function,
            text("queue", queue),
            None if max_attempts is None else whole("max_attempts", max_attempts, 1, 100),
            None if deadline is None else interval("deadline", deadline),
            budget,
            input_kind(function, many=batch is not None),
            version,
            None if lane is None else text("lane", lane),
            lane_key,
            None if dedupe_for is None else interval("dedupe_for", dedupe_for),
            _batch_size(name, batch, batch_wait),
            lane_cost,
            also_lanes,
        )
        self._by_name[name] = workflow
        newest = self._newest.get(workflow.unversioned)
        if newest is None or (newest.version or 0) <= (version or 0):
            self._newest[workflow.unversioned] = workflow
        self._by_function[function] = workflow

    def find(self, workflow: str | Callable[..., Any]) -> Workflow:
        """What new runs are of: the newest version where a name says none. Raises ValueError when
        it is not registered."""
        if isinstance(workflow, str):
            found = self._by_name.get(workflow)
            if found is None or found.version is None:
                found = self._newest.get(workflow)
        else:
            found = self._by_function.get(workflow)
        return _registered(workflow, found)

    def of_run(self, name: str) -> Workflow:
        """The workflow of a run there is, in exactly its version. Raises ValueError when it is not
        registered."""
        return _registered(name, self._by_name.get(name))

    def names(self) -> list[str]:
        return list(self._by_name)

    def batches(self) -> dict[str, BatchSize]:
        """The workflows that take many runs at once, by name."""
        return {name: known.batch for name, known in self._by_name.items() if known.batch}

    def queues(self) -> list[str]:
        """The queues the registered workflows name."""
        return list(dict.fromkeys(workflow.queue for workflow in self._by_name.values()))

    def enqueue(
        self, workflow: str | Callable[..., Any], **options: Unpack[EnqueueOptions]
    ) -> Call[Enqueued]:
        """The call that enqueues a run; a name that is not registered here is as good."""
        self.add_metadata(cast("dict[str, Any]", options))
        known = self._known(workflow)
        if known is not None:
            known.add_options(cast("dict[str, Any]", options))
        if (handed := options.get("input")) is not None:
            options["input"] = self.codec.dump(handed, "input")
        if known is None:
            return calls.enqueue(text("workflow", workflow), **options)
        if options.get("queue") is None:
            options["queue"] = known.queue
        if options.get("max_attempts") is None:
            options["max_attempts"] = known.max_attempts
        if options.get("deadline") is None:
            options["deadline"] = known.deadline
        if options.get("budget") is None:
            options["budget"] = known.budget
        return calls.enqueue(known.name, **options)

    def set_schedule(self, name: str, **options: Unpack[ScheduleOptions]) -> Call[Schedule]:
        """The call that declares a schedule; a workflow not registered here is as good."""
        given: dict[str, Any] = dict(options)
        cron, workflow = given.pop("cron", None), given.pop("workflow_name", None)
        self.add_metadata(given)
        known = self._known(workflow)
        if known is not None:
            known.add_options(given)
        if given.get("input") is not None:
            given["input"] = self.codec.dump(given["input"], f"the input of schedule {name!r}")
        if known is not None:
            workflow = known.name
            for key in ("queue", "max_attempts", "deadline"):
                if given.get(key) is None:
                    given[key] = getattr(known, key)
        return calls.set_schedule(
            text("name", name), text("cron", cron), text("workflow_name", workflow), **given
        )

    def enqueue_many(
        self,
        runs: Iterable[NewRun],
        *,
        queue: str | None,
        repeatable: bool,
        key_hash: bytes | None = None,
    ) -> Call[list[EnqueuedMany]]:
        """The call that enqueues all these runs into one queue."""
        given: list[dict[str, Any]] = [
            {name: value for name, value in run.items() if value is not None} for run in runs
        ]
        for place, run in enumerate(given):
            known = self._known(run.get("workflow"))
            if known is not None:
                run["workflow"] = known.name
                queue = known.queue if queue is None else queue
                if known.max_attempts is not None:
                    run.setdefault("max_attempts", known.max_attempts)
                if known.deadline is not None:
                    run.setdefault("deadline", known.deadline)
                if known.budget is not None:
                    run.setdefault("budget", known.budget)
                known.add_options(run)
            if run.pop("queue", queue) not in (queue, None):
                raise ValueError(f"runs[{place}] names another queue: one call, one queue")
            self.add_metadata(run)
            if repeatable:
                run.setdefault("run_id", new_run_id())
            if "input" in run:
                run["input"] = self.codec.dump(run["input"], f"runs[{place}].input")
            _write(run)
        return calls.enqueue_many(queue or DEFAULT_QUEUE, given, key_hash=key_hash)

    def child(
        self,
        workflow: str | Callable[..., Any],
        edge: str | None,
        queue: str | None,
        options: Mapping[str, Any],
    ) -> NewEdge:
        """What spawn needs to know; without a queue the workflow has to be registered.

        A child that comes after others is never run here, where its parent would wait for it.
        """
        if queue is None and options.get("after"):
            queue = self.queue_of(workflow)
        known = self._known(workflow) if queue is not None else self.find(workflow)
        name = known.name if known is not None else text("workflow", workflow)
        if edge is None:
            # Another version of a child is the same child when its parent is replayed.
            edge = name if known is None else known.unversioned
        given = {key: value for key, value in options.items() if value is not None}
        if known is not None:
            for key in ("max_attempts", "deadline", "budget"):
                if (value := getattr(known, key)) is not None:
                    given.setdefault(key, value)
            if queue is not None:
                known.add_options(given)
        self.add_metadata(given)
        handed = given.pop("input", None)
        if handed is not None:
            handed = self.codec.dump(handed, f"the input of child {edge!r}")
        after = given.pop("after", None)
        _write(given)
        if after is not None:
            given["after"] = [str(one) for one in cast("Sequence[RunId]", after)]
        return NewEdge(edge, name, handed, queue, given, self.of_run)

    def queue_of(self, workflow: str | Callable[..., Any]) -> str:
        """The queue a workflow was registered with, else "default"."""
        known = self._known(workflow)
        return known.queue if known is not None else DEFAULT_QUEUE

    def add_metadata(self, options: dict[str, Any]) -> None:
        """Give a run what every run made here gets, unless the caller says otherwise."""
        if self.run_metadata:
            found: dict[str, Any] = {}
            for facts in self.run_metadata:
                found.update(facts())
            options["metadata"] = {**found, **(options.get("metadata") or {})}

    def _known(self, workflow: object) -> Workflow | None:
        if isinstance(workflow, str):
            known = workflow in self._by_name or workflow in self._newest
            return self.find(workflow) if known else None
        return self.find(workflow) if callable(workflow) else None


def _batch_size(name: str, batch: int | None, wait: Duration | None) -> BatchSize | None:
    if batch is None:
        if wait is not None:
            raise ValueError(f"workflow {name!r} has a batch_wait and no batch: give the batch too")
        return None
    most = whole("batch", batch, 1, MOST_IN_BATCH)
    return BatchSize(most, 0.0 if wait is None else seconds("batch_wait", wait))


def _registered(asked: object, found: Workflow | None) -> Workflow:
    if found is None:
        raise ValueError(
            f"{asked!r} is not a registered workflow: decorate a function with "
            '@tide.workflow("name")'
        )
    return found


def _same_place(former: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Whether a function is the former one, or its new definition: a notebook's cell executed
    again, a module that was reloaded."""
    names = ("__module__", "__qualname__")
    return former is function or all(
        getattr(former, name, former) == getattr(function, name, function) for name in names
    )


def _write(options: dict[str, Any]) -> None:
    """Turn what an options object of the schema takes as text into text."""
    if options.get("backoff") is not None:
        options["backoff"] = backoff_lengths(options["backoff"])
    for name, write in _WRITERS.items():
        if options.get(name) is not None:
            options[name] = write(name, options[name])


def _before(name: str, value: object) -> list[int | str]:
    """Runs that have to end first: ids, or places of elements before."""
    return [
        named if isinstance(named, int) else str(identifier(name, named))
        for named in cast("Sequence[Any]", value)
    ]


_WRITERS: Mapping[str, Callable[[str, object], object]] = {
    "after": _before,
    "run_id": lambda name, value: str(identifier(name, value)),
    "run_at": lambda name, value: moment(name, value).isoformat(),
    "delay": lambda name, value: interval_text(interval(name, value)),
    "deadline": lambda name, value: interval_text(interval(name, value)),
    "dedupe_for": lambda name, value: interval_text(interval(name, value)),
    "debounce": lambda name, value: interval_text(interval(name, value)),
}
_LENGTHS: Sequence[str] = (
    "rate_period",
    "backoff_base",
    "backoff_max",
    "retention",
    "breaker_delay",
    "breaker_max_delay",
    "period",
)


def configure(
    queue: str, *, actor: str | None = None, **settings: Unpack[QueueSettings]
) -> Call[QueueRow]:
    """Change the settings of a queue; what is left out stays, None clears."""
    return calls.set_queue(queue, _written(settings), actor=actor)


def _written(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(settings)
    for name in _LENGTHS:
        if given.get(name) is not None:
            given[name] = interval_text(interval(name, given[name]))
    return given


def set_lane(
    lane: str, *, actor: str | None = None, **settings: Unpack[LaneSettings]
) -> Call[LaneRow]:
    """Make a lane or change its settings; what is left out stays, None clears."""
    return calls.set_lane(lane, settings=_written(settings), actor=actor)


def throttle(
    lane: str,
    until: datetime | Duration,
    *,
    reason: str | None = None,
    actor: str | None = None,
) -> Call[LaneRow]:
    """Let no run of a lane be claimed before a time, or for so many seconds from now.

    Claims that begin afterwards give none; runs of it wait and use up no attempt.
    """
    if not isinstance(until, datetime):
        length = interval("until", until)
        try:
            until = datetime.now(UTC) + length
        except OverflowError:
            raise ValueError(
                f"until = {length} is too long: give a time within ten years"
            ) from None
    return calls.throttle(lane, until=until, reason=reason, actor=actor)


def lift(lane: str, *, actor: str | None = None) -> Call[LaneRow]:
    """Let runs of a lane that is throttled or open be claimed again."""
    return calls.throttle(lane, actor=actor)


def pause(queue: str, *, actor: str | None = None) -> Call[QueueRow]:
    """Let nothing be claimed from a queue; running runs go on."""
    return calls.set_queue(queue, {"paused": True}, actor=actor)


def resume(queue: str, *, actor: str | None = None) -> Call[QueueRow]:
    """Let a paused queue be claimed from again."""
    return calls.set_queue(queue, {"paused": False}, actor=actor)
