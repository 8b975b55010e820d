"""The database's clock under a test's hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from tidebase_pg.values import Duration, seconds

INSTALL: Final = """
create schema tide_test;
create table tide_test.clock (
  is_only boolean primary key default true check (is_only),
  stopped_at timestamptz,
  ahead interval not null default '0'
);
insert into tide_test.clock default values;
grant usage on schema tide_test to public;
grant select on tide_test.clock to public;
create or replace function tide._now()
returns timestamptz
language plpgsql
volatile
as $$
begin
  return (
    select coalesce(c.stopped_at, pg_catalog.clock_timestamp() + c.ahead)
    from tide_test.clock as c
  );
end;
$$;
"""
"""Replaces the one function that reads the clock; only databases made by this package have it."""

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Clock:
    """The time of one test database. It runs until it is stopped by `set`, or by `at`.

    >>> with tide_test.at("2026-01-01T09:00Z") as clock:
    ...     clock.advance("2m")
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @property
    def now(self) -> datetime:
        """What the functions of the schema take for now; with time zone UTC."""
        row = self._connection.execute("select tide._now()").fetchone()
        assert row is not None
        found: datetime = row[0]
        return found.astimezone(UTC)

    @property
    def stopped(self) -> bool:
        """Whether it stands still."""
        row = self._connection.execute("select stopped_at from tide_test.clock").fetchone()
        assert row is not None
        return row[0] is not None

    def set(self, moment: datetime | str) -> datetime:
        """Stop the clock at a moment: a datetime with a time zone, or ISO 8601 text with one.

        Raises ValueError for a moment without a time zone.
        """
        wanted = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if wanted.tzinfo is None:
            raise ValueError(f"the moment {moment!r} has no time zone: add one, such as Z")
        self._connection.execute("update tide_test.clock set stopped_at = %s", [wanted])
        return wanted

    def advance(self, by: Duration | str) -> datetime:
        """Move the time on: seconds, a timedelta, or text as `90s`, `2m`, `3h`, `7d`.

        A stopped clock stays stopped, a running one runs on. Raises ValueError for no such length.
        """
        step = timedelta(seconds=length(by))
        self._connection.execute(
            """
            update tide_test.clock
            set stopped_at = stopped_at + %(step)s,
                ahead = ahead + case when stopped_at is null then %(step)s else interval '0' end
            """,
            {"step": step},
        )
        return self.now

    def run(self) -> None:
        """Let it run on from where it stands."""
        self._connection.execute(
            """
            update tide_test.clock
            set ahead = stopped_at - pg_catalog.clock_timestamp(), stopped_at = null
            where stopped_at is not null
            """
        )


def length(given: Duration | str) -> float:
    """Seconds of a length of time."""
    if not isinstance(given, str):
        return seconds("by", given)
    number, unit = given[:-1], given[-1:]
    if unit not in UNITS:
        raise ValueError(f"{given!r} is no length of time: write 90s, 2m, 3h or 7d")
    try:
        return float(number) * UNITS[unit]
    except ValueError:
        raise ValueError(f"{given!r} is no length of time: write 90s, 2m, 3h or 7d") from None
