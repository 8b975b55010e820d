"""A call of one SQL function as a value: what to ask, with which arguments, how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Generic, Literal, TypeVar, cast
from uuid import UUID

from tidebase_pg import values
from tidebase_pg.types import Row

T = TypeVar("T")

Kind = Literal["function", "procedure", "view", "enqueue and read"]
Reader = Callable[[str, object], object]

_READERS: Final[Mapping[Reader, Sequence[str]]] = {
    values.identifier: (
        "run_id",
        "lease_id",
        "approved_by",
        "gate_id",
        "fork_id",
        "delivery_id",
        "after_gate",
        "lost_lease_id",
        "only_run",
        "session_id",
    ),
    values.identifiers: ("gate_ids", "holding", "run_ids", "lease_ids"),
    values.texts: ("queues", "lanes", "names", "scopes", "workflows", "edges", "verbs", "roles"),
    values.integer: (
        "after_step",
        "ahead",
        "batch",
        "expected_version",
        "http_status",
        "max_attempts",
        "max_changes",
        "max_chunks",
        "max_deliveries",
        "max_events",
        "max_fires",
        "max_gates",
        "max_groups",
        "max_records",
        "max_runs",
        "max_steps",
        "priority",
    ),
    values.big_integer: ("before_change", "input_tokens", "output_tokens", "total_tokens"),
    values.units: ("cost",),
    values.amount: (
        "amount",
        "cost_usd",
        "input_usd",
        "list_cost_usd",
        "output_usd",
        "per_second",
        "quantity",
    ),
    values.boolean: (
        "cascade",
        "dry_run",
        "enabled",
        "failing",
        "labeled",
        "reset_attempts",
        "resume",
        "retryable",
        "shared",
    ),
    values.interval: (
        "bucket",
        "debounce",
        "deadline",
        "dedupe_for",
        "delay",
        "duration",
        "keep",
        "lease",
        "older_than",
        "retention",
        "retry_after",
        "timeout",
    ),
    values.amount_or_text: ("estimate",),
    values.interval_or_text: ("budget",),
    values.place_moment_or_runs: ("after",),
    values.identifier_or_moment: ("before",),
    values.moment: ("run_at", "started_at", "until"),
    values.octets: ("key_hash", "token_hash"),
}
_READER: Final[Mapping[str, Reader]] = {
    name: reader for reader, names in _READERS.items() for name in names
}
"""How each argument that is not text is read. JSON documents arrive here as text."""


_MAKERS: Final[Mapping[str, str]] = {
    "create_run": "run_id",
    "enqueue": "run_id",
    "fork_run": "fork_id",
    "record_usage": "request_key",
}
"""What makes a call repeatable: the id of what it makes."""


@dataclass(slots=True)
class Call(Generic[T]):
    """`decode` gets the rows of `select <columns> from tide.<name>(<arguments>)`. Nobody changes
    one; frozen, each would take three times as long to make."""

    name: str
    columns: str
    arguments: Mapping[str, Any]
    decode: Callable[[Sequence[Row]], T]
    kind: Kind = "function"
    relaxed: bool = False
    """Whether its commit need not be on disk before the answer. Never in a caller's transaction."""

    @property
    def query(self) -> str:
        """The text of the statement, with the arguments by name as $1, $2…"""
        return _query(self.kind, self.name, self.columns, tuple(self.arguments), self.relaxed)

    def repeatable(self) -> Call[T]:
        """The same call, safe to send again when its answer is lost: what it makes has an id."""
        key = _MAKERS.get(self.name)
        if key is None or key in self.arguments:
            return self
        made = values.new_run_id()
        return replace(
            self, arguments={**self.arguments, key: made if key.endswith("_id") else str(made)}
        )

    def unread(self) -> Call[None]:
        """The same call for a caller who needs no answer: none travels back."""
        return Call(self.name, "true", self.arguments, _nothing, self.kind, self.relaxed)

    def relax(self) -> Call[T]:
        """The same call, which a crash of the server may undo."""
        return Call(self.name, self.columns, self.arguments, self.decode, self.kind, relaxed=True)


def held(call: Call[T], hold: Call[Any]) -> Call[T]:
    """A call of a function that takes a lease_id, made under the lease its run has now: `hold` is a
    hold_run, asked in the same statement.

    >>> held(calls.complete(run_id, NO_LEASE, result=1), calls.hold_run(run_id, worker="w1"))
    """
    arguments = {f"{_HOLD}{name}": value for name, value in hold.arguments.items()}
    own = {name: value for name, value in call.arguments.items() if name != "lease_id"}
    return replace(call, arguments={**arguments, **own})


NO_LEASE: Final = UUID(int=0)
"""What to give for the lease_id that `held` puts in."""

_HOLD: Final = "hold."


def call(
    function: str,
    columns: str,
    decode: Callable[[Sequence[Row]], T],
    kind: Kind = "function",
    /,
    **arguments: object,
) -> Call[T]:
    """Named notation; an argument left as None is omitted, so SQL's default applies.

    Raises ValueError or TypeError naming an argument Postgres could not take.
    """
    given: dict[str, Any] = {}
    for name, value in arguments.items():
        if value is not None:
            given[name] = _READER.get(name, values.text)(name, value)
    return Call(function, columns, given, decode, kind)


_RELAX: Final = "pg_catalog.set_config('synchronous_commit', 'off', true) as relaxed"


@cache
def _query(kind: Kind, name: str, columns: str, arguments: tuple[str, ...], relaxed: bool) -> str:
    places = [(argument, f"${place}") for place, argument in enumerate(arguments, 1)]
    of_hold = [(name[len(_HOLD) :], place) for name, place in places if name.startswith(_HOLD)]
    own = [(name, place) for name, place in places if not name.startswith(_HOLD)]
    if of_hold:
        own.append(("lease_id", "hold.permit"))
        hold = f"tide.hold_run({_named(of_hold)}) as hold(permit)"
        return f"select {columns} from {hold} cross join lateral tide.{name}({_named(own)})"
    given = _named(own)
    match kind:
        case "function":
            first = f"{_RELAX}, " if relaxed else ""
            return f"select {columns} from {first}tide.{name}({given})"
        case "procedure":
            return f"call tide.{name}({given})"
        case "view":
            return f"select {columns} from tide.{name} order by 1"
        case "enqueue and read":
            made = f"tide.{name}({given}) as made(made_id, deduplicated, made_status)"
            return f"select {columns} from {made} cross join lateral tide.get_run(made.made_id)"


def _named(arguments: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{argument} => {place}" for argument, place in arguments)


def truth(rows: Sequence[Row]) -> bool:
    """The only value of the answer, a boolean."""
    return cast(bool, rows[0][0])


def _nothing(rows: Sequence[Row]) -> Any:
    return None
