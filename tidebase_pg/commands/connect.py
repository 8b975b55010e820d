"""What the commands on runs and queues share: the Tidebase they talk to, and their arguments."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click
import psycopg

from tidebase_pg.commands.output import dsn, progress
from tidebase_pg.tidebase import Tidebase

if TYPE_CHECKING:
    DocumentType = click.ParamType[Any]
    LengthType = click.ParamType[timedelta]
    MomentType = click.ParamType[datetime]
else:  # generic from click 8.4 on only
    DocumentType = LengthType = MomentType = click.ParamType

BATCH: Final = 1000
"""Runs in one transaction of what many are done to."""
_UNITS = {"": 1, "s": 1, "ms": 0.001, "m": 60, "h": 3600, "d": 86400}


@contextmanager
def connected(*, dry_run: bool = False) -> Generator[Tidebase]:
    """Tidebase on the database of --dsn, closed afterwards.

    With `dry_run` all that is done is one transaction, which is rolled back.
    """
    if not dry_run:
        with Tidebase(dsn()) as tide:
            yield tide
        return
    with closing(psycopg.connect(dsn(), connect_timeout=10)) as connection:
        yield Tidebase(connection)
        connection.rollback()


def in_batches(act: Callable[[int], int], done: str, most: int, *, batch: int = BATCH) -> int:
    """How many `act` took in all, a batch at a time, until it takes fewer than it may.

    `done` says on a terminal what became of what: "runs removed".
    """
    total = 0
    with progress() as show:
        while total < most:
            wanted = min(batch, most - total)
            taken = act(wanted)
            total += taken
            show(f"{total} {done}")
            if taken < wanted:
                break
    return total


def actor() -> str:
    """Who acts, for the event log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


class Document(DocumentType):
    """A JSON argument."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            self.fail(f"{value[:80]!r} is not JSON: {error}", param, ctx)


class Length(LengthType):
    """A length of time: 90, 90s, 500ms, 5m, 2h or 7d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", str(value))
        if found is None:
            self.fail(
                f"{value!r} is not a length of time: give 90s, 500ms, 5m, 2h or 7d", param, ctx
            )
        try:
            return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class Moment(MomentType):
    """A time with its zone: 2026-06-12T10:30:00Z or 2026-06-12T12:30+02:00."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time: give 2026-06-12T10:30:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} has no time zone: add Z or +02:00", param, ctx)
        return found


dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Do it in a transaction, roll it back, say what it was."
)
max_runs_option = click.option(
    "--max-runs", type=click.IntRange(1), default=2**31 - 1, help="At most so many; default all."
)
DOCUMENT = Document()
LENGTH = Length()
MOMENT = Moment()
