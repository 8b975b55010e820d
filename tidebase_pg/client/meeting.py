"""What has to be known of a connection before the first call on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg

from tidebase_pg.client.settings import AsyncConnection, Connection

QUESTION: Final = """\
select
  pg_backend_pid(),
  current_setting('default_transaction_isolation'),
  extract(epoch from clock_timestamp())::double precision,
  case
    when pg_is_in_recovery() then null
    else substring(pg_walfile_name(pg_current_wal_lsn()) for 8)
  end,
  (select c.system_identifier from pg_control_system() as c)"""
SHORT_QUESTION: Final = (
    "select pg_backend_pid(), current_setting('default_transaction_isolation'), "
    "extract(epoch from clock_timestamp())::double precision, null, null"
)
"""Where the server keeps its timeline to itself."""

READ_COMMITTED: Final = "read committed"


@dataclass(frozen=True, slots=True)
class Met:
    """What is known of one connection."""

    prepare: bool | None
    """None = psycopg prepares what is repeated; False behind a pooler, which may give every
    transaction another server connection."""
    explicit: bool
    """Whether a call needs a transaction that says its isolation level."""
    ahead: float
    """Seconds by which the clock of the database is ahead of the monotonic one of this host."""


known: Final[WeakKeyDictionary[Any, Met]] = WeakKeyDictionary()


class Primary:
    """The primary that was met at one source, by whichever of its clients, in any thread."""

    def __init__(self) -> None:
        self._system: int | None = None
        self._timeline = ""

    def meet(self, system: int, timeline: str) -> None:
        """Raises OperationalError for a former primary of the same system."""
        if system != self._system:  # as after pg_upgrade, which begins again with timeline 1
            self._system, self._timeline = system, timeline
        elif timeline < self._timeline:
            raise psycopg.OperationalError(
                f"this server is on timeline {timeline}, and one on timeline "
                f"{self._timeline} was met before: it is a former primary"
            )
        self._timeline = timeline


class Meeting:
    """What a client has met: a schema of its version, and the primary of its source."""

    def __init__(self, primary: Primary | None = None) -> None:
        """Without a primary the connection is a caller's."""
        self.versioned = False
        self.bound = primary is None
        """Whether the connection is a caller's, whose transaction must not fail by a question."""
        self.ahead: float | None = None
        """As that of the connection used last."""
        self._primary = primary

    def now(self) -> datetime:
        """What time it is for the database."""
        assert self.ahead is not None
        return datetime.fromtimestamp(self.ahead + time.monotonic(), UTC)

    @property
    def question(self) -> str:
        return SHORT_QUESTION if self.bound else QUESTION

    def judge(self, connection: Connection | AsyncConnection, row: tuple[Any, ...] | None) -> Met:
        """Take in the answer to the question. Raises OperationalError for a former primary."""
        assert row is not None
        pid, isolation, clock, timeline, system = row
        if self._primary is not None and timeline is not None:
            try:
                self._primary.meet(system, timeline)
            except psycopg.OperationalError:
                connection.pgconn.finish()
                raise
        direct = pid == connection.info.backend_pid
        met = Met(None if direct else False, isolation != READ_COMMITTED, clock - time.monotonic())
        known[connection] = met
        return met
