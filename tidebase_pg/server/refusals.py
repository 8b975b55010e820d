"""Answers to what cannot be done: every error of the schema as the SDKs know it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from tidebase_pg.errors import (
    BadToken,
    DuplicateRun,
    GateResolved,
    IllegalTransition,
    InputMismatch,
    LeaseLost,
    NotFound,
    PayloadTooLarge,
    RunCancelled,
    RunFinished,
    RunLeased,
    SchemaError,
    StateConflict,
    Stop,
    TideError,
)

GATE_REFUSED: Final = "gate not found, already resolved, or invalid token"

TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_CODES: Final[Mapping[type[TideError], str]] = {
    InputMismatch: "input_mismatch",
    StateConflict: "state_conflict",
    GateResolved: "gate_resolved",
    DuplicateRun: "dedupe_taken",
    BadToken: "bad_token",
    IllegalTransition: "illegal_transition",
}


_REASONS: Final[Mapping[type[Stop], str]] = {
    RunCancelled: "cancelled",
    LeaseLost: "lease_lost",
    RunFinished: "finished",
}


class Refusal(Exception):
    """An answer with a status of 400 or more. `facts` stand beside `error` in the body."""

    def __init__(
        self,
        status: int,
        error: str,
        *,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.facts = facts
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {"error": self.error, **self.facts}

    def problem(self, instance: str) -> dict[str, Any]:
        """The same as RFC 9457 has it, beside what the SDKs read."""
        return {
            "type": "about:blank",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.error,
            "instance": instance,
            **self.body(),
        }


class BadBody(Refusal):
    """A request that is not what the route takes: where, and what would be right."""

    def __init__(self, path: list[str | int], message: str) -> None:
        super().__init__(400, "invalid request body", issues=[{"path": path, "message": message}])


class Stopped(Refusal):
    """The one word that makes an SDK drop the run without reporting a failure."""

    def __init__(self, reason: str, error: str = "run is cancelled", **facts: Any) -> None:
        super().__init__(409, error, code="run_cancelled", reason=reason, **facts)


def missing(what: str) -> Refusal:
    return Refusal(404, f"{what} not found")


def busy(error: str = "the database cannot be reached, or is busy") -> Refusal:
    return Refusal(503, error, headers={"retry-after": "1"}, code="unavailable")


_NOUN: Final = re.compile(r"(run|gate|schedule|delivery|queue|lane) \S+ does not exist")
_PART: Final = re.compile(r"run \S+ has no (step|child|state stream)")
_ARGUMENT: Final = re.compile(
    r'(?:children\[(?:"(?:[^"\\]|\\.)*"|null)\]\.|settings\.|options\.)?'
    r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*)"
)
_PLACE: Final = re.compile(r"([a-z_]+)|\[(\d+)\]")
_FIELDS: Final[Mapping[str, str]] = {
    "contract": "options",
    "deadline": "deadlineMs",
    "dedupe_for": "dedupeForMs",
    "delay": "delayMs",
    "edge": "name",
    "push_url": "invokeUrl",
    "rate_limit": "ratePerMinute",
    "recovery_url": "recoveryWebhook",
    "timeout": "timeoutMs",
    "workflow": "workflowName",
}
"""What the wire calls an argument of the schema, where that is not the same in camel case."""


OURS: Final = "22023"
"""What the schema raises; other errors of class 22 are of Postgres, and name no argument."""


def translate(error: BaseException) -> Refusal | None:
    """The answer to an error of a call; None for what is a fault of ours."""
    match error:
        case Refusal():
            return error
        case RunCancelled():
            return Refusal(409, "run is cancelled", code="run_cancelled")
        case LeaseLost():
            return Refusal(409, "lease lost", code="lease_lost")
        case RunFinished():
            failed = error.message.endswith("failed")
            return Refusal(
                409, f"run already {'failed' if failed else 'completed'}", code="run_finished"
            )
        case RunLeased():
            return Refusal(409, "run is leased", leaseOwner=None, code="run_leased")
        case NotFound():
            return missing(_what(error.message))
        case PayloadTooLarge():
            return Refusal(413, str(error), code="payload_too_large")
        case TideError() if (error.sqlstate or "").startswith("22"):
            return invalid(error)
        case TideError():
            return Refusal(409, str(error), code=_CODES.get(type(error), "conflict"))
        case psycopg.errors.InsufficientPrivilege():
            return Refusal(403, _first_line(error), code="forbidden")
        case psycopg.errors.StatementTooComplex():
            return BadBody([], "the body is nested too deeply: at most 100 levels")
        case psycopg.errors.ProgramLimitExceeded():
            return Refusal(413, _first_line(error), code="payload_too_large")
        case psycopg.errors.LockNotAvailable() | psycopg.errors.QueryCanceled():
            return busy("the database is busy")
        case PoolTimeout() | TooManyRequests():
            return busy("too many requests at once")
        case psycopg.errors.SerializationFailure() | psycopg.errors.DeadlockDetected():
            return busy("the same was changed by others meanwhile")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return busy()
        case SchemaError():
            return busy(str(error))
        case _:
            return None


def reason(error: Stop) -> str:
    """Why a worker has to stop, in one word."""
    return _REASONS.get(type(error), "stopped")


def stopped(error: Stop) -> Stopped:
    """The answer to a worker inside a workflow that may not go on."""
    return Stopped(reason(error))


def invalid(error: TideError) -> BadBody:
    """A value the schema refuses: its message begins with the name of the argument."""
    return BadBody(_path(error.message) if error.sqlstate == OURS else [], str(error))


def wrong_argument(error: ValueError | TypeError) -> BadBody:
    """A value the driver refuses before it is sent; it names the argument first."""
    return BadBody(_path(str(error)), str(error))


def _path(message: str) -> list[str | int]:
    """Where in the body the argument is that a message begins with."""
    found = _ARGUMENT.match(message)
    if found is None:
        return []
    return [int(number) if number else _camel(name) for name, number in _PLACE.findall(found[1])]


def _camel(name: str) -> str:
    if name in _FIELDS:
        return _FIELDS[name]
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _what(message: str) -> str:
    if found := _NOUN.match(message):
        return found[1]
    if found := _PART.match(message):
        return {"state stream": "run state"}.get(found[1], found[1])
    if message.startswith("gate"):
        return "gate"
    return "schedule" if message.startswith("schedule") else "run"


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).splitlines()[0]
