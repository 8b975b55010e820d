"""Every error a caller can meet: one class per SQLSTATE of the schema, and the driver's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from tidebase_pg.values import Duration, interval, label, moment

LONGEST_RETRY: Final = timedelta(days=365)


class Refusal(BaseException):
    """A refusal by the schema. `str()` is one line without payloads; facts are in `detail`.

    It is raised outside any statement: after it a connection in autocommit mode is usable at
    once, an open transaction has to be rolled back, as after any error of Postgres.
    """

    sqlstate: str | None = None

    def __init__(
        self, message: str = "", *, detail: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(f"{message}. {hint}" if hint else message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __init_subclass__(cls) -> None:
        """A class with a SQLSTATE of ours stands for it."""
        super().__init_subclass__()
        sqlstate: str | None = cls.__dict__.get("sqlstate")
        if sqlstate is not None and sqlstate.startswith("TD"):
            BY_SQLSTATE[sqlstate] = cls


BY_SQLSTATE: Final[dict[str, type[Refusal]]] = {}
"""The class of each SQLSTATE; each has entered itself."""


class TideError(Refusal, psycopg.DatabaseError):
    """A refusal that a caller can handle."""


class Stop(Refusal):
    """The run is no longer this worker's: unwind and record nothing.

    No Exception, so that a handler meant for the errors of tools or models lets it pass, as it
    lets asyncio.CancelledError pass.
    """


class RunCancelled(Stop):
    """The run was cancelled, or its deadline passed."""

    sqlstate = "TD001"


class LeaseLost(Stop):
    """Another attempt owns the run, or its lease ended."""

    sqlstate = "TD002"


class LeaseUnproven(LeaseLost):
    """The caller carries no lease, and the failure it reports may be that of another worker."""

    sqlstate = "TD005"


class RunFinished(Stop):
    """The run has completed or failed already."""

    sqlstate = "TD003"


class RunParked(Stop):
    """The run waits without a worker: for a gate, children, a time, an event, its budget, or an
    operator's review of a step. It goes on by itself; let it pass."""


class StepFailedHard(Stop):
    """A step that must never be repeated ended ambiguously; the run has failed."""


class RunLeased(TideError):
    """Another worker holds the run; the message says who and until when."""

    sqlstate = "TD004"


class NotFound(TideError):
    """No such run, step, gate, child or queue."""

    sqlstate = "TD010"


class Conflict(TideError):
    """The request contradicts what is stored."""


class InputMismatch(Conflict):
    """The same run, step or gate was asked for with another workflow, input or question."""

    sqlstate = "TD020"


class StateConflict(Conflict):
    """The state is at another version than expected."""

    sqlstate = "TD021"


class GateResolved(Conflict):
    """The gate has been decided already."""

    sqlstate = "TD022"


class DuplicateRun(Conflict):
    """An active run has this dedupe key."""

    sqlstate = "TD023"


class BadToken(Conflict):
    """The token does not open this gate."""

    sqlstate = "TD024"


class NotApproved(Conflict):
    """The approval named for a step does not stand, covers another input, or was used before."""

    sqlstate = "TD025"


class IllegalTransition(TideError):
    """The lifecycle of a run has no such move."""

    sqlstate = "TD030"


class PayloadTooLarge(TideError):
    """A payload is above the limit of the installation."""

    sqlstate = "TD040"


class InvalidArgument(TideError, ValueError):
    """An argument is wrong; the message names it, its value and the remedy."""

    sqlstate = "22023"


class NoPlace(psycopg.OperationalError):
    """All connections of this Tidebase were in use for longer than a caller may wait."""


class BadPayload(ValueError):
    """A value cannot be stored as JSON, or a stored document cannot be read."""


class CollidingKeys(BadPayload):
    """Keys of a dict become one as JSON, as 1 and "1" do; another attempt may have other keys."""


class BadSignature(ValueError):
    """A webhook is not signed with a secret of ours, or was signed too long ago."""


class StepTimeout(TimeoutError):
    """A step ran longer than its timeout; whether its effect happened is not known."""


class StepInProgress(RuntimeError):
    """Two branches of a run use one name at once; `key=` or `input=` tells them apart."""


class ChildFailed(Exception):
    """A child of the run failed or was cancelled; `error` is what is recorded about it."""

    def __init__(
        self, edge: str, child_id: UUID, status: str, error: dict[str, Any] | None = None
    ) -> None:
        reason = None if error is None else error.get("message")
        super().__init__(f"child {edge!r} ({child_id}) {status}{f': {reason}' if reason else ''}")
        self.edge = edge
        self.child_id = child_id
        self.status = status
        self.error = error


class WrongAnswers(TypeError):
    """A workflow that takes batches did not give a list with one answer for each of its runs."""


class Retry(Exception):
    """Raise it in a workflow to end this attempt and run again later.

    `after` is a timedelta or seconds; without it the back-off of the run counts.
    A run out of attempts fails.

    >>> raise Retry("the model is overloaded", after=30)
    """

    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None:
        super().__init__(reason or "the workflow asked to be retried")
        self.after = None if after is None else interval("after", after)
        if self.after is not None and not timedelta(0) <= self.after <= LONGEST_RETRY:
            raise ValueError(f"after = {self.after} is out of range: give 0 seconds to 365 days")


class Snooze(Exception):
    """Raise it in a workflow to end this attempt, which does not count, and run again later.

    `after` is a timedelta or seconds.

    >>> raise Snooze("the report is not there yet", after=300)
    """

    def __init__(self, reason: str = "", *, after: Duration) -> None:
        super().__init__(reason or "the workflow asked to be run later")
        self.after = interval("after", after)
        if not timedelta(0) <= self.after <= LONGEST_RETRY:
            raise ValueError(f"after = {self.after} is out of range: give 0 seconds to 365 days")


class RateLimited(Snooze):
    """Raise it in a workflow or step when a provider refuses for a while, as with status 429.

    The attempt ends and does not count, and the whole lane of the run is throttled: no worker takes
    up a run of it before. A run without a lane waits alone. `after` is a timedelta, seconds, or the
    time from which it may go on.

    >>> raise RateLimited("openai answers 429", after=30)
    """

    def __init__(
        self, reason: str = "the provider asked to wait", *, after: Duration | datetime
    ) -> None:
        if isinstance(after, datetime):
            left = moment("after", after) - datetime.now(UTC)
            after = max(left, timedelta(0))
        super().__init__(reason, after=after)


class Fail(Exception):
    """Raise it in a workflow to fail the run for good, whatever attempts are left.

    >>> raise Fail("no such customer", failure_class="bad_request")
    """

    def __init__(self, reason: str = "", *, failure_class: str | None = None) -> None:
        super().__init__(reason or "the workflow failed the run")
        self.failure_class = (
            None if failure_class is None else label("failure_class", failure_class)
        )


class SchemaError(Exception):
    """The installed schema and this package do not fit."""


class MigrationDrift(SchemaError):
    """A released migration differs from what was applied."""

    def __init__(self, name: str, recorded: str, found: str) -> None:
        super().__init__(
            f"migration {name} was applied with sha256 {recorded}, but this package has {found}; "
            "released migrations never change: install the package version that applied it"
        )
        self.name = name
        self.recorded = recorded
        self.found = found


class SchemaTooOld(SchemaError):
    """The schema is missing or older than this package needs."""


class SchemaTooNew(SchemaError):
    """The schema is newer than this package knows."""


DATA_EXCEPTION: Final = "22"
MISSING_OBJECT: Final = frozenset({"3F000", "42883", "42P01", "42703"})


def translate(error: psycopg.Error) -> BaseException:
    """What to raise for an error psycopg reported of a call: ours, or the error itself."""
    said = error.diag
    return (
        refusal_of(
            error.sqlstate or "",
            said.message_primary or str(error),
            detail=said.message_detail,
            hint=said.message_hint,
        )
        or error
    )


def refusal_of(
    sqlstate: str, message: str, *, detail: str | None, hint: str | None
) -> Refusal | SchemaError | None:
    """Our error for what the server said, if it is one of ours."""
    known = BY_SQLSTATE.get(sqlstate)
    if known is None and sqlstate.startswith(DATA_EXCEPTION):
        known = InvalidArgument
    if known is not None:
        refusal = known(message, detail=detail, hint=hint)
        refusal.sqlstate = sqlstate
        return refusal
    if sqlstate in MISSING_OBJECT:
        return SchemaTooOld(
            f"this database has no schema tide this package can use ({message}); "
            "run: tidebase-pg install"
        )
    return None
